/* test_whole_file.c: files of which readers see all or nothing. */
#include "cmocka_test.h"

#include "file/whole_file.h"
#include "scratch_directory.h"

#include <sys/stat.h>

static void assert_holds(const char *path, const char *text)
{
    char read[64] = "";
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    read[fread(read, 1, sizeof read - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(read, text);
}

static char *at(const scratch_directory *to, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", to->path, name);
    return path;
}

static void test_show_replaces_the_whole_file_and_leaves_nothing_else(void **state)
{
    (void)state;
    scratch_directory to = scratch_create();
    char path[128], partial[128];
    struct stat before, after;
    tn_error err = TN_ERROR_INIT;

    scratch_write(&to, "said.partial", "of one that was killed, and longer", 34);
    assert_int_equal(whole_file_show(at(&to, "said", path), "first, longer", 13, &err), TN_OK);
    assert_holds(path, "first, longer");
    FILE *reader = fopen(path, "rb");
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(whole_file_show(path, "second", 6, &err), TN_OK);
    assert_holds(path, "second");
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino != after.st_ino); /* who reads the old one goes on with it */
    fclose(reader);
    assert_int_not_equal(access(at(&to, "said.partial", partial), F_OK), 0);
    scratch_destroy(&to);
}

static void test_show_names_what_is_in_the_way(void **state)
{
    (void)state;
    scratch_directory to = scratch_create();
    char path[128], name[5000], wanted[256];
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(whole_file_show(at(&to, "no/said", path), "x", 1, &err), TN_E_IO);
    snprintf(wanted, sizeof wanted, "%s: No such file or directory", path);
    assert_string_equal(err.msg, wanted);

    assert_int_equal(mkdir(at(&to, "folder", path), 0700), 0);
    assert_int_equal(whole_file_show(path, "x", 1, &err), TN_E_IO);
    snprintf(wanted, sizeof wanted, "%s: Is a directory", path);
    assert_string_equal(err.msg, wanted);
    assert_int_not_equal(access(at(&to, "folder.partial", path), F_OK), 0);
    rmdir(at(&to, "folder", path));

    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(whole_file_show(name, "x", 1, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "nnn...: the path is too long"));
    scratch_destroy(&to);
}

static void test_two_do_not_write_into_each_other(void **state)
{
    (void)state;
    scratch_directory to = scratch_create();
    char path[128];
    whole_file first;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(whole_file_begin(&first, to.path, "said", &err), TN_OK);
    assert_int_equal(whole_file_show(at(&to, "said", path), "x", 1, &err), TN_E_AGAIN);
    assert_non_null(strstr(err.msg, "another process is writing it"));
    assert_int_equal(whole_file_write(&first, "first", 5, &err), TN_OK);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(whole_file_end(&first, &err), TN_OK);
    assert_holds(path, "first");
    scratch_destroy(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_show_replaces_the_whole_file_and_leaves_nothing_else),
        cmocka_unit_test(test_show_names_what_is_in_the_way),
        cmocka_unit_test(test_two_do_not_write_into_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
