/* test_http_admin.c: what goes below /admin/v1, and who may ask for what. */
#include "../cmocka_test.h"
#include "frontend.h"
#include "http_fixture.h"

#include <string.h>
#include <unistd.h>

#define JSON    "Content-Type: application/json\r\n"
#define AS(who) "Authorization: Bearer " who "\r\n"

static const char *const with_admin[] = {"fake_admin=1", "max_body_bytes=2048", NULL};

static int set_up(void **state)
{
    return http_fixture_setup_with(state, with_admin);
}

static void test_a_call_is_passed_on(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_ask(fixture, "POST", "/admin/v1/services/ch%C3%A4t:suspend?wait=30&x=a%20b&flag",
                                  JSON "Idempotency-Key: k-1\r\n", "{\"a\":1}");
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "method"), "POST");
    assert_string_equal(http_text_at(answer.json, "path"), "/services/ch\xC3\xA4t:suspend");
    assert_string_equal(http_text_at(answer.json, "query"), "wait=30&x=a%20b&flag");
    assert_string_equal(http_text_at(answer.json, "body"), "{\"a\":1}");
    assert_string_equal(http_text_at(answer.json, "key"), "k-1");
    assert_non_null(strcasestr(answer.head, "Content-Length:"));
    http_answer_finish(&answer);
    static const char *const methods[] = {"GET", "DELETE"};
    for (size_t i = 0; i < 2; i++) {
        answer = http_ask(fixture, methods[i], "/admin/v1/models", NULL, NULL);
        assert_int_equal(answer.status, 200);
        assert_string_equal(http_text_at(answer.json, "method"), methods[i]);
        assert_true(json_is_null(http_at(answer.json, "query")));
        http_answer_finish(&answer);
    }
}

static void test_answers_keep_their_status_and_length(void **state)
{
    const http_fixture *fixture = *state;
    http_answer answer = http_get(fixture, "/admin/v1/missing");
    assert_int_equal(answer.status, 404);
    assert_string_equal(http_text_at(answer.json, "error.message"), "none");
    http_answer_finish(&answer);
    answer = http_get(fixture, "/admin/v1/big");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_bytes, 3 << 20);
    assert_true(answer.complete);
    http_answer_finish(&answer);
    answer = http_get(fixture, "/admin/v1/silent");
    assert_int_equal(answer.status, 500);
    http_answer_finish(&answer);
}

static void test_bodies_are_limited_and_must_be_json(void **state)
{
    const http_fixture *fixture = *state;
    char large[4096];
    memset(large, ' ', sizeof large);
    large[sizeof large - 1] = '\0';
    http_answer answer = http_ask(fixture, "POST", "/admin/v1/services", JSON, large);
    assert_int_equal(answer.status, 413);
    http_answer_finish(&answer);
    answer = http_ask(fixture, "POST", "/admin/v1/services/chat:suspend", "Content-Length: 0\r\n", NULL);
    assert_int_equal(answer.status, 415); /* a web page could send this one */
    http_answer_finish(&answer);
    answer = http_ask(fixture, "PUT", "/admin/v1/models/a/aliases/b", "Content-Type: text/plain\r\n", "x");
    assert_int_equal(answer.status, 415);
    http_answer_finish(&answer);
}

static void test_a_stream_flows_and_ends_with_its_reader(void **state)
{
    http_fixture *fixture = *state;
    static const char request[] = "GET /admin/v1/logs?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n";
    char bytes[4096] = "";
    size_t used = 0;
    uint32_t left = atomic_load(&fixture->admin.left);
    int fd = http_connect(fixture);
    http_send(fd, request, sizeof request - 1);
    while (used < sizeof bytes - 1 && !strstr(bytes, "line\n\r\n5\r\nline\n")) {
        ssize_t got = read(fd, bytes + used, sizeof bytes - 1 - used);
        assert_true(got > 0);
        used += (size_t)got;
        bytes[used] = '\0';
    }
    assert_non_null(strstr(bytes, "text/plain; charset=utf-8"));
    close(fd);
    assert_true(http_becomes(&fixture->admin.left, left + 1));
}

