/* job.h: one row of llm_jobs: a query whose answers go to a table, piece by piece, until every key has one.
 *
 * All of a job is in the database: what is asked (llm_jobs), what is answered (the target). A runner that dies leaves a
 * job that another one takes up where its answers end. Handles are the job's own, never the application's.
 */
#ifndef SQLITE_JOB_H
#define SQLITE_JOB_H

#include "tenon/error.h"

#include <sqlite3ext.h>
#include <stdbool.h>

typedef struct job {
    sqlite3_int64 id;
    char runner[64]; /* process, its start, and a number: tells a runner that lives from one that died, and from another
                      */
} job;

typedef struct job_text {
    const char *service, *query, *target, *options;
} job_text;

/* Another handle of the same database. TN_E_UNSUPPORTED for one that is not in a file. */
tn_status job_database_open(sqlite3 *of, sqlite3 **ret_db, tn_error *err);
/* Makes llm_jobs and the target where they are missing, finds or makes the job, and takes it; *ret_taken false: a
 * living runner has it. Errors: TN_E_ARGUMENT when the target belongs to another query. */
tn_status job_claim(sqlite3 *db, const job_text *text, job *ret_job, bool *ret_taken, tn_error *err);
/* The same without taking it: it is "submitted", for another process to take. *ret_running: a living runner has it. */
tn_status job_register(sqlite3 *db, const job_text *text, job *ret_job, bool *ret_running, tn_error *err);
/* Adds to its rows; false when the job is no longer ours: cancelled, or deleted. */
bool job_progress(sqlite3 *db, const job *job, int rows_done, int rows_failed);
/* "done", "failed" and the like; message NULL: none. */
void job_end(sqlite3 *db, const job *job, const char *state, const char *message);
/* Runs sql with up to four texts bound to ?1...; what SQLite says otherwise. */
tn_status job_execute(sqlite3 *db, const char *sql, const char *const *texts, int count, tn_error *err);

#endif
