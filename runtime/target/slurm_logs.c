/* slurm_logs.c: see slurm_logs.h. Files are read where they lie; those that come while they are followed are, too. */
#include "target/slurm_logs.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOGS_MAX = 256, LINE_BYTES_MAX = 16384, FOLLOW_MS = 250 };

typedef struct followed {
    char job[24];
    int fd;
    char line[LINE_BYTES_MAX];
    size_t bytes; /* of a line that has not ended */
} followed;

typedef struct log_call {
    const char *folder, *instance; /* instance NULL: all */
    uint64_t since_ms;
    const log_sink *sink;
    followed *at[LOGS_MAX];
    uint32_t count;
    bool enough;
} log_call;

static int is_log(const struct dirent *entry)
{
    size_t digits = strspn(entry->d_name, "0123456789");
    return digits > 0 && digits < 20 && strcmp(entry->d_name + digits, ".log") == 0;
}

static bool is_followed(const log_call *call, const char *job)
{
    for (uint32_t i = 0; i < call->count; i++)
        if (strcmp(call->at[i]->job, job) == 0)
            return true;
    return false;
}

static void open_log(log_call *call, const struct dirent *entry)
{
    char path[PATH_MAX + NAME_MAX + 2], job[24];
    struct stat info;

    snprintf(job, sizeof job, "%.*s", (int)strspn(entry->d_name, "0123456789"), entry->d_name);
    snprintf(path, sizeof path, "%s/%s", call->folder, entry->d_name);
    if ((call->instance && strcmp(call->instance, job) != 0) || is_followed(call, job) || call->count == LOGS_MAX)
        return;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    bool wanted = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                  (uint64_t)info.st_mtime * 1000 + 1000 >= call->since_ms;
    followed *log = wanted ? calloc(1, sizeof *log) : NULL;
    if (!log) {
        if (fd >= 0)
            close(fd);
        return;
    }
    memcpy(log->job, job, sizeof job);
    log->fd = fd;
    call->at[call->count++] = log;
}

/* Of more than can be open, the newest. */
static void open_logs(log_call *call)
{
    struct dirent **entries = NULL;
    int count = scandir(call->folder, &entries, is_log, versionsort);

    for (int i = 0; i < count; i++) {
        if (call->instance || i + LOGS_MAX >= count)
            open_log(call, entries[i]);
        free(entries[i]);
    }
    free(entries);
}

static void end_line(log_call *call, followed *log)
{
    if (!call->enough)
        call->enough = !call->sink->line(call->sink->ctx, log->job, 0, log->line, log->bytes);
    log->bytes = 0;
}

/* What has come since; a line is told when it has ended, or is too long. False: there was nothing. */
static bool read_log(log_call *call, followed *log)
{
    char data[8192];
    ssize_t count = read(log->fd, data, sizeof data);

    for (ssize_t i = 0; i < count; i++) {
        if (data[i] != '\n')
            log->line[log->bytes++] = data[i];
        if (data[i] == '\n' || log->bytes == LINE_BYTES_MAX)
            end_line(call, log);
    }
    return count > 0;
}

static void read_logs(log_call *call)
{
    for (uint32_t i = 0; i < call->count; i++)
        while (!call->enough && read_log(call, call->at[i]))
            ;
}

static void follow_logs(log_call *call)
{
    const struct timespec pause = {0, FOLLOW_MS * 1000000L};

    while (!call->enough && access(call->folder, F_OK) == 0) {
        nanosleep(&pause, NULL);
        open_logs(call);
        read_logs(call);
        if (!call->enough)
            call->enough = !call->sink->line(call->sink->ctx, NULL, 0, NULL, 0);
    }
}

tn_status slurm_logs_read(const char *folder, const char *name, const char *instance, uint64_t since_ms, bool follow,
                          const log_sink *sink, tn_error *err)
{
    log_call call = {.folder = folder, .instance = instance, .since_ms = since_ms, .sink = sink};

    open_logs(&call);
    if (instance && call.count == 0 && !follow)
        return tn_fail(err, TN_E_NOT_FOUND, "%s has no log of a job %.40s", name, instance);
    read_logs(&call);
    if (follow)
        follow_logs(&call);
    for (uint32_t i = 0; i < call.count; i++) {
        if (call.at[i]->bytes)
            end_line(&call, call.at[i]);
        close(call.at[i]->fd);
        free(call.at[i]);
    }
    return TN_OK;
}
