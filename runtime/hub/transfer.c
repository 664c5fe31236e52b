/* runtime/hub/transfer.c: see transfer.h. */
#include "hub/transfer_try.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { POLL_MS = 500 };
static const double wait_first = 0.5, wait_most = 30; /* seconds before another try */

typedef struct crowd {
    const transfer_rules *rules;
    CURLM *multi;
    transfer *transfers;
    uint32_t count, running, done;
    uint32_t first_open; /* all before are done */
} crowd;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static tn_status refuse_multi(const crowd *crowd, CURLMcode code, tn_error *err)
{
    return code == CURLM_OK ? TN_OK
                            : tn_fail(err, TN_E_INTERNAL, "libcurl: %s", crowd->rules->curl->multi_strerror(code));
}

static void end_try(crowd *crowd, transfer *t)
{
    if (!t->running)
        return;
    crowd->rules->curl->multi_remove_handle(crowd->multi, t->running->easy);
    transfer_try_destroy(t->running);
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
    t->running = NULL;
    crowd->running--;
}

/* Only while it is tried, since there may be more files than a process may have open. */
static tn_status open_file(transfer *t, tn_error *err)
{
    char path[PATH_MAX];
    int bytes = snprintf(path, sizeof path, "%s/%s", t->directory, t->name);

    TN_ASSERT(bytes > 0 && bytes < PATH_MAX);
    t->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    return t->fd >= 0 && lseek(t->fd, (off_t)t->have, SEEK_SET) >= 0
               ? TN_OK
               : tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
}

static tn_status start(crowd *crowd, transfer *t, tn_error *err)
{
    tn_status status = t->directory ? open_file(t, err) : TN_OK;

    if (status == TN_OK)
        status = transfer_try_create(crowd->rules, t, &t->running, err);
    if (status != TN_OK) {
        if (t->fd >= 0)
            close(t->fd);
        t->fd = -1;
        return status;
    }
    crowd->running++;
    return refuse_multi(crowd, crowd->rules->curl->multi_add_handle(crowd->multi, t->running->easy), err);
}

/* Fills the places that are free. *ret_wait_ms: when another one is due. */
static tn_status start_due(crowd *crowd, int *ret_wait_ms, tn_error *err)
{
    double time = now(), next = time + POLL_MS / 1000.0;
    tn_status status = TN_OK;

    while (crowd->first_open < crowd->count && crowd->transfers[crowd->first_open].done)
        crowd->first_open++;
    for (uint32_t i = crowd->first_open; i < crowd->count && status == TN_OK && crowd->running < crowd->rules->parallel;
         i++) {
        transfer *t = &crowd->transfers[i];
        if (t->done || t->running)
            continue;
        if (t->due <= time)
            status = start(crowd, t, err);
        else if (t->due < next)
            next = t->due;
    }
    *ret_wait_ms = (int)((next - time) * 1000) + 1;
    return status;
}

/* Plans the next try, or gives up. */
static tn_status try_later(crowd *crowd, transfer *t, double after, tn_error *err)
{
    double wait = wait_first;

    t->failures = t->have > t->most ? 1 : t->failures + 1;
    t->most = t->have > t->most ? t->have : t->most;
    if (t->failures > crowd->rules->retries)
        return tn_fail(err, t->running->status, "%s; given up after %u tries, and the next pull goes on from here",
                       t->running->fault.msg, t->failures);
    for (uint32_t i = 1; i < t->failures && wait < wait_most; i++)
        wait *= 2;
    t->due = now() + (after > wait ? after : wait);
    return TN_OK;
}

static tn_status settle(crowd *crowd, transfer_try *attempt, CURLcode code, tn_error *err)
{
    transfer *t = attempt->transfer;
    double after;
    tn_status status = TN_OK;

    switch (transfer_try_judge(attempt, code, &after)) {
    case TRY_DONE:
        t->done = true;
        crowd->done++;
        break;
    case TRY_STEP: /* the same handle, added again */
        crowd->rules->curl->multi_remove_handle(crowd->multi, attempt->easy);
        return refuse_multi(crowd, crowd->rules->curl->multi_add_handle(crowd->multi, attempt->easy), err);
    case TRY_AGAIN:
        status = try_later(crowd, t, after, err);
        break;
    case TRY_REFUSED:
        status = tn_fail(err, attempt->status, "%s", attempt->fault.msg);
        break;
    }
    end_try(crowd, t);
    return status;
}

static tn_status settle_all(crowd *crowd, tn_error *err)
{
    const CURLMsg *message;
    int left;
    tn_status status = TN_OK;

    while (status == TN_OK && (message = crowd->rules->curl->multi_info_read(crowd->multi, &left))) {
        char *attempt = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        crowd->rules->curl->easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &attempt);
        status = settle(crowd, (transfer_try *)(void *)attempt, code, err);
    }
    return status;
}

tn_status transfers_run(const transfer_rules *rules, transfer *transfers, uint32_t count, tn_error *err)
{
    crowd crowd = {.rules = rules, .multi = rules->curl->multi_init(), .transfers = transfers, .count = count};
    int alive, wait_ms;
    tn_status status = crowd.multi ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for transfers");

    for (uint32_t i = 0; i < count; i++) {
        crowd.done += transfers[i].done;
        transfers[i].most = transfers[i].have;
    }
    while (status == TN_OK && crowd.done < count) {
        status = start_due(&crowd, &wait_ms, err);
        if (status == TN_OK)
            status = refuse_multi(&crowd, rules->curl->multi_perform(crowd.multi, &alive), err);
        if (status == TN_OK)
            status = settle_all(&crowd, err);
        if (status == TN_OK && crowd.done < count)
            status = refuse_multi(&crowd, rules->curl->multi_poll(crowd.multi, NULL, 0, wait_ms, NULL), err);
    }
    for (uint32_t i = 0; i < count; i++)
        end_try(&crowd, &transfers[i]);
    if (crowd.multi)
        rules->curl->multi_cleanup(crowd.multi);
    return status;
}
