/* test_auth.c: tokens from file to scopes: what is kept, what is refused, and what a changed file means at once. */
#include "auth/auth.h"
#include "auth/token_file.h"

#include "cmocka_test.h"
#include "scratch_directory.h"

#include <sys/stat.h>
#include <time.h>

static char path[128], setting[160];
static scratch_directory folder;

static int set_up(void **state)
{
    (void)state;
    folder = scratch_create();
    snprintf(path, sizeof path, "%s/tokens", folder.path);
    snprintf(setting, sizeof setting, "auth.token_file=%s", path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    auth_close();
    scratch_destroy(&folder);
    return 0;
}

static void make_token(const char *name, uint32_t scopes, int64_t expires, char ret_text[TOKEN_TEXT_BYTES])
{
    token_list list = {0};
    token_change *change;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(token_change_begin(path, &list, &change, &err), TN_OK);
    assert_int_equal(token_list_add(&list, name, scopes, 1000, expires, ret_text, &err), TN_OK);
    assert_int_equal(token_change_end(change, &list, &err), TN_OK);
    token_list_finish(&list);
}

static tn_status open_auth(tn_error *err)
{
    const char *sets[] = {setting, NULL};
    settings *settings;
    assert_int_equal(settings_read(NULL, sets, &settings, err), TN_OK);
    tn_status status = auth_open(settings, err);
    settings_destroy(settings);
    return status;
}

static tn_status identify(const char *text, tn_identity *ret_identity)
{
    *ret_identity = (tn_identity){.struct_size = sizeof *ret_identity};
    return auth_table.identify(NULL, text, strlen(text), ret_identity, NULL);
}

static void test_token_is_found_by_what_was_shown_once(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES], other[TOKEN_TEXT_BYTES], kept[4096] = "";
    tn_identity who;

    make_token("ci", TN_SCOPE_INFER | TN_SCOPE_BATCH, 0, text);
    make_token("boss", TN_SCOPE_ADMIN, 0, other);
    assert_int_equal(open_auth(NULL), TN_OK);
    assert_int_equal(auth_table.enabled(NULL), 1);
    assert_int_equal(identify(text, &who), TN_OK);
    assert_int_equal(who.scopes, TN_SCOPE_INFER | TN_SCOPE_BATCH);
    assert_string_equal(who.name, "ci");
    assert_int_equal(identify(other, &who), TN_OK);
    assert_int_equal(who.scopes, TN_SCOPE_ADMIN);
    text[TOKEN_TEXT_BYTES - 2] ^= 1;
    assert_int_equal(identify(text, &who), TN_E_NOT_FOUND);
    assert_int_equal(identify("", &who), TN_E_NOT_FOUND);
    assert_int_equal(identify("tenon_", &who), TN_E_NOT_FOUND);

    FILE *file = fopen(path, "r");
    assert_true(fread(kept, 1, sizeof kept - 1, file) > 0);
    fclose(file);
    assert_null(strstr(kept, other));
    assert_null(strstr(kept, other + strlen("tenon_")));
}

static void test_changes_count_at_once(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES], late[TOKEN_TEXT_BYTES];
    token_list list = {0};
    token_change *change;
    tn_identity who;

    make_token("a", TN_SCOPE_INFER, 0, text);
    assert_int_equal(open_auth(NULL), TN_OK);
    assert_int_equal(identify(text, &who), TN_OK);
    make_token("b", TN_SCOPE_INFER, 0, late);
    assert_int_equal(identify(late, &who), TN_OK);
    assert_int_equal(token_change_begin(path, &list, &change, NULL), TN_OK);
    assert_int_equal(token_list_remove(&list, "c", NULL), TN_E_NOT_FOUND);
    assert_int_equal(token_list_remove(&list, "a", NULL), TN_OK);
    assert_int_equal(token_change_end(change, &list, NULL), TN_OK);
    token_list_finish(&list);
    assert_int_equal(identify(text, &who), TN_E_NOT_FOUND);
    assert_int_equal(identify(late, &who), TN_OK);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(identify(late, &who), TN_E_IO);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(identify(late, &who), TN_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(identify(late, &who), TN_E_IO);
    assert_int_equal(auth_table.enabled(NULL), 1);
}

static void test_expired_token_is_unknown(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES], good[TOKEN_TEXT_BYTES];
    tn_identity who;

    make_token("old", TN_SCOPE_INFER, 2000, text);
    make_token("new", TN_SCOPE_INFER, (int64_t)time(NULL) + 3600, good);
    assert_int_equal(open_auth(NULL), TN_OK);
    assert_int_equal(identify(text, &who), TN_E_NOT_FOUND);
    assert_int_equal(identify(good, &who), TN_OK);
}

static void test_without_a_file_nobody_is_asked(void **state)
{
    (void)state;
    settings *settings;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(settings_read(NULL, NULL, &settings, NULL), TN_OK);
    assert_int_equal(auth_open(settings, NULL), TN_OK);
    settings_destroy(settings);
    assert_int_equal(auth_table.enabled(NULL), 0);
    assert_int_equal(open_auth(&err), TN_E_IO);
    assert_non_null(strstr(err.msg, "tenon token create"));
    assert_int_equal(auth_table.enabled(NULL), 0);
}

