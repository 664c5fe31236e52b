/* link.c: one connection to an instance: frames out as far as the kernel takes them, frames in as they come. What an
 * instance says is checked against what was asked of it; one that breaks the protocol is lost like one that died.
 */
#include "gateway/state.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, READS_PER_ROUND = 4, OUT_MAX = 64 << 20, SILENT_MS = 2500 };

bool link_takes(const gateway_link *link)
{
    return link->fd >= 0 && !link->broken && !link->draining && !link->health.failed && !link->health.draining &&
           wire_buffer_count(&link->out) < OUT_MAX;
}

gateway_link *route_find_link(gateway_route *route, const char *name)
{
    for (gateway_link *link = route->links; link; link = link->next)
        if (strcmp(link->name, name) == 0)
            return link;
    return NULL;
}

tn_health link_health(const gateway_link *link, int64_t now_ms)
{
    tn_health health = link->health;
    int64_t silent_ms = now_ms - link->heard_ms;
    if (link->fd < 0 || link->broken) {
        health.ready = 0;
        snprintf(health.reason, sizeof health.reason, "%.*s", (int)sizeof health.reason - 1, link->reason.msg);
    } else if (silent_ms > SILENT_MS) {
        health.ready = 0;
        health.heartbeat_age_ms += (uint64_t)silent_ms;
        snprintf(health.reason, sizeof health.reason, "the instance has not answered for %lld ms",
                 (long long)silent_ms);
    }
    return health;
}

/* ---- out ---- */

void link_break(gateway_link *link, const char *reason)
{
    if (link->broken || link->fd < 0)
        return;
    link->broken = true;
    tn_fail(&link->reason, TN_E_DEVICE_LOST, "%s", reason);
    gateway_kick(link->route->gateway);
}

