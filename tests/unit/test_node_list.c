/* test_node_list.c: Slurm's lists of nodes written out as `scontrol show hostnames` does, and lists that are none. */
#include "cmocka_test.h"

#include "group/node_list.h"

#include <string.h>

/* Names, joined by blanks. */
static void must_be(const char *text, const char *expected)
{
    char joined[4096] = "";
    tn_error err = TN_ERROR_INIT;
    node_list list;
    if (node_list_parse("NODES", text, &list, &err) != TN_OK)
        fail_msg("%s: %s", text, err.msg);
    for (uint32_t i = 0, n = 0; i < list.count; i++)
        n += (uint32_t)snprintf(joined + n, sizeof joined - n, "%s%s", i ? " " : "", list.name[i]);
    assert_string_equal(joined, expected);
    node_list_finish(&list);
}

static void must_fail(const char *text, tn_status expected, const char *words)
{
    tn_error err = TN_ERROR_INIT;
    node_list list;
    assert_int_equal(node_list_parse("NODES", text, &list, &err), expected);
    if (!strstr(err.msg, words) || !strstr(err.msg, "NODES"))
        fail_msg("%s: %s", text, err.msg);
}

static void test_names_and_ranges_come_in_order(void **state)
{
    (void)state;
    must_be("gpu", "gpu");
    must_be("a,b-1.cluster_2,c", "a b-1.cluster_2 c");
    must_be("gpu[1-3]", "gpu1 gpu2 gpu3");
    must_be("gpu[01-03,7],x", "gpu01 gpu02 gpu03 gpu7 x");
    must_be("n[9-11]", "n9 n10 n11");
    must_be("n[099-101]-ib,m[5]", "n099-ib n100-ib n101-ib m5");
    must_be("n[0]", "n0");
    must_be("n[00]", "n00");
    must_be("[1-2]n", "1n 2n");
}

static void test_the_last_bracket_counts_fastest(void **state)
{
    (void)state;
    must_be("r[1-2]n[01-02]", "r1n01 r1n02 r2n01 r2n02");
    must_be("a[1]b[2]c[3]d[4]e[5]f", "a1b2c3d4e5f");
    must_be("r[1,3]n[0],s", "r1n0 r3n0 s");
}

static void test_what_is_no_list_is_refused(void **state)
{
    (void)state;
    must_fail("", TN_E_CORRUPT, "an empty name");
    must_fail(",", TN_E_CORRUPT, "an empty name");
    must_fail("a,,b", TN_E_CORRUPT, "an empty name");
    must_fail("a,", TN_E_CORRUPT, "an empty name");
    must_fail("a[1-2", TN_E_CORRUPT, "without its ']'");
    must_fail("a[]", TN_E_CORRUPT, "expected a number");
    must_fail("a[1,]", TN_E_CORRUPT, "expected a number");
    must_fail("a[-2]", TN_E_CORRUPT, "expected a number");
    must_fail("a[1-]", TN_E_CORRUPT, "expected a number");
    must_fail("a[1-2-3]", TN_E_CORRUPT, "expected ',' or ']'");
    must_fail("a[3-1]", TN_E_CORRUPT, "backwards");
    must_fail("a[01-003]", TN_E_CORRUPT, "padded to different widths");
    must_fail("a[01-3]", TN_E_CORRUPT, "padded to different widths");
    must_fail("a[1[2]]", TN_E_CORRUPT, "unexpected character");
    must_fail("a]", TN_E_CORRUPT, "unexpected character");
    must_fail("a b", TN_E_CORRUPT, "unexpected character");
    must_fail("a/../b", TN_E_CORRUPT, "unexpected character");
    must_fail("a[1234567890]", TN_E_CORRUPT, "at most 9 digits");
    must_fail("a[1]b[1]c[1]d[1]e[1]f[1]", TN_E_CORRUPT, "too many brackets");
}

static void test_counts_and_lengths_are_bounded(void **state)
{
    (void)state;
    char name[600];
    node_list list;
    assert_int_equal(node_list_parse("NODES", "n[1-4096]", &list, NULL), TN_OK);
    assert_int_equal(list.count, NODE_LIST_MAX);
    assert_string_equal(list.name[4095], "n4096");
    node_list_finish(&list);
    must_fail("n[0-4096]", TN_E_CORRUPT, "more than 4096 nodes");
    must_fail("n[0-999999999]", TN_E_CORRUPT, "more than 4096 nodes");
    memset(name, 'x', sizeof name);
    name[NODE_NAME_MAX] = 0;
    must_be(name, name);
    memset(name, 'x', sizeof name);
    name[NODE_NAME_MAX + 1] = 0;
    must_fail(name, TN_E_CORRUPT, "more than 255 bytes");
    snprintf(name + NODE_NAME_MAX - 1, 8, "[10]");
    must_fail(name, TN_E_CORRUPT, "more than 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_ranges_come_in_order),
        cmocka_unit_test(test_the_last_bracket_counts_fastest),
        cmocka_unit_test(test_what_is_no_list_is_refused),
        cmocka_unit_test(test_counts_and_lengths_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
