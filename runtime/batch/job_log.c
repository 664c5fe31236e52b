/* runtime/batch/job_log.c: see job_log.h.
 *
 * A lock of fcntl's belongs to the process and ends when any descriptor of the file is closed in it: the file is opened
 * once. What was read is never written again, so reading through a FILE and writing through its descriptor agree.
 */
#include "batch/job_log.h"

#include "batch/text_line.h"
#include "file/directory.h"
#include "file/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SYNC_RECORDS = 256, SYNC_SECONDS = 1 };
#define LINE_BYTES_MAX ((size_t)512 << 20) /* an answer of 64 MiB, every byte of it escaped */

typedef struct failed_row {
    uint64_t row;
    uint64_t later; /* where its last record stands; 0: where its first does */
    bool now;       /* it has no better one */
} failed_row;

struct job_log {
    FILE *file;
    char path[PATH_MAX];
    json_t *head;
    uint64_t rows, end, first; /* where the next record and where the first one begin */
    job_counts counts;
    failed_row *failed; /* ascending rows */
    size_t failed_count, failed_room;
    uint32_t unsynced;
    time_t synced;
    text_line line;
};

static tn_status refuse(const job_log *log, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.300s: %s", log->path, strerror(errno));
}

static tn_status fail_memory(tn_error *err)
{
    return tn_fail(err, TN_E_MEMORY, "out of memory for the rows that failed");
}

/* ---- rows that failed ---- */

static failed_row *find_failed(const job_log *log, uint64_t row)
{
    size_t low = 0, high = log->failed_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log->failed[middle].row < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->failed_count && log->failed[low].row == row ? &log->failed[low] : NULL;
}

static bool add_failed(job_log *log, uint64_t row)
{
    if (log->failed_count == log->failed_room) {
        size_t room = log->failed_room ? log->failed_room * 2 : 64;
        failed_row *failed = realloc(log->failed, room * sizeof *failed);
        if (!failed)
            return false;
        log->failed = failed;
        log->failed_room = room;
    }
    log->failed[log->failed_count++] = (failed_row){.row = row, .now = true};
    return true;
}

bool job_log_has_failed(const job_log *log, uint64_t row)
{
    const failed_row *failed = find_failed(log, row);
    return failed && failed->now;
}

/* ---- records ---- */

static uint64_t *count_of(job_log *log, const char *status)
{
    return strcmp(status, "ok") == 0      ? &log->counts.ok
           : strcmp(status, "null") == 0  ? &log->counts.null
           : strcmp(status, "error") == 0 ? &log->counts.failed
                                          : NULL;
}

/* *ret_good: false if it is no record that can stand here. */
static tn_status count_record(job_log *log, const json_t *record, uint64_t at, bool *ret_good, tn_error *err)
{
    const json_t *number = json_object_get(record, "row");
    const char *status = json_string_value(json_object_get(record, "status"));
    uint64_t *count = status ? count_of(log, status) : NULL;
    uint64_t row = (uint64_t)json_integer_value(number);
    failed_row *failed;

    *ret_good = json_is_integer(number) && json_integer_value(number) >= 0 && count && row <= log->rows;
    if (!*ret_good)
        return TN_OK;
    if (row == log->rows) {
        if (count == &log->counts.failed && !add_failed(log, row))
            return fail_memory(err);
        log->rows++;
        ++*count;
        return TN_OK;
    }
    failed = find_failed(log, row);
    *ret_good = failed && failed->now;
    if (!*ret_good)
        return TN_OK;
    failed->later = at;
    failed->now = count == &log->counts.failed;
    log->counts.failed--;
    ++*count;
    return TN_OK;
}

/* *ret_record NULL: the file ends here, perhaps with a line that is not whole. */
static tn_status read_line(job_log *log, json_t **ret_record, tn_error *err)
{
    bool any, whole;
    json_error_t fault;
    tn_status status = text_line_read(log->file, LINE_BYTES_MAX, &log->line, &any, &whole, err);

    *ret_record = NULL;
    if (status != TN_OK || !any || !whole)
        return status;
    *ret_record = json_loadb(log->line.bytes, log->line.count, JSON_ALLOW_NUL, &fault);
    if (!json_is_object(*ret_record)) {
        json_decref(*ret_record);
        *ret_record = NULL;
        return tn_fail(err, TN_E_CORRUPT, "not a JSON object");
    }
    return TN_OK;
}

