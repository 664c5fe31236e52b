/* runtime/admin/operation.h: what a call has begun and not waited for: how far it is, and what came of it.
 *
 * Each runs on a thread of its own. The newest OPERATIONS_MAX are kept, in memory: a restart forgets them, and ends
 * those that run.
 */
#ifndef ADMIN_OPERATION_H
#define ADMIN_OPERATION_H

#include "admin/answer.h"

#include <stdbool.h>

enum { OPERATIONS_MAX = 64, OPERATION_ID_BYTES = 17 };

typedef struct operations operations;
typedef struct operation operation;

tn_status operations_create(operations **ret_operations, tn_error *err);
/* Wakes whoever waits for one. [any] */
void operations_stop(operations *operations);
/* Waits for those that run, which somebody has told to end. NULL is fine. */
void operations_destroy(operations *operations);

/* Runs work(ctx, operation) on a thread, which ends with its answer; ctx is freed by `drop` then. ret_answer: 202 with
 * the operation as operation_json tells it, or 429: as many run as may; ctx has been dropped then. [any] */
typedef answer operation_work(void *ctx, operation *operation);
void operation_start(operations *operations, const char *kind, operation_work *work, void (*drop)(void *ctx), void *ctx,
                     answer *ret_answer);
/* How far it is, 0 to 1. [its thread] */
void operation_progress(operation *operation, double share);

/* {"id", "kind", "state" ("running", "done", "failed"), "progress" (0 to 1), "created" (ms since 1970), "code" (as of
 * HTTP; null while it runs), "result" (the answer's body; null while it runs), "error" (where it has failed)}. Waits up
 * to wait_ms for its end. NULL: there is none of that id. [any] */
json_t *operation_json(operations *operations, const char *id, uint32_t wait_ms);
/* All, the newest first. [any] */
json_t *operations_json(operations *operations);

#endif
