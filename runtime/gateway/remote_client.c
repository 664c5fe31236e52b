/* remote_client.c: tn.engine's clients: mailboxes as of the engine itself (engine/client.h), filled by the io thread.
 * What a client may pile up is bounded by the credit that its channels have; a poll gives it back.
 */
#include "gateway/state.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static remote_client *client_of(tn_client *client)
{
    return (remote_client *)(void *)client;
}

void client_free_events(remote_event *list)
{
    while (list) {
        remote_event *event = list;
        list = event->next;
        remote_request *done = event->done;
        if (event->owned)
            free(event);
        request_free(done); /* after an event of its own */
    }
}

void client_push_event(remote_client *client, remote_event *event)
{
    static const uint64_t one = 1;

    event->next = NULL;
    event->event.struct_size = sizeof event->event;
    if (client->head)
        client->tail->next = event;
    else
        client->head = event;
    client->tail = event;
    if (client->signalled)
        return;
    ssize_t put = write(client->fd, &one, sizeof one);
    TN_ASSERT(put == (ssize_t)sizeof one);
    client->signalled = true;
}

static tn_status client_open(tn_engine *engine, uint32_t queue_cap, tn_client **ret_client, tn_error *err)
{
    gateway_route *route = engine_route(engine);
    if (queue_cap == 0)
        return tn_fail(err, TN_E_ARGUMENT, "queue_cap is 0; a client needs room for at least one event");
    remote_client *client = calloc(1, sizeof *client);
    if (!client)
        return tn_fail(err, TN_E_MEMORY, "out of memory for a client of %s", route->service);
    client->route = route;
    client->queue_cap = queue_cap < FRAME_QUEUE_MAX ? queue_cap : FRAME_QUEUE_MAX;
    client->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->fd < 0) {
        int code = errno;
        free(client);
        return tn_fail(err, TN_E_IO, "cannot make an eventfd for a client: %s", strerror(code));
    }
    gateway_lock(route->gateway);
    client->next = route->clients;
    route->clients = client;
    gateway_unlock(route->gateway);
    *ret_client = (tn_client *)(void *)client;
    return TN_OK;
}

/* What runs is cancelled by the end of its channel. Locked. */
static void drop_requests(remote_client *client)
{
    while (client->live) {
        remote_request *request = client->live;
        if (request->waits)
            dispatch_stop_waiting(request);
        if (request->link)
            dispatch_recall(request);
        request_leave(request);
        request_free(request);
    }
}

static remote_channel *find_channel(const gateway_link *link, const remote_client *client)
{
    for (remote_channel *channel = link->channels; channel; channel = channel->next)
        if (channel->client == client)
            return channel;
    return NULL;
}

static void client_close(tn_client *opaque)
{
    remote_client *client = client_of(opaque);
    if (!client)
        return;
    gateway_route *route = client->route;
    gateway_lock(route->gateway);
    drop_requests(client);
    for (gateway_link *link = route->links; link; link = link->next) {
        remote_channel *channel = find_channel(link, client);
        if (channel)
            link_close_channel(channel);
    }
    for (remote_client **at = &route->clients; *at; at = &(*at)->next)
        if (*at == client) {
            *at = client->next;
            break;
        }
    gateway_unlock(route->gateway);
    client_free_events(client->polled); /* the older ones first: a DONE event frees its request's others */
    client_free_events(client->head);
    close(client->fd);
    free(client);
}

static tn_status check_open(const gateway_route *route, tn_error *err)
{
    if (route->removed)
        return tn_fail(err, TN_E_CANCELLED, "the service %s was removed", route->service);
    if (!route->known)
        return tn_fail(err, TN_E_AGAIN, "no instance of %s was ever there", route->service);
    return TN_OK;
}

static tn_status submit(tn_client *opaque, const tn_request *asked, uint64_t *ret_request, tn_error *err)
{
    remote_client *client = client_of(opaque);
    gateway_route *route = client->route;
    remote_request *request;

    gateway_lock(route->gateway);
    tn_status status = check_open(route, err);
    gateway_unlock(route->gateway);
    if (status == TN_OK)
        status = request_make(client, asked, &request, err);
    if (status != TN_OK)
        return status;
    gateway_lock(route->gateway);
    status = check_open(route, err);
    if (status == TN_OK)
        status = request_enter(request, err);
    if (status == TN_OK) {
        uint64_t id = request->id;
        status = dispatch_request(request, err);
        if (status == TN_OK) {
            *ret_request = id;
            route->requests++;
        } else {
            request_leave(request);
        }
    }
    gateway_unlock(route->gateway);
    if (status != TN_OK)
        request_free(request);
    return status;
}

