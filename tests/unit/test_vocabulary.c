/* test_vocabulary.c: ids, texts and merges, and what a vocabulary of holes answers. */
#include "base/tokenizer/vocabulary.h"
#include "cmocka_test.h"

#include <string.h>

static vocabulary made(uint64_t tokens, uint64_t merges)
{
    vocabulary vocab;
    tn_error err = TN_ERROR_INIT;
    if (vocabulary_init(&vocab, tokens, merges, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return vocab;
}

static int32_t added(vocabulary *vocab, const char *text)
{
    int32_t twin = -2;
    assert_int_equal(vocabulary_add(vocab, text, strlen(text), &twin, NULL), TN_OK);
    return twin;
}

/* A file may hold nothing but empty texts: there is a place to point at all the same. */
static void test_holes_have_a_text_of_no_bytes(void **state)
{
    (void)state;
    enum { HOLES = 3 };
    vocabulary vocab = made(HOLES, 0);
    for (int32_t id = 0; id < HOLES; id++) {
        size_t n = 1;
        assert_int_equal(added(&vocab, ""), -1);
        assert_non_null(vocabulary_text(&vocab, id, &n));
        assert_int_equal(n, 0);
        assert_true(vocab.flags[id] & TOKEN_UNUSED);
    }
    assert_int_equal(vocabulary_find(&vocab, "", 0), -1);
    assert_int_equal(vocabulary_find(&vocab, "a", 1), -1);
    vocabulary_finish(&vocab);
}

static void test_every_text_leads_to_its_id(void **state)
{
    (void)state;
    enum { TOKENS = 5000 };
    vocabulary vocab = made(TOKENS, 0);
    char text[16];
    for (int32_t id = 0; id < TOKENS; id++) {
        snprintf(text, sizeof text, "%x", (unsigned)id * 7919u);
        assert_int_equal(added(&vocab, text), -1);
    }
    for (int32_t id = 0; id < TOKENS; id++) {
        size_t n;
        snprintf(text, sizeof text, "%x", (unsigned)id * 7919u);
        assert_int_equal(vocabulary_find(&vocab, text, strlen(text)), id);
        assert_memory_equal(vocabulary_text(&vocab, id, &n), text, strlen(text));
        assert_int_equal(n, strlen(text));
    }
    assert_int_equal(vocabulary_find(&vocab, "no such text", 12), -1);
    vocabulary_finish(&vocab);
}

static void test_a_twin_is_named_and_not_added(void **state)
{
    (void)state;
    vocabulary vocab = made(3, 0);
    assert_int_equal(added(&vocab, "a"), -1);
    assert_int_equal(added(&vocab, "b"), -1);
    assert_int_equal(added(&vocab, "a"), 0);
    assert_int_equal(vocab.count, 2);
    vocabulary_finish(&vocab);
}

static void test_the_later_merge_wins_where_told(void **state)
{
    (void)state;
    vocabulary vocab = made(4, 3);
    for (const char *const *text = (const char *const[]){"a", "b", "ab", "ba", NULL}; *text; text++)
        assert_int_equal(added(&vocab, *text), -1);
    vocabulary_add_merge(&vocab, 0, 1, 2, 5, false);
    vocabulary_add_merge(&vocab, 0, 1, 3, 6, false);
    assert_int_equal(vocabulary_find_merge(&vocab, 0, 1)->merged, 2);
    vocabulary_add_merge(&vocab, 0, 1, 3, 6, true);
    assert_int_equal(vocabulary_find_merge(&vocab, 0, 1)->merged, 3);
    assert_int_equal(vocabulary_find_merge(&vocab, 0, 1)->rank, 6);
    assert_null(vocabulary_find_merge(&vocab, 1, 0));
    vocabulary_finish(&vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holes_have_a_text_of_no_bytes),
        cmocka_unit_test(test_every_text_leads_to_its_id),
        cmocka_unit_test(test_a_twin_is_named_and_not_added),
        cmocka_unit_test(test_the_later_merge_wins_where_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
