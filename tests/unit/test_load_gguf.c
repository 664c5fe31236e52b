/* test_load_gguf.c: metadata that lies. Each lie is refused with one sentence that names the file and the key. */
#include "cmocka_test.h"
#include "tiny_vocabulary.h"
#include "tokenizer.h"

static tiny_source tiny;

static int fresh(void **state)
{
    (void)state;
    tiny_gguf(&tiny);
    return 0;
}

static void refused(tn_status expected, const char *sentence)
{
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok = (tn_tok *)&tiny;
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), expected);
    assert_string_equal(err.msg, sentence);
    assert_ptr_equal(tok, &tiny); /* untouched */
}

static void test_other_kinds_of_tokenizer_are_left_to_others(void **state)
{
    (void)state;
    tiny_set_text(&tiny, "tokenizer.ggml.model", "llama");
    refused(TN_E_NOT_FOUND, "tiny.file: tokenizer.ggml.model is \"llama\", not the byte-level BPE of \"gpt2\"");
    tiny_unset(&tiny, "tokenizer.ggml.model");
    refused(TN_E_NOT_FOUND, "tiny.file: there is no tokenizer.ggml.model");
}

static void test_an_unknown_pre_tokenizer_is_refused_with_the_known_ones(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok;
    tiny_set_text(&tiny, "tokenizer.ggml.pre", "smolm");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "tiny.file: tokenizer.ggml.pre: unknown pre-tokenizer \"smolm\" (did you mean "
                                    "\"smollm\"?); known are default gpt-2 "));
}

static void test_wrong_types_are_refused(void **state)
{
    (void)state;
    tiny_set_numbers(&tiny, "tokenizer.ggml.tokens", tiny.types, TINY_COUNT);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.tokens is not an array of strings");
    tiny_gguf(&tiny);
    tiny_set_strings(&tiny, "tokenizer.ggml.token_type", tiny.tokens, TINY_COUNT);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.token_type is not an array of integers");
    tiny_gguf(&tiny);
    tiny_set_text(&tiny, "tokenizer.ggml.eos_token_id", "2");
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.eos_token_id is not a token id (an integer that is not negative)");
    tiny_gguf(&tiny);
    tiny_set_uint(&tiny, "tokenizer.ggml.add_bos_token", 1);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.add_bos_token is not a boolean");
    tiny_gguf(&tiny);
    tiny_set_uint(&tiny, "tokenizer.ggml.pre", 1);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.pre is not a string");
    tiny_gguf(&tiny);
    tiny_set_uint(&tiny, "tokenizer.ggml.merges", 1);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.merges is not an array of strings");
}

static void test_missing_and_absurd_arrays_are_refused(void **state)
{
    (void)state;
    tiny_unset(&tiny, "tokenizer.ggml.tokens");
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.tokens is missing");
    tiny_gguf(&tiny);
    tiny_unset(&tiny, "tokenizer.ggml.merges");
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.merges is missing");
    tiny_gguf(&tiny);
    tiny_set_strings(&tiny, "tokenizer.ggml.tokens", tiny.tokens, 0);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.tokens is empty");
    tiny_gguf(&tiny);
    tiny_set_strings(&tiny, "tokenizer.ggml.tokens", tiny.tokens, UINT64_MAX / 2);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.tokens has 9223372036854775807 elements; the limit is 4194304");
    tiny_gguf(&tiny);
    tiny_set_strings(&tiny, "tokenizer.ggml.merges", tiny.merges, 1u << 30);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.merges has 1073741824 elements; the limit is 8388608");
    tiny_gguf(&tiny);
    tiny_set_numbers(&tiny, "tokenizer.ggml.token_type", tiny.types, 5);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.token_type has 5 elements for 268 tokens");
}

static void test_ids_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    tiny_set_uint(&tiny, "tokenizer.ggml.eos_token_id", UINT64_C(1) << 31);
    refused(TN_E_CORRUPT,
            "tiny.file: tokenizer.ggml.eos_token_id = 2147483648 is outside the vocabulary of 268 tokens");
    tiny_gguf(&tiny);
    tiny_set_uint(&tiny, "tokenizer.ggml.bos_token_id", TINY_COUNT);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.bos_token_id = 268 is outside the vocabulary of 268 tokens");
}

static void test_a_frame_without_its_token_is_refused(void **state)
{
    (void)state;
    tiny_unset(&tiny, "tokenizer.ggml.bos_token_id");
    tiny_set_bool(&tiny, "tokenizer.ggml.add_bos_token", true);
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.ggml.add_bos_token is true, but the file names no such token");
}

static void test_two_tokens_of_one_text_are_refused(void **state)
{
    (void)state;
    tiny.tokens[TINY_BC] = "ab";
    refused(TN_E_CORRUPT, "tiny.file: tokens 256 and 257 are both \"ab\"");
}