static remote_request *find_live(const remote_client *client, uint64_t id)
{
    for (remote_request *request = client->live; request; request = request->live_next)
        if (request->id == id)
            return request;
    return NULL;
}

static tn_status cancel(tn_client *opaque, uint64_t id)
{
    remote_client *client = client_of(opaque);
    gateway *g = client->route->gateway;

    gateway_lock(g);
    remote_request *request = find_live(client, id);
    if (request && !request->cancelled) {
        request->cancelled = true;
        if (request->waits) {
            dispatch_stop_waiting(request);
            request_end(request, TN_FINISH_CANCELLED, TN_E_CANCELLED, "cancelled");
        } else if (request->taken) {
            frame_note note = {.kind = FRAME_CANCEL, .channel = request->channel->number, .number = request->remote_id};
            link_send_note(request->link, &note);
        } /* else TAKEN is on its way, and the cancellation goes back for it */
    }
    gateway_unlock(g);
    return request ? TN_OK : TN_E_NOT_FOUND;
}

static int event_fd(tn_client *client)
{
    return client_of(client)->fd;
}

static void clear_signal(remote_client *client)
{
    uint64_t count;
    if (client->head || !client->signalled)
        return;
    ssize_t got = read(client->fd, &count, sizeof count);
    TN_ASSERT(got == (ssize_t)sizeof count);
    client->signalled = false;
}

/* The event's instance may send another one. */
static void give_back(remote_client *client, const remote_event *event)
{
    for (gateway_link *link = client->route->links; link && event->link; link = link->next) {
        if (link->number != event->link)
            continue;
        remote_channel *channel = find_channel(link, client);
        if (channel)
            link_give_credit(channel);
        return;
    }
}

static uint32_t poll_events(tn_client *opaque, tn_event *out, uint32_t stride, uint32_t cap)
{
    remote_client *client = client_of(opaque);
    uint32_t size = cap > 0 ? out->struct_size : 0, count = 0;
    remote_event *before = client->polled, **end = &client->polled;

    size = size < sizeof(tn_event) ? size : (uint32_t)sizeof(tn_event);
    size = size < stride ? size : stride;
    client->polled = NULL;
    client_free_events(before);
    gateway_lock(client->route->gateway);
    for (; count < cap && client->head; count++) {
        remote_event *event = client->head;
        tn_event *to = (tn_event *)(void *)((char *)out + (size_t)count * stride);

        memcpy(to, &event->event, size);
        to->struct_size = size;
        client->head = event->next;
        event->next = NULL;
        *end = event;
        end = &event->next;
        give_back(client, event);
    }
    clear_signal(client);
    gateway_unlock(client->route->gateway);
    return count;
}

static tn_status info(tn_engine *engine, tn_engine_info *ret_info)
{
    const gateway_route *route = engine_route(engine);
    uint32_t size = ret_info->struct_size;

    gateway_lock(route->gateway);
    bool known = route->known;
    gateway_unlock(route->gateway);
    if (size < sizeof ret_info->struct_size)
        return TN_E_ARGUMENT;
    if (!known)
        return TN_E_AGAIN;
    tn_engine_info told = route->info.info;
    told.struct_size = size < sizeof told ? size : (uint32_t)sizeof told;
    memcpy(ret_info, &told, told.struct_size);
    return TN_OK;
}

static const tn_tokenizer_table *tokenizer(tn_engine *engine, const tn_tok **ret_tok)
{
    const gateway_route *route = engine_route(engine);
    *ret_tok = route->instance.tok;
    return route->instance.tokenizer;
}

/* What the best of the instances says; while there is none, the time that a small model takes to load. */
static uint32_t retry_after(tn_engine *engine)
{
    enum { LOADING_S = 5 };
    const gateway_route *route = engine_route(engine);
    uint32_t seconds = 0;

    gateway_lock(route->gateway);
    for (const gateway_link *link = route->links; link; link = link->next)
        if (link->fd >= 0 && (seconds == 0 || link->retry_after < seconds))
            seconds = link->retry_after ? link->retry_after : 1;
    gateway_unlock(route->gateway);
    return seconds ? seconds : LOADING_S;
}

const tn_engine_table gateway_engine_table = {
    .struct_size = sizeof(tn_engine_table),
    .info = info,
    .client_open = client_open,
    .client_close = client_close,
    .submit = submit,
    .cancel = cancel,
    .event_fd = event_fd,
    .poll = poll_events,
    .tokenizer = tokenizer,
    .retry_after = retry_after,
};
