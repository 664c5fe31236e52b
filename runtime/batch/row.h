/* runtime/batch/row.h: one row of a batch: a key, and what is asked of the server. */
#ifndef BATCH_ROW_H
#define BATCH_ROW_H

#include "tenon/error.h"

#include <jansson.h>
#include <stdbool.h>

enum { ROW_BYTES_MAX = 16 << 20, ROW_KEY_BYTES_MAX = 1024 };

typedef struct batch_row {
    uint64_t place;   /* in the input: a line of a file, or the number of a record; from 1 */
    char *key;        /* owned */
    json_t *body;     /* owned: the request's fields; NULL: there is nothing to ask, SQL's NULL */
    const char *path; /* static, "/v1/chat/completions" */
    bool openai;      /* a line of OpenAI's batch files: its output is one, too */
} batch_row;

/* How prompts become requests. */
typedef struct row_form {
    bool raw;            /* the prompt goes to the model as it is, without the chat template */
    const char *system;  /* NULL: none */
    const char *service; /* that rows may name as their model; NULL: any */
} row_form;

/* key NULL: the place is the key. prompt NULL: nothing is asked. fields: a JSON object of parameters, NULL: none.
 * Errors: TN_E_ARGUMENT, without the place. On failure there is nothing to finish. */
tn_status row_from_prompt(const row_form *form, uint64_t place, const char *key, const char *prompt, json_t *fields,
                          batch_row *ret_row, tn_error *err);
/* A line of JSON: {"key", "prompt" or "messages", parameters...}, or OpenAI's {"custom_id", "method", "url", "body"}.
 */
tn_status row_from_json(const row_form *form, uint64_t place, const char *text, size_t bytes, batch_row *ret_row,
                        tn_error *err);
void row_finish(batch_row *row);

#endif
