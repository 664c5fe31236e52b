/* runtime/target/slurm_logs.h: what jobs of a service have printed. */
#ifndef TARGET_SLURM_LOGS_H
#define TARGET_SLURM_LOGS_H

#include "service/services.h"

/* See logs() of target.h. Lines have no time of their own (0): since_ms leaves out logs that have not grown since. */
tn_status slurm_logs_read(const char *folder, const char *name, const char *instance, uint64_t since_ms, bool follow,
                          const log_sink *sink, tn_error *err);

#endif
