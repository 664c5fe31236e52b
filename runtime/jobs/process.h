/* runtime/jobs/process.h: one `tenon` command of a job, watched line by line until it ends. */
#ifndef JOBS_PROCESS_H
#define JOBS_PROCESS_H

#include "tenon/error.h"

enum { PROCESS_LINE_BYTES_MAX = 1 << 20, PROCESS_LOOK_MS = 100 };

typedef struct process_watch {
    void *ctx;
    void (*line)(void *ctx, const char *line); /* of its standard output, without '\n' */
    /* The signal that it is to get now, 0: none. Asked every PROCESS_LOOK_MS, or more often. */
    int (*signal)(void *ctx);
} process_watch;

/* words: NULL-terminated, after the program's name. errors: a descriptor that takes its standard error.
 * *ret_code: its exit code; -N: signal N ended it. [any, takes as long as the command does] */
tn_status process_run(const char *program, const char *const *words, int errors, const process_watch *watch,
                      int *ret_code, tn_error *err);

#endif
