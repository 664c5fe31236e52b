/* test_http_upload.c: bodies of /v1/files, which tn.admin reads as they come; who is said to ask; cores that know none.
 */
#include "../cmocka_test.h"
#include "frontend.h"
#include "http_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORM "POST /v1/files HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=x\r\n"

enum { UPLOADS = 8, BODY_BYTES = 3 << 20 };

static const char *const with_admin[] = {"fake_admin=1", NULL};
static char body[BODY_BYTES];

static int set_up(void **state)
{
    return http_fixture_setup_with(state, with_admin);
}

/* A connection with the head of an upload of `bytes` sent. */
static int begin(const http_fixture *fixture, unsigned bytes)
{
    char head[256];
    int fd = http_connect(fixture);
    int n = snprintf(head, sizeof head, FORM "Content-Length: %u\r\n\r\n", bytes);
    http_send(fd, head, (size_t)n);
    return fd;
}

static void test_a_body_is_read_as_it_comes(void **state)
{
    const http_fixture *fixture = *state;
    int fd = begin(fixture, BODY_BYTES);
    http_send(fd, body, BODY_BYTES);
    http_answer answer = http_receive(fd);
    assert_int_equal(answer.status, 200);
    assert_int_equal(json_integer_value(http_at(answer.json, "bytes")), BODY_BYTES);
    assert_string_equal(http_text_at(answer.json, "path"), "/files");
    assert_string_equal(http_text_at(answer.json, "type"), "multipart/form-data; boundary=x");
    assert_string_equal(http_text_at(answer.json, "caller"), "");
    http_answer_finish(&answer);
}

/* As many bytes as the other side takes at all, within a while. */
static size_t send_all_that_fits(int fd, size_t most)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    size_t sent = 0;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (sent < most && poll(&room, 1, 500) == 1) {
        ssize_t n = write(fd, body, most - sent < BODY_BYTES ? most - sent : BODY_BYTES);
        if (n > 0)
            sent += (size_t)n;
    }
    fcntl(fd, F_SETFL, 0);
    return sent;
}

static void test_a_client_that_is_faster_than_the_disk_waits(void **state)
{
    http_fixture *fixture = *state;
    enum { MOST = 8 << 20 };
    atomic_store(&fixture->admin.held, 1);
    int fd = begin(fixture, MOST);
    int small = 64 << 10; /* so that it is not the kernel that takes it all */
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t sent = send_all_that_fits(fd, MOST);
    assert_true(sent < MOST);
    assert_true(http_becomes(&fixture->admin.running, 1));
    atomic_store(&fixture->admin.held, 0);
    for (size_t n; sent < MOST; sent += n) {
        n = MOST - sent < BODY_BYTES ? MOST - sent : BODY_BYTES;
        http_send(fd, body, n);
    }
    http_answer answer = http_receive(fd);
    assert_int_equal(answer.status, 200);
    assert_int_equal(json_integer_value(http_at(answer.json, "bytes")), MOST);
    http_answer_finish(&answer);
}

static void test_a_client_that_leaves_ends_its_upload(void **state)
{
    http_fixture *fixture = *state;
    uint32_t left = atomic_load(&fixture->admin.left);
    int fd = begin(fixture, BODY_BYTES);
    http_send(fd, body, 1000);
    assert_true(http_becomes(&fixture->admin.running, 1));
    close(fd);
    assert_true(http_becomes(&fixture->admin.left, left + 1));
    assert_true(http_becomes(&fixture->admin.running, 0));
}

static void test_heads_decide_before_a_byte_of_the_body(void **state)
{
    static const struct {
        const char *headers;
        int status;
    } cases[] = {
        {"Content-Type: application/json\r\nContent-Length: 9\r\n", 415},
        {"Content-Length: 9\r\n", 415},
        {"Content-Type: multipart/form-data\r\nContent-Length: 8388609\r\n", 413},
        {"Content-Type: multipart/form-data\r\nContent-Length: 9\r\nOrigin: http://there\r\n", 403},
        {"Content-Type: multipart/form-data\r\nContent-Length: 9\r\nOrigin: null\r\n", 403},
        {"Content-Type: multipart/form-data\r\nContent-Length: 0\r\nOrigin: http://here\r\n", 200},
    };
    const http_fixture *fixture = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char head[512];
        int fd = http_connect(fixture);
        int n = snprintf(head, sizeof head, "POST /v1/files HTTP/1.1\r\nHost: here\r\n%s\r\n", cases[i].headers);
        http_send(fd, head, (size_t)n);
        http_answer answer = http_receive(fd);
        assert_int_equal(answer.status, cases[i].status);
        http_answer_finish(&answer);
    }
}

