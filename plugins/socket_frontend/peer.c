/* peer.c: see peer.h. While more than OUT_HIGH bytes wait to be sent, neither are frames read nor events taken, so that
 * a peer that does not read makes nothing grow; the engine stops its sequences when its queue is full.
 */
#include "peer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, OUT_HIGH = 1 << 20, READS_PER_ROUND = 16 };

socket_peer *peer_create(tn_front *front, int fd)
{
    socket_peer *peer = calloc(1, sizeof *peer);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    if (peer)
        *peer = (socket_peer){.watch = WATCH_PEER, .front = front, .fd = fd, .watched = EPOLLIN};
    if (peer && epoll_ctl(front->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return peer;
    free(peer);
    close(fd);
    return NULL;
}

void peer_destroy(socket_peer *peer)
{
    for (socket_channel *channel = peer->channels, *next; channel; channel = next) {
        next = channel->next;
        channel_close(channel);
        channel_destroy(channel);
    }
    close(peer->fd); /* which also ends the watch */
    wire_buffer_finish(&peer->in);
    wire_buffer_finish(&peer->out);
    free(peer);
}

static bool is_full(const socket_peer *peer)
{
    return wire_buffer_count(&peer->out) > OUT_HIGH;
}

/* ---- frames of the peer ---- */

static tn_status say_goodbye(socket_peer *peer, tn_status status, const char *text)
{
    frame_note note = {.kind = FRAME_GOODBYE, .status = status, .text = {text, (uint32_t)strlen(text)}};
    peer->leaving = true;
    return frame_note_write(&peer->out, &note, NULL);
}

static tn_status greet(socket_peer *peer, const frame_note *hello, tn_error *err)
{
    if (hello->kind != FRAME_HELLO || hello->tag != ENGINE_FRAME_MAGIC)
        return tn_fail(err, TN_E_CORRUPT, "a frame of kind %u where a greeting was expected", hello->kind);
    if (hello->number != ENGINE_FRAME_VERSION)
        return tn_fail(err, TN_E_UNSUPPORTED, "the client speaks version %llu of the protocol, this engine version %d",
                       (unsigned long long)hello->number, ENGINE_FRAME_VERSION);
    peer->greeted = true;
    return frame_info_write(&peer->out, &peer->front->info, peer->front->identity, err);
}

static socket_channel *find_channel(const socket_peer *peer, uint32_t number)
{
    for (socket_channel *channel = peer->channels; channel; channel = channel->next)
        if (channel->number == number && !channel->closed)
            return channel;
    return NULL;
}

static tn_status open_channel(socket_peer *peer, const frame_note *note, tn_error *err)
{
    if (find_channel(peer, note->channel))
        return tn_fail(err, TN_E_CORRUPT, "channel %u is open already", note->channel);
    if (note->number == 0 || note->number > FRAME_QUEUE_MAX)
        return tn_fail(err, TN_E_CORRUPT, "a queue of %llu events where 1 to %d are allowed",
                       (unsigned long long)note->number, FRAME_QUEUE_MAX);
    if (peer->channel_count == SOCKET_CHANNELS_MAX)
        return tn_fail(err, TN_E_CORRUPT, "more than %d channels", SOCKET_CHANNELS_MAX);
    socket_channel *channel = channel_open(peer, note->channel, (uint32_t)note->number);
    if (!channel)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a channel");
    channel->next = peer->channels;
    peer->channels = channel;
    peer->channel_count++;
    return TN_OK;
}

static tn_status answer_ask(socket_peer *peer, uint64_t what, tn_error *err)
{
    tn_front *front = peer->front;
    tn_health health = {.struct_size = sizeof health};
    if (what == FRAME_ASK_STATS)
        return frame_stats_write(&peer->out, front->stats, front->engine, err);
    if (what != FRAME_ASK_HEALTH)
        return tn_fail(err, TN_E_CORRUPT, "a question of kind %llu", (unsigned long long)what);
    tn_status status = front->stats->health(front->engine, &health);
    if (status != TN_OK)
        return tn_fail(err, status, "the engine tells nothing about its health");
    if (atomic_load(&front->draining)) {
        health.draining = 1;
        health.ready = 0;
    }
    return frame_health_write(&peer->out, &health, front->engine_api->retry_after(front->engine), err);
}

static tn_status take_note(socket_peer *peer, const frame_note *note, tn_error *err)
{
    socket_channel *channel = find_channel(peer, note->channel);
    if (note->kind == FRAME_OPEN)
        return open_channel(peer, note, err);
    if (note->kind == FRAME_ASK)
        return answer_ask(peer, note->number, err);
    if (!channel)
        return tn_fail(err, TN_E_CORRUPT, "channel %u is not open", note->channel);
    switch (note->kind) {
    case FRAME_CANCEL:
        channel_cancel(channel, note->number);
        return TN_OK;
    case FRAME_CREDIT:
        return channel_add_credit(channel, note->number, err);
    case FRAME_CLOSE:
        channel_close(channel);
        return TN_OK;
    default:
        return tn_fail(err, TN_E_CORRUPT, "a frame of kind %u, which is the engine's to send", note->kind);
    }
}

static tn_status take_submit(socket_peer *peer, const uint8_t *frame, size_t n, tn_error *err)
{
    frame_request read;
    tn_status status = frame_request_read(frame, n, &read, err);
    if (status != TN_OK)
        return status;
    socket_channel *channel = find_channel(peer, read.channel);
    if (!channel)
        return tn_fail(err, TN_E_CORRUPT, "channel %u is not open", read.channel);
    /* A client that has not asked for a while learns why it is refused before it is. */
    if (atomic_load(&peer->front->draining))
        status = answer_ask(peer, FRAME_ASK_HEALTH, err);
    if (status != TN_OK)
        return status;
    return channel_submit(channel, &read, &peer->out, err);
}

static tn_status take_frame(socket_peer *peer, const uint8_t *frame, size_t n, tn_error *err)
{
    frame_note note;
    if (peer->greeted && frame[0] == FRAME_SUBMIT)
        return take_submit(peer, frame, n, err);
    tn_status status = frame_note_read(frame, n, &note, err);
    if (status != TN_OK)
        return status;
    return peer->greeted ? take_note(peer, &note, err) : greet(peer, &note, err);
}

/* ---- bytes ---- */

/* Answers whole frames until there is none, or (true) too much to send. */
static bool take_frames(socket_peer *peer)
{
    while (!peer->leaving && !peer->broken && !is_full(peer)) {
        tn_error err = TN_ERROR_INIT;
        const uint8_t *frame;
        size_t n, limit = peer->greeted ? peer->front->frame_max : FRAME_GREETING_MAX;
        tn_status status = wire_buffer_take_frame(&peer->in, limit, &frame, &n, &err);
        if (status == TN_E_AGAIN)
            return false;
        if (status == TN_OK)
            status = take_frame(peer, frame, n, &err);
        if (status == TN_OK)
            continue;
        front_log(peer->front, TN_LOG_WARNING, "a client is turned away: %s", err.msg);
        if (say_goodbye(peer, status, err.msg) != TN_OK)
            peer->broken = true;
    }
    return is_full(peer);
}

void peer_receive(socket_peer *peer)
{
    for (int i = 0; i < READS_PER_ROUND && !peer->leaving && !peer->broken && !is_full(peer); i++) {
        if (wire_buffer_reserve(&peer->in, READ_BYTES, NULL) != TN_OK) {
            peer->broken = true;
            return;
        }
        ssize_t got = read(peer->fd, peer->in.bytes + peer->in.end, peer->in.capacity - peer->in.end);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            peer->broken = true;
            return;
        }
        peer->in.end += (size_t)got;
        take_frames(peer);
    }
}

void peer_pump(socket_peer *peer, socket_channel *channel)
{
    tn_error err = TN_ERROR_INIT;
    if (channel->closed || peer->leaving || peer->broken || is_full(peer))
        return;
    if (channel_pump(channel, &peer->out, &err) != TN_OK) {
        front_log(peer->front, TN_LOG_ERROR, "a client loses its connection: %s", err.msg);
        peer->broken = true;
    }
}

static void send_out(socket_peer *peer)
{
    while (wire_buffer_count(&peer->out) > 0) {
        ssize_t sent = send(peer->fd, peer->out.bytes + peer->out.begin, wire_buffer_count(&peer->out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            peer->broken |= errno != EAGAIN;
            return;
        }
        peer->out.begin += (size_t)sent;
    }
    if (peer->leaving)
        peer->broken = true;
}

static void drop_closed_channels(socket_peer *peer)
{
    for (socket_channel **at = &peer->channels; *at;) {
        socket_channel *channel = *at;
        if (!channel->closed) {
            at = &channel->next;
            continue;
        }
        *at = channel->next;
        peer->channel_count--;
        channel_destroy(channel);
    }
}

void peer_settle(socket_peer *peer)
{
    bool waiting;
    do { /* frames that had to wait for room must not wait for further bytes */
        waiting = take_frames(peer);
        send_out(peer);
    } while (waiting && !peer->broken && !is_full(peer));
    if (peer->broken)
        return;
    drop_closed_channels(peer);
    bool full = is_full(peer);
    for (socket_channel *channel = peer->channels; channel; channel = channel->next)
        channel_watch(channel, !full && !peer->leaving);
    uint32_t wanted = full || peer->leaving ? 0 : EPOLLIN;
    if (wire_buffer_count(&peer->out) > 0)
        wanted |= EPOLLOUT;
    struct epoll_event event = {.events = wanted, .data.ptr = peer};
    if (wanted != peer->watched && epoll_ctl(peer->front->epoll_fd, EPOLL_CTL_MOD, peer->fd, &event) != 0)
        peer->broken = true;
    peer->watched = wanted;
}
