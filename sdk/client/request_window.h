/* sdk/client/request_window.h: requests in flight to one server, at most so many at once, each retried where that is
 * right.
 *
 * Nothing here blocks: the caller waits until the window's fd is readable or its timeout has passed, in whatever way
 * its host allows (poll, a latch), and then steps. A slot is one row's place from `add` to `take`; ordered windows hold
 * some more rows than may be in flight, so that one slow row does not idle the rest. One thread at a time.
 *
 * Retried: no connection, 429 and 503; after Retry-After, or a jittered wait that doubles; never past the row's
 * deadline. A request that was sent and broke is not: the server may have done its work.
 */
#ifndef CLIENT_REQUEST_WINDOW_H
#define CLIENT_REQUEST_WINDOW_H

#include "client/server.h"

#include <stdbool.h>

enum { CLIENT_WINDOW_MAX = 1024, CLIENT_RETRIES_MAX = 4, CLIENT_REPLY_BYTES_MAX = 64 << 20 };

typedef struct client_request {
    const char *path; /* static, "/v1/completions" */
    char *body;       /* malloc'd JSON; NULL: GET */
} client_request;

typedef enum reply_kind {
    REPLY_HTTP,        /* http_status and bytes are set */
    REPLY_SKIPPED,     /* nothing was asked */
    REPLY_UNREACHABLE, /* no connection, after all retries */
    REPLY_TIMEOUT,     /* the row's deadline passed */
    REPLY_BROKEN,      /* the connection was lost before the whole answer had come */
    REPLY_TOO_LARGE,   /* more than CLIENT_REPLY_BYTES_MAX */
    REPLY_MEMORY
} reply_kind;

typedef struct client_reply {
    reply_kind kind;
    uint32_t http_status;
    uint32_t attempts, latency_ms;
    char *bytes; /* owned; NULL if there are none */
    size_t count;
    char fault[256]; /* why there is no answer; "" for REPLY_HTTP */
} client_reply;

typedef struct window_limits {
    uint32_t window;     /* 1..CLIENT_WINDOW_MAX requests in flight */
    uint32_t retries;    /* 0..CLIENT_RETRIES_MAX */
    uint32_t timeout_ms; /* of a row, over all its attempts */
    bool ordered;        /* take gives rows in the order of add */
} window_limits;

typedef struct request_window request_window;

/* Errors: TN_E_MEMORY, TN_E_IO. */
tn_status request_window_create(const client_server *server, const window_limits *limits, request_window **ret_window,
                                tn_error *err);
/* Closes every connection: the server cancels what is in flight. NULL is fine. */
void request_window_destroy(request_window *window);
/* For the rows that are added from now on. */
void request_window_adjust(request_window *window, uint32_t retries, uint32_t timeout_ms);
/* As many rows as can be between add and take; slots are 0 .. this - 1. */
uint32_t request_window_slots(const request_window *window);
/* Rows between add and take now. */
uint32_t request_window_outstanding(const request_window *window);
bool request_window_has_room(const request_window *window);
/* Starts a request; needs room. Its body is moved in every case. */
uint32_t request_window_add(request_window *window, client_request request);
/* A row without a request, which keeps its place in the order; needs room. */
uint32_t request_window_skip(request_window *window);
/* Forgets every row; connections with a request in flight are closed. */
void request_window_clear(request_window *window);

int request_window_fd(const request_window *window);              /* readable when a step has work */
uint32_t request_window_timeout_ms(const request_window *window); /* until a step has work anyway; at most 60,000 */
void request_window_step(request_window *window);
/* The next finished row: its slot is free from now on, and its reply's bytes are moved to the caller. */
bool request_window_take(request_window *window, uint32_t *ret_slot, client_reply *ret_reply);

#endif
