/* fuzz_socket_peer.c: the input is what a peer of plugins/socket_frontend sends. With a first byte of 'g' it has greeted
 * properly before, since most mutations would stop there.
 *
 * The engine is a stub that reads all of a request it is given and answers with its DONE event.
 */
#include "base/wire/engine_frame.h"
#include "peer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 16, INPUT_MAX = 60000 /* fits the socket's buffer */ };

struct tn_client {
    int fd;
    uint64_t user[EVENTS_MAX];
    uint32_t count;
};

static volatile uint64_t sum; /* what was read must have been there */

static tn_status client_open(tn_engine *engine, uint32_t queue_cap, tn_client **ret_client, tn_error *err)
{
    (void)engine, (void)queue_cap, (void)err;
    tn_client *client = calloc(1, sizeof *client);
    TN_ASSERT(client);
    client->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    *ret_client = client;
    return TN_OK;
}

static void client_close(tn_client *client)
{
    close(client->fd);
    free(client);
}

static void read_ints(const int32_t *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        sum += (uint32_t)values[i];
}

static tn_status submit(tn_client *client, const tn_request *request, uint64_t *ret_request, tn_error *err)
{
    read_ints(request->token, request->token_count);
    read_ints(request->stop_token, request->stop_token_count);
    read_ints(request->allowed, request->allowed ? request->allowed_count : 0);
    for (uint32_t i = 0; i < request->bias_count; i++)
        sum += (uint32_t)request->bias[i].token;
    for (uint32_t i = 0; i < request->stop_count; i++)
        sum += strlen(request->stop[i]);
    sum += request->cache_salt ? strlen(request->cache_salt) : 0;
    for (uint32_t i = 0; i < request->grammar_bytes; i++)
        sum += (uint8_t)request->grammar[i];
    if (client->count == EVENTS_MAX)
        return tn_fail(err, TN_E_AGAIN, "full");
    client->user[client->count++] = request->user;
    *ret_request = 1;
    return TN_OK;
}

static tn_status cancel(tn_client *client, uint64_t request)
{
    (void)client, (void)request;
    return TN_E_NOT_FOUND;
}

static int event_fd(tn_client *client)
{
    return client->fd;
}

static uint32_t poll_events(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap)
{
    uint32_t count = 0;
    for (; count < cap && client->count > 0; count++)
        *(tn_event *)(void *)((char *)out + (size_t)count * stride) = (tn_event){
            .struct_size = sizeof *out, .kind = TN_EVENT_DONE, .user = client->user[--client->count], .text = ""};
    return count;
}

static uint32_t retry_after(tn_engine *engine)
{
    (void)engine;
    return 1;
}

static tn_status stat_none(tn_engine *engine, uint32_t index, tn_stat *ret_stat)
{
    (void)engine, (void)index, (void)ret_stat;
    return TN_E_NOT_FOUND;
}

static tn_status health(tn_engine *engine, tn_health *ret_health)
{
    (void)engine;
    ret_health->ready = 1;
    return TN_OK;
}

static void log_nothing(const tn_host *host, uint32_t level, const char *component, const char *text)
{
    (void)host, (void)level, (void)component, (void)text;
}

static void set_up(tn_front *front)
{
    static const uint32_t level = TN_LOG_ERROR;
    static const tn_host host = {.struct_size = sizeof host, .log_level = &level, .log = log_nothing};
    static const tn_engine_table api = {.struct_size = sizeof api,
                                        .client_open = client_open,
                                        .client_close = client_close,
                                        .submit = submit,
                                        .cancel = cancel,
                                        .event_fd = event_fd,
                                        .poll = poll_events,
                                        .retry_after = retry_after};
    static const tn_stats_table stats = {.struct_size = sizeof stats, .stat = stat_none, .health = health};
    static const char *const names[] = {"m", NULL};
    front->host = &host;
    front->engine_api = &api;
    front->stats = &stats;
    front->info = (tn_engine_info){.struct_size = sizeof front->info,
                                   .vocab_size = 100,
                                   .max_model_len = 4096,
                                   .max_choices = 4,
                                   .max_stop = 4,
                                   .max_stop_bytes = 32,
                                   .served_names = names};
    front->frame_max = frame_request_max(&front->info);
    front->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_init(&front->lock, NULL);
    pthread_cond_init(&front->idle, NULL);
}

/* What the peer is told must be frames. */
static void hear(int fd)
{
    wire_buffer in = {0};
    const uint8_t *frame;
    size_t n;
    tn_status status;
    for (;;) {
        TN_ASSERT(wire_buffer_reserve(&in, 65536, NULL) == TN_OK);
        ssize_t got = read(fd, in.bytes + in.end, 65536);
        if (got <= 0)
            break;
        in.end += (size_t)got;
    }
    while ((status = wire_buffer_take_frame(&in, FRAME_FROM_ENGINE_MAX, &frame, &n, NULL)) == TN_OK)
        TN_ASSERT(frame[0] >= FRAME_HELLO && frame[0] <= FRAME_STATS);
    TN_ASSERT(status == TN_E_AGAIN);
    wire_buffer_finish(&in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tn_front front;
    int ends[2];
    if (size == 0 || size > INPUT_MAX)
        return 0;
    if (!front.engine_api)
        set_up(&front);
    TN_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    socket_peer *peer = peer_create(&front, ends[0]);
    TN_ASSERT(peer);
    peer->greeted = data[0] == 'g';
    TN_ASSERT(size == 1 || write(ends[1], data + 1, size - 1) == (ssize_t)size - 1);
    for (int round = 0; round < 8 && !peer->broken; round++) {
        peer_receive(peer);
        for (socket_channel *channel = peer->channels; channel; channel = channel->next)
            peer_pump(peer, channel);
        if (!peer->broken)
            peer_settle(peer);
        hear(ends[1]);
    }
    peer_destroy(peer);
    TN_ASSERT(front.live_count == 0);
    close(ends[1]);
    return 0;
}
