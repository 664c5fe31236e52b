/* attach.c: instances come, are drained, and go. The handshake runs on the caller's thread and holds no lock. */
#include "gateway/state.h"

#include "base/hex.h"
#include "base/unix_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HANDSHAKE_MS = 5000, READ_BYTES = 64 << 10, FRAME_LENGTH_BYTES = 4, TOLD_BYTES_MAX = 64 << 10 };

static const char hex_digits[] = "0123456789abcdef";

/* ---- handshake ---- */

/* Waits for the socket; TN_E_IO past the deadline. */
static tn_status wait_for(int fd, short events, int64_t deadline_ms, tn_error *err)
{
    struct pollfd wanted = {.fd = fd, .events = events};
    for (;;) {
        int64_t left_ms = deadline_ms - (int64_t)clock_ms();
        int code = poll(&wanted, 1, left_ms > 0 ? (int)left_ms : 0);
        if (code > 0)
            return TN_OK;
        if (code == 0)
            return tn_fail(err, TN_E_IO, "the engine there has not answered within %d s", HANDSHAKE_MS / 1000);
        if (errno != EINTR)
            return tn_fail(err, TN_E_IO, "%s", strerror(errno));
    }
}

static tn_status send_hello(int fd, int64_t deadline_ms, tn_error *err)
{
    frame_note hello = {.kind = FRAME_HELLO, .tag = ENGINE_FRAME_MAGIC, .number = ENGINE_FRAME_VERSION};
    wire_buffer out = {0};
    tn_status status = frame_note_write(&out, &hello, err);
    while (status == TN_OK && wire_buffer_count(&out) > 0) {
        ssize_t sent = send(fd, out.bytes + out.begin, wire_buffer_count(&out), MSG_NOSIGNAL);
        if (sent > 0)
            out.begin += (size_t)sent;
        else if (errno == EAGAIN)
            status = wait_for(fd, POLLOUT, deadline_ms, err);
        else if (errno != EINTR)
            status = tn_fail(err, TN_E_IO, "it does not listen: %s", strerror(errno));
    }
    wire_buffer_finish(&out);
    return status;
}

/* The first frame: a welcome, or why not. */
static tn_status read_welcome(int fd, int64_t deadline_ms, wire_buffer *in, frame_info *ret_info, tn_error *err)
{
    const uint8_t *frame;
    size_t n;
    tn_status status;

    while ((status = wire_buffer_take_frame(in, FRAME_FROM_ENGINE_MAX, &frame, &n, err)) == TN_E_AGAIN) {
        status = wire_buffer_reserve(in, READ_BYTES, err);
        if (status == TN_OK)
            status = wait_for(fd, POLLIN, deadline_ms, err);
        if (status != TN_OK)
            return status;
        ssize_t got = read(fd, in->bytes + in->end, in->capacity - in->end);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return tn_fail(err, TN_E_IO, "it has closed the connection: %s",
                           got ? strerror(errno) : "it may run as another user, or serve too many clients");
        in->end += got > 0 ? (size_t)got : 0;
    }
    frame_note goodbye;
    char text[FRAME_TEXT_MAX + 1];
    if (status == TN_OK && frame[0] == FRAME_GOODBYE && frame_note_read(frame, n, &goodbye, NULL) == TN_OK)
        return tn_fail(err, TN_E_UNSUPPORTED, "it says: %s", frame_note_text(&goodbye, text));
    return status == TN_OK ? frame_info_read(frame, n, ret_info, err) : status;
}

static tn_status shake_hands(gateway_link *link, const char *path, frame_info *ret_info, tn_error *err)
{
    int64_t deadline_ms = (int64_t)clock_ms() + HANDSHAKE_MS;
    tn_status status = unix_socket_connect(path, &link->fd, err);
    if (status == TN_OK && !unix_socket_peer_is_trusted(link->fd))
        status = tn_fail(err, TN_E_ARGUMENT, "its process runs as another user");
    if (status == TN_OK)
        status = send_hello(link->fd, deadline_ms, err);
    return status == TN_OK ? read_welcome(link->fd, deadline_ms, &link->in, ret_info, err) : status;
}

/* ---- whether it fits the route ---- */

