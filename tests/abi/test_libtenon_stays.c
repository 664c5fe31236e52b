/* test_libtenon_stays.c: libtenon outlives dlclose. Plugins are told that their tn_host is valid until the process
 * ends, and that init and fini are called once; a program that loads libtenon itself must not be able to break that.
 */
#include "tests/unit/cmocka_test.h"

#include <dlfcn.h>

static void test_libtenon_stays_when_its_program_lets_go_of_it(void **state)
{
    (void)state;
    void *library = dlopen(LIBTENON, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fail_msg("%s", dlerror());
    assert_int_equal(dlclose(library), 0);
    assert_non_null(dlopen(LIBTENON, RTLD_NOW | RTLD_NOLOAD));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_libtenon_stays_when_its_program_lets_go_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
