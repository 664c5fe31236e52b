/* channel.c: see channel.h. No table of requests is kept: the engine's events carry the peer's tag as `user`, and a
 * cancel names the engine's own id, which means nothing to another client.
 */
#include "channel.h"

#include "peer.h"

#include <string.h>
#include <sys/epoll.h>

enum { PUMP_EVENTS_MAX = 256 };

socket_channel *channel_open(socket_peer *peer, uint32_t number, uint32_t queue_cap)
{
    tn_front *front = peer->front;
    socket_channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    *channel = (socket_channel){.watch = WATCH_CHANNEL,
                                .peer = peer,
                                .number = number,
                                .credit = queue_cap,
                                .queue_cap = queue_cap,
                                .error = TN_ERROR_INIT};
    if (front->engine_api->client_open(front->engine, queue_cap, &channel->client, &channel->error) != TN_OK)
        channel->client = NULL;
    return channel;
}

void channel_close(socket_channel *channel)
{
    tn_front *front = channel->peer->front;
    if (channel->closed)
        return;
    channel->closed = true;
    channel_watch(channel, false);
    if (channel->client)
        front->engine_api->client_close(channel->client);
    channel->client = NULL;
    front_count_live(front, -(int64_t)channel->live_count);
    channel->live_count = 0;
}

void channel_destroy(socket_channel *channel)
{
    TN_ASSERT(channel->closed);
    free(channel);
}

/* The engine's own answer to a request that has been read. */
static tn_status submit(socket_channel *channel, frame_request *read, uint64_t *ret_request, tn_error *err)
{
    tn_front *front = channel->peer->front;
    if (!channel->client)
        return tn_fail(err, TN_E_MEMORY, "%s", channel->error.msg);
    if (atomic_load(&front->draining))
        return tn_fail(err, TN_E_AGAIN, "the engine is draining and takes no new requests");
    void *storage = malloc(frame_request_bytes(read));
    if (!storage)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a request of %zu bytes", frame_request_bytes(read));
    frame_request_place(read, storage);
    front_count_live(front, 1); /* before its DONE event can be taken */
    channel->live_count++;
    tn_status status = front->engine_api->submit(channel->client, &read->request, ret_request, err);
    if (status != TN_OK) {
        front_count_live(front, -1);
        channel->live_count--;
    }
    free(storage);
    return status;
}

tn_status channel_submit(socket_channel *channel, frame_request *read, wire_buffer *out, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    frame_note note = {.kind = FRAME_TAKEN, .channel = channel->number, .tag = read->request.user};

    note.status = submit(channel, read, &note.number, &reason);
    if (note.status != TN_OK) {
        note.kind = FRAME_REFUSED;
        note.text = (wire_blob){reason.msg, (uint32_t)strlen(reason.msg)};
    }
    return frame_note_write(out, &note, err);
}

void channel_cancel(socket_channel *channel, uint64_t request)
{
    if (channel->client) /* over already: its end is on the way */
        channel->peer->front->engine_api->cancel(channel->client, request);
}

tn_status channel_add_credit(socket_channel *channel, uint64_t events, tn_error *err)
{
    if (events > channel->queue_cap - channel->credit)
        return tn_fail(err, TN_E_CORRUPT, "credit for %llu more events than were sent on channel %u",
                       (unsigned long long)(events - (channel->queue_cap - channel->credit)), channel->number);
    channel->credit += (uint32_t)events;
    return TN_OK;
}

tn_status channel_pump(socket_channel *channel, wire_buffer *out, tn_error *err)
{
    tn_front *front = channel->peer->front;
    tn_event events[PUMP_EVENTS_MAX];
    uint32_t most = channel->credit < PUMP_EVENTS_MAX ? channel->credit : PUMP_EVENTS_MAX;
    int64_t ended = 0;
    tn_status status = TN_OK;

    if (!channel->client || most == 0)
        return TN_OK;
    events[0].struct_size = sizeof *events;
    uint32_t count = front->engine_api->poll(channel->client, events, sizeof *events, most);
    for (uint32_t i = 0; status == TN_OK && i < count; i++) {
        status = frame_event_write(out, channel->number, &events[i], err);
        ended += events[i].kind == TN_EVENT_DONE;
    }
    channel->credit -= count;
    channel->live_count -= (uint64_t)ended;
    if (ended)
        front_count_live(front, -ended);
    return status;
}

void channel_watch(socket_channel *channel, bool wanted)
{
    tn_front *front = channel->peer->front;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = channel};

    wanted = wanted && channel->client && !channel->closed && channel->credit > 0;
    if (wanted == channel->watched)
        return;
    int fd = front->engine_api->event_fd(channel->client);
    int code = epoll_ctl(front->epoll_fd, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
    if (code == 0)
        channel->watched = wanted;
    else
        channel->peer->broken = true; /* the kernel has no room: better no peer than one that hears nothing */
}