static tn_status check_identity(const gateway_route *route, const frame_info *info, tn_error *err)
{
    uint32_t tokens = route->instance.tokenizer->vocab_size(route->instance.tok);
    if (info->identity != route->identity || tokens > info->info.vocab_size)
        return tn_fail(err, TN_E_ARGUMENT, "it runs %.*s, whose tokenizer is not the one of %s",
                       (int)info->model_path.n, info->model_path.bytes, route->instance.model_path);
    return TN_OK;
}

/* Locked. */
static tn_status check_agreement(const gateway_route *route, const frame_info *info, tn_error *err)
{
    const tn_engine_info *ours = &route->info.info, *theirs = &info->info;
    if (route->removed)
        return tn_fail(err, TN_E_CANCELLED, "the service was removed meanwhile");
    if (route->known && (ours->vocab_size != theirs->vocab_size || ours->max_model_len != theirs->max_model_len))
        return tn_fail(err, TN_E_ARGUMENT,
                       "it has a vocabulary of %u and max_model_len %u, but this service's instances have %u and %u",
                       theirs->vocab_size, theirs->max_model_len, ours->vocab_size, ours->max_model_len);
    return TN_OK;
}

/* What front ends are told from here on; the names are the route's, not the instance's. Locked. */
static tn_status learn(gateway_route *route, frame_info *info, tn_error *err)
{
    if (route->known)
        return TN_OK;
    route->info_storage = malloc(frame_info_bytes(info));
    if (!route->info_storage)
        return tn_fail(err, TN_E_MEMORY, "out of memory for what the engine says of itself");
    frame_info_place(info, route->info_storage);
    route->info = *info;
    route->info.info.served_names = route->names;
    route->known = true;
    route->gateway->generation++;
    return TN_OK;
}

/* The frame of `told`, without its length; *ret_n 0: it is none. */
static void read_told(const char *told, uint8_t bytes[TOLD_BYTES_MAX], size_t *ret_n)
{
    size_t n = strlen(told) / 2;
    *ret_n = 0;
    if (n > TOLD_BYTES_MAX || told[2 * n])
        return;
    for (size_t i = 0; i < n; i++) {
        const char *high = strchr(hex_digits, told[2 * i]), *low = strchr(hex_digits, told[2 * i + 1]);
        if (!high || !low)
            return;
        bytes[i] = (uint8_t)((high - hex_digits) << 4 | (low - hex_digits));
    }
    *ret_n = n;
}

void attach_recall(gateway_route *route, const gateway_route_options *options)
{
    uint8_t bytes[TOLD_BYTES_MAX];
    frame_info info;
    size_t n;
    read_told(options->told, bytes, &n);
    if (n == 0 || frame_info_read(bytes, n, &info, NULL) != TN_OK || check_identity(route, &info, NULL) != TN_OK)
        return;
    if (options->max_model_len)
        info.info.max_model_len = options->max_model_len;
    if (options->max_num_seqs)
        info.info.max_num_seqs = options->max_num_seqs;
    learn(route, &info, NULL);
}

tn_status gateway_route_told(gateway_route *route, char **ret_text, tn_error *err)
{
    wire_buffer frame = {0};
    gateway_lock(route->gateway);
    tn_status status = route->known ? frame_info_write(&frame, &route->info.info, route->identity, err)
                                    : tn_fail(err, TN_E_NOT_FOUND, "no instance of %s was ever there", route->service);
    gateway_unlock(route->gateway);
    size_t n = wire_buffer_count(&frame);
    char *text = status == TN_OK ? malloc(2 * n + 1) : NULL;
    if (status == TN_OK && (!text || n > TOLD_BYTES_MAX))
        status = tn_fail(err, TN_E_MEMORY, "out of memory for what the instances of %s say", route->service);
    if (status == TN_OK) {
        hex_of(frame.bytes + FRAME_LENGTH_BYTES, n - FRAME_LENGTH_BYTES, text);
        *ret_text = text;
    } else {
        free(text);
    }
    wire_buffer_finish(&frame);
    return status;
}

static uint64_t free_bit(const gateway_route *route)
{
    return route->link_bits == UINT64_MAX ? 0 : ~route->link_bits & (route->link_bits + 1);
}

