/* runtime/target/slurm_show.h: a service that is Slurm jobs, as it is now. */
#ifndef TARGET_SLURM_SHOW_H
#define TARGET_SLURM_SHOW_H

#include "target/slurm_jobs.h"

#include <jansson.h>

/* Of show() in target.h: the record, with what jobs of its folder, their files and the servers themselves say. Asks
 * each server whether it is ready. Owned. */
json_t *slurm_show_service(const json_t *record, const char *folder, const slurm_jobs *jobs);
/* Jobs of the folder that are live; of them, those that are to go on. */
uint32_t slurm_show_count(const slurm_jobs *jobs, const char *folder, bool only_wanted);

#endif
