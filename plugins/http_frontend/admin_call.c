/* admin_call.c: see admin_call.h. */
#include "admin_call.h"

#include "base/clock.h"
#include "reply.h"

#include <inttypes.h>
#include <string.h>

enum {
    WHOLE_BYTES_MAX = 1 << 20,
    UNSENT_BYTES_MAX = 1 << 20,
    KEY_BYTES_MAX = 256,
    UPLOAD_BYTES_MAX = 256 << 10 /* of one upload, in memory; its client gets request_timeout anew for as many */
};

struct admin_call {
    tn_front *front;
    struct MHD_Connection *connection;
    http_peer *peer;
    char *method, *path; /* owned, as the next ones */
    char *query, *key;   /* NULL: none */
    char *type_of_body;  /* of an upload; else NULL */
    tn_identity caller;
    bool batch, upload;
    byte_buffer body;

    /* Under front->lock. */
    admin_call *next, *previous; /* of front->admin_calls, while its thread runs */
    uint32_t references;
    pthread_cond_t room;      /* out was read, or nobody will */
    pthread_cond_t bytes;     /* of an upload: there are some, or will be none */
    byte_buffer in;           /* of an upload, in_read of them are the thread's */
    size_t in_read, in_fresh; /* in_fresh: since the client's time began anew */
    bool in_ended;
    uint32_t code; /* 0: head has not been told */
    char type[64];
    byte_buffer out;
    size_t out_read;
    bool ended;     /* the thread has written everything */
    bool gone;      /* the client has left */
    bool suspended; /* whoever clears it resumes the connection */
    bool streaming; /* the answer has begun */
};

/* ---- life ---- */

/* Under lock; true: the caller destroys it. */
static bool unreference(admin_call *call)
{
    return --call->references == 0;
}

static void destroy(admin_call *call)
{
    free(call->method);
    free(call->path);
    free(call->query);
    free(call->key);
    free(call->type_of_body);
    byte_buffer_finish(&call->in);
    byte_buffer_finish(&call->body);
    byte_buffer_finish(&call->out);
    pthread_cond_destroy(&call->room);
    pthread_cond_destroy(&call->bytes);
    free(call);
}

static size_t unread(const admin_call *call)
{
    return call->out.count - call->out_read;
}

static bool is_json(const admin_call *call)
{
    return strncmp(call->type, REPLY_JSON, sizeof REPLY_JSON - 1) == 0;
}

static bool has_room(const admin_call *call)
{
    return call->in.count - call->in_read < UPLOAD_BYTES_MAX;
}

/* Whether the connection has something to do. */
static bool is_runnable(const admin_call *call)
{
    if (call->ended || call->gone)
        return true;
    if (call->upload && !call->in_ended)
        return has_room(call);
    if (call->code == 0 || call->streaming)
        return call->code != 0 && unread(call) > 0;
    return !is_json(call) || unread(call) > WHOLE_BYTES_MAX;
}

/* Under lock. The connection to resume once it is released, NULL: none. */
static struct MHD_Connection *to_resume(admin_call *call)
{
    if (!call->suspended || !is_runnable(call))
        return NULL;
    call->suspended = false;
    return call->connection;
}

static void resume(struct MHD_Connection *connection)
{
    if (connection)
        MHD_resume_connection(connection);
}

struct MHD_Connection *admin_call_abandon(admin_call *call)
{
    call->gone = true;
    pthread_cond_broadcast(&call->room);
    pthread_cond_broadcast(&call->bytes);
    return to_resume(call);
}

/* ---- the thread's side ---- */

static tn_status take_head(void *ctx, uint32_t code, const char *content_type)
{
    admin_call *call = ctx;
    front_lock(call->front);
    bool gone = call->gone;
    call->code = code >= 200 && code <= 599 ? code : 500;
    snprintf(call->type, sizeof call->type, "%s", content_type);
    struct MHD_Connection *waiting = to_resume(call);
    front_unlock(call->front);
    resume(waiting);
    return gone ? TN_E_CANCELLED : TN_OK;
}

