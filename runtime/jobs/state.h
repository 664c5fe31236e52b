/* runtime/jobs/state.h: what jobs.c and worker.c share. */
#ifndef JOBS_STATE_H
#define JOBS_STATE_H

#include "jobs/jobs.h"

#include <pthread.h>

struct jobs {
    jobs_options options;
    char folder[PATH_MAX - 128]; /* of jobs */
    char *program, *server;
    job_files *files;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    json_t *list; /* an array of jobs, oldest first */
    bool started, stopping;
    uint32_t running;
    json_t *workers; /* an object: the ids of jobs that have a thread */
};

/* Under lock; borrowed; NULL: none. */
json_t *jobs_look(jobs *jobs, const char *id);
/* Puts changes (moved, NULL: out of memory) into a job, on the disk if it is to survive. What cannot be written is told
 * and counts all the same: the next daemon does that step again. */
void jobs_change(jobs *jobs, const char *id, json_t *changes, bool durable);
/* The job has ended as `status`; as cancelled where it was completed when somebody had just cancelled it. */
void jobs_end(jobs *jobs, const char *id, const char *status, json_t *changes);
/* {"object": "list", "data": [{"code", "message", "line", "param"}]}; owned. */
json_t *job_error(const char *code, const char *message);
/* FOLDER/ID/name, "" for the folder. */
void job_path(const jobs *jobs, const char *id, const char *name, char ret_path[PATH_MAX]);

/* From the state that the job is in to its end, or until jobs_stop. [the worker's thread] */
void job_work(jobs *jobs, const char *id);

#endif
