/* runtime/workers/workers.h: this process in a group that runs one model together: rank 0, which has the engine and the
 * front ends, or a worker, which does what rank 0's backend is told to do.
 *
 * Every worker has one connection to rank 0, and a thread on each side watches it: whoever dies, fails or leaves ends
 * the group, the device work of every other process is aborted, and each says in a sentence who it was and why. Reasons
 * travel through the group's store (tn.rendezvous abort), which also carries everything before the first step.
 */
#ifndef WORKERS_WORKERS_H
#define WORKERS_WORKERS_H

#include "settings/settings.h"
#include "tenon/backend.h"
#include "tenon/rendezvous.h"
#include "workers/step_message.h"

#include <signal.h>

typedef struct workers workers;

/* Joins the group of the settings and connects to its other processes, within [group] join_timeout. *ret_workers: NULL
 * where the settings name no group of several. signals: blocked ones that tell a process to stop, which are taken
 * here from now on, and at a worker become rank 0's. [ctl] */
tn_status workers_open(const settings *settings, const sigset_t *signals, workers **ret_workers, tn_error *err);
/* Ends the group: with the reason of the first failure, if there was one; else orderly, which rank 0 waits for. NULL is
 * fine. [ctl] */
void workers_close(workers *workers);

const tn_group *workers_group(const workers *workers);
/* Rank 0: the model is served. From now on *ret_fd is readable once any process was told to stop or the group has
 * failed; until now, being told to stop ended the group. A stop that has not come to workers_dismiss a few seconds
 * after drain_ms ends the group, too: some process stands still. [ctl] */
void workers_begin_service(workers *workers, uint32_t drain_ms, int *ret_fd);
/* Rank 0: writes which process was told to stop, by what signal; false: none. */
bool workers_stop_was_asked(workers *workers, char *sentence, size_t n);

/* What a failure of the group aborts; NULL before dev is closed. [ctl] */
void workers_set_device(workers *workers, const tn_backend *backend, tn_dev *dev);

/* TN_OK, or the reason for which the group is over. [any] */
tn_status workers_check(workers *workers, tn_error *err);
/* Something failed here. That may be for what happened elsewhere, so there is a moment for that to be known; else
 * `status` and `reason` are why the group ends. Returns the status of the reason that stands, which err has. [any] */
tn_status workers_fail(workers *workers, tn_status status, const char *reason, tn_error *err);

/* ---- between rank 0 and its workers ---- */

/* Rank 0: a message to all workers. A connection that has ended is no failure of this call. [step, ctl] */
void workers_send(workers *workers, const uint8_t *message, size_t n);
/* A worker: the next message; *ret_n bytes of payload, borrowed until the next call. The reason of the group's end is
 * the status once it is over. [step, ctl] */
tn_status workers_receive(workers *workers, step_buffer *in, uint32_t *ret_kind, size_t *ret_n, tn_error *err);
/* Rank 0: what has gone so far is all; connections that end from now on are in order. Waits for them. [ctl] */
void workers_dismiss(workers *workers);
/* A worker: has been dismissed. [ctl] */
void workers_leave(workers *workers);

#endif
