/* store_server.c: see store_server.h. One thread waits in poll for all connections; the hub decides what they are told.
 */
#include "group/store_server.h"

#include "group/store_hub.h"
#include "group/tcp_address.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/* How long nobody is let in after the system has refused us a file. */
enum { ACCEPT_PAUSE_MS = 100 };

struct store_server {
    store_hub *hub;
    int listener, wake; /* wake: readable once linger_ms is set */
    pthread_t thread;
    /* The thread's own; entries 0 and 1 are listener and wake, the rest connections. */
    struct pollfd *polls;
    store_peer **peers;
    uint32_t poll_count, poll_max;
    uint64_t accept_at;         /* nobody is let in before */
    uint64_t stop_at;           /* UINT64_MAX until stop */
    _Atomic uint32_t linger_ms; /* partner: wake */
};

/* ---- one connection ---- */

static void drop(store_server *server, uint32_t index)
{
    close(server->polls[index].fd);
    store_hub_disconnect(server->hub, server->peers[index]);
    server->poll_count--;
    server->polls[index] = server->polls[server->poll_count];
    server->peers[index] = server->peers[server->poll_count];
}

static void accept_one(store_server *server, uint64_t now_ms)
{
    uint8_t nonce[STORE_DIGEST_BYTES];
    store_peer *peer = NULL;
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            server->accept_at = now_ms + ACCEPT_PAUSE_MS; /* it would be readable all the time */
        return;
    }
    bool good = server->poll_count < server->poll_max && getrandom(nonce, sizeof nonce, 0) == (ssize_t)sizeof nonce &&
                store_hub_connect(server->hub, nonce, now_ms, &peer, NULL) == TN_OK;
    if (!good) {
        close(fd);
        return;
    }
    tcp_address_watch(fd);
    server->polls[server->poll_count] = (struct pollfd){.fd = fd, .events = POLLIN};
    server->peers[server->poll_count++] = peer;
}

/* False: the connection has ended. */
static bool take_in(store_server *server, uint32_t index, uint64_t now_ms)
{
    size_t room;
    uint8_t *at = store_hub_room(server->peers[index], &room);
    ssize_t n = at ? recv(server->polls[index].fd, at, room, 0) : 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n > 0)
        store_hub_received(server->hub, server->peers[index], (size_t)n, now_ms);
    return n > 0;
}

static bool send_out(store_server *server, uint32_t index)
{
    size_t pending;
    const uint8_t *at = store_hub_pending(server->peers[index], &pending);
    ssize_t n = pending ? send(server->polls[index].fd, at, pending, MSG_NOSIGNAL) : 0;
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    store_hub_sent(server->peers[index], (size_t)n);
    return true;
}

/* ---- the thread ---- */

/* What one peer says may concern all, so sending comes after all receiving. Backwards, since drop moves the last one.
 */
static void serve_round(store_server *server, uint64_t now_ms)
{
    for (uint32_t i = server->poll_count; i-- > 2;) {
        if (server->polls[i].revents && !take_in(server, i, now_ms))
            drop(server, i);
    }
    if (server->polls[0].revents)
        accept_one(server, now_ms);
    store_hub_tick(server->hub, now_ms);
    for (uint32_t i = server->poll_count; i-- > 2;) {
        if (!send_out(server, i) || store_hub_is_over(server->peers[i]))
            drop(server, i);
    }
}

/* Whoever comes while there is no room waits in the listener's backlog. */
static void choose_events(store_server *server, uint64_t now_ms)
{
    bool open = store_hub_has_room(server->hub) && now_ms >= server->accept_at;
    server->polls[0].fd = open ? server->listener : -1;
    server->polls[0].revents = 0;
    for (uint32_t i = 2; i < server->poll_count; i++) {
        size_t pending;
        store_hub_pending(server->peers[i], &pending);
        server->polls[i].events = pending ? POLLIN | POLLOUT : POLLIN;
    }
}

static int poll_timeout(uint64_t next, uint64_t now_ms)
{
    if (next == UINT64_MAX)
        return -1;
    uint64_t left = next > now_ms ? next - now_ms : 0;
    return left < INT_MAX ? (int)left : INT_MAX;
}

