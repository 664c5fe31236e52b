/* logs.c: what engines have printed, read from their files by the thread that asks. */
#include "base/clock.h"
#include "service/engine_log.h"
#include "service/state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FOLLOW_MS = 250, TICK_MS = 1000 };

typedef struct followed {
    char instance[INSTANCE_ID_BYTES];
    log_reader reader;
    bool listed; /* its file still grows, or has not been read yet */
    struct followed *next;
} followed;

typedef struct log_call {
    services *s;
    const char *name, *instance; /* instance NULL: all */
    uint64_t since_ms;
    const log_sink *sink;
    followed *all;
    const followed *now; /* whose lines come */
    uint64_t kept_inode; /* of the log that was kept of an instance that has ended, and read; 0: none was */
    bool told, enough;
} log_call;

static bool follow_file(log_call *call, const char *instance, const char *path)
{
    followed *found = call->all;
    while (found && strcmp(found->instance, instance) != 0)
        found = found->next;
    if (!found) {
        found = calloc(1, sizeof *found);
        if (!found)
            return false;
        snprintf(found->instance, sizeof found->instance, "%s", instance);
        log_reader_open(&found->reader, path);
        found->next = call->all;
        call->all = found;
    }
    found->listed = true;
    return true;
}

/* The log of the instance that ended last, unless it was followed while that lived. */
static bool follow_kept(log_call *call)
{
    char path[PATH_MAX];
    struct stat entry;
    snprintf(path, sizeof path, "%s/%s", call->s->logs_folder, call->name);
    if (stat(path, &entry) != 0 || (uint64_t)entry.st_ino == call->kept_inode)
        return true;
    call->kept_inode = (uint64_t)entry.st_ino;
    for (const followed *at = call->all; at; at = at->next)
        if (at->reader.inode == call->kept_inode)
            return true;
    return follow_file(call, "", path);
}

/* Instances that came since are followed too. False: the service, or the instance that was asked for, is not there. */
static bool list_followed(log_call *call, tn_error *err)
{
    services *s = call->s;
    char path[PATH_MAX];
    bool there = false, good = true;
    for (followed *at = call->all; at; at = at->next)
        at->listed = false;
    pthread_mutex_lock(&s->mutex);
    const service *service = services_find(s, call->name, err);
    if (service && !call->instance && service->count == 0)
        good = follow_kept(call);
    for (uint32_t i = 0; service && i < service->count; i++) {
        const char *id = service->instances[i].process.record.claim.instance;
        if (call->instance && strcmp(call->instance, id) != 0)
            continue;
        there = true;
        snprintf(path, sizeof path, "%s/log", service->instances[i].process.folder);
        good = follow_file(call, id, path) && good;
    }
    bool closing = s->closing;
    pthread_mutex_unlock(&s->mutex);
    if (service && call->instance && !there)
        tn_fail(err, TN_E_NOT_FOUND, "service %s has no instance \"%.40s\"", call->name, call->instance);
    return good && !closing && service && (there || !call->instance);
}

/* Those whose file has come to its end, and has been read. */
static void drop_followed(log_call *call, bool all)
{
    for (followed **at = &call->all; *at;) {
        followed *gone = *at;
        if (gone->listed && !all) {
            at = &gone->next;
            continue;
        }
        *at = gone->next;
        log_reader_close(&gone->reader);
        free(gone);
    }
}

static bool on_line(void *ctx, uint64_t time_ms, const char *text, size_t bytes)
{
    log_call *call = ctx;
    call->told = true;
    call->enough = !call->sink->line(call->sink->ctx, call->now->instance, time_ms, text, bytes);
    return !call->enough;
}

static void read_all_followed(log_call *call)
{
    for (followed *at = call->all; at && !call->enough; at = at->next) {
        call->now = at;
        log_reader_read(&at->reader, call->since_ms, on_line, call);
    }
}

static void follow(log_call *call)
{
    uint64_t tick = clock_ms() + TICK_MS;
    const struct timespec pause = {0, FOLLOW_MS * 1000000L};
    while (!call->enough) {
        nanosleep(&pause, NULL);
        bool there = list_followed(call, NULL);
        call->told = false;
        read_all_followed(call);
        drop_followed(call, false);
        if (!there)
            return;
        uint64_t now = clock_ms();
        if (call->told)
            tick = now + TICK_MS;
        if (!call->enough && now >= tick) {
            call->enough = !call->sink->line(call->sink->ctx, NULL, 0, NULL, 0);
            tick = now + TICK_MS;
        }
    }
}

tn_status services_logs(services *s, const char *name, const char *instance, uint64_t since_ms, bool follows,
                        const log_sink *sink, tn_error *err)
{
    log_call call = {.s = s, .name = name, .instance = instance, .since_ms = since_ms, .sink = sink};
    bool there = list_followed(&call, err);
    if (there) {
        read_all_followed(&call);
        if (follows)
            follow(&call);
    }
    drop_followed(&call, true);
    return there ? TN_OK : TN_E_NOT_FOUND;
}
