/* runtime/batch/job_log.h: what a batch has been answered: an append-only file of JSON lines.
 *
 * The first line says what the job is (an object of the caller's); then one record per row: "row" (from 0), "status"
 * ("ok", "null" or "error") and what else the caller writes. Rows are written in the input's order, so that a log of N
 * rows is the first N rows of the input, and to resume is to go on at row N. A row that failed may be written again
 * behind all rows: its last record counts. In memory are the rows that failed, 24 bytes each.
 *
 * A record is there when its line is whole: what a kill or a power cut left behind the last '\n' is cut off by the next
 * writer and passed over by readers. Anything else that is no record is damage. One process writes; a lock of fcntl's
 * says which.
 */
#ifndef BATCH_JOB_LOG_H
#define BATCH_JOB_LOG_H

#include "tenon/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum { JOB_LOG_VERSION = 1 };

typedef struct job_counts {
    uint64_t ok, null, failed;
} job_counts;

typedef struct job_log job_log;

typedef enum job_log_use {
    JOB_LOG_READ,
    JOB_LOG_WRITE, /* created if there is none, and locked */
    JOB_LOG_ANEW   /* the same, but what stands there is not looked at: job_log_begin comes next */
} job_log_use;

/* Errors: TN_E_AGAIN (another process writes it),
 * TN_E_CORRUPT (names the line), TN_E_NOT_FOUND (for reading), TN_E_IO. */
tn_status job_log_open(const char *path, job_log_use use, job_log **ret_log, tn_error *err);
void job_log_close(job_log *log); /* NULL is fine */
/* What the first line says; borrowed. NULL: nothing is written yet. */
const json_t *job_log_head(const job_log *log);
/* Empties the log and writes its first line. head is borrowed and gets a "tenon_batch": JOB_LOG_VERSION. */
tn_status job_log_begin(job_log *log, json_t *head, tn_error *err);
/* Rows that have a record. */
uint64_t job_log_rows(const job_log *log);
job_counts job_log_counts(const job_log *log);
/* Whether the last record of row is an error. */
bool job_log_has_failed(const job_log *log, uint64_t row);
/* record: with "row" and "status"; row is job_log_rows(), or one that has failed. On the disk after job_log_sync, which
 * append calls every 256 records or every second. */
tn_status job_log_append(job_log *log, const json_t *record, tn_error *err);
tn_status job_log_sync(job_log *log, tn_error *err);
/* Each row's last record, in the order of rows. Ends with visit's first error. */
typedef tn_status job_log_visit(void *context, const json_t *record, tn_error *err);
tn_status job_log_each(job_log *log, job_log_visit *visit, void *context, tn_error *err);
/* The process that writes the log now; 0: none; -1: one that cannot be named from here. */
pid_t job_log_writer(job_log *log);
/* The same of a path, without reading the log; a log that is not there has none. */
pid_t job_log_writer_of(const char *path);

#endif