static void *serve(void *argument)
{
    store_server *server = argument;
    uint64_t now_ms = clock_ms();
    while (now_ms < server->stop_at && (server->stop_at == UINT64_MAX || store_hub_present(server->hub))) {
        uint64_t next = store_hub_tick(server->hub, now_ms);
        next = next < server->stop_at ? next : server->stop_at;
        next = server->accept_at > now_ms && server->accept_at < next ? server->accept_at : next;
        choose_events(server, now_ms);
        if (poll(server->polls, server->poll_count, poll_timeout(next, now_ms)) < 0 && errno != EINTR)
            break;
        now_ms = clock_ms();
        serve_round(server, now_ms);
        if (server->polls[1].revents) {
            server->polls[1].fd = -1;
            server->polls[1].revents = 0;
            server->stop_at = now_ms + atomic_load_explicit(&server->linger_ms, memory_order_acquire);
        }
    }
    return NULL;
}

/* ---- life ---- */

/* The first address of the list that can be bound. */
static tn_status listen_on(const tcp_store_args *args, const struct addrinfo *list, int *ret_fd, tn_error *err)
{
    char text[NI_MAXHOST];
    int reason = 0;
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        tcp_address_text(at->ai_addr, at->ai_addrlen, text);
        if (args->many_hosts && tcp_address_is_loopback(at->ai_addr))
            return tn_fail(
                err, TN_E_ARGUMENT,
                "the store's address %.100s is %s on this machine, which no other machine reaches: set group.store "
                "to tcp://ADDRESS:PORT with an address of this machine that the others reach",
                args->address, text);
        *ret_fd = tcp_address_listen(at->ai_addr, at->ai_addrlen);
        if (*ret_fd >= 0)
            return TN_OK;
        reason = errno;
    }
    return tn_fail(err, TN_E_IO, "rank 0 cannot serve the group's store on %.200s (%s): %s%s", args->address, text,
                   strerror(reason),
                   reason == EADDRINUSE ? "; another program or job has that port, choose another"
                                        : "; it must be an address of the machine that rank 0 runs on");
}

static void free_server(store_server *server)
{
    if (server->listener >= 0)
        close(server->listener);
    if (server->wake >= 0)
        close(server->wake);
    for (uint32_t i = 2; i < server->poll_count; i++)
        close(server->polls[i].fd);
    store_hub_destroy(server->hub);
    free(server->polls);
    free(server->peers);
    free(server);
}

static tn_status set_up(store_server *server, const tcp_store_args *args, const store_member *member, tn_error *err)
{
    struct addrinfo *list;
    server->poll_max = 2 + member->world + STORE_HUB_STRANGERS;
    server->polls = calloc(server->poll_max, sizeof *server->polls);
    server->peers = calloc(server->poll_max, sizeof *server->peers);
    server->wake = eventfd(0, EFD_CLOEXEC);
    if (!server->polls || !server->peers || server->wake < 0)
        return tn_fail(err, TN_E_MEMORY, "out of memory or files for the store of the group");
    tn_status status = store_hub_create(member->group, member->world, args->secret, args->n_secret, &server->hub, err);
    if (status == TN_OK)
        status = tcp_address_resolve(args->address, &list, err);
    if (status != TN_OK)
        return status;
    status = listen_on(args, list, &server->listener, err);
    freeaddrinfo(list);
    server->polls[0] = (struct pollfd){.fd = server->listener, .events = POLLIN};
    server->polls[1] = (struct pollfd){.fd = server->wake, .events = POLLIN};
    server->poll_count = 2;
    return status;
}

tn_status store_server_start(const tcp_store_args *args, const store_member *member, store_server **ret_server,
                             tn_error *err)
{
    store_server *server = calloc(1, sizeof *server);
    if (!server)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the store of the group");
    *server = (store_server){.listener = -1, .wake = -1, .stop_at = UINT64_MAX};
    tn_status status = set_up(server, args, member, err);
    int code = status == TN_OK ? pthread_create(&server->thread, NULL, serve, server) : 0;
    if (code)
        status = tn_fail(err, TN_E_INTERNAL, "cannot start the thread of the group's store: %s", strerror(code));
    if (status != TN_OK) {
        free_server(server);
        return status;
    }
    *ret_server = server;
    return TN_OK;
}

void store_server_stop(store_server *server, uint32_t linger_ms)
{
    if (!server)
        return;
    atomic_store_explicit(&server->linger_ms, linger_ms, memory_order_release);
    ssize_t n = write(server->wake, &(uint64_t){1}, sizeof(uint64_t));
    TN_ASSERT(n == sizeof(uint64_t));
    pthread_join(server->thread, NULL);
    free_server(server);
}