static void test_a_reader_that_does_not_read_bounds_what_is_held(void **state)
{
    http_fixture *fixture = *state;
    static const char request[] = "GET /admin/v1/flood HTTP/1.1\r\nHost: x\r\n\r\n";
    uint32_t left = atomic_load(&fixture->admin.left);
    int fd = http_connect(fixture);
    http_send(fd, request, sizeof request - 1);
    uint64_t before;
    do { /* until nothing is taken any more */
        before = atomic_load(&fixture->admin.flooded);
        usleep(300000);
    } while (before == 0 || before != atomic_load(&fixture->admin.flooded));
    assert_true(before < 32u << 20);
    close(fd);
    assert_true(http_becomes(&fixture->admin.left, left + 1));
}

static void test_many_calls_are_bounded_and_a_stop_ends_them(void **state)
{
    static http_fixture fixture;
    static const char request[] = "GET /admin/v1/logs HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd[33];
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, with_admin, NULL), TN_OK);
    for (int i = 0; i < 32; i++) {
        fd[i] = http_connect(&fixture);
        http_send(fd[i], request, sizeof request - 1);
    }
    assert_true(http_becomes(&fixture.admin.running, 32));
    http_answer answer = http_get(&fixture, "/admin/v1/echo");
    assert_int_equal(answer.status, 503);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
    assert_int_equal(atomic_load(&fixture.admin.left), 32);
    for (int i = 0; i < 32; i++)
        close(fd[i]);
}

static void test_without_a_tn_admin_there_is_nothing(void **state)
{
    static http_fixture fixture;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, NULL, NULL), TN_OK);
    http_answer answer = http_get(&fixture, "/admin/v1/services");
    assert_int_equal(answer.status, 404);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

/* Every kind of path with every token. */
static void test_scopes_decide(void **state)
{
    static http_fixture fixture;
    static const char *const settings[] = {"fake_admin=1", "fake_auth=1", NULL};
    static const struct {
        const char *headers;
        int health, models, admin;
    } cases[] = {
        {NULL, 200, 401, 401},         {AS("nobody"), 200, 401, 401},
        {AS("infer"), 200, 200, 403},  {AS("batch"), 200, 403, 403},
        {AS("admin"), 200, 403, 200},  {AS("both"), 200, 200, 200},
        {AS("broken"), 200, 503, 503}, {"Authorization: Basic aW5mZXI=\r\n", 200, 401, 401},
    };
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct {
            const char *path;
            int status;
        } asked[] = {{"/health", cases[i].health}, {"/v1/models", cases[i].models}, {"/admin/v1/echo", cases[i].admin}};
        for (size_t j = 0; j < 3; j++) {
            http_answer answer = http_ask(&fixture, "GET", asked[j].path, cases[i].headers, NULL);
            if (answer.status != asked[j].status)
                fail_msg("%s with %s: %d", asked[j].path, cases[i].headers ? cases[i].headers : "nothing",
                         answer.status);
            if (answer.status == 401)
                assert_non_null(strstr(answer.head, "WWW-Authenticate: Bearer"));
            assert_null(strstr(answer.body, "secret path"));
            http_answer_finish(&answer);
        }
    }
    http_answer answer = http_ask(&fixture, "GET", "/admin/v1/echo", AS("infer"), NULL);
    assert_string_equal(http_text_at(answer.json, "error.message"),
                        "the token 'infer' lacks the scope 'admin', which this path needs");
    assert_string_equal(http_text_at(answer.json, "error.type"), "permission_error");
    http_answer_finish(&answer);
    assert_non_null(strstr(fixture.log, "secret path"));
    http_fixture_stop(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_call_is_passed_on),
        cmocka_unit_test(test_answers_keep_their_status_and_length),
        cmocka_unit_test(test_bodies_are_limited_and_must_be_json),
        cmocka_unit_test(test_a_stream_flows_and_ends_with_its_reader),
        cmocka_unit_test(test_a_reader_that_does_not_read_bounds_what_is_held),
        cmocka_unit_test(test_many_calls_are_bounded_and_a_stop_ends_them),
        cmocka_unit_test(test_without_a_tn_admin_there_is_nothing),
        cmocka_unit_test(test_scopes_decide),
    };
    return cmocka_run_group_tests(tests, set_up, http_fixture_teardown);
}
