/* store_connection.c: see store_connection.h. */
#include "group/store_connection.h"

#include "group/tcp_address.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* Between two tries to connect; and how long one address may take where there are others. */
enum { RETRY_MS = 50, ADDRESS_MS = 3000 };

/* ---- messages ---- */

static tn_status fail_lost(const store_connection *connection, tn_error *err)
{
    return tn_fail(err, TN_E_DEVICE_LOST,
                   "rank 0 of group %.100s is gone: it ended its connection to rank %u on %.100s",
                   connection->member.group, connection->member.rank, connection->member.host);
}

tn_status store_connection_send(const store_connection *connection, wire_buffer *out, tn_error *err)
{
    while (out->begin < out->end) {
        ssize_t n = send(connection->fd, out->bytes + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_lost(connection, err);
        out->begin += (size_t)n;
    }
    return TN_OK;
}

tn_status store_connection_receive(store_connection *connection, size_t limit, uint64_t deadline_ms,
                                   store_message *ret_message, tn_error *err)
{
    const uint8_t *frame;
    size_t n_frame;
    for (;;) {
        tn_status status = wire_buffer_take_frame(&connection->in, limit, &frame, &n_frame, err);
        if (status != TN_E_AGAIN)
            return status == TN_OK ? store_message_parse(frame, n_frame, ret_message, err) : status;
        status = wire_buffer_reserve(&connection->in, 65536, err);
        if (status != TN_OK)
            return status;
        uint64_t now_ms = clock_ms();
        struct pollfd wait = {.fd = connection->fd, .events = POLLIN};
        bool endless = deadline_ms == UINT64_MAX;
        int ready = endless ? 1 : now_ms < deadline_ms ? poll(&wait, 1, (int)(deadline_ms - now_ms)) : 0;
        if (ready < 0) /* a signal */
            continue;
        if (ready == 0)
            return tn_fail(err, TN_E_NOT_FOUND, "rank 0 of group %.100s does not answer; is it a Tenon of this group?",
                           connection->member.group);
        ssize_t n = recv(connection->fd, connection->in.bytes + connection->in.end, 65536, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_lost(connection, err);
        connection->in.end += (size_t)n;
    }
}

static tn_status send_message(const store_connection *connection, const store_message *message, tn_error *err)
{
    wire_buffer out = {0};
    tn_status status = store_message_write(&out, message, err);
    if (status == TN_OK)
        status = store_connection_send(connection, &out, err);
    wire_buffer_finish(&out);
    return status;
}

/* ---- greeting ---- */

/* Where nobody listens yet on a port that the system also hands out, a socket may be connected to itself. */
static bool is_own_address(int fd)
{
    struct sockaddr_storage own = {0}, other = {0};
    socklen_t n_own = sizeof own, n_other = sizeof other;
    return getsockname(fd, (struct sockaddr *)&own, &n_own) == 0 &&
           getpeername(fd, (struct sockaddr *)&other, &n_other) == 0 && n_own == n_other &&
           !memcmp(&own, &other, n_own);
}

static tn_status connect_to(const struct sockaddr *address, socklen_t n, uint64_t deadline_ms, int *ret_fd)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return TN_E_IO;
    int code = connect(fd, address, n) ? errno : 0;
    if (code == EINPROGRESS) {
        uint64_t now_ms = clock_ms();
        socklen_t n_code = sizeof code;
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (now_ms >= deadline_ms || poll(&wait, 1, (int)(deadline_ms - now_ms)) != 1)
            code = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &n_code);
    }
    if (!code && is_own_address(fd))
        code = ECONNREFUSED;
    if (code || fcntl(fd, F_SETFL, 0) < 0) {
        errno = code ? code : errno;
        close(fd);
        return TN_E_IO;
    }
    tcp_address_watch(fd);
    *ret_fd = fd;
    return TN_OK;
}

/* Rank 0 may come up later than we, and its name too. */
static tn_status connect_in_time(store_connection *connection, const char *address, uint64_t deadline_ms, tn_error *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    for (;; nanosleep(&pause, NULL)) {
        struct addrinfo *list = NULL;
        tn_status status = tcp_address_resolve(address, &list, err);
        if (status == TN_E_ARGUMENT)
            return status;
        for (const struct addrinfo *at = list; at && connection->fd < 0; at = at->ai_next) {
            uint64_t share_ms = list->ai_next ? clock_ms() + ADDRESS_MS : deadline_ms;
            if (connect_to(at->ai_addr, at->ai_addrlen, share_ms < deadline_ms ? share_ms : deadline_ms,
                           &connection->fd) != TN_OK)
                status = tn_fail(err, TN_E_NOT_FOUND,
                                 "rank 0 of group %.100s is not at %.120s: %s; start it, or correct group.store",
                                 connection->member.group, address, strerror(errno));
        }
        if (list)
            freeaddrinfo(list);
        if (connection->fd >= 0)
            return TN_OK;
        if (clock_ms() >= deadline_ms)
            return status;
    }
}

static tn_status fail_greeting(const store_message *message, tn_error *err)
{
    if (message->kind != STORE_REFUSED)
        return tn_fail(err, TN_E_CORRUPT,
                       "what answers at the address of the group's store is no Tenon of this version");
    return tn_fail(err, TN_E_ARGUMENT, "rank 0 refuses this process: %.*s", (int)message->blob[0].n,
                   message->blob[0].bytes);
}

