/* runtime/batch/runner.h: the rows of one batch through a window of requests, into its log. */
#ifndef BATCH_RUNNER_H
#define BATCH_RUNNER_H

#include "batch/job.h"

typedef struct batch_runner batch_runner;

/* All borrowed. */
typedef struct runner_job {
    const char *service;
    const json_t *params;
    job_log *log;
    uint64_t total;  /* rows to come, for the report */
    uint64_t rows;   /* of the whole job */
    bool zero_bytes; /* an answer may hold one; else it is the row's error */
} runner_job;

tn_status runner_create(const batch_connection *connection, const runner_job *job, const batch_watch *watch,
                        batch_runner **ret_runner, tn_error *err);
/* Asks row number `index` and waits only while the window is full. row: moved in every case. Errors: TN_E_CANCELLED
 * when told to stop (rows in flight are then finished by runner_drain), and what no row can get by. */
tn_status runner_ask(batch_runner *runner, batch_row *row, uint64_t index, tn_error *err);
/* Waits for what is in flight. TN_E_CANCELLED: told to stop, one lost its connection: it and those behind it have no
 * answer, and are the next run's to ask. */
tn_status runner_drain(batch_runner *runner, tn_error *err);
void runner_destroy(batch_runner *runner); /* NULL is fine; what is in flight is dropped */

#endif
