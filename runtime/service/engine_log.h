/* runtime/service/engine_log.h: an engine's log: lines with the time they came, in files of bounded size and number.
 *
 * `log` is the newest; `log.1` came before it, and so on. A line is "2026-11-28T10:41:31.123Z text".
 */
#ifndef SERVICE_ENGINE_LOG_H
#define SERVICE_ENGINE_LOG_H

#include "tenon/error.h"

#include <limits.h>
#include <stdbool.h>

enum { LOG_LINE_BYTES_MAX = 8192, LOG_STAMP_BYTES = 25 /* with the space after it */ };

/* ---- writing: one process, one thread ---- */

typedef struct engine_log {
    char path[PATH_MAX];
    uint64_t bytes_max, bytes;
    uint32_t files;
    int fd; /* -1: it cannot be written; lines are lost until it can */
    char line[LOG_LINE_BYTES_MAX];
    size_t line_bytes; /* of a line without an end yet */
} engine_log;

void engine_log_open(engine_log *log, const char *path, uint64_t bytes_max, uint32_t files);
/* Bytes as they come; a line longer than LOG_LINE_BYTES_MAX becomes several. */
void engine_log_write(engine_log *log, const char *bytes, size_t n_bytes);
/* With what has no line end yet. */
void engine_log_close(engine_log *log);

/* ---- reading: while another writes ---- */

typedef struct log_reader {
    char path[PATH_MAX];
    int fd; /* -1: nothing was opened yet */
    uint64_t inode;
    char line[LOG_LINE_BYTES_MAX + LOG_STAMP_BYTES + 1];
    size_t line_bytes;
} log_reader;

typedef bool (*log_line)(void *ctx, uint64_t time_ms, const char *text, size_t bytes);

void log_reader_open(log_reader *reader, const char *path);
/* Every whole line that came since, oldest first; a new file is noticed. False: the caller has enough. */
bool log_reader_read(log_reader *reader, uint64_t since_ms, log_line line, void *ctx);
void log_reader_close(log_reader *reader);
/* The newest `count` lines, oldest first, of the newest 64 KiB. */
void engine_log_tail(const char *path, uint32_t count, log_line line, void *ctx);

#endif
