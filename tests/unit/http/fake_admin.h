/* fake_admin.h: tn.admin and tn.auth that follow a script. */
#ifndef TESTS_FAKE_ADMIN_H
#define TESTS_FAKE_ADMIN_H

#include "tenon/auth.h"
#include "tenon/frontend.h"

#include <stdatomic.h>

/* Answers:
 *   GET  /echo     200: what was asked, as JSON
 *   GET  /missing  404 with an error
 *   GET  /big      200: 3 MiB of JSON
 *   GET  /silent   nothing at all
 *   GET  /logs     text, a line every 10 ms until the reader has left; `left` then counts one more
 *   GET  /flood    text as fast as it is read, until the reader has left
 * and of call_batch whatever is asked: 200, what came, as JSON; an upload is read while `held` is 0, and `left` counts
 * one more where it did not come to its end. */
typedef struct fake_admin {
    atomic_uint calls, left, running, held;
    atomic_ullong flooded; /* bytes of /flood that were taken */
} fake_admin;

extern const tn_admin_table fake_admin_table;     /* its tn_admin is a fake_admin */
extern const tn_admin_table fake_old_admin_table; /* of a core that knows `call` alone */

/* Tokens "infer", "batch", "admin", "both" (infer and admin) and "broken" (the file cannot be read). Paths need:
 * /health none, /admin/v1 admin, others infer. */
extern const tn_auth_table fake_auth_table;

#endif
