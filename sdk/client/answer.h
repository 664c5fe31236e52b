/* sdk/client/answer.h: what a reply means: an answer, a row's error, or one that every row would meet. */
#ifndef CLIENT_ANSWER_H
#define CLIENT_ANSWER_H

#include "client/request_window.h"

#include <jansson.h>

typedef enum answer_kind {
    ANSWER_OK,
    ANSWER_NULL,    /* nothing was asked */
    ANSWER_ROW,     /* this row has failed: code and message */
    ANSWER_SYSTEMIC /* no row can succeed: no server, no such service, no permission, an option that is refused */
} answer_kind;

typedef struct client_answer {
    answer_kind kind;
    uint32_t attempts, latency_ms;
    json_t *root;      /* owned; the server's object; NULL unless ANSWER_OK */
    const char *value; /* the text, borrowed from root; NULL if this answer has none */
    size_t value_bytes;
    const char *finish_reason;                /* borrowed from root; NULL if this answer has none */
    int64_t prompt_tokens, completion_tokens; /* -1: not told */
    uint32_t http_status;                     /* by which the server refused; 0: it did not, or was not there */
    char code[64];                            /* "context_length_exceeded", "timeout", "http_500"; "" unless failed */
    char message[600];                        /* UTF-8, as is code; what is longer is cut */
} client_answer;

/* Takes reply's bytes. wants_text: an answer without a choice's text is a row's error. row_fields: what the row itself
 * added to the request, so that a refusal of one of those is the row's; NULL: nothing. */
void client_answer_read(client_reply *reply, bool wants_text, const json_t *row_fields, client_answer *ret_answer);
/* The row's error for an answer that is not what was asked for; one that was cut at its limit says so. */
void client_answer_reject(const client_answer *answer, client_answer *ret_fault);
/* An answer that says no without a request. */
void client_answer_fail(client_answer *ret_answer, answer_kind kind, const char *code, const char *message);
/* "ok", "null" or "error": llm_map's column. */
const char *client_answer_status(const client_answer *answer);
/* For a SQL whose texts end at a zero byte: an answer that holds one, in its value or anywhere in its root, becomes the
 * row's error. */
void client_answer_forbid_zero(client_answer *answer, bool anywhere);
/* Says what the server lacks where it only said that it does not know a path. what: "embeddings". */
void client_answer_name_missing(client_answer *answer, const char *what);
void client_answer_finish(client_answer *answer);

#endif
