/* test_auth.c: only an exact key opens. */
#include "auth.h"

#include "../cmocka_test.h"

static char key_one[] = "alpha-key", key_two[] = "beta";
static char *const keys[] = {key_one, key_two};

static void test_each_key_is_accepted(void **state)
{
    (void)state;
    assert_true(auth_accepts("Bearer alpha-key", keys, 2));
    assert_true(auth_accepts("bearer  beta", keys, 2));
}

static void test_anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {"Bearer alpha-ke",
                                          "Bearer alpha-keyy",
                                          "Bearer alpha-keyalpha-key",
                                          "Bearer betabeta",
                                          "Bearer ",
                                          "Bearer",
                                          "Basic beta",
                                          "beta",
                                          "",
                                          "Bearer Beta",
                                          "Bearer beta "};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        assert_false(auth_accepts(headers[i], keys, 2));
    assert_false(auth_accepts(NULL, keys, 2));
    assert_false(auth_accepts("Bearer beta", keys, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_is_accepted),
        cmocka_unit_test(test_anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
