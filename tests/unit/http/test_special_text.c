/* test_special_text.c: which special tokens are marked in a text, against the plainest search. */
#include "special_text.h"

#include "../cmocka_test.h"

#include <string.h>

/* Tokens that begin alike and that are others' beginnings; the empty one is ignored. */
static const char *const specials[] = {"<|b|>",  "<", "<|a|>", "<|a",   "ab",       "b<|",
                                       "<|ab|>", "",  "a",     "<|a||", "<|a|>|>b", "\xC3\xBC|"};
enum { SPECIALS = sizeof specials / sizeof *specials };

static uint32_t attributes(const tn_tok *tok, int32_t id)
{
    (void)tok, (void)id;
    return TN_TOKEN_IS_SPECIAL;
}

static tn_status piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                       tn_error *err)
{
    (void)tok, (void)flags, (void)first, (void)err;
    *n_bytes = strlen(specials[id]);
    memcpy(bytes, specials[id], *n_bytes);
    return TN_OK;
}

static size_t longest(const char *text, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < SPECIALS; i++) {
        size_t bytes = strlen(specials[i]);
        if (bytes > most && bytes <= n && memcmp(specials[i], text, bytes) == 0)
            most = bytes;
    }
    return most;
}

/* The stretches of a marked text must be those of the plainest search, and hold the whole text. */
static void check(const special_texts *known, const char *text, size_t n)
{
    byte_buffer marked = {0};
    bool any = special_text_mark(known, text, n, &marked);
    const char *rest = any ? marked.bytes : text;
    size_t left = any ? marked.count : n, at = 0;
    while (left > 0) {
        bool is_marked;
        const char *stretch;
        size_t taken, bytes = special_text_next(rest, left, &is_marked, &stretch, &taken);
        assert_memory_equal(stretch, text + at, bytes);
        if (is_marked)
            assert_int_equal(bytes, longest(text + at, n - at));
        for (size_t i = 0; !is_marked && i < bytes; i++)
            assert_int_equal(longest(text + at + i, n - at - i), 0);
        at += bytes;
        rest += taken;
        left -= taken;
    }
    assert_int_equal(at, n);
    byte_buffer_finish(&marked);
}

static void test_the_longest_special_tokens_are_marked(void **state)
{
    static const char letters[] = "<|ab>|a";
    const tn_tokenizer_table table = {.struct_size = sizeof table, .piece = piece, .attributes = attributes};
    special_texts known;
    uint32_t seed = 1;
    (void)state;
    assert_int_equal(special_texts_read(&table, NULL, SPECIALS, &known, NULL), TN_OK);
    assert_int_equal(known.count, SPECIALS - 1);
    for (int i = 0; i < 20000; i++) {
        char text[12];
        size_t n = (size_t)i % sizeof text;
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525 + 1013904223;
            text[k] = letters[(seed >> 16) % (sizeof letters - 1)];
        }
        check(&known, text, n);
    }
    check(&known, "\xC3\xBC|\xC3\xBC", 5);
    special_texts_finish(&known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_longest_special_tokens_are_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
