/* test_spm_golden.c: small models of every kind, tokenized by sentencepiece and by tokenizers (spm_variants.py), and
 * Mistral's own models with the samples of mistral-common.
 *
 * The latter are looked for in the folder TENON_TEST_SHARED, else beside the source tree; without them that part is
 * skipped.
 */
#include "unit/cmocka_test.h"

#include "tokenizer.h"

#include <glob.h>
#include <jansson.h>
#include <string.h>

typedef struct file {
    char *bytes;
    size_t n;
    const char *key; /* the name under which a checkpoint directory has it */
} file;

static file read_file(const char *path, const char *key)
{
    file f = {.key = key};
    FILE *from = fopen(path, "rb");
    if (!from)
        return f;
    fseek(from, 0, SEEK_END);
    f.n = (size_t)ftell(from);
    rewind(from);
    f.bytes = calloc(1, f.n + 1);
    assert_non_null(f.bytes);
    assert_int_equal(fread(f.bytes, 1, f.n, from), f.n);
    fclose(from);
    return f;
}

static tn_status file_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const file *f = source->ctx;
    if (strcmp(key, f->key) != 0)
        return TN_E_NOT_FOUND;
    *ret_meta = (tn_meta){.struct_size = sizeof *ret_meta, .kind = TN_META_STRING, .count = f->n, .string = f->bytes};
    return TN_OK;
}

static tn_tok *open_file(file *f)
{
    tn_source source = {
        .struct_size = sizeof source, .ctx = f, .container = "safetensors", .path = "golden", .meta = file_meta};
    tn_tok *tok = NULL;
    tn_error err = TN_ERROR_INIT;
    if (tokenizer_table.open(&source, &tok, &err) != TN_OK)
        fail_msg("%s", err.msg);
    free(f->bytes);
    return tok;
}

static bool encodes_to(const tn_tok *tok, const char *text, size_t n, uint32_t flags, const json_t *expected)
{
    static int32_t ids[1 << 16];
    uint64_t count = sizeof ids / sizeof ids[0];
    assert_int_equal(tokenizer_table.encode(tok, text, n, flags, ids, &count, NULL), TN_OK);
    bool equal = count == json_array_size(expected);
    for (uint64_t i = 0; equal && i < count; i++)
        equal = ids[i] == json_integer_value(json_array_get(expected, i));
    return equal;
}

static bool decodes_to(const tn_tok *tok, const json_t *ids, const json_t *expected)
{
    static char text[1 << 16];
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(ids); i++) {
        uint64_t n = sizeof text - at;
        int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        assert_int_equal(tokenizer_table.piece(tok, id, 0, i == 0, text + at, &n, NULL), TN_OK);
        at += n;
    }
    return at == json_string_length(expected) && memcmp(text, json_string_value(expected), at) == 0;
}

static size_t check_line(const tn_tok *tok, const json_t *line, const char *path)
{
    const json_t *text = json_object_get(line, "text"), *plain = json_object_get(line, "ids_plain");
    const char *bytes = json_string_value(text), *wrong = NULL;
    size_t n = json_string_length(text);
    if (!encodes_to(tok, bytes, n, TN_ENCODE_PARSE_SPECIAL, json_object_get(line, "ids")))
        wrong = "ids";
    else if (plain && !encodes_to(tok, bytes, n, 0, plain))
        wrong = "ids_plain";
    else if (json_object_get(line, "decoded") && !decodes_to(tok, plain, json_object_get(line, "decoded")))
        wrong = "decoded";
    if (wrong)
        print_error("%s: \"%s\" differs in %s\n", path, bytes, wrong);
    return wrong != NULL;
}

