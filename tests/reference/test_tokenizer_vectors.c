/* test_tokenizer_vectors.c: llama.cpp's own vocabularies with its test vectors, exactly.
 *
 * The files (ggml-vocab-*.gguf with .inp and .out) are looked for in the folder TENON_TEST_SHARED, else beside the
 * source tree (llama.cpp's folder `models` has more of them); those that are not there are skipped. Cases in .inp are parted by a line "__ggml_vocab_test__"; .out has one
 * line of ids per case, made without adding or parsing special tokens.
 */
#include "unit/cmocka_test.h"

#include "model/checkpoint.h"
#include "tokenizer.h"

#include <string.h>
#include <unistd.h>

#define SEPARATOR "\n__ggml_vocab_test__\n"

static const char *folder(void)
{
    const char *given = getenv("TENON_TEST_SHARED");
    return given ? given : SHARED_DIR;
}

static char *read_file(const char *vocabulary, const char *suffix, size_t *ret_n)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf%s", folder(), vocabulary, suffix);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    *ret_n = fread(text, 1, (1 << 16) - 1, file);
    fclose(file);
    return text;
}

static tn_tok *open_vocabulary(const char *vocabulary)
{
    char path[1024];
    tn_error err = TN_ERROR_INIT;
    checkpoint *file;
    tn_tok *tok = NULL;
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder(), vocabulary);
    assert_int_equal(checkpoint_open(path, &file, &err), TN_OK);
    if (tokenizer_table.open(checkpoint_source(file), &tok, &err) != TN_OK)
        fail_msg("%s", err.msg);
    checkpoint_close(file);
    return tok;
}

static void check_case(const tn_tok *tok, const char *text, size_t n, const char *expected)
{
    int32_t ids[4096];
    uint64_t count = 4096;
    assert_int_equal(tokenizer_table.encode(tok, text, n, 0, ids, &count, NULL), TN_OK);
    uint64_t i = 0;
    for (char *end; *expected && *expected != '\n'; i++) {
        long id = strtol(expected, &end, 10);
        if (end == expected)
            break;
        expected = end;
        if (i >= count || ids[i] != id)
            fail_msg("\"%.*s\": id %llu is %d, not %ld", (int)n, text, (unsigned long long)i, i < count ? ids[i] : -1,
                     id);
    }
    assert_int_equal(i, count);
}

static void check_vocabulary(const char *vocabulary)
{
    size_t inputs_n, outputs_n, cases = 0;
    char *inputs = read_file(vocabulary, ".inp", &inputs_n), *outputs = read_file(vocabulary, ".out", &outputs_n);
    tn_tok *tok = open_vocabulary(vocabulary);
    const char *input = inputs, *output = outputs;
    for (const char *end; (end = strstr(input, SEPARATOR)); cases++) {
        check_case(tok, input, (size_t)(end - input), output);
        input = end + strlen(SEPARATOR);
        output = strchr(output, '\n');
        assert_non_null(output);
        output++;
    }
    assert_true(cases > 40);
    tokenizer_table.close(tok);
    free(inputs);
    free(outputs);
}

static const char *const vocabularies[] = {VOCABULARIES};
enum { VOCABULARY_COUNT = sizeof vocabularies / sizeof vocabularies[0] };

static bool is_there(const char *vocabulary)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf.out", folder(), vocabulary);
    return access(path, R_OK) == 0;
}

static void test_vocabulary_gives_the_published_ids(void **state)
{
    const char *vocabulary = *state;
    if (!is_there(vocabulary))
        skip();
    check_vocabulary(vocabulary);
}

int main(void)
{
    struct CMUnitTest tests[VOCABULARY_COUNT];
    bool any = false;
    for (size_t i = 0; i < VOCABULARY_COUNT; i++) {
        tests[i] = (struct CMUnitTest){.name = vocabularies[i],
                                       .test_func = test_vocabulary_gives_the_published_ids,
                                       .initial_state = (void *)vocabularies[i]};
        any |= is_there(vocabularies[i]);
    }
    if (!any) {
        fprintf(stderr, "%s has none of the vocabularies: skipped (set TENON_TEST_SHARED)\n", folder());
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
