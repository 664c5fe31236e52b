/* runtime/cli/batch_daemon.h: `tenon batch list`, `status` and `cancel` of the jobs that a daemon runs. */
#ifndef CLI_BATCH_DAEMON_H
#define CLI_BATCH_DAEMON_H

#include "cli/daemon_client.h"

/* Each prints, as one JSON object where json says so, and returns the exit code. job: an id. */
int batch_daemon_list(const daemon_flags *daemon, const args *args, bool json);
int batch_daemon_status(const daemon_flags *daemon, const args *args, const char *job, bool json);
int batch_daemon_cancel(const daemon_flags *daemon, const args *args, const char *job);

#endif
