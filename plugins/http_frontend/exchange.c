/* exchange.c: a request's steps: refuse early what headers already forbid, collect the body, answer at once or submit a
 * call and wait suspended, answer when resumed. */
#include "exchange.h"

#include "admin_call.h"
#include "answer.h"
#include "auth.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "chat_completions.h"
#include "completions.h"
#include "console.h"
#include "host_name.h"
#include "json_body.h"
#include "model.h"
#include "poller.h"
#include "reply.h"
#include "request_head.h"
#include "route.h"
#include "status_pages.h"
#include "tokenize.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Bodies being received, together, may hold this many times max_body_bytes. */
enum { BODY_TOTAL_FACTOR = 16 };

typedef struct http_exchange {
    tn_front *front;
    const http_route *route;
    byte_buffer body;
    bool body_too_large;
    tn_identity caller;
    http_model *model; /* held, once the body has named it; NULL: none */
    http_call *call;   /* owned; in the front's table */
    admin_call *admin; /* held */
} http_exchange;

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static http_peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static tn_status fail_body_size(uint64_t bytes_max, api_error *error)
{
    return api_fail(error, 413, "body_too_large", NULL, "the body is larger than %llu bytes",
                    (unsigned long long)bytes_max);
}

static tn_status fail_busy(const tn_front *front, const char *message, api_error *error)
{
    api_fail(error, 503, "unavailable", NULL, "%s", message);
    error->retry_after = front->engine ? front->engine_api->retry_after(front->engine) : 1;
    if (error->retry_after == 0)
        error->retry_after = 1;
    return TN_E_ARGUMENT;
}

/* bytes_max: of the body. */
static tn_status check_length(struct MHD_Connection *connection, uint64_t bytes_max, api_error *error)
{
    const char *length = header(connection, "Content-Length");

    if (length) {
        errno = 0;
        unsigned long long bytes = strtoull(length, NULL, 10);
        if (errno || bytes > bytes_max)
            return fail_body_size(bytes_max, error);
    }
    return TN_OK;
}

static bool has_type(struct MHD_Connection *connection, const char *wanted)
{
    const char *type = header(connection, "Content-Type");
    size_t bytes = strlen(wanted);

    return type && strncasecmp(type, wanted, bytes) == 0 && strchr("; \t", type[bytes]);
}

/* The type must be said: a browser sends a page's form or text to any address without asking, but never JSON. */
static tn_status check_body_headers(const tn_front *front, struct MHD_Connection *connection, api_error *error)
{
    if (!has_type(connection, "application/json"))
        return api_fail(error, 415, "unsupported_media_type", NULL, "send the header 'Content-Type: application/json'");
    return check_length(connection, front->options.max_body_bytes, error);
}

static bool is_upload(const http_route *route, const char *url, const char *method)
{
    size_t known = strlen(route->path);
    return route->id == ROUTE_FILES && strcmp(method, "POST") == 0 && (!url[known] || strcmp(url + known, "/") == 0);
}

/* A form, which a page may send to any address without asking: but with where it comes from, which must be here. */
static tn_status check_upload(const tn_front *front, struct MHD_Connection *connection, api_error *error)
{
    const char *origin = header(connection, "Origin"), *host = header(connection, "Host");
    const char *from = origin ? strstr(origin, "://") : NULL;

    if (origin && (!from || !host || strcasecmp(from + 3, host) != 0))
        return api_fail(error, 403, "cross_origin", NULL, "a page of '%.100s' may not upload files here", origin);
    if (!has_type(connection, "multipart/form-data"))
        return api_fail(error, 415, "unsupported_media_type", NULL,
                        "send the header 'Content-Type: multipart/form-data; boundary=...'");
    return check_length(connection, front->admin_api->upload_bytes_max(front->admin), error);
}

/* Nobody has to show a token: then what a browser of this machine sends must not be of a page elsewhere, whose name
 * leads here. */