void link_flush(gateway_link *link)
{
    wire_buffer *out = &link->out;
    while (!link->broken && wire_buffer_count(out) > 0) {
        ssize_t sent = send(link->fd, out->bytes + out->begin, wire_buffer_count(out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            break;
        if (sent < 0)
            link_break(link, strerror(errno));
        else
            out->begin += (size_t)sent;
    }
    if (!link->broken)
        io_watch(link, EPOLLIN | (wire_buffer_count(out) > 0 ? EPOLLOUT : 0));
}

void link_send_note(gateway_link *link, const frame_note *note)
{
    if (link->fd < 0 || link->broken)
        return;
    if (frame_note_write(&link->out, note, NULL) == TN_OK)
        link_flush(link);
    else
        link_break(link, "there is no memory left to talk to it");
}

void link_ask(gateway_link *link, uint64_t what)
{
    frame_note note = {.kind = FRAME_ASK, .number = what};
    *(what == FRAME_ASK_HEALTH ? &link->health_asked : &link->stats_asked) = true;
    link_send_note(link, &note);
}

/* ---- channels ---- */

tn_status link_channel(gateway_link *link, remote_client *client, remote_channel **ret_channel, tn_error *err)
{
    gateway *g = link->route->gateway;
    remote_channel *channel = link->channels;
    while (channel && channel->client != client)
        channel = channel->next;
    if (channel) {
        *ret_channel = channel;
        return TN_OK;
    }
    channel = calloc(1, sizeof *channel);
    if (!channel)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a channel");
    *channel = (remote_channel){.link = link,
                                .client = client,
                                .number = (uint32_t)g->next_channel,
                                .credit = client->queue_cap,
                                .next = link->channels};
    frame_note note = {.kind = FRAME_OPEN, .channel = channel->number, .number = client->queue_cap};
    tn_status status = frame_note_write(&link->out, &note, err);
    if (status != TN_OK) {
        free(channel);
        return status;
    }
    g->next_channel++;
    link->channels = channel;
    *ret_channel = channel;
    return TN_OK;
}

void link_close_channel(remote_channel *channel)
{
    gateway_link *link = channel->link;
    frame_note note = {.kind = FRAME_CLOSE, .channel = channel->number};
    link_send_note(link, &note);
    for (remote_channel **at = &link->channels; *at; at = &(*at)->next)
        if (*at == channel) {
            *at = channel->next;
            break;
        }
    free(channel);
}

/* One event's worth; told to the instance when half of the queue has come together. */
void link_give_credit(remote_channel *channel)
{
    if (++channel->owed < (channel->client->queue_cap + 1) / 2)
        return;
    frame_note note = {.kind = FRAME_CREDIT, .channel = channel->number, .number = channel->owed};
    channel->credit += channel->owed;
    channel->owed = 0;
    link_send_note(channel->link, &note);
}

/* ---- in ---- */

static void take_taken(gateway_link *link, const frame_note *note)
{
    remote_request *request = request_find(link->route->gateway, note->tag);
    if (!request || request->link != link)
        return;
    request->taken = true;
    request->remote_id = note->number;
    if (!request->cancelled)
        return;
    frame_note cancel = {.kind = FRAME_CANCEL, .channel = request->channel->number, .number = request->remote_id};
    link_send_note(link, &cancel);
}

/* An instance whose queue is full may have a neighbour whose is not, and one that is about to end a successor. */
static void take_refused(gateway_link *link, const frame_note *note)
{
    char text[FRAME_TEXT_MAX + 1];
    remote_request *request = request_find(link->route->gateway, note->tag);
    if (!request || request->link != link)
        return;
    dispatch_recall(request);
    request->tried |= link->bit;
    bool moves = request->cancelled || link->health.draining || dispatch_has_choice(request);
    if (note->status == TN_E_AGAIN && moves)
        dispatch_move(request);
    else
        request_end(request, TN_FINISH_ERROR, note->status == TN_OK ? TN_E_INTERNAL : note->status,
                    frame_note_text(note, text));
}

static tn_status take_event(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err)
{
    frame_event read;
    remote_channel *channel = link->channels;
    tn_status status = frame_event_read(frame, n, &link->route->info.info, &read, err);
    if (status != TN_OK)
        return status;
    while (channel && channel->number != read.channel)
        channel = channel->next;
    if (!channel)
        return TN_OK; /* its client has left */
    if (channel->credit == 0)
        return tn_fail(err, TN_E_CORRUPT, "the instance sends events without credit");
    channel->credit--;
    remote_request *request = request_find(link->route->gateway, read.event.user);
    if (!request || request->channel != channel) {
        link_give_credit(channel);
        return TN_OK; /* an earlier try, or over */
    }
    if (read.event.choice >= request->choice_count)
        return tn_fail(err, TN_E_CORRUPT, "the instance answers with choice %u of %u", read.event.choice,
                       request->choice_count);
    remote_event *event = malloc(sizeof *event + frame_event_bytes(&read));
    if (!event)
        return tn_fail(err, TN_E_MEMORY, "there is no memory left for its events");
    frame_event_place(&read, event + 1);
    *event = (remote_event){.link = link->number, .owned = true, .event = read.event};
    request_take_event(request, event);
    return TN_OK;
}

static tn_status take_health(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err)
{
    tn_status status = frame_health_read(frame, n, &link->health, &link->retry_after, err);
    link->health_asked = false;
    link->heard_ms = (int64_t)clock_ms();
    return status;
}

static tn_status take_note(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err)
{
    frame_note note;
    char text[FRAME_TEXT_MAX + 1];
    tn_status status = frame_note_read(frame, n, &note, err);
    if (status != TN_OK)
        return status;
    switch (note.kind) {
    case FRAME_TAKEN:
        take_taken(link, &note);
        return TN_OK;
    case FRAME_REFUSED:
        take_refused(link, &note);
        return TN_OK;
    case FRAME_GOODBYE:
        return tn_fail(err, TN_E_DEVICE_LOST, "it says: %s", frame_note_text(&note, text));
    default:
        return tn_fail(err, TN_E_CORRUPT, "the instance sends a frame of kind %u, which is the client's to send",
                       note.kind);
    }
}

static tn_status take_frame(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err)
{
    switch (frame[0]) {
    case FRAME_EVENT:
        return take_event(link, frame, n, err);
    case FRAME_HEALTH:
        return take_health(link, frame, n, err);
    case FRAME_STATS:
        return stats_take_frame(link, frame, n, err);
    default:
        return take_note(link, frame, n, err);
    }
}

void link_receive(gateway_link *link)
{
    tn_error err = TN_ERROR_INIT;
    wire_buffer *in = &link->in;

    for (int i = 0; i < READS_PER_ROUND && !link->broken; i++) {
        tn_status status = wire_buffer_reserve(in, READ_BYTES, &err);
        ssize_t got = status == TN_OK ? read(link->fd, in->bytes + in->end, in->capacity - in->end) : 0;
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (status == TN_OK && got <= 0)
            tn_fail(&err, TN_E_DEVICE_LOST, "%s", got == 0 ? "its process has closed the connection" : strerror(errno));
        in->end += got > 0 ? (size_t)got : 0;
        while (status == TN_OK && got > 0 && !link->broken) {
            const uint8_t *frame;
            size_t n;
            status = wire_buffer_take_frame(in, FRAME_FROM_ENGINE_MAX, &frame, &n, &err);
            if (status == TN_OK)
                status = take_frame(link, frame, n, &err);
        }
        if (got <= 0 || (status != TN_OK && status != TN_E_AGAIN))
            link_break(link, err.msg);
    }
}

/* ---- the end ---- */

static void move_or_end(gateway_link *link, remote_request *request)
{
    char text[FRAME_TEXT_MAX + 1];
    dispatch_recall(request);
    if (!request->produced) {
        dispatch_move(request);
        return;
    }
    snprintf(text, sizeof text, "the instance %s of %s was lost in the middle of the answer: %.300s", link->name,
             link->route->service, link->reason.msg);
    request_end(request, TN_FINISH_ERROR, TN_E_DEVICE_LOST, text);
}

void link_lose(gateway_link *link)
{
    gateway *g = link->route->gateway;
    if (link->fd < 0)
        return;
    link->broken = true;
    io_watch(link, 0);
    close(link->fd);
    link->fd = -1;
    stats_keep_counters(link);
    for (uint32_t i = 0; i < g->slot_count; i++) {
        remote_request *request = g->slots[i].request;
        if (request && request->link == link)
            move_or_end(link, request);
    }
    while (link->channels) {
        remote_channel *channel = link->channels;
        link->channels = channel->next;
        free(channel);
    }
    wire_buffer_finish(&link->in);
    wire_buffer_finish(&link->out);
    link->stats_asked = false;
    pthread_cond_broadcast(&g->heard);
}

void link_free(gateway_link *link)
{
    TN_ASSERT(link->fd < 0 && link->running == 0);
    for (gateway_link **at = &link->route->links; *at; at = &(*at)->next)
        if (*at == link) {
            *at = link->next;
            break;
        }
    link->route->link_bits &= ~link->bit;
    free(link);
}
