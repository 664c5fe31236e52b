/* links.c: see links.h. Greetings are those of the group's store (group/store_connection.h), for another purpose. */
#include "workers/links.h"

#include "group/store_connection.h"
#include "group/tcp_address.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_KEY "tn/steps/address"
#define SECRET_KEY  "tn/steps/secret"
#define PURPOSE     "/steps"

enum { ADDRESS_MAX = NI_MAXHOST + 16, FOLDER_SECRET_BYTES = 32 };

typedef struct meeting {
    const tn_group *group;
    char name[sizeof(((tn_group *)0)->name) + sizeof PURPOSE];
    char host[STORE_HOST_MAX + 1], address[ADDRESS_MAX];
    group_secret secret;
    store_member member;
    tcp_store_args args;
    uint64_t deadline_ms;
} meeting;

static uint32_t left_ms(const meeting *m)
{
    uint64_t now_ms = clock_ms();
    return now_ms < m->deadline_ms ? (uint32_t)(m->deadline_ms - now_ms) : 0;
}

/* A folder's secret is rank 0's own, and who reads the folder is a member. */
static tn_status find_secret(meeting *m, tn_error *err)
{
    tn_status status = rendezvous_secret(&m->secret, err);
    uint64_t n = sizeof m->secret.bytes;

    if (status != TN_OK || m->secret.n > 0)
        return status;
    if (m->group->rank == 0) {
        if (getrandom(m->secret.bytes, FOLDER_SECRET_BYTES, 0) != FOLDER_SECRET_BYTES)
            return tn_fail(err, TN_E_INTERNAL, "the system gives no random bytes");
        n = FOLDER_SECRET_BYTES;
        status = rendezvous_put(SECRET_KEY, m->secret.bytes, n, err);
    } else {
        status = rendezvous_get(SECRET_KEY, m->secret.bytes, &n, left_ms(m), err);
    }
    m->secret.n = (size_t)n;
    return status;
}

/* ---- rank 0 ---- */

/* The host of a TCP store; else an address that the other processes' hosts reach. Ports are chosen later. */
static void choose_host(const meeting *m, const char *store, char address[ADDRESS_MAX])
{
    if (!strncmp(store, "tcp://", 6))
        snprintf(address, ADDRESS_MAX, "%.*s", ADDRESS_MAX - 1, store + 6);
    else if (m->group->host_count == 1)
        snprintf(address, ADDRESS_MAX, "127.0.0.1:1");
    else
        snprintf(address, ADDRESS_MAX, "%.*s:1", ADDRESS_MAX - 3, m->host);
}

static void clear_port(struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)address)->sin6_port = 0;
    else
        ((struct sockaddr_in *)(void *)address)->sin_port = 0;
}

static tn_status listen_on(const meeting *m, const struct addrinfo *list, int *ret_listener, tn_error *err)
{
    char text[NI_MAXHOST] = "";
    int reason = EADDRNOTAVAIL;

    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        struct sockaddr_storage address = {0};
        memcpy(&address, at->ai_addr, at->ai_addrlen);
        clear_port(&address);
        tcp_address_text(at->ai_addr, at->ai_addrlen, text);
        if (m->group->host_count > 1 && tcp_address_is_loopback(at->ai_addr))
            return tn_fail(err, TN_E_ARGUMENT,
                           "%.100s is %s on this machine, which no other machine reaches: set group.store to "
                           "tcp://ADDRESS:PORT with an address of this machine that the others reach",
                           m->host, text);
        *ret_listener = tcp_address_listen((struct sockaddr *)&address, at->ai_addrlen);
        if (*ret_listener >= 0)
            return TN_OK;
        reason = errno;
    }
    return tn_fail(err, TN_E_IO, "rank 0 cannot listen for its workers on %.200s: %s", text, strerror(reason));
}