static tn_status check_host(const tn_front *front, struct MHD_Connection *connection, api_error *error)
{
    const http_peer *peer = peer_of(connection);
    const char *host = header(connection, "Host");

    if (auth_asks(front) || !peer || !peer->loopback || host_name_is_local(host))
        return TN_OK;
    return api_fail(error, 403, "foreign_host", NULL,
                    "'%.100s' is no name of this machine's own: ask by address or as localhost, or set [auth] "
                    "token_file or api_key",
                    host);
}

/* Whether this core can answer the route. */
static tn_status check_served(const tn_front *front, const http_route *route, const char *url, api_error *error)
{
    if (!route || (route->id == ROUTE_ADMIN && !front->admin_api))
        return api_fail(error, 404, "unknown_url", NULL, "unknown path '%.128s'", url);
    if (!route_is_passed_on(route) || route->id == ROUTE_ADMIN)
        return TN_OK;
    if (!front->admin_api)
        return api_fail(error, 404, "unknown_url", NULL,
                        "'%s' needs `tenon daemon`, which keeps files and batches; this server has one model only",
                        route->path);
    if (!TN_HAS(front->admin_api, tn_admin_table, upload_bytes_max))
        return api_fail(error, 404, "unknown_url", NULL, "'%s' needs a newer `tenon daemon`", route->path);
    return TN_OK;
}

/* A POST must have one, or say that it would be JSON: it is what a web page may send unasked. */
static bool has_body(const http_route *route, struct MHD_Connection *connection, const char *method)
{
    return route->post ||
           (route_is_passed_on(route) && (strcmp(method, "POST") == 0 || header(connection, "Content-Length") ||
                                          header(connection, "Transfer-Encoding")));
}

/* What the head of a request already decides. */
static tn_status check_head(tn_front *front, struct MHD_Connection *connection, const char *url, const char *method,
                            const http_route **ret_route, tn_identity *ret_caller, api_error *error)
{
    const http_route *route = route_find(url);
    const http_peer *peer = peer_of(connection);

    tn_status status = request_head_check(connection, error);
    if (status != TN_OK)
        return status;
    status = auth_check(front, method, url, route && route->open, header(connection, "Authorization"),
                        peer && peer->local_user, ret_caller, error);
    if (status == TN_OK)
        status = check_served(front, route, url, error);
    if (status == TN_OK && route_is_passed_on(route))
        status = check_host(front, connection, error);
    if (status != TN_OK)
        return status;
    *ret_route = route;
    if (!route_allows(route, method))
        return api_fail(error, 405, "method_not_allowed", NULL, "'%s' takes %s, not %.16s", route->path,
                        route->post ? "POST" : "GET", method);
    if (route->works && atomic_load(&front->draining))
        return fail_busy(front, "the server is draining and takes no new requests", error);
    if (is_upload(route, url, method))
        return check_upload(front, connection, error);
    return has_body(route, connection, method) ? check_body_headers(front, connection, error) : TN_OK;
}

/* What tn.admin is asked; path: below /admin/v1, or below /v1. */
static tn_status pass_on(http_exchange *exchange, struct MHD_Connection *connection, const char *url,
                         const char *method, bool upload, api_error *error)
{
    const bool batch = exchange->route->id != ROUTE_ADMIN;
    const admin_question question = {.method = method,
                                     .path = url + (batch ? sizeof "/v1" - 1 : strlen(exchange->route->path)),
                                     .batch = batch,
                                     .upload = upload,
                                     .caller = &exchange->caller};

    return admin_call_start(exchange->front, connection, peer_of(connection), &question, &exchange->body,
                            &exchange->admin, error);
}

