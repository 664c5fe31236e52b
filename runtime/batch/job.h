/* runtime/batch/job.h: a batch: every row of an input asked of a server, once, through kills of either side.
 *
 * Steps: the input is read whole (a row that cannot be, or a key that was there before, stops all before anything is
 * asked) and hashed; rows are asked in their order, many at once, and each answer goes to the log; when each row has
 * one, the output is written and then the file that says so. To resume is to do the same with a log that has rows.
 */
#ifndef BATCH_JOB_H
#define BATCH_JOB_H

#include "batch/input.h"
#include "batch/output.h"

#include <signal.h>

#include "client/request_window.h"

typedef enum batch_mode { BATCH_ERROR, BATCH_OVERWRITE, BATCH_RESUME } batch_mode;

typedef struct batch_connection {
    client_server server;
    window_limits limits;
} batch_connection;

typedef struct batch_watch {
    const volatile sig_atomic_t *stop; /* not 0: nothing new is asked, what runs is waited for once */
    void (*report)(void *context, uint64_t done, uint64_t total); /* NULL: nobody looks */
    void *context;
    void (*counts)(job_counts counts, uint64_t rows); /* of the whole job, with the same; NULL: nobody looks */
} batch_watch;

typedef struct batch_request {
    const char *input, *output, *service;
    input_columns columns;
    bool raw;
    const char *system; /* NULL: none */
    json_t *params;     /* an object: fields of every request */
    batch_mode mode;
} batch_request;

/* Errors: TN_E_ARGUMENT (the input, another job's log, what the server refuses of every row), TN_E_AGAIN (another
 * process runs it), TN_E_CANCELLED (stopped: resume goes on), TN_E_CORRUPT, TN_E_IO, TN_E_MEMORY. */
tn_status batch_run(const batch_request *request, const batch_connection *connection, const batch_watch *watch,
                    job_counts *ret_counts, tn_error *err);
/* Asks the rows of a finished batch that failed again, and writes the output anew. */
tn_status batch_retry(const char *output, const batch_connection *connection, const batch_watch *watch,
                      job_counts *ret_counts, tn_error *err);

#endif
