/* test_load_json.c: tokenizer.json and its companions, honest and hostile. */
#include "cmocka_test.h"
#include "tiny_vocabulary.h"
#include "tokenizer.h"

#include <jansson.h>

static tiny_source tiny;
static json_t *root; /* the tokenizer.json under test */
static char *text;

static json_t *added_node(int id, bool special)
{
    return json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", id, "content", tiny_words[id - 256], "special", special,
                     "single_word", false, "lstrip", false, "rstrip", false, "normalized", false);
}

static int fresh(void **state)
{
    (void)state;
    tiny_start(&tiny, "safetensors");
    json_t *vocab = json_object(), *merges = json_array(), *added = json_array();
    for (int id = 0; id < TINY_BOS; id++)
        json_object_set_new(vocab, tiny.tokens[id], json_integer(id));
    for (int i = 0; i < TINY_MERGES; i++)
        json_array_append_new(merges, json_string(tiny_merges[i]));
    for (int id = TINY_BOS; id < TINY_COUNT; id++)
        json_array_append_new(added, added_node(id, id != TINY_USER));
    root = json_pack("{s:o,s:{s:s,s:b},s:{s:s,s:o,s:o}}", "added_tokens", added, "pre_tokenizer", "type", "ByteLevel",
                     "add_prefix_space", false, "model", "type", "BPE", "vocab", vocab, "merges", merges);
    return root ? 0 : -1;
}

static int drop(void **state)
{
    (void)state;
    json_decref(root);
    free(text);
    text = NULL;
    return 0;
}

static void set(const char *key, const char *json)
{
    json_object_set_new(root, key, json_loads(json, JSON_DECODE_ANY, NULL));
}

static void set_model(const char *key, const char *json)
{
    json_object_set_new(json_object_get(root, "model"), key, json_loads(json, JSON_DECODE_ANY, NULL));
}

static tn_status open_json(tn_tok **ret_tok, tn_error *err)
{
    free(text);
    text = json_dumps(root, JSON_COMPACT);
    tiny_set_text(&tiny, "tokenizer.json", text);
    return tokenizer_open(&tiny.source, ret_tok, err);
}

