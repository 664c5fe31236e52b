/* test_http_console.c: the page's files, what a browser is told about them, and every route with every set of scopes.
 */
#include "../cmocka_test.h"
#include "../scratch_directory.h"
#include "auth/auth.h"
#include "auth/token_file.h"
#include "console_files.h"
#include "http_fixture.h"
#include "route.h"

#include <string.h>

static const char *const with_admin[] = {"fake_admin=1", NULL};

static int set_up(void **state)
{
    return http_fixture_setup_with(state, with_admin);
}

static void test_every_file_is_served_as_it_is(void **state)
{
    static const char *const promised[] = {"X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer",
                                           "Cache-Control: no-cache",         "default-src 'none'",
                                           "frame-ancestors 'none'",          "script-src 'self';",
                                           "require-trusted-types-for"};
    char path[128];
    assert_true(console_file_count > 10);
    for (size_t i = 0; i < console_file_count; i++) {
        const console_file *file = &console_files[i];
        snprintf(path, sizeof path, "/admin/%s", file->name);
        http_answer answer = http_get(*state, path);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body_bytes, file->n_bytes);
        assert_memory_equal(answer.body, file->bytes, file->n_bytes);
        assert_non_null(strstr(answer.head, file->type));
        assert_non_null(strstr(answer.head, file->tag));
        for (size_t j = 0; j < sizeof promised / sizeof *promised; j++)
            assert_non_null(strstr(answer.head, promised[j]));
        assert_null(strstr(answer.head, "unsafe-inline"));
        http_answer_finish(&answer);
    }
}

static void test_a_folder_is_its_page(void **state)
{
    http_answer answer = http_get(*state, "/admin/");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "text/html; charset=utf-8"));
    assert_non_null(strstr(answer.body, "<title>Tenon</title>"));
    assert_null(strstr(answer.body, "<style"));
    http_answer_finish(&answer);
    answer = http_get(*state, "/admin");
    assert_int_equal(answer.status, 308);
    assert_non_null(strstr(answer.head, "Location: admin/\r\n"));
    http_answer_finish(&answer);
    answer = http_ask(*state, "HEAD", "/admin/style.css", NULL, NULL);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "text/css"));
    http_answer_finish(&answer);
}

static void test_what_a_browser_has_is_not_sent_again(void **state)
{
    char header[128];
    snprintf(header, sizeof header, "If-None-Match: \"other\", W/%s\r\n", console_files[0].tag);
    char path[128];
    snprintf(path, sizeof path, "/admin/%s", console_files[0].name);
    http_answer answer = http_ask(*state, "GET", path, header, NULL);
    assert_int_equal(answer.status, 304);
    assert_int_equal(answer.body_bytes, 0);
    assert_non_null(strstr(answer.head, console_files[0].tag));
    http_answer_finish(&answer);
    answer = http_ask(*state, "GET", path, "If-None-Match: \"other\"\r\n", NULL);
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
}

static void test_nothing_else_is_there(void **state)
{
    static const char *const paths[] = {"/admin/none.js",    "/admin/../meson.build", "/admin/%2e%2e/style.css",
                                        "/admin//style.css", "/admin/style.css/",     "/administer"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        http_answer answer = http_get(*state, paths[i]);
        assert_int_equal(answer.status, 404);
        http_answer_finish(&answer);
    }
    http_answer answer = http_post(*state, "/admin/", "{}");
    assert_int_equal(answer.status, 405);
    http_answer_finish(&answer);
}

static void test_a_server_without_tn_admin_says_why(void **state)
{
    static http_fixture fixture;
    static const char *const paths[] = {"/admin", "/admin/", "/admin/style.css"};
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, NULL, NULL), TN_OK);
    for (size_t i = 0; i < 3; i++) {
        http_answer answer = http_get(&fixture, paths[i]);
        assert_int_equal(answer.status, 404);
        assert_string_equal(http_text_at(answer.json, "error.code"), "no_console");
        assert_non_null(strstr(answer.body, "tenon daemon"));
        http_answer_finish(&answer);
    }
    http_fixture_stop(&fixture);
}

/* ---- who may ask for what ---- */

#define ANY (TN_SCOPE_INFER | TN_SCOPE_BATCH | TN_SCOPE_ADMIN)

/* What was decided for each row of route.c: the scopes, any of which lets a request in; 0: nobody is asked. A row that
 * is not here fails the test: decide, in runtime/auth/scope.c, and write it down. */
