/* runtime/service/keeper.h: the parent of one engine: stamps and rotates its log, passes SIGTERM on, and writes down
 * how it ended. It has a process of its own, so that engine, log and exit code outlive the daemon.
 *
 * In the instance's folder it holds `lock` for as long as it lives, with "PID START_TIME" inside; it reads `engine.ini`
 * and writes `log` and `exit.json`. If it is killed, the kernel kills the engine.
 */
#ifndef SERVICE_KEEPER_H
#define SERVICE_KEEPER_H

#include "tenon/error.h"

#include <sys/types.h>

/* Runs `program serve --config FOLDER/engine.ini --status FOLDER/status.json` to its end. TN_E_AGAIN: the folder has a
 * keeper, or is being removed. */
tn_status keeper_run(const char *program, const char *folder, uint64_t log_bytes_max, uint32_t log_files,
                     tn_error *err);

/* Field 22 of /proc/PID/stat: with the pid it names a process for as long as the machine is up. 0: there is none. */
uint64_t process_start_time(pid_t pid);

#endif
