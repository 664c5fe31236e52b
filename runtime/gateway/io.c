/* io.c: the one thread that waits for the links. It blocks for ever while there is no link and nobody waits; with links
 * it wakes twice a second to ask how they are.
 */
#include "gateway/state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { READY_MAX = 64, ASK_MS = 500, TAG_WAKE = 0 /* links are numbered from 1 */ };

void io_watch(gateway_link *link, uint32_t events)
{
    gateway *g = link->route->gateway;
    struct epoll_event event = {.events = events, .data.u64 = link->number};
    if (events == link->watched)
        return;
    int code = epoll_ctl(g->epoll_fd,
                         !link->watched ? EPOLL_CTL_ADD
                         : events       ? EPOLL_CTL_MOD
                                        : EPOLL_CTL_DEL,
                         link->fd, &event);
    TN_ASSERT(code == 0 || errno == ENOMEM || errno == ENOSPC);
    link->watched = code == 0 ? events : link->watched;
}

static gateway_link *find_link(const gateway *g, uint64_t number)
{
    for (const gateway_route *route = g->routes; route; route = route->next)
        for (gateway_link *link = route->links; link; link = link->next)
            if (link->number == number)
                return link;
    return NULL;
}

static void handle(gateway *g, const struct epoll_event *ready)
{
    uint64_t count;
    if (ready->data.u64 == TAG_WAKE) {
        ssize_t got = read(g->wake_fd, &count, sizeof count);
        TN_ASSERT(got == (ssize_t)sizeof count || errno == EAGAIN);
        return;
    }
    gateway_link *link = find_link(g, ready->data.u64);
    if (!link || link->fd < 0)
        return; /* ended since */
    if (ready->events & EPOLLOUT)
        link_flush(link);
    if (link->fd >= 0 && (ready->events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        link_receive(link);
}

/* Asks links how they are, ends what has waited too long; returns the milliseconds until there is more to do, -1:
 * never.
 */
static int look_after(gateway *g, int64_t now_ms, int64_t *asked_ms)
{
    int64_t next = 0;
    bool asks = now_ms >= *asked_ms + ASK_MS;

    for (gateway_route *route = g->routes; route; route = route->next) {
        for (gateway_link *link = route->links; link; link = link->next) {
            if (link->broken && link->fd >= 0)
                link_lose(link);
            if (link->fd < 0)
                continue;
            if (asks && !link->health_asked)
                link_ask(link, FRAME_ASK_HEALTH);
            int64_t ask_ms = (asks ? now_ms : *asked_ms) + ASK_MS;
            next = next == 0 || ask_ms < next ? ask_ms : next;
        }
        dispatch_waiting(route);
        int64_t deadline = dispatch_expire(route, now_ms);
        if (deadline && (next == 0 || deadline < next))
            next = deadline;
    }
    if (asks)
        *asked_ms = now_ms;
    return next == 0 ? -1 : next <= now_ms ? 0 : (int)(next - now_ms);
}

/* One whose wake is to be called, retained meanwhile; NULL: none. */
static gateway_route *next_to_wake(gateway *g)
{
    for (gateway_route *route = g->routes; route; route = route->next) {
        if (!route->wake_wanted)
            continue;
        route->wake_wanted = false;
        if (!route->wake)
            continue;
        route->references++;
        return route;
    }
    return NULL;
}

/* With the lock, which it gives up meanwhile. */
static void wake_services(gateway *g)
{
    for (gateway_route *route; (route = next_to_wake(g));) {
        gateway_unlock(g);
        route->wake(route->ctx, route);
        route_release(route);
        gateway_lock(g);
    }
}

static void *run(void *argument)
{
    gateway *g = argument;
    struct epoll_event ready[READY_MAX];
    int timeout = -1;
    int64_t asked_ms = 0;

    for (bool stopping = false; !stopping;) {
        int count = epoll_wait(g->epoll_fd, ready, READY_MAX, timeout);
        TN_ASSERT(count >= 0 || errno == EINTR);
        gateway_lock(g);
        for (int i = 0; i < count; i++)
            handle(g, &ready[i]);
        timeout = look_after(g, (int64_t)clock_ms(), &asked_ms);
        wake_services(g);
        stopping = g->stopping;
        gateway_unlock(g);
    }
    return NULL;
}

tn_status io_start(gateway *g, tn_error *err)
{
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = TAG_WAKE};
    g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    g->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (g->epoll_fd < 0 || g->wake_fd < 0 || epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->wake_fd, &wake) != 0)
        return tn_fail(err, TN_E_IO, "the gateway cannot watch for events: %s", strerror(errno));
    int code = pthread_create(&g->io, NULL, run, g);
    if (code != 0)
        return tn_fail(err, TN_E_MEMORY, "the gateway cannot start its thread: %s", strerror(code));
    pthread_setname_np(g->io, "tenon-gateway");
    g->io_runs = true;
    return TN_OK;
}

void io_stop(gateway *g)
{
    if (g->io_runs) {
        pthread_mutex_lock(&g->lock);
        g->stopping = true;
        pthread_mutex_unlock(&g->lock);
        gateway_kick(g);
        pthread_join(g->io, NULL);
    }
    if (g->epoll_fd >= 0)
        close(g->epoll_fd);
    if (g->wake_fd >= 0)
        close(g->wake_fd);
}