static tn_status take_bytes(void *ctx, const void *bytes, uint64_t n)
{
    admin_call *call = ctx;
    front_lock(call->front);
    while (!call->gone && (call->streaming || !is_json(call)) && unread(call) > UNSENT_BYTES_MAX)
        pthread_cond_wait(&call->room, &call->front->lock);
    bool gone = call->gone;
    if (!gone)
        byte_buffer_append(&call->out, bytes, n);
    bool failed = call->out.failed;
    struct MHD_Connection *waiting = to_resume(call);
    front_unlock(call->front);
    resume(waiting);
    return gone ? TN_E_CANCELLED : failed ? TN_E_MEMORY : TN_OK;
}

/* Moves what there is of an upload's body. */
static size_t move_in(admin_call *call, void *bytes, uint64_t capacity)
{
    size_t there = call->in.count - call->in_read, n = there < capacity ? there : (size_t)capacity;

    memcpy(bytes, call->in.bytes + call->in_read, n);
    call->in_read += n;
    if (call->in_read == call->in.count) {
        byte_buffer_clear(&call->in);
        call->in_read = 0;
    }
    return n;
}

static tn_status read_in(void *ctx, void *bytes, uint64_t capacity, uint64_t *ret_n)
{
    admin_call *call = ctx;
    front_lock(call->front);
    while (!call->gone && !call->in_ended && !call->in.failed && call->in.count == call->in_read)
        pthread_cond_wait(&call->bytes, &call->front->lock);
    bool gone = call->gone, failed = call->in.failed;
    *ret_n = gone || failed || call->in.count == call->in_read ? 0 : move_in(call, bytes, capacity);
    struct MHD_Connection *waiting = to_resume(call);
    front_unlock(call->front);
    resume(waiting);
    return gone ? TN_E_CANCELLED : failed ? TN_E_MEMORY : TN_OK;
}

/* Takes it off the list: from here on nobody counts on the thread. */
static void end(admin_call *call)
{
    tn_front *front = call->front;
    front_lock(front);
    call->ended = true;
    struct MHD_Connection *waiting = to_resume(call);
    front_unlock(front);
    resume(waiting); /* before the thread is off the list, for admin_calls_stop */
    front_lock(front);
    *(call->previous ? &call->previous->next : &front->admin_calls) = call->next;
    if (call->next)
        call->next->previous = call->previous;
    front->upload_count -= call->upload;
    if (--front->admin_count == 0)
        pthread_cond_broadcast(&front->idle);
    bool last = unreference(call);
    front_unlock(front);
    if (last)
        destroy(call);
}

static void *run(void *argument)
{
    admin_call *call = argument;
    const tn_front *front = call->front;
    const tn_admin_call asked = {.struct_size = sizeof asked,
                                 .method = call->method,
                                 .path = call->path,
                                 .query = call->query,
                                 .body = call->body.count ? call->body.bytes : NULL,
                                 .n_body = call->body.count,
                                 .idempotency_key = call->key,
                                 .caller = call->caller.name[0] ? call->caller.name : NULL,
                                 .caller_scopes = call->caller.scopes,
                                 .content_type = call->type_of_body,
                                 .read = call->upload ? read_in : NULL,
                                 .read_ctx = call};
    const tn_admin_sink sink = {.struct_size = sizeof sink, .ctx = call, .head = take_head, .write = take_bytes};
    (call->batch ? front->admin_api->call_batch : front->admin_api->call)(front->admin, &asked, &sink);
    end(call);
    return NULL;
}

/* ---- starting ---- */

static void append_escaped(byte_buffer *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        bool plain =
            (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') || strchr("-._~:/,@", byte);
        if (plain)
            byte_buffer_append(out, text, 1);
        else
            byte_buffer_print(out, "%%%02X", byte);
    }
}

/* The query in one spelling: libmicrohttpd has taken it apart. */
static enum MHD_Result append_argument(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value)
{
    byte_buffer *out = ctx;
    (void)kind;
    if (out->count > 0)
        byte_buffer_text(out, "&");
    append_escaped(out, key);
    if (value) {
        byte_buffer_text(out, "=");
        append_escaped(out, value);
    }
    return MHD_YES;
}

