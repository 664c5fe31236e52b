/* job_runner.h: the thread that answers a job's rows. */
#ifndef SQLITE_JOB_RUNNER_H
#define SQLITE_JOB_RUNNER_H

#include "connection.h"
#include "job.h"

/* Starts it on a claimed job. db is moved in every case; what text points to is copied. On failure the job has ended as
 * failed. */
tn_status job_runner_start(sqlite3 *db, const sql_connection *connection, const job_text *text, const job *job,
                           tn_error *err);

#endif
