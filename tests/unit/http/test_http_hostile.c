/* test_http_hostile.c: requests that mean harm, and clients that misbehave. Each test ends by asking for /health. */
#include "http_fixture.h"

#include "../cmocka_test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHAT      "/v1/chat/completions"
#define HI        "\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define POST_HEAD "POST " CHAT " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

static void expect_alive(const http_fixture *fixture)
{
    http_answer answer = http_get(fixture, "/health");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
}

static void send_text(int fd, const char *text)
{
    http_send(fd, text, strlen(text));
}

static void expect(http_answer answer, int status)
{
    if (answer.status != status)
        fail_msg("expected %d, got %d: %s", status, answer.status, answer.body);
    http_answer_finish(&answer);
}

/* Waits until at least `count` requests have been cancelled. */
static void expect_cancelled(http_fixture *fixture, uint32_t count)
{
    for (int i = 0; i < FAKE_WAIT_STEPS && fake_engine_cancelled(&fixture->engine) < count; i++)
        usleep(FAKE_STEP_US);
    assert_true(fake_engine_cancelled(&fixture->engine) >= count);
    assert_true(fake_engine_settle(&fixture->engine));
}

static void test_deep_json_is_refused(void **state)
{
    size_t depth = 100000;
    char *body = calloc(1, depth + 32);
    strcpy(body, "{\"messages\":");
    memset(body + strlen(body), '[', depth);
    expect(http_post(*state, CHAT, body), 400);
    free(body);
    expect_alive(*state);
}

static void test_lone_surrogates_and_bad_utf8_are_refused(void **state)
{
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud800\"}]}"), 400);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\udc00x\"}]}"), 400);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\xC0\x80\"}]}"), 400);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u0000\"}]}"), 400);
    expect_alive(*state);
}

static void test_special_tokens_that_a_user_writes_are_text(void **state)
{
    static const int expected[] = {'u',  's', 'e', 'r', ':',  'a', '<', '/', 's',          '>',
                                   '<',  'x', '>', 'b', '\n', 'f', ':', '<', 'x',          '>',
                                   '\n', 's', 'y', 's', 't',  'e', 'm', ':', FAKE_SPECIAL, '\n'};
    http_answer answer = http_post(*state, "/tokenize",
                                   "{\"messages\":[{\"role\":\"user\",\"content\":\"a</s><x>b\"},"
                                   "{\"role\":\"f\",\"content\":\"<x>\"},"
                                   "{\"role\":\"system\",\"content\":\"<x>\"}]}");
    assert_int_equal(answer.status, 200);
    const json_t *tokens = http_at(answer.json, "tokens");
    assert_int_equal(json_array_size(tokens), sizeof expected / sizeof *expected);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(json_integer_value(json_array_get(tokens, i)), expected[i]);
    http_answer_finish(&answer);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"</s>\",\"content\":\"<s></s><x>\"}]}"), 200);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\\ufdd0</s>\"}]}"), 400);
    expect(http_post(*state, CHAT, "{\"messages\":[{\"role\":\"user\",\"name\":\"\\ufdd1\",\"content\":\"a\"}]}"), 400);
}

static void test_a_giant_header_is_refused(void **state)
{
    int fd = http_connect(*state);
    char *value = malloc(1 << 20);
    memset(value, 'a', (1 << 20) - 1);
    value[(1 << 20) - 1] = '\0';
    send_text(fd, "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Big: ");
    send_text(fd, value);
    send_text(fd, "\r\n\r\n");
    http_answer answer = http_receive(fd);
    assert_true(answer.status == 431 || answer.status == 413 || answer.status == 0);
    http_answer_finish(&answer);
    close(fd);
    free(value);
    expect_alive(*state);
}

static void test_a_giant_url_is_refused(void **state)
{
    int fd = http_connect(*state);
    char *url = malloc(200001);
    memset(url, 'u', 200000);
    url[200000] = '\0';
    send_text(fd, "GET /");
    send_text(fd, url);
    send_text(fd, " HTTP/1.1\r\nHost: x\r\n\r\n");
    http_answer answer = http_receive(fd);
    assert_true(answer.status == 414 || answer.status == 431 || answer.status == 404 || answer.status == 0);
    http_answer_finish(&answer);
    close(fd);
    free(url);
    expect_alive(*state);
}

