/* tcp_store.c: a member's side of the TCP store: one connection, on which every thread may have a call under way. A
 * reader thread hands each answer to the call that waits for it, and learns of the group's end at once. Rank 0 serves
 * the store and is a member like the others.
 */
#include "group/store.h"
#include "group/store_message.h"
#include "group/store_server.h"
#include "group/tcp_address.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long after a get's own timeout the store's answer may take; and how long a put's may. */
enum { ANSWER_MS = 10000 };
/* Between two tries to connect; and how long one address may take where there are others. */
enum { RETRY_MS = 50, ADDRESS_MS = 3000 };

/* A call under way, on its caller's stack. */
typedef struct store_call {
    struct store_call *next;
    uint32_t id;
    bool done;
    tn_status status;
    char text[STORE_REASON_MAX + 1]; /* why it failed */
    void *value;
    uint64_t capacity, n_value;
} store_call;

typedef struct tcp_store {
    store base;
    store_member member;
    store_server *server; /* rank 0's */
    int fd;
    store_buffer in; /* the reader's, after the greeting */
    pthread_t reader;
    bool reading;

    pthread_mutex_t send_lock; /* whole frames at a time; before `lock` */
    store_buffer out;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC */
    /* under lock: */
    store_call *calls;
    uint32_t last_id;
    tn_status ended;
    char reason[STORE_REASON_MAX + 1];
} tcp_store;

static tcp_store *tcp_of(store *base)
{
    return (tcp_store *)base;
}

/* ---- the connection ---- */

static tn_status fail_lost(const tcp_store *store, tn_error *err)
{
    return tn_fail(err, TN_E_DEVICE_LOST,
                   "rank 0 of group %.100s is gone: it ended its connection to rank %u on %.100s", store->member.group,
                   store->member.rank, store->member.host);
}

