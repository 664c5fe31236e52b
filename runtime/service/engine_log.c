/* engine_log.c: see engine_log.h. Nothing here fails: a log that cannot be written must not end what it is about. */
#include "service/engine_log.h"

#include "file/whole_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TAIL_BYTES = 64 << 10, FILES_MAX = 100 };

/* ---- writing ---- */

static void open_file(engine_log *log)
{
    struct stat entry;
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    log->bytes = log->fd >= 0 && fstat(log->fd, &entry) == 0 ? (uint64_t)entry.st_size : 0;
}

void engine_log_open(engine_log *log, const char *path, uint64_t bytes_max, uint32_t files)
{
    *log = (engine_log){.bytes_max = bytes_max, .files = files};
    snprintf(log->path, sizeof log->path, "%s", path);
    open_file(log);
}

static void file_name(const char *path, uint32_t age, char name[PATH_MAX + 16])
{
    snprintf(name, PATH_MAX + 16, age ? "%s.%u" : "%s", path, age);
}

static void rotate(engine_log *log)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    close(log->fd);
    file_name(log->path, log->files - 1, to);
    unlink(to);
    for (uint32_t age = log->files - 1; age > 0; age--) {
        file_name(log->path, age - 1, from);
        file_name(log->path, age, to);
        rename(from, to);
    }
    open_file(log);
}

static void stamp(char text[LOG_STAMP_BYTES + 1])
{
    struct timespec now;
    struct tm parts;
    char seconds[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(seconds + strlen(seconds), 8, ".%03uZ ", (unsigned)(now.tv_nsec / 1000000) % 1000);
    memcpy(text, seconds, LOG_STAMP_BYTES);
    text[LOG_STAMP_BYTES] = '\0';
}

static void end_line(engine_log *log)
{
    char whole[LOG_STAMP_BYTES + LOG_LINE_BYTES_MAX + 2];
    size_t bytes = LOG_STAMP_BYTES + log->line_bytes + 1;

    stamp(whole);
    memcpy(whole + LOG_STAMP_BYTES, log->line, log->line_bytes);
    whole[bytes - 1] = '\n';
    log->line_bytes = 0;
    if (log->fd < 0)
        open_file(log);
    else if (log->bytes && log->bytes + bytes > log->bytes_max)
        rotate(log);
    if (log->fd >= 0 && write_all(log->fd, whole, bytes))
        log->bytes += bytes;
}

void engine_log_write(engine_log *log, const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] == '\n' || log->line_bytes == LOG_LINE_BYTES_MAX)
            end_line(log);
        if (bytes[i] != '\n')
            log->line[log->line_bytes++] = bytes[i];
    }
}

void engine_log_close(engine_log *log)
{
    if (log->line_bytes)
        end_line(log);
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

/* ---- reading ---- */

static bool parse_stamp(const char *line, size_t bytes, uint64_t *ret_ms)
{
    struct tm parts = {0};
    char text[LOG_STAMP_BYTES + 1];
    if (bytes < LOG_STAMP_BYTES)
        return false;
    memcpy(text, line, LOG_STAMP_BYTES);
    text[LOG_STAMP_BYTES] = '\0';
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &parts);
    if (!rest)
        return false;
    *ret_ms = (uint64_t)timegm(&parts) * 1000 + strtoul(rest, NULL, 10);
    return true;
}

typedef struct line_call {
    uint64_t since_ms;
    log_line line;
    void *ctx;
} line_call;

/* What is not stamped is not ours: a file may have been cut. */
static bool tell(const char *line, size_t bytes, const line_call *call)
{
    uint64_t time_ms;
    if (!parse_stamp(line, bytes, &time_ms) || time_ms < call->since_ms)
        return true;
    return call->line(call->ctx, time_ms, line + LOG_STAMP_BYTES, bytes - LOG_STAMP_BYTES);
}

void log_reader_open(log_reader *reader, const char *path)
{
    *reader = (log_reader){.fd = -1};
    snprintf(reader->path, sizeof reader->path, "%s", path);
}

void log_reader_close(log_reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
}

/* All that is in the open file by now. */
static bool read_lines(log_reader *reader, const line_call *call)
{
    char block[4096];
    ssize_t count;
    while ((count = read(reader->fd, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < count; i++) {
            if (block[i] != '\n') {
                if (reader->line_bytes < sizeof reader->line)
                    reader->line[reader->line_bytes++] = block[i];
                continue;
            }
            size_t bytes = reader->line_bytes;
            reader->line_bytes = 0;
            if (!tell(reader->line, bytes, call))
                return false;
        }
    }
    return true;
}

static bool open_inode(log_reader *reader, const char *path)
{
    struct stat entry;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &entry) != 0) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    log_reader_close(reader);
    reader->fd = fd;
    reader->inode = (uint64_t)entry.st_ino;
    reader->line_bytes = 0;
    return true;
}

/* The age of the file that is being read, by its inode; 0 if it is the newest, or gone. */
static uint32_t age_of(const log_reader *reader)
{
    char name[PATH_MAX + 16];
    struct stat entry;
    for (uint32_t age = 0; age < FILES_MAX; age++) {
        file_name(reader->path, age, name);
        if (stat(name, &entry) != 0)
            break;
        if ((uint64_t)entry.st_ino == reader->inode)
            return age;
    }
    return 0;
}

static bool is_newest(const log_reader *reader)
{
    struct stat entry;
    return stat(reader->path, &entry) != 0 || (uint64_t)entry.st_ino == reader->inode;
}

static uint32_t oldest(const char *path)
{
    char name[PATH_MAX + 16];
    uint32_t age = 0;
    for (; age + 1 < FILES_MAX; age++) {
        file_name(path, age + 1, name);
        if (access(name, F_OK) != 0)
            break;
    }
    return age;
}

bool log_reader_read(log_reader *reader, uint64_t since_ms, log_line line, void *ctx)
{
    const line_call call = {since_ms, line, ctx};
    char name[PATH_MAX + 16];

    if (reader->fd < 0) {
        file_name(reader->path, oldest(reader->path), name);
        if (!open_inode(reader, name))
            return true;
    }
    for (uint32_t files = 0; files < FILES_MAX; files++) {
        if (!read_lines(reader, &call))
            return false;
        if (is_newest(reader))
            return true;
        uint32_t age = age_of(reader);
        file_name(reader->path, age ? age - 1 : oldest(reader->path), name);
        if (!read_lines(reader, &call)) /* what came before it was renamed */
            return false;
        if (!open_inode(reader, name))
            return true;
    }
    return true;
}

void engine_log_tail(const char *path, uint32_t count, log_line line, void *ctx)
{
    const line_call call = {0, line, ctx};
    struct stat entry;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = malloc(TAIL_BYTES);
    if (fd >= 0 && text && fstat(fd, &entry) == 0) {
        uint64_t size = (uint64_t)entry.st_size, bytes = size < TAIL_BYTES ? size : TAIL_BYTES, begin = bytes;
        if (!read_all(fd, text, bytes, size - bytes))
            begin = bytes = 0;
        for (uint32_t lines = 0; begin > 0; begin--)
            if (text[begin - 1] == '\n' && lines++ == count)
                break;
        for (uint64_t at = begin; at < bytes;) {
            const char *end = memchr(text + at, '\n', bytes - at);
            uint64_t to = end ? (uint64_t)(end - text) : bytes;
            if (!tell(text + at, to - at, &call))
                break;
            at = to + 1;
        }
    }
    free(text);
    if (fd >= 0)
        close(fd);
}