static tn_status copy_head(admin_call *call, const char *method, const char *path, api_error *error)
{
    byte_buffer query = {0};
    const char *type = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Content-Type");
    const char *key = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Idempotency-Key");

    if (key && strlen(key) > KEY_BYTES_MAX)
        return api_fail(error, 400, NULL, NULL, "the Idempotency-Key is longer than %d bytes", KEY_BYTES_MAX);
    MHD_get_connection_values(call->connection, MHD_GET_ARGUMENT_KIND, append_argument, &query);
    if (query.count > 0)
        byte_buffer_append(&query, "", 1);
    call->query = query.bytes;
    call->method = strdup(method);
    call->path = strdup(*path ? path : "/");
    call->key = key ? strdup(key) : NULL;
    call->type_of_body = call->upload ? strdup(type ? type : "") : NULL;
    if (!query.failed && call->method && call->path && (call->key || !key) && (call->type_of_body || !call->upload))
        return TN_OK;
    return api_fail_status(error, TN_E_MEMORY, "out of memory for the request", 1);
}

static tn_status start_thread(admin_call *call)
{
    pthread_attr_t detached;
    pthread_t thread;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &detached, run, call);
    pthread_attr_destroy(&detached);
    return code == 0 ? TN_OK : TN_E_MEMORY;
}

/* Enters it into the list, and starts its thread. */
static tn_status enter(admin_call *call, api_error *error)
{
    tn_front *front = call->front;
    front_lock(front);
    bool full = front->admin_count == ADMIN_CALLS_MAX || (call->upload && front->upload_count == UPLOADS_MAX);
    tn_status status = front->stopping || full ? TN_E_AGAIN : TN_OK;
    if (status == TN_OK)
        status = start_thread(call); /* it cannot end before the lock is released */
    if (status == TN_OK) {
        call->references = 2;
        call->next = front->admin_calls;
        if (call->next)
            call->next->previous = call;
        front->admin_calls = call;
        front->admin_count++;
        front->upload_count += call->upload;
        if (call->peer)
            call->peer->admin = call;
        call->gone = call->peer && call->peer->hung_up_ms; /* while its request was being read */
    }
    front_unlock(front);
    if (status == TN_OK)
        return TN_OK;
    api_fail(error, 503, "unavailable", NULL, "%s",
             status == TN_E_AGAIN ? "too many administrative requests are under way" : "out of memory for a thread");
    error->retry_after = 1;
    return TN_E_ARGUMENT;
}

tn_status admin_call_start(tn_front *front, struct MHD_Connection *connection, http_peer *peer,
                           const admin_question *question, byte_buffer *body, admin_call **ret_call, api_error *error)
{
    admin_call *call = calloc(1, sizeof *call);
    if (!call)
        return api_fail_status(error, TN_E_MEMORY, "out of memory for the request", 1);
    call->front = front;
    call->connection = connection;
    call->peer = peer;
    call->batch = question->batch;
    call->upload = question->upload;
    call->caller = *question->caller;
    call->body = *body;
    *body = (byte_buffer){0};
    pthread_cond_init(&call->room, NULL);
    pthread_cond_init(&call->bytes, NULL);
    tn_status status = copy_head(call, question->method, question->path, error);
    if (status == TN_OK)
        status = enter(call, error);
    if (status != TN_OK) {
        destroy(call);
        return status;
    }
    *ret_call = call;
    return TN_OK;
}

/* ---- the connection's side ---- */

/* Suspends it unless there is something to do at once. */
static void wait_for_thread(admin_call *call)
{
    MHD_suspend_connection(call->connection);
    front_lock(call->front);
    call->gone |= call->front->stopping;
    call->suspended = true;
    struct MHD_Connection *waiting = to_resume(call);
    front_unlock(call->front);
    resume(waiting);
}

