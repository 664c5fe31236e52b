/* test_http_lifecycle.c: start and its refusals, drain, stop, and many clients at once. */
#include "http_fixture.h"

#include "../cmocka_test.h"
#include "frontend.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CHAT "/v1/chat/completions"
#define HI   "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"

static void expect_no_start(const char *setting, const char *other, const char *words)
{
    static http_fixture fixture;
    const char *settings[] = {setting, other, NULL};
    tn_error err = TN_ERROR_INIT;
    tn_status status = http_fixture_start(&fixture, settings, &err);
    if (status == TN_OK)
        http_fixture_stop(&fixture);
    if (status == TN_OK || !strstr(err.msg, words))
        fail_msg("%s: status %d, '%s' lacks '%s'", setting, (int)status, err.msg, words);
}

static void test_bad_settings_are_refused_by_name(void **state)
{
    (void)state;
    expect_no_start("listen=", NULL, "no address");
    expect_no_start("listen=localhost", NULL, "not HOST:PORT");
    expect_no_start("listen=127.0.0.1:99999", NULL, "not HOST:PORT");
    expect_no_start("listen=example.org:80", NULL, "not an address");
    expect_no_start("listen=[::1:80", NULL, "'[::1:80'");
    expect_no_start("listen=203.0.113.7:0", NULL, "no such address");
    expect_no_start("listen=unix:relative", NULL, "absolute path");
    expect_no_start("listen=unix:/nowhere/x.sock", NULL, "cannot listen on unix:/nowhere/x.sock");
    expect_no_start("api_key=", NULL, "api_key holds no key");
    expect_no_start("api_key_file=/nowhere/keys", NULL, "api_key_file = /nowhere/keys: cannot be read");
    expect_no_start("tls_cert=/etc/passwd", NULL, "tls_key is not");
    expect_no_start("tls_cert=/nowhere/c.pem", "tls_key=/nowhere/k.pem", "tls_cert = /nowhere/c.pem: cannot be read");
    expect_no_start("tls_cert=/etc/passwd", "tls_key=/etc/passwd", "cannot serve TLS with tls_cert = /etc/passwd");
    expect_no_start("max_connections=0", NULL, "max_connections = 0: must be between 1");
    expect_no_start("max_body_bytes=1", NULL, "max_body_bytes = 1");
    expect_no_start("max_json_depth=100000", NULL, "max_json_depth");
}

static void test_a_port_in_use_is_told(void **state)
{
    http_fixture *fixture = *state;
    char setting[64];
    snprintf(setting, sizeof setting, "listen=127.0.0.1:%u", fixture->port);
    expect_no_start(setting, NULL, "another program listens there");
}

static void test_sizes_mean_what_the_core_means(void **state)
{
    static http_fixture fixture;
    static const char *const settings[] = {"max_body_bytes=1.5KiB", NULL};
    char body[4096];
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    for (int extra = 0; extra < 2; extra++) {
        memset(body, ' ', sizeof body);
        memcpy(body, "{" HI "}", strlen("{" HI "}"));
        body[1536 + extra] = '\0';
        http_answer answer = http_post(&fixture, CHAT, body);
        assert_int_equal(answer.status, extra ? 413 : 200);
        http_answer_finish(&answer);
    }
    http_fixture_stop(&fixture);
}

static void test_a_public_address_without_key_is_warned_about(void **state)
{
    static http_fixture fixture;
    static const char *const open_door[] = {"listen=*:0", NULL};
    static const char *const locked_door[] = {"listen=*:0", "api_key=k", NULL};
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, open_door, NULL), TN_OK);
    assert_non_null(strstr(fixture.log, "no api_key is set"));
    http_fixture_stop(&fixture);
    assert_int_equal(http_fixture_start(&fixture, locked_door, NULL), TN_OK);
    assert_null(strstr(fixture.log, "api_key"));
    http_fixture_stop(&fixture);
}

static void test_keys_are_read_from_a_file(void **state)
{
    static http_fixture fixture;
    char path[] = "/tmp/tenon-keys-XXXXXX", setting[64];
    int fd = mkstemp(path);
    const char *settings[] = {setting, NULL};
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "# staff\r\n  first \n\nsecond\n", 26), 26);
    close(fd);
    snprintf(setting, sizeof setting, "api_key_file=%s", path);
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    static const struct {
        const char *header;
        int status;
    } cases[] = {{"Authorization: Bearer first\r\n", 200},
                 {"Authorization: Bearer second\r\n", 200},
                 {"Authorization: Bearer # staff\r\n", 401},
                 {"Authorization: Bearer staff\r\n", 401}};
    for (int i = 0; i < 4; i++) {
        http_answer answer = http_ask(&fixture, "GET", "/v1/models", cases[i].header, NULL);
        assert_int_equal(answer.status, cases[i].status);
        http_answer_finish(&answer);
    }
    http_fixture_stop(&fixture);
    unlink(path);
}

