/* poller.c: one epoll set holds the event descriptors of the models' clients, a wake-up, and the sockets of calls in
 * flight (for hang-ups only). Blocks without a timeout while nobody is connected. */
#include "poller.h"

#include "admin_call.h"
#include "answer.h"
#include "base/clock.h"
#include "model.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 256, READY_MAX = 64, SWEEP_MS = 1000, HANGUP_GRACE_MS = 1000 };
/* Tags: a wake-up, TAG_PEER plus a peer's id, or TAG_MODEL plus a model's. */
enum { TAG_WAKE = 1, TAG_PEER = 16 };
#define TAG_MODEL (UINT64_C(1) << 63)

/* Connections to resume once the lock is released. */
typedef struct resume_list {
    struct MHD_Connection *connections[EVENTS_MAX];
    uint32_t count;
} resume_list;

/* Under lock. Room: one entry per event, or per hang-up, at most. */
static void resume_if_runnable(http_call *call, resume_list *list)
{
    if (!call->suspended || !call_is_runnable(call))
        return;
    TN_ASSERT(list->count < EVENTS_MAX);
    call->suspended = false;
    list->connections[list->count++] = call->connection;
}

static void resume_all(const resume_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        MHD_resume_connection(list->connections[i]);
}

/* Under lock. */
static void abort_call(http_call *call)
{
    call_cancel(call);
    call->aborted = true;
}

/* A client that does not read must not make us hold its whole answer. Under lock. */
static void check_unsent(http_call *call)
{
    uint64_t most = call->front->options.max_unsent_bytes + call->opening_bytes;
    bool too_slow = call->streaming && call->out.count - call->out_read > most;
    if ((too_slow || call->out.failed) && !call->aborted)
        abort_call(call);
}

static void take_events(tn_front *front, http_model *model)
{
    tn_event events[EVENTS_MAX];
    http_call *touched[EVENTS_MAX];
    resume_list resumes = {.count = 0};
    uint32_t touched_count = 0;

    events[0].struct_size = sizeof *events;
    uint32_t count = front->engine_api->poll(model->client, events, sizeof *events, EVENTS_MAX);
    front_lock(front);
    for (uint32_t i = 0; i < count; i++) {
        http_call *call = call_find(front, events[i].user);
        if (!call)
            continue; /* its client left; the engine has been told */
        answer_take_event(call, (uint32_t)(events[i].user & 0xffff), &events[i]);
        check_unsent(call);
        if (!call->touched)
            touched[touched_count++] = call;
        call->touched = true;
    }
    for (uint32_t i = 0; i < touched_count; i++) {
        touched[i]->touched = false;
        resume_if_runnable(touched[i], &resumes);
    }
    front_unlock(front);
    resume_all(&resumes);
}

static void take_events_of(tn_front *front, uint64_t model_id)
{
    http_model *model = model_by_id(front, model_id);
    if (model) /* closed by none but this thread */
        take_events(front, model);
}

static void take_hangup(tn_front *front, uint64_t peer_id)
{
    resume_list resumes = {.count = 0};

    front_lock(front);
    http_peer *peer = front->peers;
    while (peer && peer->id != peer_id)
        peer = peer->next;
    if (peer) {
        peer->hung_up_ms = clock_ms();
        if (peer->call && !peer->call->ended) {
            abort_call(peer->call);
            resume_if_runnable(peer->call, &resumes);
        }
        struct MHD_Connection *waiting = peer->admin ? admin_call_abandon(peer->admin) : NULL;
        if (waiting)
            resumes.connections[resumes.count++] = waiting;
    }
    front_unlock(front);
    resume_all(&resumes);
}

/* Closes connections whose request has been under way for too long. libmicrohttpd's own timeout starts anew with every
 * byte, which a slow client can send for ever. */
static int sweep(tn_front *front)
{
    uint64_t now = clock_ms(), limit = (uint64_t)front->options.request_timeout_s * 1000;

    front_lock(front);
    bool any = front->peers != NULL;
    for (const http_peer *peer = front->peers; peer; peer = peer->next) {
        bool late = now > peer->receiving_since_ms + limit;
        bool gone = peer->hung_up_ms && now > peer->hung_up_ms + HANGUP_GRACE_MS;
        if (peer->receiving_since_ms && (late || gone))
            shutdown(peer->fd, SHUT_RDWR);
    }
    front_unlock(front);
    return any ? SWEEP_MS : -1;
}

