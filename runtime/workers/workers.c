/* workers.c: see workers.h. The watcher's thread is the only one that learns how a connection ends; all others wait for
 * its word.
 */
#include "workers/workers.h"

#include "group/rendezvous.h"
#include "workers/links.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long a connection's end waits for the store to say why; how long a failure here waits for one elsewhere; how long
 * rank 0 waits for workers that it dismissed; how long after draining it may take to come to that. */
enum { REASON_MS = 2000, ELSEWHERE_MS = 1000, DISMISS_MS = 30000, STOP_GRACE_MS = 5000 };

struct workers {
    tn_group group;
    int *fd;                  /* [world] as links_open gives them; the watcher closes none */
    int wake, event, signals; /* wake: ends the watcher; event: of rank 0 */
    pthread_t watcher;
    struct pollfd *polls; /* [world + 2] the watcher's */
    uint64_t stop_by_ms;  /* the watcher's; 0: nobody was told to stop */

    pthread_mutex_t device_lock; /* alone, and over abort */
    const tn_backend *backend;
    tn_dev *dev;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    /* under lock: */
    bool dismissing;   /* connections end in order */
    bool losing;       /* the watcher is finding out why one has ended */
    uint32_t open;     /* connections that have not ended */
    tn_status failure; /* of the group; the first stands */
    tn_error reason;
    bool serving; /* rank 0 has something to finish, within: */
    uint32_t drain_ms;
    uint32_t stop_rank, stop_signal; /* signal 0: nobody was told to stop */
};

/* ---- failure ---- */

static void notify(const workers *w)
{
    ssize_t n = write(w->event, &(uint64_t){1}, sizeof(uint64_t));
    TN_ASSERT(n == sizeof(uint64_t));
}

/* The first reason is the one that stands, here and for the others, who are told. Whoever sends or receives wakes;
 * descriptors stay open until all threads are done. */
static void end_group(workers *w, tn_status status, const char *reason)
{
    pthread_mutex_lock(&w->lock);
    bool first = w->failure == TN_OK;
    if (first) {
        w->failure = status;
        tn_fail(&w->reason, status, "%s", reason);
    }
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (!first)
        return;
    rendezvous_table.abort(NULL, reason);
    for (uint32_t i = 0; i < w->group.world; i++)
        if (w->fd[i] >= 0)
            shutdown(w->fd[i], SHUT_RDWR);
    notify(w);
}

static void abort_device(workers *w)
{
    pthread_mutex_lock(&w->device_lock);
    if (w->dev && w->backend->abort)
        w->backend->abort(w->dev);
    pthread_mutex_unlock(&w->device_lock);
}

/* The connection to `rank` has ended. Whoever left with a reason has put it into the store first. */
static void lose(workers *w, uint32_t rank)
{
    tn_error why = TN_ERROR_INIT;
    char host[STORE_HOST_MAX + 1] = "an unknown host";
    char sentence[STORE_REASON_MAX + 1];
    uint64_t none = 0;

    abort_device(w);
    tn_status status = rendezvous_get("tn/never", NULL, &none, REASON_MS, &why);
    if (status == TN_E_NOT_FOUND) {
        rendezvous_host(rank, host, NULL);
        snprintf(sentence, sizeof sentence, "rank %u on %.200s is gone: its connection to rank %u ended", rank, host,
                 w->group.rank);
        status = TN_E_DEVICE_LOST;
    } else {
        snprintf(sentence, sizeof sentence, "%.*s", STORE_REASON_MAX, why.msg);
    }
    end_group(w, status, sentence);
}

tn_status workers_check(workers *w, tn_error *err)
{
    pthread_mutex_lock(&w->lock);
    tn_status status = w->failure == TN_OK ? TN_OK : tn_fail(err, w->failure, "%s", w->reason.msg);
    pthread_mutex_unlock(&w->lock);
    return status;
}

