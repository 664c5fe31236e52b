/* test_encode.c: text to ids and back on a vocabulary small enough to check by hand, and properties over random bytes.
 */
#include "base/utf8.h"
#include "cmocka_test.h"
#include "tiny_vocabulary.h"
#include "tokenizer.h"

#include <pthread.h>

static tn_tok *open_tiny(const char *pre)
{
    tiny_source tiny;
    tn_tok *tok = NULL;
    tn_error err = TN_ERROR_INIT;
    tiny_gguf(&tiny);
    tiny_set_text(&tiny, "tokenizer.ggml.pre", pre);
    if (tokenizer_open(&tiny.source, &tok, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return tok; /* the source is gone: nothing may point into it */
}

static void expect(const tn_tok *tok, const char *text, size_t n, uint32_t flags, const int32_t *expected,
                   uint64_t count)
{
    int32_t ids[256];
    uint64_t got = 256;
    assert_int_equal(tokenizer_encode(tok, text, n, flags, ids, &got, NULL), TN_OK);
    assert_int_equal(got, count);
    assert_memory_equal(ids, expected, count * sizeof *ids);
}

#define EXPECT(tok, text, flags, ...)                                          \
    expect(tok, text, sizeof(text) - 1, flags, (const int32_t[]){__VA_ARGS__}, \
           sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static void test_merges_follow_their_ranks_within_words(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    EXPECT(tok, "abc", 0, TINY_ABC);
    EXPECT(tok, "aabc", 0, 'a', TINY_ABC); /* "a b" comes before "a a" */
    EXPECT(tok, "the the", 0, TINY_THE, TINY_SPACE_THE);
    EXPECT(tok, "aaaaaaa", 0, TINY_AAAA, TINY_AA, 'a');
    EXPECT(tok, "\xC3\xA9", 0, 0xC3, 0xA9);
    expect(tok, "", 0, 0, NULL, 0);
    tokenizer_close(tok);
}

static void test_special_tokens_need_to_be_asked_for(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    EXPECT(tok, "ab<|im_end|>[user]", TN_ENCODE_PARSE_SPECIAL, TINY_AB, TINY_IM_END, TINY_USER);
    EXPECT(tok, "<|im_end|>[user]", 0, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', TINY_USER);
    tokenizer_close(tok);
}

static void test_bos_and_eos_frame_a_text_if_the_model_says_so(void **state)
{
    (void)state;
    tiny_source tiny;
    tn_tok *tok;
    tiny_gguf(&tiny);
    tiny_set_bool(&tiny, "tokenizer.ggml.add_bos_token", true);
    tiny_set_bool(&tiny, "tokenizer.ggml.add_eos_token", true);
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    EXPECT(tok, "ab", TN_ENCODE_ADD_SPECIAL, TINY_BOS, TINY_AB, TINY_EOS);
    EXPECT(tok, "ab", 0, TINY_AB);
    EXPECT(tok, "", TN_ENCODE_ADD_SPECIAL, TINY_BOS, TINY_EOS);
    tokenizer_close(tok);
    tok = open_tiny("llama-bpe"); /* adds BOS unless the file says otherwise */
    EXPECT(tok, "ab", TN_ENCODE_ADD_SPECIAL, TINY_BOS, TINY_AB);
    tokenizer_close(tok);
}

static void test_a_space_prefix_is_added_once_and_only_if_missing(void **state)
{
    (void)state;
    tiny_source tiny;
    tn_tok *tok;
    tiny_gguf(&tiny);
    tiny_set_bool(&tiny, "tokenizer.ggml.add_space_prefix", true);
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    EXPECT(tok, "the", 0, TINY_SPACE_THE);
    EXPECT(tok, " the", 0, TINY_SPACE_THE);
    tokenizer_close(tok);
}

static void test_ignore_merges_takes_a_word_that_is_a_token_whole(void **state)
{
    (void)state;
    tiny_source tiny;
    tn_tok *tok;
    tiny_gguf(&tiny);
    tiny.merges[2] = "a b"; /* now nothing builds "abc" */
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    EXPECT(tok, "abc", 0, TINY_AB, 'c');
    tokenizer_close(tok);
    tiny_set_text(&tiny, "tokenizer.ggml.pre", "llama-bpe");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    EXPECT(tok, "abc", 0, TINY_ABC);
    EXPECT(tok, "abcc", 0, TINY_AB, 'c', 'c');
    tokenizer_close(tok);
}

static void test_ignore_merges_does_not_let_special_tokens_in(void **state)
{
    (void)state;
    tiny_source tiny;
    tn_tok *tok;
    tiny_gguf(&tiny);
    tiny.tokens[TINY_IM_END] = "stop"; /* one word to the pre-tokenizer */
    tiny_set_text(&tiny, "tokenizer.ggml.pre", "llama-bpe");
    assert_int_equal(tokenizer_open(&tiny.source, &tok, NULL), TN_OK);
    EXPECT(tok, "stop", 0, 's', 't', 'o', 'p');
    EXPECT(tok, "stop", TN_ENCODE_PARSE_SPECIAL, TINY_IM_END);
    tokenizer_close(tok);
}

static void test_ill_formed_bytes_become_replacement_characters(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    EXPECT(tok,
           "a\xFF"
           "b",
           0, 'a', 0xEF, 0xBF, 0xBD, 'b');
    EXPECT(tok, "\xE1\x80", 0, 0xEF, 0xBF, 0xBD);                                         /* one maximal subpart */
    EXPECT(tok, "\xED\xA0\x80", 0, 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD, 0xEF, 0xBF, 0xBD); /* a surrogate: three */
    EXPECT(tok, "a\0b", 0, 'a', 0, 'b');
    tokenizer_close(tok);
}

static void test_ids_that_do_not_fit_are_counted_and_the_first_given(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    int32_t ids[2] = {-5, -5};
    uint64_t count = 1;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(tokenizer_encode(tok, "ab the bc", 9, 0, ids, &count, &err), TN_E_MEMORY);
    assert_int_equal(count, 4);
    assert_int_equal(ids[0], TINY_AB);
    assert_int_equal(ids[1], -5);
    assert_string_equal(err.msg, "the text has 4 tokens; there is room for 1");
    count = 0;
    assert_int_equal(tokenizer_encode(tok, "ab", 2, 0, NULL, &count, NULL), TN_E_MEMORY);
    assert_int_equal(count, 1);
    count = 2;
    assert_int_equal(tokenizer_encode(tok, NULL, 1, 0, ids, &count, NULL), TN_E_ARGUMENT);
    assert_int_equal(tokenizer_encode(tok, "a", 1, 0, NULL, &count, NULL), TN_E_ARGUMENT);
    assert_int_equal(tokenizer_encode(tok, "a", 1, 0, ids, NULL, NULL), TN_E_ARGUMENT);
    tokenizer_close(tok);
}

static void test_pieces_are_raw_bytes(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    char bytes[16];
    uint64_t n = sizeof bytes;
    assert_int_equal(tokenizer_piece(tok, TINY_SPACE_THE, 0, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(bytes, " the", 4);
    n = 3;
    assert_int_equal(tokenizer_piece(tok, TINY_SPACE_THE, 0, 0, bytes, &n, NULL), TN_E_MEMORY);
    assert_int_equal(n, 4);
    n = sizeof bytes;
    assert_int_equal(tokenizer_piece(tok, TINY_IM_END, 0, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 10);
    n = sizeof bytes;
    assert_int_equal(tokenizer_piece(tok, TINY_IM_END, TN_PIECE_SKIP_SPECIAL, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 0);
    n = sizeof bytes;
    assert_int_equal(tokenizer_piece(tok, TINY_USER, TN_PIECE_SKIP_SPECIAL, 0, bytes, &n, NULL), TN_OK);
    assert_int_equal(n, 6);
    for (int32_t id = 0; id < 256; id++) {
        n = 1;
        assert_int_equal(tokenizer_piece(tok, id, 0, 0, bytes, &n, NULL), TN_OK);
        assert_int_equal((unsigned char)bytes[0], id);
    }
    assert_int_equal(tokenizer_piece(tok, TINY_COUNT, 0, 0, bytes, &n, NULL), TN_E_ARGUMENT);
    assert_int_equal(tokenizer_piece(tok, -1, 0, 0, bytes, &n, NULL), TN_E_ARGUMENT);
    tokenizer_close(tok);
}

static void test_roles_and_attributes_come_from_the_file(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-2");
    int32_t id;
    assert_int_equal(tokenizer_vocab_size(tok), TINY_COUNT);
    assert_int_equal(tokenizer_special(tok, TN_TOKEN_BOS, &id), TN_OK);
    assert_int_equal(id, TINY_BOS);
    assert_int_equal(tokenizer_special(tok, TN_TOKEN_PAD, &id), TN_E_NOT_FOUND);
    assert_int_equal(tokenizer_special(tok, 99, &id), TN_E_NOT_FOUND);
    assert_int_equal(tokenizer_attributes(tok, TINY_BOS), TN_TOKEN_IS_SPECIAL);
    assert_int_equal(tokenizer_attributes(tok, TINY_EOS), TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION);
    assert_int_equal(tokenizer_attributes(tok, TINY_IM_END), TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION);
    assert_int_equal(tokenizer_attributes(tok, TINY_USER), 0);
    assert_int_equal(tokenizer_attributes(tok, TINY_AB), 0);
    assert_int_equal(tokenizer_attributes(tok, TINY_COUNT), 0);
    assert_int_equal(tokenizer_attributes(tok, -1), 0);
    tokenizer_close(tok);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Letters that merge, spaces, digits, scalar values of every length, pieces of special tokens. */
static size_t random_text(uint32_t *seed, char *text, size_t capacity)
{
    static const char *const parts[] = {"ab",    "abc", " the", "a",          "aaaa", "  ",     "\n",       "\r\n",
                                        "12345", "'ll", "!?",   "<|im_end|>", "<|im", "[user]", "\xC2\xA0", "\t"};
    size_t n = 0, wanted = next_random(seed) % capacity;
    while (n + 16 < wanted) {
        uint32_t choice = next_random(seed) % 20;
        if (choice < sizeof parts / sizeof parts[0]) {
            memcpy(text + n, parts[choice], strlen(parts[choice]));
            n += strlen(parts[choice]);
            continue;
        }
        uint32_t codepoint = next_random(seed) % (choice % 2 ? 0x110000 : 0x3000);
        if (codepoint < 0xD800 || codepoint >= 0xE000)
            n += utf8_encode(codepoint, text + n);
    }
    return n;
}

static void check_round_trip(const tn_tok *tok, const char *text, size_t n, uint32_t flags)
{
    static int32_t ids[4096];
    uint64_t count = 4096;
    size_t at = 0;
    assert_int_equal(tokenizer_encode(tok, text, n, flags, ids, &count, NULL), TN_OK);
    for (uint64_t i = 0; i < count; i++) {
        char bytes[64];
        uint64_t piece_n = sizeof bytes;
        assert_int_equal(tokenizer_piece(tok, ids[i], 0, i == 0, bytes, &piece_n, NULL), TN_OK);
        assert_true(at + piece_n <= n);
        assert_memory_equal(text + at, bytes, piece_n);
        at += piece_n;
        assert_true(flags || !(tokenizer_attributes(tok, ids[i]) & TN_TOKEN_IS_SPECIAL));
        /* What a stream may show so far ends between characters. */
        size_t shown = utf8_whole_prefix(text, at);
        assert_true(shown == n || ((unsigned char)text[shown] & 0xC0) != 0x80);
    }
    assert_int_equal(at, n);
}

static void test_valid_text_survives_a_round_trip_under_every_pre_tokenizer(void **state)
{
    (void)state;
    static const char *const names[] = {
        "default",        "gpt-2",      "phi-2",      "mpt",    "olmo",   "smollm", "starcoder", "refact",
        "command-r",      "falcon",     "llama-bpe",  "llama3", "dbrx",   "glm4",   "qwen2",     "stablelm2",
        "qwen35",         "seed-coder", "bailingmoe", "gpt-4o", "tekken", "bloom",  "viking",    "deepseek-llm",
        "deepseek-coder", "deepseek-v3"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tn_tok *tok = open_tiny(names[i]);
        for (uint32_t seed = 1, round = 0; round < 60; round++) {
            char text[2048];
            size_t n = random_text(&seed, text, sizeof text);
            check_round_trip(tok, text, n, 0);
            check_round_trip(tok, text, n, TN_ENCODE_PARSE_SPECIAL);
        }
        tokenizer_close(tok);
    }
}

/* The word cache starts at a certain length: a text alone and as part of a longer one must not differ. */
static void test_repeated_words_give_the_same_ids_each_time(void **state)
{
    (void)state;
    enum { ROUNDS = 400, WORDS = 5 };
    static const char line[] = " the ab abc aaaaaaa bc";
    static char text[ROUNDS * sizeof line];
    static int32_t ids[ROUNDS * 64];
    tn_tok *tok = open_tiny("gpt-2");
    uint64_t once = 64, all = ROUNDS * 64;
    size_t n = sizeof line - 1;
    int32_t first[64];
    for (int i = 0; i < ROUNDS; i++)
        memcpy(text + (size_t)i * n, line, n);
    assert_int_equal(tokenizer_encode(tok, line, n, 0, first, &once, NULL), TN_OK);
    assert_int_equal(tokenizer_encode(tok, text, ROUNDS * n, 0, ids, &all, NULL), TN_OK);
    assert_int_equal(all, ROUNDS * once);
    for (uint64_t i = 0; i < ROUNDS; i++)
        assert_memory_equal(ids + i * once, first, once * sizeof *first);
    tokenizer_close(tok);
}

static void test_any_bytes_are_accepted(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("gpt-4o");
    uint32_t seed = 7;
    for (int round = 0; round < 500; round++) {
        char bytes[256];
        int32_t ids[3 * 256];
        uint64_t count = 3 * 256;
        size_t n = next_random(&seed) % sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)next_random(&seed);
        assert_int_equal(tokenizer_encode(tok, bytes, n, 0, ids, &count, NULL), TN_OK);
        for (uint64_t i = 0; i < count; i++)
            assert_in_range(ids[i], 0, TINY_COUNT - 1);
    }
    tokenizer_close(tok);
}

static void test_long_runs_take_no_quadratic_time(void **state)
{
    (void)state;
    enum { N = 1 << 19 };
    static const char *const names[] = {"gpt-2", "llama-bpe", "gpt-4o", "deepseek-llm", "falcon"};
    static const char fillers[] = {'a', ' ', '\n', '1', '!', '\''};
    char *text = malloc(N + 1);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tn_tok *tok = open_tiny(names[i]);
        for (size_t f = 0; f < sizeof fillers; f++) {
            uint64_t count = 0;
            memset(text, fillers[f], N);
            text[N] = 'x'; /* so that runs do not end with the text */
            assert_int_equal(tokenizer_encode(tok, text, N + 1, 0, NULL, &count, NULL), TN_E_MEMORY);
            assert_true(count > 1);
        }
        tokenizer_close(tok);
    }
    free(text);
}

static void *encode_many(void *ctx)
{
    for (uint32_t seed = 3, round = 0; round < 200; round++) {
        char text[1024];
        size_t n = random_text(&seed, text, sizeof text);
        check_round_trip(ctx, text, n, 0);
    }
    return NULL;
}

static void *encode_in_thread(void *ctx)
{
    const tn_tok *tok = ctx;
    for (int round = 0; round < 500; round++) {
        int32_t ids[64];
        uint64_t count = 64;
        if (tokenizer_encode(tok, "ab the <|im_end|> aaaa", 22, TN_ENCODE_PARSE_SPECIAL, ids, &count, NULL) != TN_OK ||
            count != 6 || ids[3] != TINY_IM_END)
            return ctx;
    }
    return NULL;
}

static void test_threads_share_a_tokenizer(void **state)
{
    (void)state;
    tn_tok *tok = open_tiny("smollm");
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, encode_in_thread, tok), 0);
    encode_many(tok);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    tokenizer_close(tok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_follow_their_ranks_within_words),
        cmocka_unit_test(test_special_tokens_need_to_be_asked_for),
        cmocka_unit_test(test_bos_and_eos_frame_a_text_if_the_model_says_so),
        cmocka_unit_test(test_a_space_prefix_is_added_once_and_only_if_missing),
        cmocka_unit_test(test_ignore_merges_takes_a_word_that_is_a_token_whole),
        cmocka_unit_test(test_ignore_merges_does_not_let_special_tokens_in),
        cmocka_unit_test(test_ill_formed_bytes_become_replacement_characters),
        cmocka_unit_test(test_ids_that_do_not_fit_are_counted_and_the_first_given),
        cmocka_unit_test(test_pieces_are_raw_bytes),
        cmocka_unit_test(test_roles_and_attributes_come_from_the_file),
        cmocka_unit_test(test_valid_text_survives_a_round_trip_under_every_pre_tokenizer),
        cmocka_unit_test(test_repeated_words_give_the_same_ids_each_time),
        cmocka_unit_test(test_any_bytes_are_accepted),
        cmocka_unit_test(test_long_runs_take_no_quadratic_time),
        cmocka_unit_test(test_threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
