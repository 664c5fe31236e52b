/* test_tokenizer_faults.c: opening a SentencePiece tokenizer and encoding with it while memory runs out, at every
 * allocation in turn. The files are the fuzz target's seeds.
 */
#include "fail_nth.h"
#include "unit/cmocka_test.h"

#include "tokenizer.h"

#include <jansson.h>
#include <string.h>

void *__real_malloc(size_t size);

static struct {
    const char *key;
    char bytes[1 << 14];
    size_t n;
} file;

static tn_status file_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    (void)source;
    if (strcmp(key, file.key) != 0)
        return TN_E_NOT_FOUND;
    *ret_meta =
        (tn_meta){.struct_size = sizeof *ret_meta, .kind = TN_META_STRING, .count = file.n, .string = file.bytes};
    return TN_OK;
}

/* jansson's allocations all succeed: its lexer drops a character where its buffer cannot grow, and goes on. */
static tn_status open_and_encode(tn_error *err)
{
    json_set_alloc_funcs(__real_malloc, free);
    tn_source source = {.struct_size = sizeof source, .container = "safetensors", .path = "seed", .meta = file_meta};
    static const char text[] = "Hello, <|im_end|> w\xC3\xB6rld a  aa \xFF <s>12";
    int32_t ids[256];
    uint64_t count = 256;
    tn_tok *tok = NULL;
    tn_status status = tokenizer_table.open(&source, &tok, err);
    if (status == TN_OK)
        status = tokenizer_table.encode(tok, text, sizeof text - 1, TN_ENCODE_PARSE_SPECIAL, ids, &count, err);
    tokenizer_table.close(tok);
    return status;
}

static void read_seed(const char *name, const char *key)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", CORPUS_DIR, name);
    FILE *from = fopen(path, "rb");
    assert_non_null(from);
    file.n = fread(file.bytes, 1, sizeof file.bytes, from);
    file.key = key;
    fclose(from);
}

static void test_tokenizer_model_survives_every_failing_allocation(void **state)
{
    (void)state;
    read_seed("tokenizer_model/bpe.model", "tokenizer.model");
    assert_true(fail_every_allocation(open_and_encode, true) > 20);
    read_seed("tokenizer_model/unigram.model", "tokenizer.model");
    assert_true(fail_every_allocation(open_and_encode, true) > 20);
}

static void test_tokenizer_json_survives_every_failing_allocation(void **state)
{
    (void)state;
    read_seed("tokenizer_spm_json/llama.json", "tokenizer.json");
    assert_true(fail_every_allocation(open_and_encode, true) > 20);
    read_seed("tokenizer_spm_json/t5.json", "tokenizer.json");
    assert_true(fail_every_allocation(open_and_encode, true) > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizer_model_survives_every_failing_allocation),
        cmocka_unit_test(test_tokenizer_json_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
