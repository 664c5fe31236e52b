/* test_normal_form.c: the four forms, and runs of marks that must not take quadratic time. */
#include "cmocka_test.h"
#include "base/tokenizer/normal_form.h"

#include <string.h>

static void check(normal_form form, const char *text, const char *expected)
{
    normalized scratch = {0};
    const char *result;
    size_t n;
    assert_int_equal(normal_form_apply(form, text, strlen(text), &scratch, &result, &n, NULL), TN_OK);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(result, expected, n);
    normalized_finish(&scratch);
}

static void test_forms_compose_and_decompose(void **state)
{
    (void)state;
    check(NORMAL_FORM_C, "e\xCC\x81", "\xC3\xA9");
    check(NORMAL_FORM_D, "\xC3\xA9", "e\xCC\x81");
    check(NORMAL_FORM_C, "\xE1\x84\x80\xE1\x85\xA1", "\xEA\xB0\x80"); /* Hangul */
    check(NORMAL_FORM_C, "\xEF\xAC\x81", "\xEF\xAC\x81");             /* the ligature fi */
    check(NORMAL_FORM_KC, "\xEF\xAC\x81", "fi");
    check(NORMAL_FORM_KD, "\xC2\xBD",
          "1\xE2\x81\x84"
          "2");
    check(NORMAL_FORM_NONE, "e\xCC\x81", "e\xCC\x81");
}

static void test_marks_are_put_in_canonical_order(void **state)
{
    (void)state;
    /* U+0301 is above (230), U+0323 below (220): below comes first, and then they compose. */
    check(NORMAL_FORM_D, "e\xCC\x81\xCC\xA3", "e\xCC\xA3\xCC\x81");
    check(NORMAL_FORM_C, "e\xCC\x81\xCC\xA3", "\xE1\xBA\xB9\xCC\x81");
    check(NORMAL_FORM_D, "a\xCC\x81\xCC\x80", "a\xCC\x81\xCC\x80"); /* equal classes keep their order */
}

static void test_ascii_is_not_copied(void **state)
{
    (void)state;
    normalized scratch = {0};
    const char *text = "plain", *result;
    size_t n;
    assert_int_equal(normal_form_apply(NORMAL_FORM_KC, text, 5, &scratch, &result, &n, NULL), TN_OK);
    assert_ptr_equal(result, text);
}

/* The time limit is the assertion. */
static void test_a_million_alternating_marks_take_linear_time(void **state)
{
    (void)state;
    enum { MARKS = 1 << 19 };
    normalized scratch = {0};
    const char *result;
    size_t n;
    char *text = malloc(2 * MARKS);
    assert_non_null(text);
    for (size_t i = 0; i < MARKS; i++)
        memcpy(text + 2 * i, i % 2 ? "\xCC\xA3" : "\xCC\x81", 2);
    assert_int_equal(normal_form_apply(NORMAL_FORM_C, text, 2 * MARKS, &scratch, &result, &n, NULL), TN_OK);
    assert_int_equal(n, 2 * MARKS);
    assert_memory_equal(result, "\xCC\xA3\xCC\xA3", 4);
    assert_memory_equal(result + n - 4, "\xCC\x81\xCC\x81", 4);
    normalized_finish(&scratch);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_compose_and_decompose),
        cmocka_unit_test(test_marks_are_put_in_canonical_order),
        cmocka_unit_test(test_ascii_is_not_copied),
        cmocka_unit_test(test_a_million_alternating_marks_take_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
