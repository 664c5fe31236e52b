/* runtime/service/child.h: processes of our own program and of others, with a clean start: no descriptor but those
 * given, default signals, and (of our own) an environment of a few names.
 */
#ifndef SERVICE_CHILD_H
#define SERVICE_CHILD_H

#include "tenon/error.h"

#include <sys/types.h>

enum { CHILD_ENVIRONMENT_MAX = 16 };

typedef struct child_environment {
    char *at[CHILD_ENVIRONMENT_MAX + 1]; /* owned; NULL-terminated */
} child_environment;

/* devices: ordinals, "0,1", that are all it is to see; NULL or empty: those that are there. */
tn_status child_environment_make(const char *devices, child_environment *ret_environment, tn_error *err);
void child_environment_finish(child_environment *environment);

/* Starts program with argv (argv[0] included), in a session of its own, with out and error as its standard output and
 * error and nothing to read. program: a path, or a name that is looked for on PATH. environment NULL: this process's
 * own. TN_E_IO with err->native_code, the errno: it cannot be started. Exits of children are the caller's to wait for.
 */
tn_status child_start(const char *program, char *const argv[], const child_environment *environment, int out, int error,
                      pid_t *ret_pid, tn_error *err);

/* Runs it to its end, at most timeout_ms. *ret_out, *ret_error: owned texts, cut at 1 MiB. *ret_code: its exit code, -N
 * if signal N ended it. TN_E_AGAIN: it took too long, and was killed. */
tn_status child_run(const char *program, char *const argv[], const child_environment *environment, uint32_t timeout_ms,
                    char **ret_out, char **ret_error, int *ret_code, tn_error *err);

#endif