/* All of it; the socket blocks. */
static tn_status send_all(const tcp_store *store, store_buffer *out, tn_error *err)
{
    while (out->begin < out->end) {
        ssize_t n = send(store->fd, out->bytes + out->begin, out->end - out->begin, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_lost(store, err);
        out->begin += (size_t)n;
    }
    return TN_OK;
}

static tn_status send_message(tcp_store *store, const store_message *message, tn_error *err)
{
    pthread_mutex_lock(&store->send_lock);
    store->out.begin = store->out.end = 0;
    tn_status status = store_message_write(&store->out, message, err);
    if (status == TN_OK)
        status = send_all(store, &store->out, err);
    pthread_mutex_unlock(&store->send_lock);
    return status;
}

/* The next message, until deadline_ms (UINT64_MAX: however long it takes). Borrowed until the next one. */
static tn_status receive_message(tcp_store *store, uint64_t deadline_ms, store_message *ret_message, tn_error *err)
{
    const uint8_t *frame;
    size_t n_frame;
    for (;;) {
        tn_status status = store_buffer_take_frame(&store->in, STORE_FRAME_MAX, &frame, &n_frame, err);
        if (status != TN_E_AGAIN)
            return status == TN_OK ? store_message_parse(frame, n_frame, ret_message, err) : status;
        status = store_buffer_reserve(&store->in, 65536, err);
        if (status != TN_OK)
            return status;
        uint64_t now_ms = store_clock_ms();
        struct pollfd wait = {.fd = store->fd, .events = POLLIN};
        bool endless = deadline_ms == UINT64_MAX;
        int ready = endless ? 1 : now_ms < deadline_ms ? poll(&wait, 1, (int)(deadline_ms - now_ms)) : 0;
        if (ready < 0) /* a signal */
            continue;
        if (ready == 0)
            return tn_fail(err, TN_E_NOT_FOUND, "rank 0 of group %.100s does not answer; is it a Tenon of this group?",
                           store->member.group);
        ssize_t n = recv(store->fd, store->in.bytes + store->in.end, 65536, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail_lost(store, err);
        store->in.end += (size_t)n;
    }
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
        uint64_t now_ms = store_clock_ms();
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
static tn_status connect_in_time(tcp_store *store, const char *address, uint64_t deadline_ms, tn_error *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    for (;; nanosleep(&pause, NULL)) {
        struct addrinfo *list = NULL;
        tn_status status = tcp_address_resolve(address, &list, err);
        if (status == TN_E_ARGUMENT)
            return status;
        for (const struct addrinfo *at = list; at && store->fd < 0; at = at->ai_next) {
            uint64_t share_ms = list->ai_next ? store_clock_ms() + ADDRESS_MS : deadline_ms;
            if (connect_to(at->ai_addr, at->ai_addrlen, share_ms < deadline_ms ? share_ms : deadline_ms, &store->fd) !=
                TN_OK)
                status = tn_fail(err, TN_E_NOT_FOUND,
                                 "rank 0 of group %.100s is not at %.120s: %s; start it, or correct group.store",
                                 store->member.group, address, strerror(errno));
        }
        if (list)
            freeaddrinfo(list);
        if (store->fd >= 0)
            return TN_OK;
        if (store_clock_ms() >= deadline_ms)
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

static tn_status greet(tcp_store *store, const tcp_store_args *args, uint64_t deadline_ms, tn_error *err)
{
    const store_member *member = &store->member;
    uint8_t challenge[STORE_DIGEST_BYTES], proof[STORE_DIGEST_BYTES];
    store_message message;
    store_message hello = {
        .kind = STORE_HELLO,
        .number = {STORE_VERSION, member->rank, member->world},
        .blob = {{member->group, (uint32_t)strlen(member->group)}, {member->host, (uint32_t)strlen(member->host)}}};
    tn_status status = receive_message(store, deadline_ms, &message, err);
    if (status == TN_OK && message.kind != STORE_CHALLENGE)
        status = fail_greeting(&message, err);
    if (status == TN_OK && getrandom(hello.digest[0], STORE_DIGEST_BYTES, 0) != STORE_DIGEST_BYTES)
        status = tn_fail(err, TN_E_INTERNAL, "the system gives no random bytes");
    if (status != TN_OK)
        return status;
    memcpy(challenge, message.digest[0], sizeof challenge);
    store_message_prove(args->secret, args->n_secret, STORE_PROOF_MEMBER, challenge, &hello, hello.digest[1]);
    status = send_message(store, &hello, err);
    if (status == TN_OK)
        status = receive_message(store, deadline_ms, &message, err);
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
static tn_status connect_and_greet(tcp_store *store, const tcp_store_args *args, uint64_t deadline_ms, tn_error *err)
{
    const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
    for (;; nanosleep(&pause, NULL)) {
        tn_status status = connect_in_time(store, args->address, deadline_ms, err);
        if (status == TN_OK)
            status = greet(store, args, deadline_ms, err);
        if (status != TN_E_DEVICE_LOST || store->server || store_clock_ms() >= deadline_ms)
            return status;
        close(store->fd);
        store->fd = -1;
        store->in.begin = store->in.end = 0;
    }
}

/* ---- answers ---- */

/* The group is over: every call fails, now and later. The first reason stands. */
static void end_calls(tcp_store *store, tn_status status, const char *reason, size_t n)
{
    pthread_mutex_lock(&store->lock);
    if (store->ended == TN_OK) {
        store->ended = status;
        snprintf(store->reason, sizeof store->reason, "%.*s", (int)n, reason);
    }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

static void finish_call(store_call *call, tn_status status, const store_blob *blob)
{
    call->done = true;
    call->status = status;
    if (status != TN_OK) {
        snprintf(call->text, sizeof call->text, "%.*s", (int)blob->n, blob->bytes);
        return;
    }
    call->n_value = blob->n;
    if (blob->n <= call->capacity && blob->n)
        memcpy(call->value, blob->bytes, blob->n);
}

static void on_reply(tcp_store *store, const store_message *message)
{
    pthread_mutex_lock(&store->lock);
    store_call *call = store->calls;
    while (call && call->id != message->number[0])
        call = call->next;
    if (call)
        finish_call(call, (tn_status)message->number[1], &message->blob[0]);
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

static void *read_answers(void *argument)
{
    tcp_store *store = argument;
    store_message message;
    tn_error err = TN_ERROR_INIT;
    tn_status status;
    while ((status = receive_message(store, UINT64_MAX, &message, &err)) == TN_OK) {
        if (message.kind == STORE_REPLY)
            on_reply(store, &message);
        else if (message.kind == STORE_ABORT)
            end_calls(store, message.number[0] == (uint32_t)TN_E_CANCELLED ? TN_E_CANCELLED : TN_E_DEVICE_LOST,
                      message.blob[0].bytes, message.blob[0].n);
    }
    end_calls(store, TN_E_DEVICE_LOST, err.msg, strlen(err.msg));
    return NULL;
}

/* ---- calls ---- */

static tn_status call_begin(tcp_store *store, store_call *call, tn_error *err)
{
    pthread_mutex_lock(&store->lock);
    tn_status status = store->ended;
    if (status != TN_OK) {
        tn_fail(err, status, "%s", store->reason);
    } else {
        call->id = ++store->last_id;
        call->next = store->calls;
        store->calls = call;
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

static void call_remove(tcp_store *store, const store_call *call)
{
    store_call **link = &store->calls;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
}

/* Waits for the answer; the store keeps the time of a get, so that ours only matters when it is silent. */
static tn_status call_finish(tcp_store *store, store_call *call, uint64_t deadline_ms, tn_error *err)
{
    const struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
                                   .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    int code = 0;
    pthread_mutex_lock(&store->lock);
    while (!call->done && store->ended == TN_OK && code == 0)
        code = pthread_cond_timedwait(&store->changed, &store->lock, &until);
    call_remove(store, call);
    tn_status status = call->status;
    if (call->done && status != TN_OK)
        tn_fail(err, status, "%s", call->text);
    else if (!call->done && store->ended != TN_OK)
        status = tn_fail(err, store->ended, "%s", store->reason);
    else if (!call->done)
        status = tn_fail(err, TN_E_DEVICE_LOST, "rank 0 of group %.100s does not answer", store->member.group);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* A call that could not be sent. If the group is over, that is the better reason. */
static tn_status call_forget(tcp_store *store, const store_call *call, tn_status status, tn_error *err)
{
    pthread_mutex_lock(&store->lock);
    call_remove(store, call);
    if (store->ended != TN_OK)
        status = tn_fail(err, store->ended, "%s", store->reason);
    pthread_mutex_unlock(&store->lock);
    return status;
}

static tn_status call_make(tcp_store *store, store_call *call, store_message *message, uint32_t timeout_ms,
                           tn_error *err)
{
    tn_status status = call_begin(store, call, err);
    if (status != TN_OK)
        return status;
    message->number[0] = call->id;
    status = send_message(store, message, err);
    if (status == TN_OK)
        return call_finish(store, call, store_clock_ms() + timeout_ms + ANSWER_MS, err);
    return call_forget(store, call, status, err);
}

static tn_status tcp_put(store *base, const char *key, const void *value, uint64_t n_value, tn_error *err)
{
    store_call call = {0};
    store_message put = {.kind = STORE_PUT, .blob = {{key, (uint32_t)strlen(key)}, {value, (uint32_t)n_value}}};
    return call_make(tcp_of(base), &call, &put, 0, err);
}

static tn_status tcp_get(store *base, const char *key, void *value, uint64_t *n_value, uint32_t timeout_ms,
                         tn_error *err)
{
    store_call call = {.value = value, .capacity = *n_value};
    store_message get = {.kind = STORE_GET, .number = {0, timeout_ms}, .blob = {{key, (uint32_t)strlen(key)}}};
    tn_status status = call_make(tcp_of(base), &call, &get, timeout_ms, err);
    if (status != TN_OK)
        return status;
    bool fits = call.n_value <= *n_value;
    *n_value = call.n_value;
    return fits ? TN_OK : tn_fail(err, TN_E_MEMORY, "the value of %s has %" PRIu64 " bytes", key, call.n_value);
}

/* Our own calls end first: one may hold the connection while rank 0 takes nothing in. */
static void tcp_abort(store *base, const char *reason)
{
    tcp_store *store = tcp_of(base);
    size_t n = strlen(reason) < STORE_REASON_MAX ? strlen(reason) : STORE_REASON_MAX;
    end_calls(store, TN_E_CANCELLED, reason, n);
    send_message(
        store,
        &(store_message){.kind = STORE_ABORT, .number = {(uint32_t)TN_E_CANCELLED}, .blob = {{reason, (uint32_t)n}}},
        NULL);
}

/* ---- life ---- */

static void tcp_close(store *base)
{
    tcp_store *store = tcp_of(base);
    if (store->reading) {
        send_message(store, &(store_message){.kind = STORE_LEAVE}, NULL);
        shutdown(store->fd, SHUT_RDWR); /* wakes the reader; what was sent still goes out */
        pthread_join(store->reader, NULL);
    }
    if (store->fd >= 0)
        close(store->fd);
    store_server_stop(store->server, store->reading ? STORE_LEAVE_MS : 0);
    store_buffer_finish(&store->in);
    store_buffer_finish(&store->out);
    pthread_mutex_destroy(&store->send_lock);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store);
}

static const store_api tcp_api = {.put = tcp_put, .get = tcp_get, .abort = tcp_abort, .close = tcp_close};

static tcp_store *create(const store_member *member)
{
    tcp_store *store = calloc(1, sizeof *store);
    pthread_condattr_t attributes;
    if (!store)
        return NULL;
    *store = (tcp_store){.base.api = &tcp_api, .member = *member, .fd = -1};
    pthread_mutex_init(&store->send_lock, NULL);
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return store;
}

tn_status tcp_store_open(const tcp_store_args *args, const store_member *member, store **ret_store, tn_error *err)
{
    uint64_t deadline_ms = store_clock_ms() + args->timeout_ms;
    tcp_store *store = create(member);
    if (!store)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the store of the group");
    tn_status status = member->rank == 0 ? store_server_start(args, member, &store->server, err) : TN_OK;
    if (status == TN_OK)
        status = connect_and_greet(store, args, deadline_ms, err);
    int code = status == TN_OK ? pthread_create(&store->reader, NULL, read_answers, store) : 0;
    if (code)
        status = tn_fail(err, TN_E_INTERNAL, "cannot start the thread of the group's store: %s", strerror(code));
    store->reading = status == TN_OK;
    if (status != TN_OK) {
        tcp_close(&store->base);
        return status;
    }
    *ret_store = &store->base;
    return TN_OK;
}