static tn_status read_head(job_log *log, tn_error *err)
{
    const json_t *version;
    tn_status status = read_line(log, &log->head, err);

    if (status != TN_OK || !log->head)
        return status;
    version = json_object_get(log->head, "tenon_batch");
    if (!json_is_integer(version))
        return tn_fail(err, TN_E_CORRUPT, "this is not the log of a batch");
    if (json_integer_value(version) != JOB_LOG_VERSION)
        return tn_fail(err, TN_E_UNSUPPORTED, "the log is of version %lld, and this Tenon knows %d",
                       (long long)json_integer_value(version), JOB_LOG_VERSION);
    log->end = log->first = log->line.count + 1;
    return TN_OK;
}

/* All that is there; damage is told with its line. */
static tn_status read_all_records(job_log *log, tn_error *err)
{
    char message[sizeof err->msg];
    tn_error fault = TN_ERROR_INIT;
    uint64_t line = 1;
    bool good = true;
    json_t *record = NULL;
    tn_status status = read_head(log, &fault);

    while (status == TN_OK && log->head && good) {
        line++;
        status = read_line(log, &record, &fault);
        if (status != TN_OK || !record)
            break;
        status = count_record(log, record, log->end, &good, &fault);
        log->end += log->line.count + 1;
        json_decref(record);
    }
    if (status == TN_OK && !good)
        status = tn_fail(&fault, TN_E_CORRUPT, "no record of a row that can come here");
    if (status == TN_OK)
        return TN_OK;
    snprintf(message, sizeof message, "%s", fault.msg);
    return tn_fail(err, status, "%.250s: line %llu: %.200s%s", log->path, (unsigned long long)line, message,
                   status == TN_E_CORRUPT ? "; begin anew with --mode overwrite" : "");
}

/* ---- opening ---- */

static tn_status lock(job_log *log, tn_error *err)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fileno(log->file), F_SETLK, &all) == 0)
        return TN_OK;
    if (errno != EACCES && errno != EAGAIN)
        return refuse(log, err);
    return tn_fail(err, TN_E_AGAIN, "%.300s: process %d is running this batch; wait for it, or `tenon batch cancel` it",
                   log->path, (int)job_log_writer(log));
}

static pid_t writer_of(int fd)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    if (fcntl(fd, F_GETLK, &all) != 0 || all.l_type == F_UNLCK)
        return 0;
    return all.l_pid > 0 ? all.l_pid : -1;
}

pid_t job_log_writer(job_log *log)
{
    return writer_of(fileno(log->file));
}

pid_t job_log_writer_of(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    pid_t writer = fd < 0 ? 0 : writer_of(fd);

    if (fd >= 0)
        close(fd);
    return writer;
}

static tn_status sync_entry(const job_log *log, tn_error *err)
{
    char copy[PATH_MAX];

    memcpy(copy, log->path, sizeof copy);
    return directory_sync(dirname(copy), err);
}

tn_status job_log_open(const char *path, job_log_use use, job_log **ret_log, tn_error *err)
{
    job_log *log = calloc(1, sizeof *log);
    bool write = use != JOB_LOG_READ;
    tn_status status = TN_OK;

    if (!log)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a batch");
    snprintf(log->path, sizeof log->path, "%s", path);
    log->file = fopen(path, write ? "a+e" : "re");
    if (!log->file)
        status = !write && errno == ENOENT ? tn_fail(err, TN_E_NOT_FOUND, "%.300s: there is no such batch", path)
                                           : refuse(log, err);
    if (status == TN_OK && write)
        status = lock(log, err);
    if (status == TN_OK && write)
        status = sync_entry(log, err);
    if (status == TN_OK && use != JOB_LOG_ANEW) {
        rewind(log->file);
        status = read_all_records(log, err);
    }
    if (status == TN_OK && use == JOB_LOG_WRITE && ftruncate(fileno(log->file), (off_t)log->end) != 0)
        status = refuse(log, err);
    if (status != TN_OK) {
        job_log_close(log);
        return status;
    }
    *ret_log = log;
    return TN_OK;
}