/* Until the group has failed, at most ms, or as long as the watcher takes that is at it. */
static void await_failure(workers *w, uint32_t ms)
{
    const uint64_t until_ms = clock_ms() + ms;
    const struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int code = 0;

    pthread_mutex_lock(&w->lock);
    while (w->failure == TN_OK && (w->losing || code == 0))
        code = w->losing ? pthread_cond_wait(&w->changed, &w->lock)
                         : pthread_cond_timedwait(&w->changed, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
}

tn_status workers_fail(workers *w, tn_status status, const char *reason, tn_error *err)
{
    char sentence[STORE_REASON_MAX + 1];

    snprintf(sentence, sizeof sentence, "%.*s", STORE_REASON_MAX, reason);
    await_failure(w, ELSEWHERE_MS);
    end_group(w, status, sentence);
    return workers_check(w, err);
}

void workers_set_device(workers *w, const tn_backend *backend, tn_dev *dev)
{
    pthread_mutex_lock(&w->device_lock);
    w->backend = backend;
    w->dev = dev;
    pthread_mutex_unlock(&w->device_lock);
}

/* ---- watching ---- */

/* A process was told to stop. Rank 0 finishes what runs; before anything does, there is nothing to finish. */
static void take_stop(workers *w, uint32_t rank, uint32_t signal)
{
    char host[STORE_HOST_MAX + 1] = "an unknown host", sentence[STORE_REASON_MAX + 1];

    pthread_mutex_lock(&w->lock);
    bool serving = w->serving;
    if (serving && !w->stop_signal) {
        w->stop_rank = rank;
        w->stop_signal = signal;
        w->stop_by_ms = clock_ms() + w->drain_ms + STOP_GRACE_MS;
    }
    pthread_mutex_unlock(&w->lock);
    if (serving) {
        notify(w);
        return;
    }
    rendezvous_host(rank, host, NULL);
    snprintf(sentence, sizeof sentence, "rank %u on %.200s was told to stop (%s) before the model was loaded", rank,
             host, strsignal((int)signal));
    abort_device(w);
    end_group(w, TN_E_CANCELLED, sentence);
}

/* A worker says only one thing. False: it says something else. */
static bool hear_stop(workers *w, uint32_t rank)
{
    uint8_t message[STEP_NUMBER_BYTES];
    uint32_t kind, bytes;
    uint64_t signal;
    ssize_t n = recv(w->fd[rank], message, sizeof message, MSG_WAITALL);

    if (n != (ssize_t)sizeof message || step_message_read_head(message, &kind, &bytes, NULL) != TN_OK ||
        kind != STEP_STOP ||
        step_message_read_number(message + STEP_HEAD_BYTES, sizeof message - STEP_HEAD_BYTES, &signal, NULL) != TN_OK)
        return false;
    take_stop(w, rank, signal > 0 && signal < NSIG ? (uint32_t)signal : SIGTERM);
    return true;
}

static void take_signal(workers *w)
{
    struct signalfd_siginfo info;
    uint8_t stop[STEP_NUMBER_BYTES];

    if (read(w->signals, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    step_message_write_number(stop, STEP_STOP, info.ssi_signo);
    if (w->group.rank == 0)
        take_stop(w, 0, info.ssi_signo);
    else
        send(w->fd[0], stop, sizeof stop, MSG_NOSIGNAL); /* if rank 0 is gone, the watcher is about to know */
}

/* The connection at `index` has ended: in order, or the group with it. */
static void end_link(workers *w, uint32_t index)
{
    pthread_mutex_lock(&w->lock);
    bool in_order = w->dismissing || w->failure != TN_OK;
    w->open--;
    w->losing = !in_order;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (!in_order)
        lose(w, w->group.rank == 0 ? index : 0);
}

/* Milliseconds until a stop must be done; -1: there is none. */
static int stop_left_ms(const workers *w)
{
    uint64_t now_ms = clock_ms();
    uint64_t left = w->stop_by_ms > now_ms ? w->stop_by_ms - now_ms : 0;
    return w->stop_by_ms == 0 ? -1 : left < INT_MAX ? (int)left : INT_MAX;
}

/* A process that stands still keeps the others in a step, and rank 0 from finishing. */
static void end_stuck_stop(workers *w)
{
    char sentence[STORE_REASON_MAX + 1];

    w->stop_by_ms = 0;
    pthread_mutex_lock(&w->lock);
    bool done = w->dismissing || w->failure != TN_OK;
    uint32_t drain_ms = w->drain_ms;
    pthread_mutex_unlock(&w->lock);
    if (done)
        return;
    snprintf(sentence, sizeof sentence,
             "told to stop, rank 0 was not done %d s after engine.drain_timeout = %g: some rank stands still",
             STOP_GRACE_MS / 1000, drain_ms / 1000.0);
    abort_device(w);
    end_group(w, TN_E_DEVICE_LOST, sentence);
}

/* Rank 0 reads what workers say; a worker reads steps elsewhere, and here only sees the connection end. */
static void *watch(void *argument)
{
    workers *w = argument;
    const bool first = w->group.rank == 0;
    const uint32_t world = w->group.world;
    const short wanted = first ? POLLIN | POLLRDHUP : POLLRDHUP;
    struct pollfd *polls = w->polls;

    for (uint32_t i = 0; i < world; i++)
        polls[i] = (struct pollfd){.fd = w->fd[i], .events = wanted};
    polls[world] = (struct pollfd){.fd = w->signals, .events = POLLIN};
    polls[world + 1] = (struct pollfd){.fd = w->wake, .events = POLLIN};
    while (!polls[world + 1].revents) {
        int ready = poll(polls, world + 2, stop_left_ms(w));
        if (ready == 0)
            end_stuck_stop(w);
        if (ready <= 0)
            continue;
        if (polls[world].revents)
            take_signal(w);
        for (uint32_t i = 0; i < world; i++) {
            if (!polls[i].revents || (first && !(polls[i].revents & ~POLLIN) && hear_stop(w, i)))
                continue;
            polls[i].fd = -1;
            polls[i].revents = 0;
            end_link(w, i);
        }
    }
    return NULL;
}

/* ---- messages ---- */

void workers_send(workers *w, const uint8_t *message, size_t n)
{
    for (uint32_t i = 1; i < w->group.world; i++) {
        for (size_t at = 0; at < n;) {
            ssize_t part = send(w->fd[i], message + at, n - at, MSG_NOSIGNAL);
            if (part < 0 && errno == EINTR)
                continue;
            if (part <= 0)
                break; /* the watcher knows, or is about to */
            at += (size_t)part;
        }
    }
}

static bool receive_all(const workers *w, uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t part = recv(w->fd[0], bytes, n, MSG_WAITALL);
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        bytes += part;
        n -= (size_t)part;
    }
    return true;
}

tn_status workers_receive(workers *w, step_buffer *in, uint32_t *ret_kind, size_t *ret_n, tn_error *err)
{
    uint8_t head[STEP_HEAD_BYTES];
    uint32_t bytes = 0;

    bool there = receive_all(w, head, sizeof head);
    tn_status status = there ? step_message_read_head(head, ret_kind, &bytes, err) : TN_OK;
    if (status == TN_OK && there)
        status = step_buffer_reserve(in, bytes, err);
    if (status != TN_OK)
        return status;
    there = there && receive_all(w, in->bytes, bytes);
    *ret_n = bytes;
    return there ? TN_OK : workers_fail(w, TN_E_DEVICE_LOST, "rank 0 ended its connection", err);
}

void workers_dismiss(workers *w)
{
    const uint64_t until_ms = clock_ms() + DISMISS_MS;
    const struct timespec until = {.tv_sec = (time_t)(until_ms / 1000), .tv_nsec = (long)(until_ms % 1000) * 1000000};
    uint8_t end[STEP_NUMBER_BYTES];
    int code = 0;

    pthread_mutex_lock(&w->lock);
    w->dismissing = w->failure == TN_OK;
    bool in_order = w->dismissing;
    pthread_mutex_unlock(&w->lock);
    if (!in_order)
        return;
    step_message_write_number(end, STEP_END, 0);
    workers_send(w, end, sizeof end);
    pthread_mutex_lock(&w->lock);
    while (w->open > 0 && code == 0)
        code = pthread_cond_timedwait(&w->changed, &w->lock, &until);
    pthread_mutex_unlock(&w->lock);
}

void workers_leave(workers *w)
{
    pthread_mutex_lock(&w->lock);
    w->dismissing = true;
    pthread_mutex_unlock(&w->lock);
    shutdown(w->fd[0], SHUT_RDWR);
}

/* ---- what rank 0 asks ---- */

const tn_group *workers_group(const workers *w)
{
    return &w->group;
}

void workers_begin_service(workers *w, uint32_t drain_ms, int *ret_fd)
{
    pthread_mutex_lock(&w->lock);
    w->serving = true;
    w->drain_ms = drain_ms;
    pthread_mutex_unlock(&w->lock);
    *ret_fd = w->event;
}

bool workers_stop_was_asked(workers *w, char *sentence, size_t n)
{
    char host[STORE_HOST_MAX + 1] = "an unknown host";

    pthread_mutex_lock(&w->lock);
    uint32_t rank = w->stop_rank, signal = w->stop_signal;
    pthread_mutex_unlock(&w->lock);
    if (!signal)
        return false;
    rendezvous_host(rank, host, NULL);
    snprintf(sentence, n, "rank %u on %.200s was told to stop (%s)", rank, host, strsignal((int)signal));
    return true;
}

/* ---- life ---- */

static workers *create(tn_group group)
{
    workers *w = calloc(1, sizeof *w);
    pthread_condattr_t attributes;

    if (!w)
        return NULL;
    *w = (workers){.group = group, .wake = -1, .event = -1, .signals = -1, .reason = TN_ERROR_INIT};
    pthread_mutex_init(&w->device_lock, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    w->fd = malloc(group.world * sizeof *w->fd);
    w->polls = calloc(group.world + 2ull, sizeof *w->polls);
    for (uint32_t i = 0; w->fd && i < group.world; i++)
        w->fd[i] = -1;
    return w;
}

static void destroy(workers *w)
{
    for (uint32_t i = 0; w->fd && i < w->group.world; i++)
        if (w->fd[i] >= 0)
            close(w->fd[i]);
    const int others[] = {w->wake, w->event, w->signals};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] >= 0)
            close(others[i]);
    pthread_mutex_destroy(&w->device_lock);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w->fd);
    free(w->polls);
    free(w);
}