static enum MHD_Result begin(tn_front *front, struct MHD_Connection *connection, const char *url, const char *method,
                             void **state)
{
    api_error error;
    http_exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return MHD_NO;
    exchange->front = front;
    *state = exchange;
    tn_status status = check_head(front, connection, url, method, &exchange->route, &exchange->caller, &error);
    if (status == TN_OK && is_upload(exchange->route, url, method))
        status = pass_on(exchange, connection, url, method, true, &error);
    if (status == TN_OK)
        return MHD_YES;
    return reply_error(front, connection, exchange->route, &error);
}

/* Past a limit the rest is read and dropped, since libmicrohttpd cannot answer before the end; request_timeout bounds
 * that. */
static void take_body(http_exchange *exchange, const char *bytes, size_t n)
{
    tn_front *front = exchange->front;
    uint64_t total_max = front->options.max_body_bytes * BODY_TOTAL_FACTOR;

    if (exchange->body_too_large || exchange->body.failed)
        return;
    if (n > front->options.max_body_bytes - exchange->body.count) {
        exchange->body_too_large = true;
        return;
    }
    if (atomic_fetch_add(&front->body_bytes, n) + n > total_max) {
        atomic_fetch_sub(&front->body_bytes, n);
        exchange->body.failed = true;
        return;
    }
    size_t before = exchange->body.count;
    byte_buffer_append(&exchange->body, bytes, n);
    if (exchange->body.count == before)
        atomic_fetch_sub(&front->body_bytes, n);
}

static void drop_body(http_exchange *exchange)
{
    atomic_fetch_sub(&exchange->front->body_bytes, exchange->body.count);
    byte_buffer_finish(&exchange->body);
}

static tn_status check_body(const http_exchange *exchange, api_error *error)
{
    if (exchange->body_too_large)
        return fail_body_size(exchange->front->options.max_body_bytes, error);
    if (exchange->body.failed)
        return fail_busy(exchange->front, "too many large bodies are being received at once", error);
    return TN_OK;
}

/* Which model a body asks for: its limits are needed to read the rest. */
static tn_status find_model(tn_front *front, const json_t *root, http_model **ret_model, api_error *error)
{
    const json_t *name = json_object_get(root, "model");
    if (name && !json_is_null(name) && !json_is_string(name))
        return api_fail_field(error, "model", "'model' must be a string");
    return model_find(front, json_string_value(name), ret_model, error);
}

/* Parses, submits and parks a generation request. */
static tn_status start_call(http_exchange *exchange, struct MHD_Connection *connection, json_t *root, api_error *error)
{
    http_model *model = exchange->model;
    call_params params;
    http_call *call = NULL;

    call_params_init(&params, &model->info);
    tn_status status = exchange->route->id == ROUTE_CHAT ? chat_completions_prepare(model, root, &params, &call, error)
                                                         : completions_prepare(model, root, &params, &call, error);
    if (status == TN_OK) {
        call->connection = connection;
        call->peer = peer_of(connection);
        status = call_submit(call, &params, error);
        if (status != TN_OK)
            call_destroy(call);
        else
            exchange->call = call;
    }
    call_params_finish(&params);
    return status;
}

/* The JSON answer to a body, in *out, unless a call was started. */
static tn_status answer_body(http_exchange *exchange, struct MHD_Connection *connection, byte_buffer *out,
                             api_error *error)
{
    tn_front *front = exchange->front;
    json_t *root;

    tn_status status = check_body(exchange, error);
    if (status != TN_OK)
        return status;
    status = json_body_parse(exchange->body.bytes, exchange->body.count, front->options.max_json_depth, &root, error);
    drop_body(exchange);
    if (status != TN_OK)
        return status;
    status = find_model(front, root, &exchange->model, error);
    if (status == TN_OK && exchange->route->id == ROUTE_TOKENIZE)
        status = tokenize_answer(exchange->model, root, out, error);
    else if (status == TN_OK && exchange->route->id == ROUTE_DETOKENIZE)
        status = detokenize_answer(exchange->model, root, out, error);
    else if (status == TN_OK)
        status = start_call(exchange, connection, root, error);
    json_decref(root);
    return status;
}

