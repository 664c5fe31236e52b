/* test_settings_faults.c: reading settings while memory runs out, at every allocation in turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/scratch_directory.h"

#include "settings/settings.h"

static scratch_directory directory;
static char path[128];

static tn_status read_settings(tn_error *err)
{
    const char *overrides[] = {"model.path=/other.gguf", "cpu.threads=3", NULL};
    settings *settings = NULL;
    tn_status status = settings_read(path, overrides, &settings, err);
    settings_destroy(settings);
    return status;
}

static void test_settings_survive_every_failing_allocation(void **state)
{
    (void)state;
    static const char text[] = "[model]\npath = m.gguf\n[engine]\nseed = 7\n[cpu]\nthreads = 2\n";
    directory = scratch_create();
    scratch_write(&directory, "t.ini", text, sizeof text - 1);
    snprintf(path, sizeof path, "%s/t.ini", directory.path);
    assert_true(fail_every_allocation(read_settings, true) > 30);
    scratch_destroy(&directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_settings_survive_every_failing_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
