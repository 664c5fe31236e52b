/* http_fixture.h: a front end over the fake engine, and a raw-socket client to talk to it. */
#ifndef TESTS_HTTP_FIXTURE_H
#define TESTS_HTTP_FIXTURE_H

#include "fake_admin.h"
#include "fake_engine.h"
#include "fake_models.h"

#include <jansson.h>

typedef struct http_fixture {
    tn_engine engine, second;
    fake_models models;
    fake_admin admin;
    tn_host host;
    tn_front *front;
    uint16_t port;  /* of the first address, 0 for a Unix socket */
    char log[4096]; /* lines that were logged */
} http_fixture;

/* settings: "key=value" strings, NULL-terminated, over the plugin's defaults; listen is 127.0.0.1:0 unless given.
 * "fake_context=N" sets the engine's max_model_len, "fake_author=1" gives the model an author with wishes,
 * "fake_models=1" serves `second` ("other") too, as a daemon does, "fake_admin=1" gives it a tn.admin ("fake_old_admin=1":
 * of an older core) and "fake_auth=1" a tn.auth, which is http_fixture_auth. */
extern const tn_auth_table *http_fixture_auth; /* fake_auth_table, unless a test sets another */
tn_status http_fixture_start(http_fixture *fixture, const char *const *settings, tn_error *err);
void http_fixture_stop(http_fixture *fixture);
/* For cmocka: a fixture with default settings in *state. */
int http_fixture_setup(void **state);
/* The same with "key=value" texts, for a test's own setup function. */
int http_fixture_setup_with(void **state, const char *const *settings);
int http_fixture_teardown(void **state);

/* Waits for a counter, a minute at most. */
bool http_becomes(atomic_uint *value, uint32_t wanted);

typedef struct http_answer {
    int status;      /* 0: the connection closed without one */
    char head[4096]; /* status line and headers */
    char *body;      /* owned, terminated, chunks joined */
    size_t body_bytes;
    bool complete; /* the body came to its proper end */
    json_t *json;  /* owned; NULL if the body is no JSON */
} http_answer;

int http_connect(const http_fixture *fixture);
void http_send(int fd, const char *bytes, size_t n); /* ignores a closed peer */
/* Reads one answer; the connection stays open unless the server closes it. */
http_answer http_receive(int fd);
/* Connect, send, receive, close. headers: extra lines, each ended by CRLF; body NULL: none. */
http_answer http_ask(const http_fixture *fixture, const char *method, const char *path, const char *headers,
                     const char *body);
http_answer http_get(const http_fixture *fixture, const char *path);
http_answer http_post(const http_fixture *fixture, const char *path, const char *json);
void http_answer_finish(http_answer *answer);
/* json at a path such as "choices.0.message.content"; NULL if absent. */
json_t *http_at(const json_t *json, const char *path);
const char *http_text_at(const json_t *json, const char *path);
/* The n-th `data:` payload of a stream as JSON (a new reference); NULL past the last or for [DONE]. */
json_t *http_chunk(const http_answer *answer, size_t n);
size_t http_chunk_count(const http_answer *answer); /* without [DONE] */

#endif