static void test_only_one_writer(void **state)
{
    (void)state;
    token_list list = {0}, second = {0};
    token_change *change, *other;

    assert_int_equal(token_change_begin(path, &list, &change, NULL), TN_OK);
    assert_int_equal(token_change_begin(path, &second, &other, NULL), TN_E_AGAIN);
    token_change_abandon(change);
    assert_int_equal(token_change_begin(path, &list, &change, NULL), TN_OK);
    token_change_abandon(change);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void test_written_file_is_private(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES];
    struct stat info;

    mode_t before = umask(0);
    make_token("a", TN_SCOPE_INFER, 0, text);
    umask(before);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

/* As another user than root, who reads a file of root's. */
static tn_status read_as_nobody(mode_t mode)
{
    const uid_t nobody = 65534;
    token_list list = {0};

    assert_int_equal(chmod(path, mode), 0);
    assert_int_equal(setegid(nobody), 0);
    assert_int_equal(seteuid(nobody), 0);
    tn_status status = token_file_read(path, &list, NULL, NULL);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    token_list_finish(&list);
    return status;
}

static void test_root_may_let_our_group_read(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_BYTES];

    if (geteuid() != 0)
        skip();
    make_token("a", TN_SCOPE_INFER, 0, text);
    assert_int_equal(chmod(folder.path, 0755), 0);
    assert_int_equal(chown(path, 0, 65534), 0);
    assert_int_equal(read_as_nobody(0440), TN_OK);
    assert_int_equal(read_as_nobody(0460), TN_E_ARGUMENT);
    assert_int_equal(read_as_nobody(0444), TN_E_ARGUMENT);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(read_as_nobody(0440), TN_E_ARGUMENT); /* who owns it could take that away */
    assert_int_equal(read_as_nobody(0400), TN_OK);
    assert_int_equal(chown(path, 0, 0), 0);
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void refuse(const char *text, const char *why)
{
    token_list list = {0};
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(token_list_parse("F", text, strlen(text), &list, &err), TN_E_CORRUPT);
    assert_null(list.at);
    if (!strstr(err.msg, why))
        fail_msg("%s: '%s' is not in '%s'", text, why, err.msg);
}

static void test_bad_lines_are_named(void **state)
{
    (void)state;
    token_list list = {0};
    const char good[] = "# c\n\na infer,admin 2026-01-01T00:00:00Z - " HASH "\r\n"
                        "b batch 2026-01-01T00:00:00Z 2026-01-02T03:04:05Z " HASH;

    assert_int_equal(token_list_parse("F", good, sizeof good - 1, &list, NULL), TN_OK);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.at[1].expires - list.at[1].created, 86400 + 3 * 3600 + 4 * 60 + 5);
    token_list_finish(&list);
    refuse("\na infer", "F:2: not NAME");
    refuse("a infer 2026-01-01T00:00:00Z - " HASH " x", "F:1: not NAME");
    refuse("a/b infer 2026-01-01T00:00:00Z - " HASH, "name");
    refuse("a root 2026-01-01T00:00:00Z - " HASH, "'root' is no scope");
    refuse("a infer, 2026-01-01T00:00:00Z - " HASH, "'' is no scope");
    refuse("a infer 2026-02-30T00:00:00Z - " HASH, "creation");
    refuse("a infer 0226-01-01T00:00:00Z - " HASH, "creation");
    refuse("a infer 2026-01-01T00:00:00Z never " HASH, "expiry");
    refuse("a infer 2026-01-01T00:00:00Z - " HASH "0", "64");
    refuse("a infer 2026-01-01T00:00:00Z - " HASH "\na infer 2026-01-01T00:00:00Z - " HASH, "F:2: there is a token");
}

static void test_scopes_of_routes(void **state)
{
    (void)state;
    const uint32_t any = TN_SCOPE_INFER | TN_SCOPE_BATCH | TN_SCOPE_ADMIN;
    const struct {
        const char *method, *path;
        uint32_t scopes;
    } routes[] = {
        {"GET", "/health", 0},
        {"HEAD", "/health", 0},
        {"GET", "/health/", 0},
        {"POST", "/health", TN_SCOPE_ADMIN},
        {"GET", "/healthy", TN_SCOPE_ADMIN},
        {"GET", "/v1/models", any},
        {"GET", "/v1/models/a", any},
        {"POST", "/v1/chat/completions", TN_SCOPE_INFER},
        {"GET", "/v1/batches/b", TN_SCOPE_BATCH | TN_SCOPE_ADMIN},
        {"GET", "/admin", 0},
        {"GET", "/admin/page.css", 0},
        {"GET", "/admin/v1/services", TN_SCOPE_ADMIN},
        {"DELETE", "/admin/v1/services/a", TN_SCOPE_ADMIN},
        {"POST", "/admin/x", TN_SCOPE_ADMIN},
        {"GET", "/", TN_SCOPE_ADMIN},
    };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        assert_int_equal(auth_table.needed(NULL, routes[i].method, routes[i].path), routes[i].scopes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_token_is_found_by_what_was_shown_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes_count_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_expired_token_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_a_file_nobody_is_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_one_writer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_root_may_let_our_group_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_written_file_is_private, set_up, tear_down),
        cmocka_unit_test(test_bad_lines_are_named),
        cmocka_unit_test(test_scopes_of_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