static tn_tok *opened(void)
{
    tn_tok *tok = NULL;
    tn_error err = TN_ERROR_INIT;
    if (open_json(&tok, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return tok;
}

static void refused(tn_status expected, const char *part)
{
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok = (tn_tok *)&tiny;
    assert_int_equal(open_json(&tok, &err), expected);
    assert_ptr_equal(tok, &tiny);
    if (strncmp(err.msg, "tiny.file: ", 11) != 0 || !strstr(err.msg, part))
        fail_msg("the message is: %s", err.msg);
}

static void expect(const tn_tok *tok, const char *input, uint32_t flags, const int32_t *expected, uint64_t count)
{
    int32_t ids[256];
    uint64_t got = 256;
    assert_int_equal(tokenizer_encode(tok, input, strlen(input), flags, ids, &got, NULL), TN_OK);
    assert_int_equal(got, count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
}

#define EXPECT(tok, input, flags, ...) \
    expect(tok, input, flags, (const int32_t[]){__VA_ARGS__}, sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_both_spellings_of_merges_are_read(void **state)
{
    (void)state;
    tn_tok *tok = opened();
    EXPECT(tok, "abc the<|im_end|>[user]", TN_ENCODE_PARSE_SPECIAL, TINY_ABC, TINY_SPACE_THE, TINY_IM_END, TINY_USER);
    tokenizer_close(tok);
    set_model("merges", "[[\"a\",\"b\"],[\"ab\",\"c\"]]");
    tok = opened();
    EXPECT(tok, "abc", 0, TINY_ABC);
    tokenizer_close(tok);
}

static void test_special_tokens_are_text_unless_asked_for(void **state)
{
    (void)state;
    tn_tok *tok = opened();
    EXPECT(tok, "<s>[user]", 0, '<', 's', '>', TINY_USER);
    tokenizer_close(tok);
}

static void test_post_processors_frame_the_text(void **state)
{
    (void)state;
    set("post_processor",
        "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":\"TemplateProcessing\","
        "\"single\":[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\"}},"
        "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{\"ids\":[264]},"
        "\"</s>\":{\"ids\":[265]}}}]}");
    tn_tok *tok = opened();
    EXPECT(tok, "ab", TN_ENCODE_ADD_SPECIAL, TINY_BOS, TINY_AB, TINY_EOS);
    EXPECT(tok, "ab", 0, TINY_AB);
    tokenizer_close(tok);
    set("post_processor", "{\"type\":\"RobertaProcessing\",\"sep\":[\"</s>\",265],\"cls\":[\"<s>\",264]}");
    tok = opened();
    EXPECT(tok, "ab", TN_ENCODE_ADD_SPECIAL, TINY_BOS, TINY_AB, TINY_EOS);
    tokenizer_close(tok);
}

static void test_normalizers_apply_between_tokens(void **state)
{
    (void)state;
    set("normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}");
    tn_tok *tok = opened();
    EXPECT(tok, "e\xCC\x81", 0, 0xC3, 0xA9);
    tokenizer_close(tok);
}

static void test_splits_behind_byte_level_see_the_alphabet(void **state)
{
    (void)state;
    set("pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
                         "\"use_regex\":false},{\"type\":\"Split\",\"pattern\":{\"String\":\"\xC4\xA0\"},\"behavior\":"
                         "\"Isolated\",\"invert\":false}]}");
    tn_tok *tok = opened();
    EXPECT(tok, "ab the", 0, TINY_AB, ' ', TINY_THE);
    tokenizer_close(tok);
}

static void test_roles_come_from_the_companion_files(void **state)
{
    (void)state;
    int32_t id;
    tiny_set_text(&tiny, "tokenizer_config.json",
                  "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"pad_token\":null}");
    tiny_set_text(&tiny, "generation_config.json", "{\"eos_token_id\":[265,267]}");
    tn_tok *tok = opened();
    assert_int_equal(tokenizer_special(tok, TN_TOKEN_BOS, &id), TN_OK);
    assert_int_equal(id, TINY_BOS);
    assert_int_equal(tokenizer_special(tok, TN_TOKEN_EOS, &id), TN_OK);
    assert_int_equal(id, TINY_EOS);
    assert_int_equal(tokenizer_special(tok, TN_TOKEN_PAD, &id), TN_E_NOT_FOUND);
    assert_true(tokenizer_attributes(tok, TINY_EOS) & TN_TOKEN_ENDS_GENERATION);
    assert_true(tokenizer_attributes(tok, TINY_USER) & TN_TOKEN_ENDS_GENERATION);
    assert_true(tokenizer_attributes(tok, TINY_IM_END) & TN_TOKEN_ENDS_GENERATION); /* by its name */
    assert_false(tokenizer_attributes(tok, TINY_BOS) & TN_TOKEN_ENDS_GENERATION);
    tokenizer_close(tok);
}

static void test_transformers_no_limit_is_no_error(void **state)
{
    (void)state;
    tiny_set_text(&tiny, "tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
    tokenizer_close(opened());
}

static void test_holes_in_the_numbering_are_unused_tokens(void **state)
{
    (void)state;
    json_object_set_new(json_object_get(json_object_get(root, "model"), "vocab"), "far", json_integer(300));
    tn_tok *tok = opened();
    assert_int_equal(tokenizer_vocab_size(tok), 301);
    assert_int_equal(tokenizer_attributes(tok, 299), TN_TOKEN_IS_UNUSED);
    tokenizer_close(tok);
}

static void test_other_kinds_of_tokenizer_are_left_to_others(void **state)
{
    (void)state;
    set("pre_tokenizer", "{\"type\":\"Digits\"}");
    refused(TN_E_NOT_FOUND, "the pre_tokenizer has no ByteLevel");
    set_model("type", "\"Unigram\"");
    refused(TN_E_NOT_FOUND, "the model is \"Unigram\", not BPE");
    tiny_unset(&tiny, "tokenizer.json");
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok;
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), TN_E_NOT_FOUND);
    assert_string_equal(err.msg, "tiny.file: there is no tokenizer.json");
}

static void test_parts_that_are_not_supported_are_named(void **state)
{
    (void)state;
    set("normalizer", "{\"type\":\"Lowercase\"}");
    refused(TN_E_UNSUPPORTED, "a normalizer of type \"Lowercase\" is not supported");
    set("normalizer", "null");
    set("decoder", "{\"type\":\"Metaspace\"}");
    refused(TN_E_UNSUPPORTED, "a decoder of type \"Metaspace\" is not supported");
    set("decoder", "null");
    set_model("dropout", "0.1");
    refused(TN_E_UNSUPPORTED, "dropout is not supported");
    set_model("dropout", "0.0");
    set_model("end_of_word_suffix", "\"</w>\"");
    refused(TN_E_UNSUPPORTED, "end_of_word_suffix");
    set_model("end_of_word_suffix", "\"\"");
    set("post_processor", "{\"type\":\"Mystery\"}");
    refused(TN_E_UNSUPPORTED, "a post_processor of type \"Mystery\" is not supported");
    set("post_processor", "null");
    set("pre_tokenizer",
        "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"BertPreTokenizer\"}]}");
    refused(TN_E_UNSUPPORTED, "a pre_tokenizer of type \"BertPreTokenizer\" is not supported");
}

static void test_bad_ids_are_refused(void **state)
{
    (void)state;
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    json_object_set_new(vocab, "ab", json_integer(-1));
    refused(TN_E_CORRUPT, "the id of \"ab\" is not an integer from 0 to 4194303");
    json_object_set_new(vocab, "ab", json_integer(INT64_C(1) << 40));
    refused(TN_E_CORRUPT, "the id of \"ab\" is not an integer");
    json_object_set_new(vocab, "ab", json_string("7"));
    refused(TN_E_CORRUPT, "the id of \"ab\" is not an integer");
    json_object_set_new(vocab, "ab", json_integer(TINY_BC));
    refused(TN_E_CORRUPT, "have the same id 257");
}

static void test_one_text_with_two_ids_is_refused(void **state)
{
    (void)state;
    set("added_tokens", "[{\"id\":270,\"content\":\"ab\"}]");
    refused(TN_E_CORRUPT, "\"ab\" has two ids, 256 and 270");
}

static void test_bad_merges_are_refused(void **state)
{
    (void)state;
    set_model("merges", "[\"a b\",\"q q\"]");
    refused(TN_E_CORRUPT, "merge 1, \"q\" and \"q\": the result is not a token");
    set_model("merges", "[[\"a\",\"b\",\"c\"]]");
    refused(TN_E_CORRUPT, "merge 0 is not two tokens");
    set_model("merges", "[7]");
    refused(TN_E_CORRUPT, "merge 0 is not two tokens");
    set_model("merges", "[\"a b c\"]");
    refused(TN_E_CORRUPT, "merge 0 is not two tokens");
    set_model("merges", "{}");
    refused(TN_E_CORRUPT, "no \"vocab\" object or no \"merges\" list");
}

/* A chain with ByteLevel, without which the file is another plugin's, and one more step. */
static void set_step(const char *json)
{
    json_t *chain = json_pack("{s:s,s:[{s:s},o]}", "type", "Sequence", "pretokenizers", "type", "ByteLevel",
                              json_loads(json, 0, NULL));
    json_object_set_new(root, "pre_tokenizer", chain);
}

static void test_bad_parts_are_refused(void **state)
{
    (void)state;
    set_step("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}");
    refused(TN_E_CORRUPT, "the regex \"(\" does not compile");
    set_step("{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Sideways\"}");
    refused(TN_E_CORRUPT, "the unknown behavior \"Sideways\"");
    set_step("{\"type\":\"Split\",\"pattern\":7,\"behavior\":\"Isolated\"}");
    refused(TN_E_CORRUPT, "a Split has no pattern");
    set_step("{\"type\":\"Sequence\",\"pretokenizers\":7}");
    refused(TN_E_CORRUPT, "a Sequence has no list of \"pretokenizers\"");
    set("pre_tokenizer", "{\"type\":\"ByteLevel\",\"use_regex\":7}");
    refused(TN_E_CORRUPT, "\"use_regex\" is not true or false");
    set("pre_tokenizer", "{\"type\":\"ByteLevel\"}");
    set("post_processor", "{\"type\":\"BertProcessing\",\"cls\":[\"x\",9999],\"sep\":[\"y\",1]}");
    refused(TN_E_CORRUPT, "a token outside the vocabulary of 268");
    set("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"q\"}}]}");
    refused(TN_E_CORRUPT, "the unknown token \"q\"");
    set("post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}");
    refused(TN_E_CORRUPT, "no place for the text");
    set("post_processor", "null");
    set("added_tokens", "[{\"id\":300}]");
    refused(TN_E_CORRUPT, "an added token has no \"content\"");
    set("added_tokens", "7");
    refused(TN_E_CORRUPT, "\"added_tokens\" is not a list");
}

static void test_a_bad_flag_is_laid_to_the_file_that_has_it(void **state)
{
    (void)state;
    set("added_tokens", "[{\"id\":300,\"content\":\"<x>\",\"lstrip\":\"no\"}]");
    refused(TN_E_CORRUPT, "tiny.file: tokenizer.json: \"lstrip\" of the added token 300 is not true or false");
    set("added_tokens", "[{\"id\":300,\"content\":\"<x>\"}]");
    tiny_set_text(&tiny, "tokenizer_config.json",
                  "{\"added_tokens_decoder\":{\"300\":{\"content\":\"<x>\",\"special\":1}}}");
    refused(TN_E_CORRUPT, "tiny.file: tokenizer_config.json: \"special\" of the added token 300 is not true or false");
}

static void test_text_that_is_not_json_is_refused_with_its_line(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    tn_tok *tok;
    tiny_set_text(&tiny, "tokenizer.json", "{\n\"a\": }");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "tiny.file: tokenizer.json, line 2: "));
    tiny_set_text(&tiny, "tokenizer.json", "{\"a\": 1, \"a\": 2}");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "duplicate"));
    tiny_set_text(&tiny, "tokenizer.json", "[]");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, &err), TN_E_CORRUPT);
    assert_string_equal(err.msg, "tiny.file: tokenizer.json is not a JSON object");
}

