/* test_growth.c: plugins and cores of two minors in all four pairs, through the loader and the real adoption. */
#include "tests/unit/cmocka_test.h"

#include "plugin/loader.h"
#include "tests/abi/growth_core.h"

#include <string.h>

static const void *table_of(const char *name)
{
    const char *overrides[] = {"plugins.path=" FIXTURE_FOLDER, NULL};
    settings *settings = NULL;
    plugin_set *set = NULL;
    const plugin *plugin = NULL;
    tn_error err = TN_ERROR_INIT;
    if (settings_read(NULL, overrides, &settings, &err) != TN_OK || plugin_set_create(settings, &set, &err) != TN_OK ||
        plugin_load(set, name, &plugin, &err) != TN_OK)
        fail_msg("%s", err.msg);
    const void *table = plugin_descriptor(plugin)->get_interface("tn.fixture/1");
    plugin_set_destroy(set);
    settings_destroy(settings);
    return table;
}

static void test_equal_minors_use_everything(void **state)
{
    (void)state;
    growth_report report;
    assert_int_equal(growth_core_v1(table_of("growth_v1"), &report, NULL), TN_OK);
    assert_int_equal(report.value, 5);
    assert_int_equal(report.width, 7);
    assert_int_equal(growth_core_v2(table_of("growth_v2"), &report, NULL), TN_OK);
    assert_int_equal(report.value, 5);
    assert_int_equal(report.depth, 9);
    assert_int_equal(report.twice, 1010);
    assert_int_equal(report.with_b, TN_OK);
    assert_int_equal(report.value_with_b, 8);
}

static void test_an_old_plugin_in_a_new_core_gets_stubs_and_is_never_asked_too_much(void **state)
{
    (void)state;
    growth_report report;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(growth_core_v2(table_of("growth_v1"), &report, &err), TN_OK);
    assert_int_equal(report.value, 5);
    assert_int_equal(report.width, 7);
    assert_int_equal(report.depth, 0);
    assert_int_equal(report.twice, 10);
    assert_int_equal(report.with_b, TN_E_UNSUPPORTED);
    assert_string_equal(err.msg, "fixture cannot honour item.b, and must not ignore it");
}

static void test_a_new_plugin_in_an_old_core_reads_and_writes_within_old_structs(void **state)
{
    (void)state;
    growth_report report;
    assert_int_equal(growth_core_v1(table_of("growth_v2"), &report, NULL), TN_OK);
    assert_int_equal(report.value, 5);
    assert_int_equal(report.width, 7);
    assert_true(report.canary_intact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_minors_use_everything),
        cmocka_unit_test(test_an_old_plugin_in_a_new_core_gets_stubs_and_is_never_asked_too_much),
        cmocka_unit_test(test_a_new_plugin_in_an_old_core_reads_and_writes_within_old_structs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