static void test_garbage_is_not_http(void **state)
{
    static const char *const lines[] = {
        "\r\n\r\n\r\n",           "\x16\x03\x01\x02\x01\x01",        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n", "GET /v1/models HTTP/1.1\r\n\r\n", "\xff\xfe\xfd\r\n\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        int fd = http_connect(*state);
        send_text(fd, lines[i]);
        shutdown(fd, SHUT_WR);
        http_answer answer = http_receive(fd);
        assert_true(answer.status == 0 || answer.status >= 400);
        http_answer_finish(&answer);
        close(fd);
    }
    expect_alive(*state);
}

static void test_lengths_that_lie_are_refused(void **state)
{
    static const struct {
        const char *headers;
        int status; /* 0: any refusal, or the connection closed */
    } lies[] = {
        {"Content-Length: 99999999\r\n", 413},
        {"Content-Length: 18446744073709551616\r\n", 0},
        {"Content-Length: -1\r\n", 0},
        {"Content-Length: 5x\r\n", 0},
        {"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 0},
        {"Transfer-Encoding: chunked, gzip\r\n", 0},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        int fd = http_connect(*state);
        send_text(fd, POST_HEAD);
        send_text(fd, lies[i].headers);
        send_text(fd, "\r\n{}");
        shutdown(fd, SHUT_WR);
        http_answer answer = http_receive(fd);
        if (lies[i].status ? answer.status != lies[i].status : answer.status != 0 && answer.status < 400)
            fail_msg("%s gave %d", lies[i].headers, answer.status);
        http_answer_finish(&answer);
        close(fd);
    }
    expect_alive(*state);
}

/* All that comes until the connection is closed. */
static size_t receive_all(int fd, char *bytes, size_t capacity)
{
    size_t used = 0;
    for (ssize_t got; used < capacity - 1 && (got = recv(fd, bytes + used, capacity - 1 - used, 0)) > 0;)
        used += (size_t)got;
    bytes[used] = '\0';
    return used;
}

/* What a proxy might have taken for a body is not taken for the next request. */
static void test_heads_that_two_may_read_differently_end_the_connection(void **state)
{
    static const char hidden[] = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    static const struct {
        const char *head, *status;
    } heads[] = {
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         "400"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 36\r\n\r\n", "400"},
        {POST_HEAD "Content-Length: 2\r\nContent-Length: 38\r\n\r\n{}", "400"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length : 36\r\n\r\n", "400"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n", "400"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n",
         "400"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "501"},
        {"GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
    };
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char answers[8192];
        int fd = http_connect(*state);
        send_text(fd, heads[i].head);
        send_text(fd, hidden);
        receive_all(fd, answers, sizeof answers);
        if (strncmp(answers, "HTTP/1.1 ", 9) != 0 || strncmp(answers + 9, heads[i].status, 3) != 0 ||
            strstr(answers + 1, "HTTP/1.1 "))
            fail_msg("%s gave %s", heads[i].head, answers);
        close(fd);
    }
    expect_alive(*state);
}

static void test_a_path_is_not_cut_at_an_escaped_nul(void **state)
{
    expect(http_get(*state, "/v1/models%00"), 404);
    expect(http_get(*state, "/v1/models%00/tiny"), 404);
    expect(http_get(*state, "/v1/models/%00tiny"), 404);
    expect(http_get(*state, "/v1/models/tin%79"), 200);
    expect(http_get(*state, "/v1/%6Dodel%73?x=%00"), 200);
    expect(http_get(*state, "/v1/models/tiny%"), 404);
    expect(http_get(*state, "/v1/models/tiny%7"), 404);
    expect(http_get(*state, "/v1/models/tiny%zz"), 404);
}

static void test_a_truncated_body_leaves_nothing_behind(void **state)
{
    http_fixture *fixture = *state;
    uint32_t submitted = fake_engine_submitted(&fixture->engine);
    for (int i = 0; i < 20; i++) {
        int fd = http_connect(fixture);
        send_text(fd, POST_HEAD "Content-Length: 1000\r\n\r\n{\"messages\":");
        close(fd);
    }
    expect_alive(fixture);
    assert_int_equal(fake_engine_submitted(&fixture->engine), submitted);
}

static void test_chunked_bodies_work_up_to_the_limit(void **state)
{
    int fd = http_connect(*state);
    send_text(fd, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"mes\r\n");
    usleep(20000);
    send_text(fd, "2c\r\nsages\":[{\"role\":\"user\",\"content\":\"Hi\"}],\"n\":\r\n2\r\n1}\r\n0\r\n\r\n");
    expect(http_receive(fd), 200);
    close(fd);

    static const char *const settings[] = {"max_body_bytes=4096", NULL};
    static http_fixture small;
    assert_int_equal(http_fixture_start(&small, settings, NULL), TN_OK);
    fd = http_connect(&small);
    send_text(fd, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 20; i++)
        send_text(fd, "100\r\n"
                      "                                                                "
                      "                                                                "
                      "                                                                "
                      "                                                                \r\n");
    send_text(fd, "0\r\n\r\n");
    expect(http_receive(fd), 413);
    close(fd);
    http_fixture_stop(&small);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    int fd = http_connect(*state);
    char request[256], both[1024];
    snprintf(request, sizeof request, POST_HEAD "Content-Length: %zu\r\n\r\n{" HI "}", strlen("{" HI "}"));
    snprintf(both, sizeof both, "%s%s", request, "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    send_text(fd, both);
    char answers[8192];
    receive_all(fd, answers, sizeof answers);
    const char *chat = strstr(answers, "chat.completion"), *list = strstr(answers, "\"object\":\"list\"");
    assert_true(chat && list && chat < list);
    close(fd);
}

static void test_a_connection_serves_many_requests(void **state)
{
    int fd = http_connect(*state);
    static const char *const bodies[] = {"{" HI "}", "{" HI ",\"stream\":true}", "{\"x\":1}"};
    for (int i = 0; i < 9; i++) {
        char request[512];
        const char *body = bodies[i % 3];
        snprintf(request, sizeof request, POST_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
        send_text(fd, request);
        http_answer answer = http_receive(fd);
        assert_int_equal(answer.status, i % 3 == 2 ? 400 : 200);
        assert_true(answer.complete);
        http_answer_finish(&answer);
    }
    close(fd);
}

static void test_a_client_that_vanishes_mid_stream_is_cancelled(void **state)
{
    http_fixture *fixture = *state;
    uint32_t before = fake_engine_cancelled(&fixture->engine);
    fixture->engine.endless = true;
    fixture->engine.delay_us = 100000; /* 25 s for the whole context: it does not end by itself */
    for (int i = 0; i < 4; i++) {
        int fd = http_connect(fixture);
        char bytes[256];
        const char *body = "{" HI ",\"stream\":true}";
        snprintf(bytes, sizeof bytes, POST_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
        send_text(fd, bytes);
        assert_true(recv(fd, bytes, sizeof bytes, 0) > 0);
        close(fd);
    }
    expect_cancelled(fixture, before + 4);
    fixture->engine.endless = false;
    fixture->engine.delay_us = 0;
}

static void test_a_client_that_vanishes_while_waiting_is_cancelled(void **state)
{
    http_fixture *fixture = *state;
    uint32_t before = fake_engine_cancelled(&fixture->engine), submitted = fake_engine_submitted(&fixture->engine);
    fixture->engine.endless = true;
    fixture->engine.delay_us = 100000;
    for (int i = 0; i < 4; i++) {
        int fd = http_connect(fixture);
        send_text(fd, POST_HEAD "Content-Length: 51\r\n\r\n{\"n\":2," HI "}");
        assert_true(fake_engine_takes(&fixture->engine, ++submitted));
        close(fd);
    }
    expect_cancelled(fixture, before + 4);
    fixture->engine.endless = false;
    fixture->engine.delay_us = 0;
}

static void test_a_client_that_does_not_read_is_cut_off(void **state)
{
    static const char *const settings[] = {"max_unsent_bytes=65536", "fake_context=40000", NULL};
    static http_fixture fixture;
    int small = 4096;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    fixture.engine.endless = true;
    int fd = http_connect(&fixture);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const char *body = "{" HI ",\"stream\":true,\"logprobs\":true,\"top_logprobs\":5}";
    char request[512];
    snprintf(request, sizeof request, POST_HEAD "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    send_text(fd, request);
    expect_cancelled(&fixture, 1);
    http_answer answer = http_receive(fd);
    assert_int_equal(answer.status, 200);
    assert_false(answer.complete);
    http_answer_finish(&answer);
    close(fd);
    expect_alive(&fixture);
    http_fixture_stop(&fixture);
}

/* Echoes come all at once, before anybody could have read one. */
static void test_a_client_that_asked_for_large_echoes_gets_them(void **state)
{
    enum { PROMPT_BYTES = 30000, CHOICES = 4 };
    static const char *const settings[] = {"max_unsent_bytes=65536", "fake_context=40000", NULL};
    static http_fixture fixture;
    static char prompt[PROMPT_BYTES + 1], body[PROMPT_BYTES + 256];
    size_t echoed = 0;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    fixture.engine.reply = "x";
    fixture.engine.delay_us = 20000; /* the stream has begun when the token comes, and with it the echoes */
    memset(prompt, 'a', PROMPT_BYTES);
    snprintf(body, sizeof body, "{\"prompt\":\"%s\",\"n\":%d,\"echo\":true,\"stream\":true,\"max_tokens\":1}", prompt,
             CHOICES);
    http_answer answer = http_post(&fixture, "/v1/completions", body);
    assert_int_equal(answer.status, 200);
    assert_true(answer.complete);
    for (size_t i = 0; i < http_chunk_count(&answer); i++) {
        json_t *chunk = http_chunk(&answer, i);
        echoed += json_string_length(http_at(chunk, "choices.0.text"));
        json_decref(chunk);
    }
    assert_int_equal(echoed, CHOICES * (PROMPT_BYTES + 1));
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

static void test_a_request_that_dribbles_in_is_cut_off(void **state)
{
    static const char *const settings[] = {"request_timeout=1", NULL};
    static http_fixture fixture;
    ssize_t got = -1;
    char byte;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    int fd = http_connect(&fixture);
    send_text(fd, "GET /health HTTP/1.1\r\nX-Slow: ");
    for (int i = 0; i < 600 && (got = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN; i++) {
        send_text(fd, "a"); /* a minute of them is far from the limit of a head */
        usleep(100000);
    }
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
    close(fd);
    expect_alive(&fixture);
    http_fixture_stop(&fixture);
}

static void test_a_slow_answer_is_not_a_slow_request(void **state)
{
    static const char *const settings[] = {"request_timeout=3", "idle_timeout=3", NULL};
    static http_fixture fixture;
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    fixture.engine.delay_us = 900000; /* 4.5 s in all */
    expect(http_post(&fixture, CHAT, "{" HI "}"), 200);
    http_answer answer = http_post(&fixture, CHAT, "{" HI ",\"stream\":true}");
    assert_true(answer.complete);
    assert_int_equal(http_chunk_count(&answer), 7);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

static void test_a_thousand_slow_clients_hurt_nobody(void **state)
{
    enum { CLIENTS = 1000 };
    static int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = http_connect(*state);
        send_text(fds[i], i % 2 ? "GET /v1/mod" : POST_HEAD "Content-Length: 100\r\n\r\n{");
    }
    expect(http_post(*state, CHAT, "{" HI "}"), 200);
    expect_alive(*state);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    expect_alive(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deep_json_is_refused),
        cmocka_unit_test(test_lone_surrogates_and_bad_utf8_are_refused),
        cmocka_unit_test(test_special_tokens_that_a_user_writes_are_text),
        cmocka_unit_test(test_a_giant_header_is_refused),
        cmocka_unit_test(test_a_giant_url_is_refused),
        cmocka_unit_test(test_garbage_is_not_http),
        cmocka_unit_test(test_lengths_that_lie_are_refused),
        cmocka_unit_test(test_heads_that_two_may_read_differently_end_the_connection),
        cmocka_unit_test(test_a_path_is_not_cut_at_an_escaped_nul),
        cmocka_unit_test(test_a_truncated_body_leaves_nothing_behind),
        cmocka_unit_test(test_chunked_bodies_work_up_to_the_limit),
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_a_connection_serves_many_requests),
        cmocka_unit_test(test_a_client_that_vanishes_mid_stream_is_cancelled),
        cmocka_unit_test(test_a_client_that_vanishes_while_waiting_is_cancelled),
        cmocka_unit_test(test_a_client_that_does_not_read_is_cut_off),
        cmocka_unit_test(test_a_client_that_asked_for_large_echoes_gets_them),
        cmocka_unit_test(test_a_request_that_dribbles_in_is_cut_off),
        cmocka_unit_test(test_a_slow_answer_is_not_a_slow_request),
        cmocka_unit_test(test_a_thousand_slow_clients_hurt_nobody),
    };
    return cmocka_run_group_tests(tests, http_fixture_setup, http_fixture_teardown);
}
