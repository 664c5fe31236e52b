/* runtime/admin/program.h: `tenon` commands run for a request, in processes of their own.
 *
 * What reads a model's files takes long or reads what strangers wrote: hashing, opening and planning happen there. A
 * hostile file can then cost no more than its own process; the daemon's end ends them all, which the registry survives
 * by its nature; and a plan may load plugins with settings other than those of this process, which has them once.
 */
#ifndef ADMIN_PROGRAM_H
#define ADMIN_PROGRAM_H

#include "tenon/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct programs programs;

enum { PROGRAMS_MAX = 4, PROGRAM_WORDS_MAX = 256, PROGRAM_OUTPUT_BYTES_MAX = 16 << 20 };

/* path: of the program, copied; NULL: the one that runs. */
tn_status programs_create(const char *path, programs **ret_programs, tn_error *err);
const char *programs_path(const programs *programs);
/* Ends those that run; from now on run says TN_E_CANCELLED. [any] */
void programs_stop(programs *programs);
/* After the last run. NULL is fine. */
void programs_destroy(programs *programs);

typedef struct program_result {
    int exit_code;     /* -N: ended by signal N */
    char *output;      /* owned, terminated */
    size_t bytes;      /* of it */
    char message[504]; /* the last line of standard error, without "tenon: " */
} program_result;

/* Who wants to know how far it is, as of its standard error: "logging: 42 % of 3.1 GiB" is 0.42. */
typedef struct program_watch {
    void (*progress)(void *ctx, double share);
    void *ctx;
} program_watch;

/* Runs it with words (NULL-terminated) after its name and waits for its end. watch: NULL: nobody. TN_E_AGAIN: as many
 * as may run do so. TN_E_ARGUMENT: the words are more than a program can be given. TN_E_CANCELLED: the daemon is
 * ending. TN_E_CORRUPT: it says too much. [any] */
tn_status programs_run(programs *programs, const char *const *words, const program_watch *watch,
                       program_result *ret_result, tn_error *err);
void program_result_finish(program_result *result); /* a zeroed one is fine */

#endif