/* Aborts what is left, a list at a time. */
static void release_all(tn_front *front)
{
    for (uint32_t slot = 0; slot < front->call_capacity;) {
        resume_list resumes = {.count = 0};
        front_lock(front);
        for (; slot < front->call_capacity && resumes.count < EVENTS_MAX; slot++) {
            http_call *call = front->calls[slot];
            if (!call)
                continue;
            abort_call(call);
            resume_if_runnable(call, &resumes);
        }
        front_unlock(front);
        resume_all(&resumes);
    }
}

static void drain_wake(const tn_front *front)
{
    uint64_t count;
    ssize_t got = read(front->wake_fd, &count, sizeof count);
    TN_ASSERT(got == (ssize_t)sizeof count || errno == EAGAIN);
}

static bool is_stopping(tn_front *front)
{
    front_lock(front);
    bool stopping = front->stopping;
    front_unlock(front);
    return stopping;
}

static void *run(void *argument)
{
    tn_front *front = argument;
    struct epoll_event ready[READY_MAX];
    uint64_t swept_ms = 0;
    int timeout = -1;

    while (!is_stopping(front)) {
        int count = epoll_wait(front->epoll_fd, ready, READY_MAX, timeout);
        TN_ASSERT(count >= 0 || errno == EINTR);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u64 == TAG_WAKE)
                drain_wake(front);
            else if (ready[i].data.u64 & TAG_MODEL)
                take_events_of(front, ready[i].data.u64 & ~TAG_MODEL);
            else
                take_hangup(front, ready[i].data.u64 - TAG_PEER);
        }
        models_sweep(front);
        uint64_t now = clock_ms();
        if (timeout < 0 || now >= swept_ms + SWEEP_MS) {
            timeout = sweep(front);
            swept_ms = now;
        }
    }
    release_all(front);
    return NULL;
}

static tn_status watch(const tn_front *front, int fd, uint64_t tag, tn_error *err)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
    if (epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        return tn_fail(err, TN_E_IO, "http_frontend: cannot watch for events: %s", strerror(errno));
    return TN_OK;
}

tn_status poller_open(tn_front *front, tn_error *err)
{
    front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    front->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (front->epoll_fd < 0 || front->wake_fd < 0)
        return tn_fail(err, TN_E_IO, "http_frontend: cannot create event descriptors: %s", strerror(errno));
    return watch(front, front->wake_fd, TAG_WAKE, err);
}

tn_status poller_start(tn_front *front, tn_error *err)
{
    int code = pthread_create(&front->poller, NULL, run, front);
    if (code != 0)
        return tn_fail(err, TN_E_MEMORY, "http_frontend: cannot start the poller thread: %s", strerror(code));
    front->poller_runs = true;
    return TN_OK;
}

void poller_stop(tn_front *front)
{
    front_lock(front);
    front->stopping = true;
    front_unlock(front);
    if (front->poller_runs) {
        poller_wake(front);
        pthread_join(front->poller, NULL);
        front->poller_runs = false;
    }
}

void poller_finish(tn_front *front)
{
    if (front->epoll_fd >= 0)
        close(front->epoll_fd);
    if (front->wake_fd >= 0)
        close(front->wake_fd);
    front->epoll_fd = front->wake_fd = -1;
}

void poller_wake(tn_front *front)
{
    uint64_t one = 1;
    ssize_t put = write(front->wake_fd, &one, sizeof one);
    TN_ASSERT(put == (ssize_t)sizeof one || errno == EAGAIN);
}

tn_status poller_watch_model(tn_front *front, const http_model *model, tn_error *err)
{
    return watch(front, front->engine_api->event_fd(model->client), TAG_MODEL | model->id, err);
}

void poller_forget_model(tn_front *front, const http_model *model)
{
    epoll_ctl(front->epoll_fd, EPOLL_CTL_DEL, front->engine_api->event_fd(model->client), NULL);
}

void poller_watch_peer(tn_front *front, const http_peer *peer)
{
    /* One shot: a peer hangs up once. If the kernel has no room, the sweep's time limit still holds. */
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = TAG_PEER + peer->id};
    epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, peer->fd, &event);
}

void poller_forget_peer(tn_front *front, const http_peer *peer)
{
    epoll_ctl(front->epoll_fd, EPOLL_CTL_DEL, peer->fd, NULL);
}
