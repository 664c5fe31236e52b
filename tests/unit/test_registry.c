/* test_registry.c: the library as a service uses it: resolve, leases, the schema's version. Commands:
 * tests/e2e/test_registry.py. */
#include "registry/registry.h"

#include "cmocka_test.h"
#include "file/directory.h"
#include "registry/store.h"
#include "scratch_directory.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static scratch_directory scratch;
static char root[128];
static registry *opened;
static registered logged;
static tn_error err = TN_ERROR_INIT;
static const file_choice everything;

static int make_registry(void **state)
{
    const registration named = {.model = "m", .alias = "prod"};

    (void)state;
    scratch = scratch_create();
    snprintf(root, sizeof root, "%s/store", scratch.path);
    return registry_open(root, true, &opened, &err) == TN_OK &&
                   registry_log(opened, GOLDEN_DIR "/llama_tiny", NULL, &everything, &named, NULL, &logged, &err) ==
                       TN_OK
               ? 0
               : -1;
}

static int remove_registry(void **state)
{
    (void)state;
    registry_close(opened);
    return directory_remove(scratch.path, &err) == TN_OK ? 0 : -1;
}

static void test_resolve_gives_a_model_directory(void **state)
{
    char path[PATH_MAX], file[PATH_MAX + 32];
    struct stat entry;
    registered found;

    (void)state;
    assert_int_equal(registry_resolve(root, "m:prod", path, &found, &err), TN_OK);
    assert_true(digest_equal(&found.digest, &logged.digest));
    assert_string_equal(found.version, "v1");
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    assert_int_equal(lstat(file, &entry), 0);
    assert_true(S_ISREG(entry.st_mode) && entry.st_nlink == 2);
    assert_int_equal(registry_resolve(root, "n", path, &found, &err), TN_E_NOT_FOUND);
    assert_int_equal(registry_resolve("/nonexistent", "m", path, &found, &err), TN_E_NOT_FOUND);
}