static void test_several_addresses_are_served(void **state)
{
    static http_fixture fixture;
    char path[64], setting[128];
    const char *settings[] = {setting, NULL};
    (void)state;
    snprintf(path, sizeof path, "/tmp/tenon-test-%d.sock", (int)getpid());
    snprintf(setting, sizeof setting, "listen=unix:%s, 127.0.0.1:0", path);
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    assert_non_null(strstr(http_frontend_table.address(fixture.front), "http://127.0.0.1:"));
    http_answer answer = http_get(&fixture, "/health");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);

    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    const char *body = "{" HI ",\"stream\":true}";
    char request[256];
    int n =
        snprintf(request, sizeof request,
                 "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(body), body);
    http_send(fd, request, (size_t)n);
    answer = http_receive(fd);
    assert_int_equal(answer.status, 200);
    assert_int_equal(http_chunk_count(&answer), 7);
    http_answer_finish(&answer);
    close(fd);
    http_fixture_stop(&fixture);
    assert_int_not_equal(access(path, F_OK), 0); /* removed */
}

typedef struct asker {
    pthread_t thread;
    http_fixture *fixture;
    const char *body;
    int rounds, failures;
    http_answer answer; /* the last */
} asker;

static void *ask_rounds(void *argument)
{
    asker *who = argument;
    for (int i = 0; i < who->rounds; i++) {
        http_answer_finish(&who->answer);
        who->answer = http_post(who->fixture, CHAT, who->body);
        who->failures += who->answer.status != 200 || !who->answer.complete;
    }
    return NULL;
}

static void test_drain_lets_running_requests_finish(void **state)
{
    static http_fixture fixture;
    tn_error err = TN_ERROR_INIT;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, NULL, &err), TN_OK);
    fixture.engine.endless = true; /* until it has been seen to run */
    fixture.engine.delay_us = 100000;
    asker who = {.fixture = &fixture, .body = "{" HI ",\"stream\":true}", .rounds = 1};
    pthread_create(&who.thread, NULL, ask_rounds, &who);
    assert_true(fake_engine_takes(&fixture.engine, 1));
    assert_int_equal(http_frontend_table.drain(fixture.front, 50, &err), TN_E_AGAIN);
    assert_non_null(strstr(err.msg, "1 requests still run"));

    http_answer answer = http_post(&fixture, CHAT, "{" HI "}");
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.head, "Retry-After: 7"));
    assert_non_null(strcasestr(answer.head, "Connection: close"));
    http_answer_finish(&answer);
    answer = http_get(&fixture, "/ready");
    assert_int_equal(answer.status, 503);
    http_answer_finish(&answer);
    answer = http_get(&fixture, "/health");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);

    fixture.engine.endless = false;
    assert_int_equal(http_frontend_table.drain(fixture.front, 60000, &err), TN_OK);
    pthread_join(who.thread, NULL);
    assert_int_equal(who.failures, 0);
    http_answer_finish(&who.answer);
    http_fixture_stop(&fixture);
}

static void test_stop_ends_what_still_runs(void **state)
{
    static http_fixture fixture;
    static const char *const bodies[] = {"{" HI ",\"stream\":true}", "{" HI "}", "{" HI ",\"n\":2}"};
    asker askers[6];
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, NULL, NULL), TN_OK);
    fixture.engine.endless = true;
    fixture.engine.delay_us = 100000;
    for (int i = 0; i < 6; i++) {
        askers[i] = (asker){.fixture = &fixture, .body = bodies[i % 3], .rounds = 1};
        pthread_create(&askers[i].thread, NULL, ask_rounds, &askers[i]);
    }
    assert_true(fake_engine_takes(&fixture.engine, 6));
    http_fixture_stop(&fixture);
    for (int i = 0; i < 6; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].failures, 1);
        http_answer_finish(&askers[i].answer);
    }
}

static void test_stop_of_nothing_is_fine(void **state)
{
    (void)state;
    http_frontend_table.stop(NULL);
}

static void test_many_clients_get_their_own_answers(void **state)
{
    static const char *const bodies[] = {"{" HI ",\"stream\":true}", "{" HI "}", "{" HI ",\"n\":3,\"logprobs\":true}",
                                         "{" HI ",\"stream\":true,\"n\":2}"};
    asker askers[16];
    for (int i = 0; i < 16; i++) {
        askers[i] = (asker){.fixture = *state, .body = bodies[i % 4], .rounds = 12};
        pthread_create(&askers[i].thread, NULL, ask_rounds, &askers[i]);
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].failures, 0);
        http_answer_finish(&askers[i].answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_settings_are_refused_by_name),
        cmocka_unit_test(test_a_port_in_use_is_told),
        cmocka_unit_test(test_sizes_mean_what_the_core_means),
        cmocka_unit_test(test_a_public_address_without_key_is_warned_about),
        cmocka_unit_test(test_keys_are_read_from_a_file),
        cmocka_unit_test(test_several_addresses_are_served),
        cmocka_unit_test(test_drain_lets_running_requests_finish),
        cmocka_unit_test(test_stop_ends_what_still_runs),
        cmocka_unit_test(test_stop_of_nothing_is_fine),
        cmocka_unit_test(test_many_clients_get_their_own_answers),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}