static enum MHD_Result answer_admin(http_exchange *exchange, struct MHD_Connection *connection, const char *url,
                                    const char *method)
{
    tn_front *front = exchange->front;
    api_error error;
    tn_status status = check_body(exchange, &error);

    atomic_fetch_sub(&front->body_bytes, exchange->body.count); /* it is moved */
    if (status == TN_OK)
        status = pass_on(exchange, connection, url, method, false, &error);
    byte_buffer_finish(&exchange->body);
    if (status != TN_OK)
        return reply_error(front, connection, exchange->route, &error);
    return admin_call_answer(exchange->admin);
}

/* Who starts a server asks /ready and has no key; it is told whether, and no more. */
static bool is_stranger(const tn_front *front, struct MHD_Connection *connection)
{
    const http_peer *peer = peer_of(connection);
    tn_identity caller;
    api_error ignored;
    return auth_check(front, "GET", "/version", false, header(connection, "Authorization"), peer && peer->local_user,
                      &caller, &ignored) != TN_OK;
}

static enum MHD_Result answer_get(http_exchange *exchange, struct MHD_Connection *connection, const char *url)
{
    tn_front *front = exchange->front;
    byte_buffer out = {0};
    api_error error;
    uint32_t status = 200;
    const char *type = REPLY_JSON;

    switch (exchange->route->id) {
    case ROUTE_HEALTH:
        byte_buffer_text(&out, "{\"status\":\"alive\"}");
        break;
    case ROUTE_READY:
        status = ready_write(front, is_stranger(front, connection), &out);
        break;
    case ROUTE_VERSION:
        version_write(&out);
        break;
    case ROUTE_METRICS:
        metrics_write(front, &out);
        type = REPLY_METRICS;
        break;
    case ROUTE_MODELS:
        models_write(front, &out);
        break;
    default:
        TN_ASSERT(exchange->route->id == ROUTE_MODEL);
        if (model_write(front, url + strlen(exchange->route->path), &out, &error) != TN_OK)
            return reply_error(front, connection, exchange->route, &error);
    }
    return reply_bytes(front, connection, status, type, &out);
}

/* Bytes of a stream; with none at hand the connection is suspended. */
static ssize_t read_stream(void *cls, uint64_t position, char *bytes, size_t capacity)
{
    http_call *call = cls;
    tn_front *front = call->front;
    (void)position;

    front_lock(front);
    size_t waiting = call->out.count - call->out_read;
    size_t n = call->aborted ? 0 : waiting < capacity ? waiting : capacity;
    if (n > 0) {
        memcpy(bytes, call->out.bytes + call->out_read, n);
        call->out_read += n;
        if (call->out_read > call->out.count / 2) { /* moves fewer bytes than were read */
            memmove(call->out.bytes, call->out.bytes + call->out_read, waiting - n);
            call->out.count = waiting - n;
            call->out_read = 0;
        }
    }
    bool aborted = call->aborted, ended = call->ended;
    front_unlock(front);
    if (aborted)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > 0)
        return (ssize_t)n;
    if (ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    call_wait(call);
    return 0;
}

/* A call that has just been resumed: the whole answer, or the beginning of a stream. What fails before the engine has
 * taken the request up is an ordinary error, for clients to try again. */
static enum MHD_Result answer_call(http_exchange *exchange, struct MHD_Connection *connection)
{
    http_call *call = exchange->call;
    byte_buffer out = {0};

    front_lock(exchange->front);
    bool aborted = call->aborted, ended = call->ended, failed = call->failed;
    call->streaming = call->stream && (call->taken_up || (ended && !failed));
    bool streaming = call->streaming;
    front_unlock(exchange->front);
    if (aborted)
        return MHD_NO;
    if (streaming)
        return reply_stream(exchange->front, connection, read_stream, call);
    if (!ended) {
        call_wait(call);
        return MHD_YES;
    }
    if (failed)
        return reply_error(exchange->front, connection, exchange->route, &call->error);
    answer_write_whole(call, &out);
    return reply_bytes(exchange->front, connection, 200, REPLY_JSON, &out);
}