void job_log_close(job_log *log)
{
    if (!log)
        return;
    if (log->file)
        fclose(log->file);
    json_decref(log->head);
    free(log->failed);
    text_line_finish(&log->line);
    free(log);
}

const json_t *job_log_head(const job_log *log)
{
    return log->head;
}

uint64_t job_log_rows(const job_log *log)
{
    return log->rows;
}

job_counts job_log_counts(const job_log *log)
{
    return log->counts;
}

/* ---- writing ---- */

static tn_status write_line(job_log *log, const json_t *object, tn_error *err)
{
    char *text = json_dumps(object, JSON_COMPACT);
    size_t bytes = text ? strlen(text) : 0;

    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a record");
    text[bytes] = '\n'; /* in the place of the NUL: one write, so that only its end can be missing */
    bool written = write_all(fileno(log->file), text, bytes + 1);
    free(text);
    if (!written)
        return refuse(log, err);
    log->end += bytes + 1;
    return TN_OK;
}

tn_status job_log_sync(job_log *log, tn_error *err)
{
    if (fdatasync(fileno(log->file)) != 0)
        return refuse(log, err);
    log->unsynced = 0;
    log->synced = time(NULL);
    return TN_OK;
}

tn_status job_log_begin(job_log *log, json_t *head, tn_error *err)
{
    if (json_object_set_new(head, "tenon_batch", json_integer(JOB_LOG_VERSION)) != 0)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a batch");
    if (ftruncate(fileno(log->file), 0) != 0)
        return refuse(log, err);
    json_decref(log->head);
    log->head = json_incref(head);
    log->rows = log->end = 0;
    log->failed_count = 0;
    log->counts = (job_counts){0};
    tn_status status = write_line(log, head, err);
    log->first = log->end;
    return status == TN_OK ? job_log_sync(log, err) : status;
}

tn_status job_log_append(job_log *log, const json_t *record, tn_error *err)
{
    uint64_t at = log->end;
    bool good;
    tn_status status = write_line(log, record, err);

    if (status == TN_OK)
        status = count_record(log, record, at, &good, err);
    if (status != TN_OK)
        return status;
    TN_ASSERT(good);
    if (++log->unsynced < SYNC_RECORDS && time(NULL) < log->synced + SYNC_SECONDS)
        return TN_OK;
    return job_log_sync(log, err);
}

/* ---- reading ---- */

static tn_status seek(job_log *log, uint64_t at, tn_error *err)
{
    clearerr(log->file);
    return fseeko(log->file, (off_t)at, SEEK_SET) == 0 ? TN_OK : refuse(log, err);
}

/* The record at *at, and behind it. */
static tn_status read_record(job_log *log, uint64_t *at, json_t **ret_record, tn_error *err)
{
    tn_status status = seek(log, *at, err);

    if (status == TN_OK)
        status = read_line(log, ret_record, err);
    if (status == TN_OK && !*ret_record)
        status = tn_fail(err, TN_E_CORRUPT, "%.300s: the file has become shorter", log->path);
    *at += log->line.count + 1;
    return status;
}

tn_status job_log_each(job_log *log, job_log_visit *visit, void *context, tn_error *err)
{
    uint64_t at = log->first;
    size_t next = 0; /* of the rows that failed at first */
    tn_status status = TN_OK;

    for (uint64_t row = 0; row < log->rows && status == TN_OK; row++) {
        json_t *record = NULL;
        bool failed = next < log->failed_count && log->failed[next].row == row;
        uint64_t later = failed ? log->failed[next].later : 0;
        next += failed;
        status = read_record(log, &at, &record, err);
        if (status == TN_OK && later) {
            json_decref(record);
            record = NULL;
            status = read_record(log, &later, &record, err);
        }
        if (status == TN_OK)
            status = visit(context, record, err);
        json_decref(record);
    }
    return status;
}