static void test_a_lease_keeps_what_it_names(void **state)
{
    registry_garbage garbage;
    uint32_t removed = 0;
    digest other = logged.digest;

    (void)state;
    assert_int_equal(registry_lease(opened, "service a", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_lease(opened, "service a", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_lease(opened, "service b", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_remove(opened, "m", &removed, &err), TN_E_AGAIN);
    assert_non_null(strstr(err.msg, "m@v1 is in use by service"));
    assert_int_equal(registry_remove(opened, "m:prod", &removed, &err), TN_E_AGAIN);
    assert_int_equal(registry_release(opened, "service a", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_remove(opened, "m@v1", &removed, &err), TN_E_AGAIN);
    assert_int_equal(registry_collect(opened, false, &garbage, &err), TN_OK);
    assert_true(garbage.blobs == 0 && garbage.folders == 0);
    assert_int_equal(registry_release(opened, "service b", &logged.digest, &err), TN_OK);
    other.hex[0] = other.hex[0] == '0' ? '1' : '0';
    assert_int_equal(registry_lease(opened, "service a", &other, &err), TN_E_NOT_FOUND);
}

static void test_removed_while_leased_by_digest_elsewhere(void **state)
{
    const registration copy = {.model = "copy"};
    registered copied;
    registry_garbage garbage;
    uint32_t removed = 0;

    (void)state;
    assert_int_equal(registry_copy(opened, "m", &copy, &copied, &err), TN_OK);
    assert_int_equal(registry_lease(opened, "service a", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_remove(opened, "m", &removed, &err), TN_OK); /* the copy still has it */
    assert_int_equal(registry_remove(opened, "copy", &removed, &err), TN_E_AGAIN);
    assert_int_equal(registry_release(opened, "service a", &logged.digest, &err), TN_OK);
    assert_int_equal(registry_remove(opened, "copy", &removed, &err), TN_OK);
    assert_int_equal(removed, 1);
    assert_int_equal(registry_collect(opened, true, &garbage, &err), TN_OK);
    assert_true(garbage.blobs == 3 && garbage.folders == 1);
    assert_int_equal(registry_collect(opened, false, &garbage, &err), TN_OK);
    assert_int_equal(registry_collect(opened, true, &garbage, &err), TN_OK);
    assert_true(garbage.blobs == 0 && garbage.bytes == 0 && garbage.folders == 0);
}

static void test_a_newer_schema_is_refused(void **state)
{
    registry *again = NULL;
    char path[160];
    sqlite3 *db;

    (void)state;
    snprintf(path, sizeof path, "%s/registry.db", root);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(registry_open(root, true, &again, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "newer Tenon"));
    assert_null(again);
}

enum { OPENERS = 8, OPENINGS = 40 };

static void *open_new_registry(void *path)
{
    tn_error why = TN_ERROR_INIT;
    registry *own = NULL;
    tn_status status = registry_open(path, true, &own, &why);

    if (status != TN_OK)
        fprintf(stderr, "%s\n", why.msg);
    registry_close(own);
    return status == TN_OK ? path : NULL;
}

static void test_many_make_one_registry(void **state)
{
    pthread_t threads[OPENERS];
    char path[160];
    void *good;

    (void)state;
    for (int round = 0; round < OPENINGS; round++) {
        snprintf(path, sizeof path, "%s/new%d", scratch.path, round);
        for (int i = 0; i < OPENERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, open_new_registry, path), 0);
        for (int i = 0; i < OPENERS; i++) {
            pthread_join(threads[i], &good);
            assert_non_null(good);
        }
    }
}

static void test_a_held_index_is_said_and_keeps_no_folder(void **state)
{
    registry *holder;
    registry_garbage garbage;
    char path[160];
    uint32_t removed;

    (void)state;
    assert_int_equal(registry_open(root, false, &holder, &err), TN_OK);
    assert_int_equal(index_begin(holder->db, &err), TN_OK);
    snprintf(path, sizeof path, "%s/staging/left/files", root);
    assert_int_equal(directory_make(path, &err), TN_OK);
    sqlite3_busy_timeout(opened->db, 1);
    assert_int_equal(registry_remove(opened, "m", &removed, &err), TN_E_AGAIN);
    assert_non_null(strstr(err.msg, "another `tenon registry` command holds the index; try again"));
    assert_int_equal(registry_collect(opened, false, &garbage, &err), TN_E_AGAIN);
    assert_int_equal(access(path, F_OK), -1); /* it went without the index's lock */
    registry_close(holder);
}

static void test_the_folder(void **state)
{
    char found[PATH_MAX];

    (void)state;
    setenv("HOME", "/home/u", 1);
    unsetenv("TENON_HOME");
    assert_int_equal(registry_root("/set", found, &err), TN_OK);
    assert_string_equal(found, "/set");
    assert_int_equal(registry_root(NULL, found, &err), TN_OK);
    assert_string_equal(found, "/home/u/.local/share/tenon/registry");
    setenv("TENON_HOME", "/t", 1);
    assert_int_equal(registry_root(NULL, found, &err), TN_OK);
    assert_string_equal(found, "/t/registry");
    setenv("TENON_HOME", "t", 1);
    assert_int_equal(registry_root(NULL, found, &err), TN_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_resolve_gives_a_model_directory, make_registry, remove_registry),
        cmocka_unit_test_setup_teardown(test_a_lease_keeps_what_it_names, make_registry, remove_registry),
        cmocka_unit_test_setup_teardown(test_removed_while_leased_by_digest_elsewhere, make_registry, remove_registry),
        cmocka_unit_test_setup_teardown(test_a_newer_schema_is_refused, make_registry, remove_registry),
        cmocka_unit_test_setup_teardown(test_many_make_one_registry, make_registry, remove_registry),
        cmocka_unit_test_setup_teardown(test_a_held_index_is_said_and_keeps_no_folder, make_registry, remove_registry),
        cmocka_unit_test(test_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