static enum MHD_Result answer_post(http_exchange *exchange, struct MHD_Connection *connection)
{
    byte_buffer out = {0};
    api_error error;

    if (answer_body(exchange, connection, &out, &error) != TN_OK) {
        byte_buffer_finish(&out);
        return reply_error(exchange->front, connection, exchange->route, &error);
    }
    if (!exchange->call)
        return reply_bytes(exchange->front, connection, 200, REPLY_JSON, &out);
    call_wait(exchange->call);
    return MHD_YES;
}

static void mark_received(tn_front *front, struct MHD_Connection *connection, uint64_t since_ms)
{
    http_peer *peer = peer_of(connection);
    front_lock(front);
    if (peer)
        peer->receiving_since_ms = since_ms;
    front_unlock(front);
}

enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                    const char *version, const char *upload, size_t *upload_bytes, void **state)
{
    tn_front *front = cls;
    http_exchange *exchange = *state;
    (void)version;

    if (!exchange)
        return begin(front, connection, url, method, state);
    if (*upload_bytes > 0 && exchange->admin) {
        *upload_bytes -= admin_call_take(exchange->admin, upload, *upload_bytes);
        return MHD_YES;
    }
    if (*upload_bytes > 0) {
        take_body(exchange, upload, *upload_bytes);
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (exchange->call)
        return answer_call(exchange, connection);
    mark_received(front, connection, 0);
    if (exchange->admin) {
        admin_call_end_body(exchange->admin);
        return admin_call_answer(exchange->admin);
    }
    if (route_is_passed_on(exchange->route))
        return answer_admin(exchange, connection, url, method);
    if (exchange->route->id == ROUTE_CONSOLE)
        return console_answer(front, connection, exchange->route, url);
    return exchange->route->post ? answer_post(exchange, connection) : answer_get(exchange, connection, url);
}

void exchange_on_completed(void *cls, struct MHD_Connection *connection, void **state,
                           enum MHD_RequestTerminationCode why)
{
    tn_front *front = cls;
    http_exchange *exchange = *state;
    (void)why;

    if (!exchange)
        return;
    *state = NULL;
    if (exchange->call) {
        call_withdraw(exchange->call);
        call_destroy(exchange->call);
    }
    model_release(exchange->model);
    admin_call_finish(exchange->admin);
    drop_body(exchange);
    free(exchange);
    mark_received(front, connection, clock_ms());
}

static void add_peer(tn_front *front, http_peer *peer)
{
    front_lock(front);
    bool first = front->peers == NULL;
    peer->id = ++front->next_peer_id;
    peer->receiving_since_ms = clock_ms();
    peer->next = front->peers;
    if (peer->next)
        peer->next->previous = peer;
    front->peers = peer;
    front_unlock(front);
    poller_watch_peer(front, peer);
    if (first)
        poller_wake(front);
}

static void remove_peer(tn_front *front, http_peer *peer)
{
    poller_forget_peer(front, peer);
    front_lock(front);
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        front->peers = peer->next;
    if (peer->next)
        peer->next->previous = peer->previous;
    front_unlock(front);
}

void exchange_on_connection(void *cls, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode what)
{
    tn_front *front = cls;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        http_peer *peer = info ? calloc(1, sizeof *peer) : NULL;
        *context = peer;
        if (!peer)
            return; /* without memory this one is timed by libmicrohttpd alone */
        peer->fd = info->connect_fd;
        peer->local_user = unix_socket_peer_is_trusted(peer->fd);
        peer->loopback = host_is_loopback(peer->fd);
        add_peer(front, peer);
    } else if (*context) {
        remove_peer(front, *context);
        free(*context);
        *context = NULL;
    }
}