static size_t check_samples(const char *path)
{
    char model[1024];
    size_t stem = strlen(path) - strlen(".jsonl"), lines = 0, failed = 0;
    json_error_t where;
    snprintf(model, sizeof model, "%.*s.model", (int)stem, path);
    file f = read_file(model, "tokenizer.model");
    if (!f.bytes) {
        snprintf(model, sizeof model, "%.*s.json", (int)stem, path);
        f = read_file(model, "tokenizer.json");
    }
    assert_non_null(f.bytes);
    tn_tok *tok = open_file(&f);
    FILE *samples = fopen(path, "rb");
    assert_non_null(samples);
    for (json_t *line; (line = json_loadf(samples, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &where)); lines++) {
        failed += check_line(tok, line, path);
        json_decref(line);
    }
    fclose(samples);
    tokenizer_table.close(tok);
    assert_true(lines >= 30);
    return failed;
}

static void test_every_kind_of_model_gives_the_references_ids(void **state)
{
    (void)state;
    glob_t found;
    size_t failed = 0;
    assert_int_equal(glob(GOLDEN_DIR "/spm/*.jsonl", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 12);
    for (size_t i = 0; i < found.gl_pathc; i++)
        failed += check_samples(found.gl_pathv[i]);
    globfree(&found);
    assert_int_equal(failed, 0);
}

static bool ends_with_special(const char *text, size_t n, bool instructions)
{
    static const char *const specials[] = {
        "<s>",          "</s>",           "[INST]",         "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
        "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"};
    for (size_t i = 0; i < (instructions ? sizeof specials / sizeof specials[0] : 2); i++) {
        size_t length = strlen(specials[i]);
        if (n >= length && memcmp(text + n - length, specials[i], length) == 0)
            return true;
    }
    return false;
}

/* The samples write a space as U+2581 and show the dummy one behind each special token, which is taken out here; a
 * newline is the piece of its byte. */
static void make_plain(file *sample, bool instructions)
{
    char *out = sample->bytes;
    size_t n = 0;
    for (size_t at = 0; at < sample->n;) {
        bool space = sample->n - at >= SPM_SPACE_BYTES && memcmp(sample->bytes + at, SPM_SPACE, SPM_SPACE_BYTES) == 0;
        bool newline = sample->n - at >= 6 && memcmp(sample->bytes + at, "<0x0A>", 6) == 0;
        if (!space || !ends_with_special(out, n, instructions))
            out[n++] = space ? ' ' : newline ? '\n' : sample->bytes[at];
        at += space ? SPM_SPACE_BYTES : newline ? 6 : 1;
    }
    sample->n = n;
}

static void check_mistral(const char *folder, const char *name, const char *version)
{
    char path[1024];
    json_error_t where;
    bool first = strcmp(version, "v1") == 0; /* its instructions are ordinary text */
    snprintf(path, sizeof path, "%s/mistral-tokenizer.model.%s", folder, first ? "v1" : "v3");
    file model = read_file(path, "tokenizer.model");
    if (!model.bytes)
        skip();
    snprintf(path, sizeof path, "%s/mistral_samples/%s/text_%s.txt", folder, name, version);
    file text = read_file(path, "");
    snprintf(path, sizeof path, "%s/mistral_samples/%s/tokens_%s.json", folder, name, version);
    json_t *tokens = json_load_file(path, 0, &where);
    assert_non_null(text.bytes);
    assert_non_null(tokens);
    tn_tok *tok = open_file(&model);
    make_plain(&text, !first);
    const json_t *ids = json_is_array(tokens) ? tokens : json_object_get(tokens, "tokens");
    assert_true(encodes_to(tok, text.bytes, text.n, TN_ENCODE_PARSE_SPECIAL, ids));
    tokenizer_table.close(tok);
    json_decref(tokens);
    free(text.bytes);
}

static void test_mistral_samples_give_the_published_ids(void **state)
{
    (void)state;
    const char *given = getenv("TENON_TEST_SHARED"), *folder = given ? given : SHARED_DIR;
    check_mistral(folder, "no_tools", "v1");
    check_mistral(folder, "no_tools", "v2");
    check_mistral(folder, "no_tools", "v3");
    check_mistral(folder, "get_weather_full", "v2");
    check_mistral(folder, "get_weather_full", "v3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_model_gives_the_references_ids),
        cmocka_unit_test(test_mistral_samples_give_the_published_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
