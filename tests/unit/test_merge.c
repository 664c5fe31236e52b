/* test_merge.c: the heap against the obvious quadratic algorithm, and on words that would punish a quadratic one. */
#include "cmocka_test.h"
#include "base/tokenizer/merge.h"

#include <string.h>

enum { LETTERS = 3 };

/* Tokens: all words over {a, b, c} of one to four letters that some random rule needs. */
static void fill(vocabulary *vocab, uint32_t seed, uint32_t rules)
{
    int32_t twin;
    assert_int_equal(vocabulary_init(vocab, LETTERS + rules, rules, NULL), TN_OK);
    for (int i = 0; i < LETTERS; i++)
        assert_int_equal(vocabulary_add(vocab, &"abc"[i], 1, &twin, NULL), TN_OK);
    for (uint32_t rank = 0; rank < rules; rank++) {
        seed = seed * 1664525u + 1013904223u;
        int32_t left = (int32_t)((seed >> 8) % vocab->count), right = (int32_t)((seed >> 20) % vocab->count);
        char text[512];
        size_t left_n, right_n;
        const char *left_text = vocabulary_text(vocab, left, &left_n);
        const char *right_text = vocabulary_text(vocab, right, &right_n);
        if (left_n + right_n > 8)
            continue;
        memcpy(text, left_text, left_n);
        memcpy(text + left_n, right_text, right_n);
        int32_t merged = vocabulary_find(vocab, text, left_n + right_n);
        if (merged < 0) {
            merged = (int32_t)vocab->count;
            assert_int_equal(vocabulary_add(vocab, text, left_n + right_n, &twin, NULL), TN_OK);
        }
        vocabulary_add_merge(vocab, left, right, merged, rank, false);
    }
}

static uint64_t merge_slowly(const vocabulary *vocab, int32_t *id, uint64_t n)
{
    for (;;) {
        const merge_slot *best = NULL;
        uint64_t at = 0;
        for (uint64_t i = 0; i + 1 < n; i++) {
            const merge_slot *merge = vocabulary_find_merge(vocab, id[i], id[i + 1]);
            if (merge && (!best || merge->rank < best->rank)) {
                best = merge;
                at = i;
            }
        }
        if (!best)
            return n;
        id[at] = best->merged;
        memmove(&id[at + 1], &id[at + 2], (n - at - 2) * sizeof *id);
        n--;
    }
}

static void test_random_rules_give_what_the_slow_algorithm_gives(void **state)
{
    (void)state;
    merge_scratch scratch = {0};
    for (uint32_t seed = 1; seed <= 200; seed++) {
        vocabulary vocab;
        fill(&vocab, seed, 40);
        for (uint32_t n = 1, random = seed; n < 60; n++) {
            int32_t fast[64], slow[64];
            uint64_t fast_n;
            for (uint32_t i = 0; i < n; i++) {
                random = random * 1664525u + 1013904223u;
                fast[i] = slow[i] = (int32_t)((random >> 16) % LETTERS);
            }
            assert_int_equal(merge_word(&vocab, &scratch, fast, n, &fast_n, NULL), TN_OK);
            assert_int_equal(fast_n, merge_slowly(&vocab, slow, n));
            assert_memory_equal(fast, slow, fast_n * sizeof *fast);
        }
        vocabulary_finish(&vocab);
    }
    merge_scratch_finish(&scratch);
}

/* A quadratic algorithm would take hours: the test's time limit is the assertion. */
static void test_a_million_equal_letters_merge_in_n_log_n(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    vocabulary vocab;
    merge_scratch scratch = {0};
    int32_t twin;
    int32_t *id = calloc(N, sizeof *id);
    uint64_t left;
    assert_non_null(id);
    assert_int_equal(vocabulary_init(&vocab, 3, 2, NULL), TN_OK);
    assert_int_equal(vocabulary_add(&vocab, "a", 1, &twin, NULL), TN_OK);
    assert_int_equal(vocabulary_add(&vocab, "aa", 2, &twin, NULL), TN_OK);
    assert_int_equal(vocabulary_add(&vocab, "aaaa", 4, &twin, NULL), TN_OK);
    vocabulary_add_merge(&vocab, 0, 0, 1, 0, false);
    vocabulary_add_merge(&vocab, 1, 1, 2, 1, false);
    assert_int_equal(merge_word(&vocab, &scratch, id, N, &left, NULL), TN_OK);
    assert_int_equal(left, N / 4);
    for (uint64_t i = 0; i < left; i++)
        assert_int_equal(id[i], 2);
    merge_scratch_finish(&scratch);
    vocabulary_finish(&vocab);
    free(id);
}

static void test_of_two_rules_for_a_pair_the_caller_chooses(void **state)
{
    (void)state;
    vocabulary vocab;
    int32_t twin;
    assert_int_equal(vocabulary_init(&vocab, 2, 3, NULL), TN_OK);
    assert_int_equal(vocabulary_add(&vocab, "a", 1, &twin, NULL), TN_OK);
    assert_int_equal(vocabulary_add(&vocab, "aa", 2, &twin, NULL), TN_OK);
    vocabulary_add_merge(&vocab, 0, 0, 1, 5, false);
    vocabulary_add_merge(&vocab, 0, 0, 1, 6, false);
    assert_int_equal(vocabulary_find_merge(&vocab, 0, 0)->rank, 5);
    vocabulary_add_merge(&vocab, 0, 0, 1, 7, true);
    assert_int_equal(vocabulary_find_merge(&vocab, 0, 0)->rank, 7);
    assert_null(vocabulary_find_merge(&vocab, 0, 1));
    vocabulary_finish(&vocab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_rules_give_what_the_slow_algorithm_gives),
        cmocka_unit_test(test_a_million_equal_letters_merge_in_n_log_n),
        cmocka_unit_test(test_of_two_rules_for_a_pair_the_caller_chooses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
