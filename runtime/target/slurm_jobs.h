/* runtime/target/slurm_jobs.h: what Slurm knows of the jobs of services, as squeue prints it. */
#ifndef TARGET_SLURM_JOBS_H
#define TARGET_SLURM_JOBS_H

#include "tenon/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { SLURM_JOBS_MAX = 512, SLURM_JOB_BYTES = 24 };

typedef struct slurm_job {
    char id[SLURM_JOB_BYTES]; /* digits */
    char state[24];           /* "RUNNING" */
    char host[256];           /* that its script runs on; empty: none yet */
    char reason[96];
    uint64_t started_ms;   /* since 1970; 0: it has not started */
    char folder[PATH_MAX]; /* that it works in */
} slurm_job;

typedef struct slurm_jobs {
    slurm_job *at; /* owned; oldest first */
    uint32_t count;
} slurm_jobs;

/* What SLURM_JOBS_FORMAT prints. Lines about anything else than whole jobs (arrays, parts) are left out; one that is
 * not of this format at all, or more than SLURM_JOBS_MAX, is TN_E_CORRUPT. */
#define SLURM_JOBS_FORMAT "%i|%T|%B|%S|%r|%Z"
tn_status slurm_jobs_parse(const char *text, slurm_jobs *ret_jobs, tn_error *err);
/* Of this user, with one of the names: "tenon-a,tenon-b". Those that ended some minutes ago are still among them. */
tn_status slurm_jobs_ask(const char *names, slurm_jobs *ret_jobs, tn_error *err);
void slurm_jobs_finish(slurm_jobs *jobs); /* zeroed is fine */

/* It waits, runs, or is about to end: it holds, or will hold, nodes. */
bool slurm_job_is_live(const slurm_job *job);

#endif