/* Locked. */
static tn_status enter(gateway_link *link, frame_info *info, tn_error *err)
{
    gateway_route *route = link->route;
    gateway_link *old = route_find_link(route, link->name);
    tn_status status = check_agreement(route, info, err);
    if (status == TN_OK && old && old->fd >= 0 && !old->broken)
        status = tn_fail(err, TN_E_ARGUMENT, "an instance of this name is attached already");
    link->bit = free_bit(route);
    if (status == TN_OK && !link->bit)
        status = tn_fail(err, TN_E_ARGUMENT, "%d instances are attached already", GATEWAY_LINKS_MAX);
    if (status == TN_OK)
        status = learn(route, info, err);
    if (status != TN_OK)
        return status;
    if (old) {
        link_lose(old);
        link_free(old);
    }
    route->link_bits |= link->bit;
    link->number = route->gateway->next_link++;
    link->heard_ms = (int64_t)clock_ms();
    gateway_link **end = &route->links;
    while (*end)
        end = &(*end)->next;
    *end = link;
    route->woken = false;
    io_watch(link, EPOLLIN);
    link_ask(link, FRAME_ASK_HEALTH);
    dispatch_waiting(route);
    gateway_kick(route->gateway);
    return TN_OK;
}

tn_status gateway_attach(gateway_route *route, const char *instance, const char *socket_path, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    frame_info info;
    if (strlen(instance) > GATEWAY_NAME_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "an instance's name has %d bytes at most", GATEWAY_NAME_MAX);
    gateway_link *link = calloc(1, sizeof *link);
    if (!link)
        return tn_fail(err, TN_E_MEMORY, "out of memory for an instance");
    *link = (gateway_link){.route = route,
                           .fd = -1,
                           .reason = TN_ERROR_INIT,
                           .health = {.struct_size = sizeof link->health, .ready = 1},
                           .retry_after = 1};
    strcpy(link->name, instance);
    tn_status status = shake_hands(link, socket_path, &info, &reason);
    if (status == TN_OK)
        status = check_identity(route, &info, &reason);
    if (status == TN_OK) {
        gateway_lock(route->gateway);
        status = enter(link, &info, &reason);
        gateway_unlock(route->gateway);
    }
    if (status == TN_OK)
        return TN_OK;
    if (link->fd >= 0)
        close(link->fd);
    wire_buffer_finish(&link->in);
    free(link);
    return tn_fail(err, status, "cannot use the instance %s of %s: %.400s", instance, route->service, reason.msg);
}

/* ---- afterwards ---- */

static tn_status fail_unknown(const gateway_route *route, const char *instance, tn_error *err)
{
    return tn_fail(err, TN_E_NOT_FOUND, "%s has no instance %.100s attached", route->service, instance);
}

tn_status gateway_drain(gateway_route *route, const char *instance, uint32_t *ret_running)
{
    gateway_lock(route->gateway);
    gateway_link *link = route_find_link(route, instance);
    if (link) {
        link->draining = true;
        *ret_running = link->running;
    }
    gateway_unlock(route->gateway);
    return link ? TN_OK : TN_E_NOT_FOUND;
}

void gateway_detach(gateway_route *route, const char *instance)
{
    gateway_lock(route->gateway);
    gateway_link *link = route_find_link(route, instance);
    if (link) {
        link_break(link, "it was stopped");
        link_lose(link);
        link_free(link);
    }
    gateway_unlock(route->gateway);
}

tn_status gateway_health(gateway_route *route, const char *instance, tn_health *ret_health, tn_error *err)
{
    tn_status status = TN_OK;
    gateway_lock(route->gateway);
    const gateway_link *link = route_find_link(route, instance);
    if (!link)
        status = fail_unknown(route, instance, err);
    else if (link->fd < 0 || link->broken)
        status = tn_fail(err, TN_E_DEVICE_LOST, "the instance %s of %s is gone: %.300s", instance, route->service,
                         link->reason.msg);
    else
        *ret_health = link_health(link, (int64_t)clock_ms());
    gateway_unlock(route->gateway);
    return status;
}