/* What a page gets whose name leads here (DNS rebinding): it is of one origin with us, so Origin says nothing. */
static void test_names_of_others_are_refused_where_nobody_shows_a_token(void **state)
{
    static const struct {
        const char *head;
        int status, with_tokens;
    } cases[] = {
        {"GET /v1/files HTTP/1.1\r\nHost: evil.example:8000\r\n", 403, 401},
        {"GET /admin/v1/jobs HTTP/1.1\r\nHost: evil.example.\r\n", 403, 401},
        {"GET /admin/v1/jobs HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n", 403, 401},
        {"POST /v1/files HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
         "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 0\r\n",
         403, 401},
        {"GET /v1/files HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n", 200, 401},
        {"GET /v1/files HTTP/1.1\r\nHost: [::1]:8000\r\n", 200, 401},
        {"GET /v1/files HTTP/1.1\r\nHost: console.LocalHost\r\n", 200, 401},
        {"GET /v1/files HTTP/1.1\r\nHost: box:8000\r\n", 200, 401},
        {"GET /v1/files HTTP/1.0\r\n", 200, 401},
        {"GET /health HTTP/1.1\r\nHost: evil.example\r\n", 200, 200},
        {"GET /v1/files HTTP/1.1\r\nHost: here.example\r\nAuthorization: Bearer both\r\n", 403, 200},
    };
    static const char *const with_tokens[] = {"fake_admin=1", "fake_auth=1", NULL};
    static http_fixture fixture;
    (void)state;
    for (int tokens = 0; tokens < 2; tokens++) {
        assert_int_equal(http_fixture_start(&fixture, tokens ? with_tokens : with_admin, NULL), TN_OK);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            int fd = http_connect(&fixture);
            http_send(fd, cases[i].head, strlen(cases[i].head));
            http_send(fd, "\r\n", 2);
            http_answer answer = http_receive(fd);
            assert_int_equal(answer.status, tokens ? cases[i].with_tokens : cases[i].status);
            http_answer_finish(&answer);
            close(fd);
        }
        http_fixture_stop(&fixture);
    }
}

static void test_uploads_are_bounded_and_a_stop_ends_them(void **state)
{
    static http_fixture fixture;
    int fd[UPLOADS];
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, with_admin, NULL), TN_OK);
    for (int i = 0; i < UPLOADS; i++)
        fd[i] = begin(&fixture, BODY_BYTES);
    assert_true(http_becomes(&fixture.admin.running, UPLOADS));
    int more = begin(&fixture, BODY_BYTES);
    http_answer answer = http_receive(more);
    assert_int_equal(answer.status, 503);
    http_answer_finish(&answer);
    answer = http_get(&fixture, "/v1/batches");
    assert_int_equal(answer.status, 200);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
    assert_int_equal(atomic_load(&fixture.admin.left), UPLOADS);
    for (int i = 0; i < UPLOADS; i++)
        close(fd[i]);
}

static void test_the_caller_is_named(void **state)
{
    static http_fixture fixture;
    static const char *const settings[] = {"fake_admin=1", "fake_auth=1", NULL};
    (void)state;
    assert_int_equal(http_fixture_start(&fixture, settings, NULL), TN_OK);
    http_answer answer = http_ask(&fixture, "GET", "/v1/batches/b", "Authorization: Bearer both\r\n", NULL);
    assert_int_equal(answer.status, 200);
    assert_string_equal(http_text_at(answer.json, "path"), "/batches/b");
    assert_string_equal(http_text_at(answer.json, "caller"), "both");
    assert_int_equal(json_integer_value(http_at(answer.json, "scopes")), TN_SCOPE_INFER | TN_SCOPE_ADMIN);
    http_answer_finish(&answer);
    http_fixture_stop(&fixture);
}

static void test_cores_that_keep_no_files_are_named(void **state)
{
    static http_fixture fixture;
    static const char *const old[] = {"fake_old_admin=1", NULL};
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(http_fixture_start(&fixture, i ? old : NULL, NULL), TN_OK);
        http_answer answer = http_get(&fixture, "/v1/files");
        assert_int_equal(answer.status, 404);
        assert_non_null(
            strstr(http_text_at(answer.json, "error.message"), i ? "a newer `tenon" : "needs `tenon daemon`"));
        http_answer_finish(&answer);
        http_fixture_stop(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_body_is_read_as_it_comes),
        cmocka_unit_test(test_a_client_that_is_faster_than_the_disk_waits),
        cmocka_unit_test(test_a_client_that_leaves_ends_its_upload),
        cmocka_unit_test(test_heads_decide_before_a_byte_of_the_body),
        cmocka_unit_test(test_names_of_others_are_refused_where_nobody_shows_a_token),
        cmocka_unit_test(test_uploads_are_bounded_and_a_stop_ends_them),
        cmocka_unit_test(test_the_caller_is_named),
        cmocka_unit_test(test_cores_that_keep_no_files_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, http_fixture_teardown);
}
