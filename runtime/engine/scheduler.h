/* runtime/engine/scheduler.h: who gets rows in the next step.
 *
 * Sequences with a slot are kept in order of service (priority, arrival, choice), the others wait in a list in the same
 * order. A step takes, within max_num_batched_tokens rows and max_outputs output rows: every sequence that needs one
 * row, then chunks of prompts under way, then waiting sequences as slots and pages allow. When pages run out the last
 * in order loses its pages and is computed again later. Sequences whose client has no room for their events are passed
 * over, and are the first to lose pages that others need. Loop thread only.
 */
#ifndef ENGINE_SCHEDULER_H
#define ENGINE_SCHEDULER_H

#include "engine/page_table.h"
#include "engine/sequence.h"

#include <stdatomic.h>

/* One sequence's share of a step. */
typedef struct scheduled {
    sequence *sequence;                /* NULL: it ended while the step was under way */
    uint32_t start, count;             /* positions [start, start + count) */
    uint32_t score_first, score_count; /* positions whose next prompt token is scored; output rows in front */
    uint32_t out_first;                /* its first output row of the step */
    bool samples;                      /* its last row samples a token; that is its last output row */
} scheduled;

typedef struct schedule {
    uint32_t count, token_count, out_count;
    scheduled *item; /* [max_num_seqs] */
} schedule;

typedef struct scheduler {
    uint32_t slot_count, running_count, waiting_count;
    atomic_uint free_slot_count; /* written by the loop, read by submit */
    sequence **running;          /* [slot_count] in order of service; they hold pages */
    sequence **snapshot;         /* [slot_count] running as a pass began */
    uint32_t *free_slot;         /* [slot_count] a stack */
    sequence *waiting_head, *waiting_tail;
    bool blocked;    /* the first that waits did not fit, and nothing has ended since */
    tn_kvmove *move; /* [group_count] of a fork */
} scheduler;

void scheduler_layout(scheduler *scheduler, uint32_t group_count, carve *memory);
void scheduler_init(scheduler *scheduler);
void schedule_layout(schedule *schedule, uint32_t slot_count, carve *memory);

/* Queues a sequence in order. */
void scheduler_enqueue(tn_engine *engine, sequence *sequence);
/* Tells ACCEPTED, once per request, with what was found in the cache. */
void scheduler_accept(tn_engine *engine, const sequence *sequence);
/* Takes a sequence out of wherever it is; its slot and pages become free. */
void scheduler_remove(tn_engine *engine, sequence *sequence);
/* Plans a step. only_running: neither admit nor preempt (a step is under way). */
void scheduler_plan(tn_engine *engine, schedule *schedule, bool only_running);
/* True if a waiting sequence could perhaps be admitted now. */
bool scheduler_has_candidate(const tn_engine *engine);
/* Takes back what a plan that the backend did not take has promised and told. */
void scheduler_abandon(tn_engine *engine, const schedule *schedule);
/* Tokens of the prompt that choices share: all but the last, or without page copies the whole pages below it. Until the
 * fork, choice 0 must keep what a query at this position sees. */
uint32_t scheduler_fork_point(const tn_engine *engine, const struct request *request);
/* The prompt of choice 0 is in KV: its siblings share it and start. An error is the backend's. */
tn_status scheduler_fork(tn_engine *engine, sequence *first, tn_error *err);

#endif
