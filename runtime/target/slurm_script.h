/* runtime/target/slurm_script.h: the files of a service that is Slurm jobs. */
#ifndef TARGET_SLURM_SCRIPT_H
#define TARGET_SLURM_SCRIPT_H

#include "target/target.h"

#define SLURM_SCRIPT   "job.sbatch"
#define SLURM_SETTINGS "service.ini"
#define SLURM_SECRET   "group.secret"

/* Starts in a row that fail before a job gives up. */
enum { SLURM_FAILURES_MAX = 5 };
/* Beside the drain, between the signal and the time limit: Slurm may be late by a minute. */
enum { SLURM_GRACE_S = 60 };

/* See render() of target.h. The script is one for all instances: what differs comes from SLURM_JOB_ID. */
tn_status slurm_script_render(const settings *settings, const target_service *service, target_files *ret_files,
                              tn_error *err);

#endif
