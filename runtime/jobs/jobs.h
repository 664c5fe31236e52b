/* runtime/jobs/jobs.h: batches that the daemon runs: OpenAI's, over a file of the file store, and an administrator's,
 * over files and tables of this machine.
 *
 * A job is a JSON object in STORE/jobs/ID.json, replaced as a whole with every step that must survive; what has been
 * answered is in the row log (runtime/batch) of `tenon batch run`, which asks the daemon's own door, so that rows
 * share the continuous batch with everybody else. Killed at any moment, the next daemon goes on with mode resume. At
 * most so many run at once, the oldest first; each has a thread that only waits for its process.
 *
 * Lock order: the file store's before ours.
 */
#ifndef JOBS_JOBS_H
#define JOBS_JOBS_H

#include "jobs/job_files.h"

enum { JOBS_MAX = 10000, JOBS_COMPLETION_SECONDS = 24 * 3600 };

typedef struct jobs jobs;

typedef enum job_service { JOB_SERVICE_NONE, JOB_SERVICE_COMING, JOB_SERVICE_THERE } job_service;

/* Copied, but for ctx. */
typedef struct jobs_options {
    const char *folder;  /* the daemon's store */
    const char *program; /* `tenon` */
    const char *server;  /* the daemon's own door, "unix:/run/tenond.sock"; NULL: it has none that takes no token */
    uint32_t running_max, window;
    file_limits files;
    void (*tell)(const char *sentence); /* NULL: nobody reads. [any] */
    /* Whether there is such a service, and it has come up; one that is suspended is resumed. [any] */
    job_service (*look)(void *ctx, const char *service);
    void *ctx;
} jobs_options;

/* Reads what there is; runs nothing yet. */
tn_status jobs_open(const jobs_options *options, jobs **ret_jobs, tn_error *err);
/* From now on jobs run: once the door is open. */
void jobs_start(jobs *jobs);
/* Ends the processes, within some seconds, and waits; jobs stay as they are, and the next jobs_start goes on. [ctl] */
void jobs_stop(jobs *jobs);
void jobs_close(jobs *jobs); /* NULL is fine */

job_files *jobs_files(jobs *jobs);
/* Why no job can run: there is no door; NULL: they can. */
const char *jobs_obstacle(const jobs *jobs);

/* A job as it is kept. Fields are those of OpenAI's batch object, with "owner" (a token's name, null: nobody's) and
 * "task": {"kind": "batch", "command" or "sql", "service", "output_file_id", "error_file_id", "words": [what follows
 * `tenon batch run`], "input", "output", "mode"}, of which a batch has ids only. */
/* job: moved; without id, times and state, which are set. *ret_job: owned. TN_E_MEMORY: there are JOBS_MAX. */
tn_status jobs_create(jobs *jobs, json_t *job, json_t **ret_job, tn_error *err);
json_t *jobs_find(jobs *jobs, const char *id); /* owned; NULL: none, or out of memory */
json_t *jobs_list(jobs *jobs);                 /* owned, newest first; NULL: out of memory */
bool job_has_ended(const json_t *job);
/* What has been answered is kept. TN_E_NOT_FOUND; TN_E_AGAIN: it has ended. */
tn_status jobs_cancel(jobs *jobs, const char *id, tn_error *err);
/* TN_E_NOT_FOUND; TN_E_AGAIN: it has not ended. */
tn_status jobs_remove(jobs *jobs, const char *id, tn_error *err);
/* Whether one that has not ended reads the file. */
bool jobs_use_file(jobs *jobs, const char *file_id);
/* Drops what has expired: of a daemon that runs for long. */
void jobs_sweep(jobs *jobs);

#endif