static tn_status tell_address(int listener, tn_error *err)
{
    char host[NI_MAXHOST], port[NI_MAXSERV], text[NI_MAXHOST + NI_MAXSERV + 4];
    struct sockaddr_storage own = {0};
    socklen_t n = sizeof own;

    if (getsockname(listener, (struct sockaddr *)&own, &n) ||
        getnameinfo((struct sockaddr *)&own, n, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV))
        return tn_fail(err, TN_E_IO, "rank 0 does not learn the port that it listens on for its workers");
    snprintf(text, sizeof text, own.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return rendezvous_put(ADDRESS_KEY, text, strlen(text), err);
}

/* Whoever connects next, if it is a worker that has not come yet. */
static void greet_next(const meeting *m, int listener, int *fd, uint32_t *missing)
{
    uint64_t limit_ms = clock_ms() + LINKS_GREETING_MS;
    store_connection connection = {.member = m->member, .fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};
    uint32_t rank;

    if (connection.fd < 0)
        return;
    tcp_address_watch(connection.fd);
    if (limit_ms > m->deadline_ms)
        limit_ms = m->deadline_ms;
    if (store_connection_accept(&connection, &m->args, limit_ms, &rank, NULL) == TN_OK && fd[rank] < 0) {
        fd[rank] = connection.fd;
        connection.fd = -1;
        --*missing;
    }
    store_connection_close(&connection);
}

static tn_status accept_all(const meeting *m, int listener, int *fd, tn_error *err)
{
    uint32_t missing = m->group->world - 1, rank = 1;
    struct pollfd wait = {.fd = listener, .events = POLLIN};

    while (missing > 0 && left_ms(m) > 0) {
        /* A member that is gone will not come; the store knows. */
        uint64_t none = 0;
        tn_status status = rendezvous_get("tn/never", NULL, &none, 0, err);
        if (status != TN_E_NOT_FOUND)
            return status;
        uint32_t pause_ms = left_ms(m) < LINKS_GREETING_MS ? left_ms(m) : LINKS_GREETING_MS;
        if (poll(&wait, 1, (int)pause_ms) == 1)
            greet_next(m, listener, fd, &missing);
    }
    if (missing == 0)
        return TN_OK;
    while (fd[rank] >= 0)
        rank++;
    return tn_fail(err, TN_E_NOT_FOUND,
                   "rank %u of group %s did not connect to rank 0 in time: is it running, and does its machine reach "
                   "this one?",
                   rank, m->group->name);
}

static tn_status open_as_first(meeting *m, const char *store, int *fd, tn_error *err)
{
    struct addrinfo *list = NULL;
    int listener = -1;

    choose_host(m, store, m->address);
    tn_status status = tcp_address_resolve(m->address, &list, err);
    if (status != TN_OK)
        return status;
    status = listen_on(m, list, &listener, err);
    freeaddrinfo(list);
    if (status == TN_OK)
        status = tell_address(listener, err);
    if (status == TN_OK)
        status = accept_all(m, listener, fd, err);
    if (listener >= 0)
        close(listener);
    return status;
}

/* ---- workers ---- */

static tn_status open_as_worker(meeting *m, int *fd, tn_error *err)
{
    store_connection connection = {.member = m->member, .fd = -1};
    uint64_t n = sizeof m->address - 1;

    tn_status status = rendezvous_get(ADDRESS_KEY, m->address, &n, left_ms(m), err);
    if (status != TN_OK)
        return status;
    m->address[n] = 0;
    status = store_connection_open(&connection, &m->args, m->deadline_ms, err);
    if (status == TN_OK) {
        TN_ASSERT(connection.in.begin == connection.in.end); /* rank 0 has nothing to say before it knows us */
        fd[0] = connection.fd;
        connection.fd = -1;
    }
    store_connection_close(&connection);
    return status;
}

tn_status links_open(const tn_group *group, const char *store, uint32_t timeout_ms, int *fd, tn_error *err)
{
    meeting m = {.group = group, .deadline_ms = clock_ms() + timeout_ms};

    for (uint32_t i = 0; i < group->world; i++)
        fd[i] = -1;
    snprintf(m.name, sizeof m.name, "%s" PURPOSE, group->name);
    tn_status status = rendezvous_host(group->rank, m.host, err);
    if (status == TN_OK)
        status = find_secret(&m, err);
    m.member = (store_member){m.name, m.host, group->rank, group->world};
    m.args = (tcp_store_args){.address = m.address,
                              .secret = m.secret.bytes,
                              .n_secret = m.secret.n,
                              .many_hosts = group->host_count > 1,
                              .timeout_ms = timeout_ms};
    if (status == TN_OK)
        status = group->rank == 0 ? open_as_first(&m, store, fd, err) : open_as_worker(&m, fd, err);
    group_secret_clear(&m.secret);
    for (uint32_t i = 0; status != TN_OK && i < group->world; i++) {
        if (fd[i] >= 0)
            close(fd[i]);
        fd[i] = -1;
    }
    return status;
}
