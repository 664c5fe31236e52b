/* test_edit_distance.c: the nearest known name, or none when nothing is near. */
#include "base/edit_distance.h"
#include "cmocka_test.h"

static const char *const names[] = {"max_model_len", "max_num_seqs", "seed", "listen"};

static void test_a_swapped_pair_finds_its_name(void **state)
{
    (void)state;
    assert_string_equal(nearest_name("max_modle_len", names, 4), "max_model_len");
    assert_string_equal(nearest_name("sede", names, 4), "seed");
}

static void test_the_nearest_wins(void **state)
{
    (void)state;
    assert_string_equal(nearest_name("max_num_seq", names, 4), "max_num_seqs");
}

static void test_nothing_near_is_null(void **state)
{
    (void)state;
    assert_null(nearest_name("zzzzzzzz", names, 4));
    assert_null(nearest_name("seed", names, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_swapped_pair_finds_its_name),
        cmocka_unit_test(test_the_nearest_wins),
        cmocka_unit_test(test_nothing_near_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
