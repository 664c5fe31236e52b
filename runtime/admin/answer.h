/* runtime/admin/answer.h: what a call is answered, before it is sent. */
#ifndef ADMIN_ANSWER_H
#define ADMIN_ANSWER_H

#include "tenon/error.h"

#include <jansson.h>

typedef struct answer {
    uint32_t code; /* as of HTTP; 0: sent already, by the route itself */
    json_t *json;  /* owned; NULL: no content */
} answer;

/* json is moved. NULL with a code that has content: out of memory, and the answer is that. */
answer answer_json(uint32_t code, json_t *json);
answer answer_nothing(void); /* 204 */
/* {"error": {"message", "type", "param"}}; param: the field that is wrong, NULL: none. */
answer answer_error(uint32_t code, const char *param, const char *format, ...) TN_PRINTF(3, 4);
/* By the status: 400 ARGUMENT, 404 NOT_FOUND, 409 AGAIN and names that are taken (native_code EEXIST), 422 CORRUPT,
 * UNSUPPORTED and MEMORY, 503 CANCELLED, 507 IO of a disk that is full (native_code ENOSPC or EDQUOT), else 500. */
answer answer_failure(tn_status status, const char *param, const tn_error *err);
void answer_finish(answer *answer);

#endif