static tn_status greet(store_connection *connection, const tcp_store_args *args, uint64_t deadline_ms, tn_error *err)
{
    const store_member *member = &connection->member;
    uint8_t challenge[STORE_DIGEST_BYTES], proof[STORE_DIGEST_BYTES];
    store_message message;
    store_message hello = {
        .kind = STORE_HELLO,
        .number = {STORE_VERSION, member->rank, member->world},
        .blob = {{member->group, (uint32_t)strlen(member->group)}, {member->host, (uint32_t)strlen(member->host)}}};
    tn_status status = store_connection_receive(connection, STORE_FRAME_MAX, deadline_ms, &message, err);
    if (status == TN_OK && message.kind != STORE_CHALLENGE)
        status = fail_greeting(&message, err);
    if (status == TN_OK && getrandom(hello.digest[0], STORE_DIGEST_BYTES, 0) != STORE_DIGEST_BYTES)
        status = tn_fail(err, TN_E_INTERNAL, "the system gives no random bytes");
    if (status != TN_OK)
        return status;
    memcpy(challenge, message.digest[0], sizeof challenge);
    store_message_prove(args->secret, args->n_secret, STORE_PROOF_MEMBER, challenge, &hello, hello.digest[1]);
    status = send_message(connection, &hello, err);
    if (status == TN_OK)
        status = store_connection_receive(connection, STORE_FRAME_MAX, deadline_ms, &message, err);
    if (status != TN_OK)
        return status;
    if (message.kind != STORE_WELCOME)
        return fail_greeting(&message, err);
    store_message_prove(args->secret, args->n_secret, STORE_PROOF_STORE, challenge, &hello, proof);
    if (!store_message_same_digest(proof, message.digest[0]))
        return tn_fail(err, TN_E_ARGUMENT,
                       "what answers at %.200s does not know the group's secret; is another program there?",
                       args->address);
    return TN_OK;
}

/* A connection that ends before a word was said to us is tried anew: it was in a crowd, or rank 0 is just starting. Not
 * rank 0's own, which its store cuts off when it is out of memory.
 */
tn_status store_connection_open(store_connection *connection, const tcp_store_args *args, uint64_t deadline_ms,
                                tn_error *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    for (;; nanosleep(&pause, NULL)) {
        tn_status status = connect_in_time(connection, args->address, deadline_ms, err);
        if (status == TN_OK)
            status = greet(connection, args, deadline_ms, err);
        if (status != TN_E_DEVICE_LOST || connection->member.rank == 0 || clock_ms() >= deadline_ms)
            return status;
        close(connection->fd);
        connection->fd = -1;
        connection->in.begin = connection->in.end = 0;
    }
}

/* ---- the other side ---- */

/* TN_E_ARGUMENT: what is not as it must be. */
static tn_status check_hello(const store_message *hello, const store_member *own, tn_error *err)
{
    size_t n_group = strlen(own->group);
    if (hello->kind != STORE_HELLO || hello->number[0] != STORE_VERSION)
        return tn_fail(err, TN_E_ARGUMENT, "another version of Tenon, or no greeting at all");
    if (hello->blob[0].n != n_group || memcmp(hello->blob[0].bytes, own->group, n_group))
        return tn_fail(err, TN_E_ARGUMENT, "this is group %.100s, not %.*s", own->group,
                       (int)(hello->blob[0].n < 100 ? hello->blob[0].n : 100), hello->blob[0].bytes);
    if (hello->number[2] != own->world || hello->number[1] == 0 || hello->number[1] >= own->world)
        return tn_fail(err, TN_E_ARGUMENT, "there is no rank %u of %u in a group of %u", hello->number[1],
                       hello->number[2], own->world);
    return TN_OK;
}

tn_status store_connection_accept(store_connection *connection, const tcp_store_args *args, uint64_t deadline_ms,
                                  uint32_t *ret_rank, tn_error *err)
{
    store_message challenge = {.kind = STORE_CHALLENGE}, welcome = {.kind = STORE_WELCOME}, hello;
    uint8_t proof[STORE_DIGEST_BYTES];
    if (getrandom(challenge.digest[0], STORE_DIGEST_BYTES, 0) != STORE_DIGEST_BYTES)
        return tn_fail(err, TN_E_INTERNAL, "the system gives no random bytes");
    tn_status status = send_message(connection, &challenge, err);
    if (status == TN_OK)
        status = store_connection_receive(connection, STORE_GREETING_MAX, deadline_ms, &hello, err);
    if (status == TN_OK)
        status = check_hello(&hello, &connection->member, err);
    if (status != TN_OK)
        return status;
    store_message_prove(args->secret, args->n_secret, STORE_PROOF_MEMBER, challenge.digest[0], &hello, proof);
    if (!store_message_same_digest(proof, hello.digest[1]))
        return tn_fail(err, TN_E_ARGUMENT, "the secret differs");
    store_message_prove(args->secret, args->n_secret, STORE_PROOF_STORE, challenge.digest[0], &hello,
                        welcome.digest[0]);
    *ret_rank = hello.number[1];
    return send_message(connection, &welcome, err);
}

void store_connection_close(store_connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
    wire_buffer_finish(&connection->in);
}
