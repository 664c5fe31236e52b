/* runtime/admin/idempotency.h: answers to requests that carry a key, so that a client may ask again when it does not
 * know what became of the first time.
 *
 * An answer is kept for IDEMPOTENCY_SECONDS, the newest IDEMPOTENCY_KEYS_MAX of them, in memory: a restart forgets
 * them. Answers of 429 and 500 and above are not kept, nor those larger than IDEMPOTENCY_BYTES_MAX: the request then
 * counts as new. A key is its caller's own: the same one of another caller is another key.
 */
#ifndef ADMIN_IDEMPOTENCY_H
#define ADMIN_IDEMPOTENCY_H

#include "registry/digest.h"
#include "tenon/auth.h"

enum {
    IDEMPOTENCY_SECONDS = 3600,
    IDEMPOTENCY_KEYS_MAX = 256,
    IDEMPOTENCY_KEY_BYTES_MAX = 128,
    IDEMPOTENCY_BYTES_MAX = 65536
};

typedef struct idempotency idempotency;

tn_status idempotency_create(idempotency **ret_table, tn_error *err);
void idempotency_destroy(idempotency *table); /* NULL is fine */
/* Wakes whoever waits; from now on begin says TN_E_CANCELLED. [any] */
void idempotency_stop(idempotency *table);

typedef struct kept_answer {
    uint32_t code; /* 0: there is none, the request is new */
    char *text;    /* owned by the caller; NULL: no content */
} kept_answer;

/* caller: of TN_TOKEN_NAME_MAX bytes at most; "": whoever needs no token. Whether the request was answered before;
 * waits where it is being answered now. request: of all that makes it what it is. TN_E_ARGUMENT: the key was used for
 * another request, or is none; TN_E_AGAIN: too many are being answered; TN_E_CANCELLED. now_s: of a clock that does not
 * go back. [any] */
tn_status idempotency_begin(idempotency *table, const char *caller, const char *key, const digest *request,
                            int64_t now_s, kept_answer *ret_answer, tn_error *err);
/* After a new one: its answer. text: borrowed. [any] */
void idempotency_end(idempotency *table, const char *caller, const char *key, uint32_t code, const char *text);

#endif
