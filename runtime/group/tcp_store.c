/* tcp_store.c: a member's side of the TCP store: one connection, on which every thread may have a call under way. A
 * reader thread hands each answer to the call that waits for it, and learns of the group's end at once. Rank 0 serves
 * the store and is a member like the others.
 */
#include "group/store.h"
#include "group/store_connection.h"
#include "group/store_server.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/socket.h>

/* How long after a get's own timeout the store's answer may take; and how long a put's may. */
enum { ANSWER_MS = 10000 };

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
    store_server *server; /* rank 0's */
    store_connection connection; /* its buffer is the reader's, after the greeting */
    pthread_t reader;
    bool reading;

    pthread_mutex_t send_lock; /* whole frames at a time; before `lock` */
    wire_buffer out;

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

static tn_status send_message(tcp_store *store, const store_message *message, tn_error *err)
{
    pthread_mutex_lock(&store->send_lock);
    store->out.begin = store->out.end = 0;
    tn_status status = store_message_write(&store->out, message, err);
    if (status == TN_OK)
        status = store_connection_send(&store->connection, &store->out, err);
    pthread_mutex_unlock(&store->send_lock);
    return status;
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

static void finish_call(store_call *call, tn_status status, const wire_blob *blob)
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
    while ((status = store_connection_receive(&store->connection, STORE_FRAME_MAX, UINT64_MAX, &message, &err)) == TN_OK) {
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
        status = tn_fail(err, TN_E_DEVICE_LOST, "rank 0 of group %.100s does not answer", store->connection.member.group);
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
        return call_finish(store, call, clock_ms() + timeout_ms + ANSWER_MS, err);
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
        shutdown(store->connection.fd, SHUT_RDWR); /* wakes the reader; what was sent still goes out */
        pthread_join(store->reader, NULL);
    }
    store_connection_close(&store->connection);
    store_server_stop(store->server, store->reading ? STORE_LEAVE_MS : 0);
    wire_buffer_finish(&store->out);
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
    *store = (tcp_store){.base.api = &tcp_api, .connection = {.member = *member, .fd = -1}};
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
    uint64_t deadline_ms = clock_ms() + args->timeout_ms;
    tcp_store *store = create(member);
    if (!store)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the store of the group");
    tn_status status = member->rank == 0 ? store_server_start(args, member, &store->server, err) : TN_OK;
    if (status == TN_OK)
        status = store_connection_open(&store->connection, args, deadline_ms, err);
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