/* What does not fit waits with the connection. Time that a client spends waiting for us is not counted. */
static size_t append_in(admin_call *call, const char *bytes, size_t n)
{
    size_t room = UPLOAD_BYTES_MAX - (call->in.count - call->in_read), taken = n < room ? n : room;

    if (call->in_read > 0) {
        memmove(call->in.bytes, call->in.bytes + call->in_read, call->in.count - call->in_read);
        call->in.count -= call->in_read;
        call->in_read = 0;
    }
    byte_buffer_append(&call->in, bytes, taken);
    call->in_fresh += taken;
    if (call->peer && call->peer->receiving_since_ms && (call->in_fresh >= UPLOAD_BYTES_MAX || taken < n)) {
        call->peer->receiving_since_ms = clock_ms();
        call->in_fresh = 0;
    }
    pthread_cond_broadcast(&call->bytes);
    return taken;
}

size_t admin_call_take(admin_call *call, const char *bytes, size_t n)
{
    front_lock(call->front);
    bool wanted = !call->ended && !call->gone && !call->in.failed;
    size_t taken = wanted ? append_in(call, bytes, n) : n;
    front_unlock(call->front);
    if (taken < n)
        wait_for_thread(call);
    return taken;
}

void admin_call_end_body(admin_call *call)
{
    front_lock(call->front);
    call->in_ended = true;
    pthread_cond_broadcast(&call->bytes);
    front_unlock(call->front);
}

static ssize_t read_out(void *cls, uint64_t position, char *bytes, size_t capacity)
{
    admin_call *call = cls;
    (void)position;

    front_lock(call->front);
    size_t n = call->gone ? 0 : unread(call) < capacity ? unread(call) : capacity;
    if (n > 0) {
        memcpy(bytes, call->out.bytes + call->out_read, n);
        call->out_read += n;
        if (call->out_read == call->out.count) {
            byte_buffer_clear(&call->out);
            call->out_read = 0;
        }
        pthread_cond_broadcast(&call->room);
    }
    bool cut = call->gone || call->out.failed, ended = call->ended;
    front_unlock(call->front);
    if (n > 0)
        return (ssize_t)n;
    if (cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    wait_for_thread(call);
    return 0;
}

enum MHD_Result admin_call_answer(admin_call *call)
{
    tn_front *front = call->front;
    byte_buffer whole = {0};

    front_lock(front);
    bool gone = call->gone, ended = call->ended, runs = is_runnable(call);
    if (ended && !gone) {
        whole = call->out;
        call->out = (byte_buffer){0};
    } else if (runs) {
        call->streaming = true;
    }
    front_unlock(front);
    if (gone)
        return MHD_NO;
    if (!runs) {
        wait_for_thread(call);
        return MHD_YES;
    }
    if (!ended)
        return reply_reader(front, call->connection, call->code, call->type, read_out, call);
    if (call->code == 0) {
        api_error error;
        byte_buffer_finish(&whole);
        api_fail(&error, 500, "internal_error", NULL, "there was no answer");
        return reply_error(front, call->connection, NULL, &error);
    }
    byte_buffer_reserve(&whole, 1); /* an empty answer is one, too */
    return reply_bytes(front, call->connection, call->code, call->type, &whole);
}

void admin_call_finish(admin_call *call)
{
    if (!call)
        return;
    tn_front *front = call->front;
    front_lock(front);
    if (call->peer && call->peer->admin == call)
        call->peer->admin = NULL;
    call->gone = true;
    pthread_cond_broadcast(&call->room);
    pthread_cond_broadcast(&call->bytes);
    bool last = unreference(call);
    front_unlock(front);
    if (last)
        destroy(call);
}

void admin_calls_stop(tn_front *front)
{
    front_lock(front);
    for (admin_call *call = front->admin_calls; call; call = front->admin_calls) {
        while (call && !call->suspended && call->gone)
            call = call->next;
        if (!call)
            break;
        struct MHD_Connection *waiting = admin_call_abandon(call);
        front_unlock(front);
        resume(waiting);
        front_lock(front);
    }
    while (front->admin_count > 0)
        pthread_cond_wait(&front->idle, &front->lock);
    front_unlock(front);
}
