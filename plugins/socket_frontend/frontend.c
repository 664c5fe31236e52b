/* frontend.c: start, drain, stop, and the rounds of the thread: whatever is ready, then each peer sends what it has. */
#include "base/clock.h"
#include "base/unix_socket.h"
#include "peer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { READY_MAX = 64, SOCKET_MODE = 0600, DEAF_MS = 100 };

void front_log(const tn_front *front, uint32_t level, const char *format, ...)
{
    char line[640];
    va_list args;
    if (*front->host->log_level < level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    front->host->log(front->host, level, "socket", line);
}

void front_count_live(tn_front *front, int64_t change)
{
    pthread_mutex_lock(&front->lock);
    front->live_count += (uint64_t)change;
    if (front->live_count == 0)
        pthread_cond_broadcast(&front->idle);
    pthread_mutex_unlock(&front->lock);
}

/* ---- the thread ---- */

static void watch_listener(tn_front *front, bool listens)
{
    struct epoll_event event = {.events = listens ? EPOLLIN : 0, .data.ptr = &front->listener_watch};
    bool done = epoll_ctl(front->epoll_fd, EPOLL_CTL_MOD, front->listen_fd, &event) == 0;
    front->deaf = done ? !listens : front->deaf;
}

static void accept_peers(tn_front *front)
{
    int fd;
    while ((fd = accept4(front->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        bool trusted = unix_socket_peer_is_trusted(fd);
        if (!trusted || front->peer_count == SOCKET_PEERS_MAX) {
            front_log(front, TN_LOG_WARNING, "a client is turned away: %s",
                      trusted ? "there are too many" : "it runs as another user");
            close(fd);
            continue;
        }
        socket_peer *peer = peer_create(front, fd);
        if (!peer)
            continue;
        peer->next = front->peers;
        front->peers = peer;
        front->peer_count++;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        watch_listener(front, false); /* who waits there would wake us without end */
}

static void handle(tn_front *front, const struct epoll_event *ready)
{
    uint64_t count;
    switch (*(const watch_kind *)ready->data.ptr) {
    case WATCH_LISTENER:
        accept_peers(front);
        break;
    case WATCH_WAKE:
        if (read(front->wake_fd, &count, sizeof count) < 0)
            TN_ASSERT(errno == EAGAIN);
        break;
    case WATCH_PEER: {
        socket_peer *peer = ready->data.ptr;
        if (ready->events & EPOLLIN)
            peer_receive(peer);
        else if (ready->events & (EPOLLHUP | EPOLLERR))
            peer->broken = true;
        break;
    }
    case WATCH_CHANNEL: {
        socket_channel *channel = ready->data.ptr;
        peer_pump(channel->peer, channel);
        break;
    }
    }
}

/* What was ready in this round may speak of peers and channels that ended in it: they are freed only here. */
static void settle(tn_front *front)
{
    for (socket_peer **at = &front->peers; *at;) {
        socket_peer *peer = *at;
        if (!peer->broken)
            peer_settle(peer);
        if (!peer->broken) {
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        front->peer_count--;
        peer_destroy(peer);
    }
}

static void *run(void *argument)
{
    tn_front *front = argument;
    struct epoll_event ready[READY_MAX];

    while (!atomic_load(&front->stopping)) {
        int count = epoll_wait(front->epoll_fd, ready, READY_MAX, front->deaf ? DEAF_MS : -1);
        TN_ASSERT(count >= 0 || errno == EINTR);
        if (front->deaf)
            watch_listener(front, true);
        for (int i = 0; i < count; i++)
            handle(front, &ready[i]);
        settle(front);
    }
    while (front->peers) {
        socket_peer *peer = front->peers;
        front->peers = peer->next;
        peer_destroy(peer);
    }
    return NULL;
}

/* ---- start ---- */

static tn_status adopt(tn_front *front, const tn_frontend_args *args, tn_error *err)
{
    const tn_tok *tok;
    front->host = args->host;
    front->engine = args->engine;
    front->engine_api = args->engine_api;
    front->stats = args->stats;
    if (!front->engine)
        return tn_fail(err, TN_E_ARGUMENT, "socket_frontend serves one engine, and this process has none of its own");
    front->info.struct_size = sizeof front->info;
    tn_status status = front->engine_api->info(front->engine, &front->info);
    if (status != TN_OK)
        return tn_fail(err, status, "socket_frontend: the engine tells no limits: %s", tn_status_text(status));
    const tn_tokenizer_table *table = front->engine_api->tokenizer(front->engine, &tok);
    front->identity = frame_identity(table, tok, table->vocab_size(tok));
    front->frame_max = frame_request_max(&front->info);
    return TN_OK;
}

static tn_status open_socket(tn_front *front, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    const char *path = front->host->config(front->host, "path");
    if (!path)
        return tn_fail(err, TN_E_ARGUMENT, "socket_frontend: path names no socket to listen on");
    tn_status status = unix_socket_listen(path, SOCKET_MODE, &front->listen_fd, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "socket_frontend: %s", reason.msg);
    snprintf(front->path, sizeof front->path, "%s", path);
    snprintf(front->address, sizeof front->address, "unix:%s", path);
    return TN_OK;
}

static tn_status start_thread(tn_front *front, tn_error *err)
{
    struct epoll_event listener = {.events = EPOLLIN, .data.ptr = &front->listener_watch};
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &front->wake_watch};

    front->listener_watch = WATCH_LISTENER;
    front->wake_watch = WATCH_WAKE;
    front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    front->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (front->epoll_fd < 0 || front->wake_fd < 0 ||
        epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, front->listen_fd, &listener) != 0 ||
        epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, front->wake_fd, &wake) != 0)
        return tn_fail(err, TN_E_IO, "socket_frontend: cannot watch for events: %s", strerror(errno));
    int code = pthread_create(&front->thread, NULL, run, front);
    if (code != 0)
        return tn_fail(err, TN_E_MEMORY, "socket_frontend: cannot start its thread: %s", strerror(code));
    pthread_setname_np(front->thread, "tenon-socket");
    front->thread_runs = true;
    return TN_OK;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void stop(tn_front *front)
{
    const uint64_t one = 1;
    if (!front)
        return;
    atomic_store(&front->stopping, true);
    if (front->thread_runs) {
        ssize_t put = write(front->wake_fd, &one, sizeof one);
        TN_ASSERT(put == (ssize_t)sizeof one || errno == EAGAIN);
        pthread_join(front->thread, NULL);
    }
    if (front->listen_fd >= 0)
        unlink(front->path);
    close_fd(front->listen_fd);
    close_fd(front->wake_fd);
    close_fd(front->epoll_fd);
    pthread_cond_destroy(&front->idle);
    pthread_mutex_destroy(&front->lock);
    free(front);
}

static tn_status start(const tn_frontend_args *args, tn_front **ret_front, tn_error *err)
{
    if (!args || !TN_HAS(args, tn_frontend_args, stats) || !ret_front)
        return tn_fail(err, TN_E_ARGUMENT, "socket_frontend: start needs all of tn_frontend_args");
    tn_front *front = calloc(1, sizeof *front);
    if (!front)
        return tn_fail(err, TN_E_MEMORY, "socket_frontend: out of memory");
    front->listen_fd = front->wake_fd = front->epoll_fd = -1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&front->idle, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&front->lock, NULL);

    tn_status status = adopt(front, args, err);
    if (status == TN_OK)
        status = open_socket(front, err);
    if (status == TN_OK)
        status = start_thread(front, err);
    if (status != TN_OK) {
        stop(front);
        return status;
    }
    *ret_front = front;
    return TN_OK;
}

static const char *address(const tn_front *front)
{
    return front->address;
}

static tn_status drain(tn_front *front, uint32_t ms, tn_error *err)
{
    const struct timespec until = clock_after_ms(ms);
    int code = 0;

    atomic_store(&front->draining, true);
    pthread_mutex_lock(&front->lock);
    while (front->live_count > 0 && code == 0)
        code = pthread_cond_timedwait(&front->idle, &front->lock, &until);
    uint64_t left = front->live_count;
    pthread_mutex_unlock(&front->lock);
    if (left > 0)
        return tn_fail(err, TN_E_AGAIN, "socket_frontend: %llu requests still run after %u ms",
                       (unsigned long long)left, ms);
    return TN_OK;
}

const tn_frontend_table socket_frontend_table = {
    .struct_size = sizeof socket_frontend_table, .start = start, .address = address, .drain = drain, .stop = stop};
