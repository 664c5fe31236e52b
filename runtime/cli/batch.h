/* runtime/cli/batch.h: what the commands of `tenon batch` share. */
#ifndef CLI_BATCH_H
#define CLI_BATCH_H

#include "cli/daemon_address.h"

#include "batch/job.h"

enum { EXIT_ROWS_FAILED = 3 };

/* Of run and retry-failed: whom to ask, and how. */
typedef struct connection_flags {
    const char *server, *token, *token_file;
    int64_t window, retries, timeout_s;
} connection_flags;

#define CONNECTION_FLAGS_DEFAULT                     \
    {                                                \
        .window = 64, .retries = 4, .timeout_s = 600 \
    }

#define CONNECTION_FLAGS(f)                                                                                          \
    {"server", "ADDRESS", FLAG_STRING, &(f).server, NULL, "unix:/PATH, http://HOST:PORT or https://HOST:PORT"},      \
        {"token",    "TOKEN", FLAG_STRING,                                                                           \
         &(f).token, NULL,    "the key at the server's door; others on this machine may see it"},                    \
        {"token-file",    "FILE", FLAG_STRING,                                                                       \
         &(f).token_file, NULL,   "a file that holds it (default: the variable TENON_API_KEY)"},                     \
        {"window", "N", FLAG_INTEGER, &(f).window, NULL, "requests in flight (default 64)"},                         \
        {"retries",    "N",  FLAG_INTEGER,                                                                           \
         &(f).retries, NULL, "more tries of a row after no connection, a lost one, 429 or 503 (0 to 4, default 4)"}, \
    {                                                                                                                \
        "timeout", "SECONDS", FLAG_INTEGER, &(f).timeout_s, NULL, "for one row, with its retries (default 600)"      \
    }

/* libcurl, the address, the limits, the signals. False: printed why; *ret_code is the exit code. */
bool connection_open(const command *command, const connection_flags *flags, const args *args,
                     batch_connection *ret_connection, int *ret_code);
/* Progress on stderr, SIGINT and SIGTERM as a wish to stop. */
batch_watch watch_start(const char *label);
/* Ends the watch, prints the counts (output NULL: they are told already) or the error; the exit code. */
int watch_finish(const char *output, tn_status status, const job_counts *counts, const tn_error *err);

#endif
