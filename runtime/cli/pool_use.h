/* runtime/cli/pool_use.h: what services hold of a daemon's pools. */
#ifndef CLI_POOL_USE_H
#define CLI_POOL_USE_H

#include "cli/daemon_client.h"

/* Asks the daemon and prints; an exit code. */
int pool_use_list(const daemon_flags *flags, const args *args, bool json);

#endif