static void test_merges_of_unknown_tokens_are_refused(void **state)
{
    (void)state;
    tiny.merges[3] = "zz h";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"zz h\": its left part is not a token");
    tiny.merges[3] = "t zz";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"t zz\": its right part is not a token");
    tiny.merges[3] = "z z";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"z z\": its result is not a token");
    tiny.merges[3] = "th";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"th\", is not two tokens with a space between");
    tiny.merges[3] = "";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"\", is not two tokens with a space between");
    tiny.merges[3] = "t ";
    refused(TN_E_CORRUPT, "tiny.file: merge 3, \"t \": its right part is not a token");
}

static void test_a_vocabulary_without_bytes_is_refused(void **state)
{
    (void)state;
    static const char *const tokens[] = {"one", "two"};
    tiny_set_strings(&tiny, "tokenizer.ggml.tokens", tokens, 2);
    tiny_set_strings(&tiny, "tokenizer.ggml.merges", tiny.merges, 0);
    tiny_unset(&tiny, "tokenizer.ggml.token_type");
    refused(TN_E_CORRUPT, "tiny.file: no token of tokenizer.ggml.tokens stands for a single byte");
}

static void test_empty_tokens_are_holes(void **state)
{
    (void)state;
    tn_tok *tok;
    uint64_t n = 0;
    tiny.tokens[TINY_COUNT] = "";
    tiny.tokens[TINY_COUNT + 1] = "";
    tiny.types[TINY_COUNT] = tiny.types[TINY_COUNT + 1] = 3;
    tiny_set_strings(&tiny, "tokenizer.ggml.tokens", tiny.tokens, TINY_COUNT + 2);
    tiny_set_numbers(&tiny, "tokenizer.ggml.token_type", tiny.types, TINY_COUNT + 2);
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    assert_true(tokenizer_attributes(tok, TINY_COUNT) & TN_TOKEN_IS_UNUSED);
    assert_int_equal(tokenizer_piece(tok, TINY_COUNT + 1, 0, 0, NULL, &n, NULL), TN_OK);
    assert_int_equal(n, 0);
    tokenizer_close(tok);
}

static void test_a_name_that_merges_build_does_not_end_a_generation(void **state)
{
    (void)state;
    tn_tok *tok;
    tiny.tokens[TINY_BC] = "</";
    tiny.tokens[TINY_ABC] = "</s";
    tiny.tokens[TINY_EOS] = "</s>";
    static const char *const merges[] = {"< /", "</ s", "</s >"};
    tiny_set_strings(&tiny, "tokenizer.ggml.merges", merges, 3);
    tiny_unset(&tiny, "tokenizer.ggml.eos_token_id");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    assert_false(tokenizer_attributes(tok, TINY_EOS) & TN_TOKEN_ENDS_GENERATION);
    tokenizer_close(tok);
    tiny_set_strings(&tiny, "tokenizer.ggml.merges", merges, 2);
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    assert_true(tokenizer_attributes(tok, TINY_EOS) & TN_TOKEN_ENDS_GENERATION);
    tokenizer_close(tok);
}

static void test_the_end_of_a_message_within_an_answer_is_not_its_end(void **state)
{
    (void)state;
    tn_tok *tok;
    tiny.tokens[TINY_BOS] = "<|return|>";
    tiny.tokens[TINY_EOS] = "<|call|>";
    tiny.tokens[TINY_IM_END] = "<|end|>";
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    assert_true(tokenizer_attributes(tok, TINY_BOS) & TN_TOKEN_ENDS_GENERATION);
    assert_false(tokenizer_attributes(tok, TINY_IM_END) & TN_TOKEN_ENDS_GENERATION);
    tokenizer_close(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_other_kinds_of_tokenizer_are_left_to_others, fresh),
        cmocka_unit_test_setup(test_an_unknown_pre_tokenizer_is_refused_with_the_known_ones, fresh),
        cmocka_unit_test_setup(test_wrong_types_are_refused, fresh),
        cmocka_unit_test_setup(test_missing_and_absurd_arrays_are_refused, fresh),
        cmocka_unit_test_setup(test_ids_outside_the_vocabulary_are_refused, fresh),
        cmocka_unit_test_setup(test_a_frame_without_its_token_is_refused, fresh),
        cmocka_unit_test_setup(test_two_tokens_of_one_text_are_refused, fresh),
        cmocka_unit_test_setup(test_merges_of_unknown_tokens_are_refused, fresh),
        cmocka_unit_test_setup(test_a_vocabulary_without_bytes_is_refused, fresh),
        cmocka_unit_test_setup(test_empty_tokens_are_holes, fresh),
        cmocka_unit_test_setup(test_a_name_that_merges_build_does_not_end_a_generation, fresh),
        cmocka_unit_test_setup(test_the_end_of_a_message_within_an_answer_is_not_its_end, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