static void test_an_end_token_outside_the_vocabulary_is_refused(void **state)
{
    (void)state;
    tiny_set_text(&tiny, "generation_config.json", "{\"eos_token_id\":2147483648}");
    refused(TN_E_CORRUPT, "generation_config.json: eos_token_id is not an id of the vocabulary of 268 tokens");
    tiny_set_text(&tiny, "generation_config.json", "{\"eos_token_id\":[2,\"x\"]}");
    refused(TN_E_CORRUPT, "generation_config.json: eos_token_id is not an id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_both_spellings_of_merges_are_read, fresh, drop),
        cmocka_unit_test_setup_teardown(test_special_tokens_are_text_unless_asked_for, fresh, drop),
        cmocka_unit_test_setup_teardown(test_post_processors_frame_the_text, fresh, drop),
        cmocka_unit_test_setup_teardown(test_normalizers_apply_between_tokens, fresh, drop),
        cmocka_unit_test_setup_teardown(test_splits_behind_byte_level_see_the_alphabet, fresh, drop),
        cmocka_unit_test_setup_teardown(test_roles_come_from_the_companion_files, fresh, drop),
        cmocka_unit_test_setup_teardown(test_transformers_no_limit_is_no_error, fresh, drop),
        cmocka_unit_test_setup_teardown(test_holes_in_the_numbering_are_unused_tokens, fresh, drop),
        cmocka_unit_test_setup_teardown(test_other_kinds_of_tokenizer_are_left_to_others, fresh, drop),
        cmocka_unit_test_setup_teardown(test_parts_that_are_not_supported_are_named, fresh, drop),
        cmocka_unit_test_setup_teardown(test_bad_ids_are_refused, fresh, drop),
        cmocka_unit_test_setup_teardown(test_one_text_with_two_ids_is_refused, fresh, drop),
        cmocka_unit_test_setup_teardown(test_bad_merges_are_refused, fresh, drop),
        cmocka_unit_test_setup_teardown(test_bad_parts_are_refused, fresh, drop),
        cmocka_unit_test_setup_teardown(test_a_bad_flag_is_laid_to_the_file_that_has_it, fresh, drop),
        cmocka_unit_test_setup_teardown(test_text_that_is_not_json_is_refused_with_its_line, fresh, drop),
        cmocka_unit_test_setup_teardown(test_an_end_token_outside_the_vocabulary_is_refused, fresh, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