static tn_status start_watcher(workers *w, const sigset_t *signals, tn_error *err)
{
    w->wake = eventfd(0, EFD_CLOEXEC);
    w->event = eventfd(0, EFD_CLOEXEC);
    w->signals = signalfd(-1, signals, SFD_CLOEXEC);
    w->open = w->group.rank == 0 ? w->group.world - 1 : 1;
    if (w->wake < 0 || w->event < 0 || w->signals < 0)
        return tn_fail(err, TN_E_MEMORY, "no more files for the group: %s", strerror(errno));
    int code = pthread_create(&w->watcher, NULL, watch, w);
    return code ? tn_fail(err, TN_E_INTERNAL, "cannot start the group's thread: %s", strerror(code)) : TN_OK;
}

static tn_status start(const settings *settings, const group_identity *identity, const sigset_t *signals, workers *w,
                       tn_error *err)
{
    const uint32_t timeout_ms = (uint32_t)(settings_number(settings, "group", "join_timeout") * 1000);
    tn_status status = w->fd && w->polls ? TN_OK : tn_fail(err, TN_E_MEMORY, "the group");

    if (status == TN_OK)
        status = links_open(&w->group, identity->store, timeout_ms, w->fd, err);
    return status == TN_OK ? start_watcher(w, signals, err) : status;
}

tn_status workers_open(const settings *settings, const sigset_t *signals, workers **ret_workers, tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    group_identity identity;
    tn_group group;
    tn_status status = group_identity_find(settings, group_environment, &identity, err);

    *ret_workers = NULL;
    if (status != TN_OK || identity.world <= 1)
        return status;
    status = rendezvous_open(settings, &identity, &group, err);
    if (status != TN_OK)
        return status;
    workers *w = create(group);
    status = w ? start(settings, &identity, signals, w, &why) : tn_fail(&why, TN_E_MEMORY, "the group");
    if (status != TN_OK) {
        rendezvous_table.abort(NULL, why.msg);
        if (w)
            destroy(w);
        rendezvous_close();
        return tn_fail(err, status, "%s", why.msg);
    }
    *ret_workers = w;
    return TN_OK;
}

void workers_close(workers *w)
{
    if (!w)
        return;
    ssize_t n = write(w->wake, &(uint64_t){1}, sizeof(uint64_t));
    TN_ASSERT(n == sizeof(uint64_t));
    pthread_join(w->watcher, NULL);
    destroy(w);
    rendezvous_close();
}