static const struct {
    const char *path;
    uint32_t scopes;
} decided[] = {
    {"/v1/chat/completions", TN_SCOPE_INFER},
    {"/v1/completions", TN_SCOPE_INFER},
    {"/tokenize", TN_SCOPE_INFER},
    {"/detokenize", TN_SCOPE_INFER},
    {"/v1/models", ANY},
    {"/health", 0},
    {"/ready", 0}, /* brief without a token */
    {"/metrics", ANY},
    {"/version", ANY},
    {"/v1/models/", ANY},
    {"/v1/files", TN_SCOPE_BATCH | TN_SCOPE_ADMIN},
    {"/v1/batches", TN_SCOPE_BATCH | TN_SCOPE_ADMIN},
    {"/admin/v1", TN_SCOPE_ADMIN},
    {"/admin", 0},
};

static uint32_t scopes_decided(const char *path)
{
    for (size_t i = 0; i < sizeof decided / sizeof *decided; i++)
        if (strcmp(decided[i].path, path) == 0)
            return decided[i].scopes;
    fail_msg("nobody has decided who may ask for %s", path);
    return 0;
}

/* A token of every set of scopes; the empty set stands for no token. */
enum { SETS = 8 };
static void make_tokens(const char *path, char texts[SETS][TOKEN_TEXT_BYTES])
{
    token_list list = {0};
    token_change *change;
    char name[8];

    assert_int_equal(token_change_begin(path, &list, &change, NULL), TN_OK);
    for (uint32_t set = 1; set < SETS; set++) {
        snprintf(name, sizeof name, "t%u", set);
        assert_int_equal(token_list_add(&list, name, set, 1000, 0, texts[set], NULL), TN_OK);
    }
    assert_int_equal(token_change_end(change, &list, NULL), TN_OK);
    token_list_finish(&list);
}

static void open_tokens(const char *path)
{
    char setting[256];
    const char *sets[] = {setting, NULL};
    settings *settings;

    snprintf(setting, sizeof setting, "auth.token_file=%s", path);
    assert_int_equal(settings_read(NULL, sets, &settings, NULL), TN_OK);
    assert_int_equal(auth_open(settings, NULL), TN_OK);
    settings_destroy(settings);
}

/* A method that the route does not take is the administrator's to try. */
static uint32_t scopes_wanted(const http_route *route, const char *method)
{
    return route_allows(route, method) ? scopes_decided(route->path) : TN_SCOPE_ADMIN;
}

static void ask(const http_fixture *fixture, const http_route *route, const char *method, uint32_t set,
                const char *token)
{
    uint32_t wanted = scopes_wanted(route, method);
    bool may = wanted == 0 || (set & wanted);
    char headers[1024];

    snprintf(headers, sizeof headers, "Content-Type: application/json\r\n%s%s%s", set ? "Authorization: Bearer " : "",
             token, set ? "\r\n" : "");
    http_answer answer = http_ask(fixture, method, route->path, headers, strcmp(method, "POST") == 0 ? "{}" : NULL);
    int status = answer.status;
    http_answer_finish(&answer);
    bool refused = status == 401 || status == 403;
    if (status == 0 || refused == may || (refused && status != (set ? 403 : 401)))
        fail_msg("%s %s with the scopes %u: %d", method, route->path, set, status);
}

static void test_every_route_with_every_set_of_scopes(void **state)
{
    static http_fixture fixture;
    static const char *const settings[] = {"fake_admin=1", "fake_auth=1", NULL};
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    scratch_directory folder = scratch_create();
    char path[128], texts[SETS][TOKEN_TEXT_BYTES] = {""};
    size_t count = 0;

    (void)state;
    snprintf(path, sizeof path, "%s/tokens", folder.path);
    make_tokens(path, texts);
    open_tokens(path);
    http_fixture_auth = &auth_table;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    for (const http_route *route = route_at(count); route; route = route_at(++count))
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++)
            for (uint32_t set = 0; set < SETS; set++)
                ask(&fixture, route, methods[m], set, texts[set]);
    assert_int_equal(count, sizeof decided / sizeof *decided);
    http_fixture_stop(&fixture);
    http_fixture_auth = &fake_auth_table;
    auth_close();
    scratch_destroy(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file_is_served_as_it_is),
        cmocka_unit_test(test_a_folder_is_its_page),
        cmocka_unit_test(test_what_a_browser_has_is_not_sent_again),
        cmocka_unit_test(test_nothing_else_is_there),
        cmocka_unit_test(test_a_server_without_tn_admin_says_why),
        cmocka_unit_test(test_every_route_with_every_set_of_scopes),
    };
    return cmocka_run_group_tests(tests, set_up, http_fixture_teardown);
}
