/* dispatch.c: which instance gets a request, and those that wait for one. */
#include "gateway/state.h"

#include <string.h>

/* ---- a choice ---- */

/* Of those that take requests: a ready one before one whose loop is silent, then the one with the fewest running. */
static gateway_link *choose(const gateway_route *route, uint64_t tried)
{
    gateway_link *best = NULL;
    bool best_ready = false;
    int64_t now_ms = (int64_t)clock_ms();

    for (gateway_link *link = route->links; link; link = link->next) {
        if (!link_takes(link) || (tried & link->bit))
            continue;
        bool ready = link_health(link, now_ms).ready;
        if (!best || (ready && !best_ready) || (ready == best_ready && link->running < best->running)) {
            best = link;
            best_ready = ready;
        }
    }
    return best;
}

bool dispatch_has_choice(const remote_request *request)
{
    return choose(request->client->route, request->tried) != NULL;
}

static tn_status send_to(gateway_link *link, remote_request *request, tn_error *err)
{
    remote_channel *channel;
    tn_status status = link_channel(link, request->client, &channel, err);
    if (status != TN_OK)
        return status;
    request_retag(request);
    status = frame_request_write(&link->out, channel->number, request->tag, request->seeded ? &request->seed : NULL,
                                 &request->part, err);
    if (status != TN_OK)
        return status;
    request->link = link;
    request->channel = channel;
    link->running++;
    link->route->running_count++;
    link_flush(link);
    return TN_OK;
}

static void note_idle(gateway_route *route)
{
    if (route->running_count == 0 && route->waiting_count == 0)
        route->idle_since_ms = (int64_t)clock_ms();
}

void dispatch_recall(remote_request *request)
{
    gateway_link *link = request->link;
    TN_ASSERT(link && link->running > 0 && link->route->running_count > 0);
    link->running--;
    link->route->running_count--;
    request->link = NULL;
    request->channel = NULL;
    note_idle(link->route);
}

/* ---- waiting ---- */

void dispatch_want_wake(gateway_route *route)
{
    if (route->woken || route->removed)
        return;
    route->woken = true;
    route->wake_wanted = true;
    gateway_kick(route->gateway);
}

/* Behind those that are older. */
static void enqueue(remote_request *request)
{
    gateway_route *route = request->client->route;
    remote_request *before = route->waiting_tail;

    while (before && before->id > request->id)
        before = before->waiting_previous;
    request->waiting_previous = before;
    request->waiting_next = before ? before->waiting_next : route->waiting_head;
    *(before ? &before->waiting_next : &route->waiting_head) = request;
    *(request->waiting_next ? &request->waiting_next->waiting_previous : &route->waiting_tail) = request;
    request->waits = true;
    request->tried = 0;
    request->deadline_ms = (int64_t)clock_ms() + route->wake_timeout_ms;
    route->waiting_count++;
    dispatch_want_wake(route);
    gateway_kick(route->gateway);
}

void dispatch_stop_waiting(remote_request *request)
{
    gateway_route *route = request->client->route;
    TN_ASSERT(request->waits);
    *(request->waiting_previous ? &request->waiting_previous->waiting_next : &route->waiting_head) =
        request->waiting_next;
    *(request->waiting_next ? &request->waiting_next->waiting_previous : &route->waiting_tail) =
        request->waiting_previous;
    request->waits = false;
    if (--route->waiting_count == 0)
        route->woken = false;
    note_idle(route);
}

static bool has_failed(const gateway_route *route)
{
    return route->note_status != TN_OK && route->note_status != TN_E_AGAIN;
}

/* Sends it, or lets it wait if `may_wait`. */
static tn_status place(remote_request *request, bool may_wait, tn_error *err)
{
    gateway_route *route = request->client->route;
    gateway_link *link = choose(route, request->tried);

    if (link)
        return send_to(link, request, err);
    if (has_failed(route))
        return tn_fail(err, route->note_status, "%s", route->note);
    if (!may_wait)
        return tn_fail(err, TN_E_AGAIN, "%u requests wait for an instance of %s already", route->waiting_count,
                       route->service);
    enqueue(request);
    return TN_OK;
}

tn_status dispatch_request(remote_request *request, tn_error *err)
{
    gateway_route *route = request->client->route;
    if (route->waiting_count > 0)
        dispatch_waiting(route); /* they were first */
    return place(request, route->waiting_count < route->queue_max, err);
}

void dispatch_move(remote_request *request)
{
    tn_error err = TN_ERROR_INIT;
    if (request->cancelled) {
        request_end(request, TN_FINISH_CANCELLED, TN_E_CANCELLED, "cancelled");
        return;
    }
    tn_status status = place(request, true, &err);
    if (status != TN_OK)
        request_end(request, TN_FINISH_ERROR, status, err.msg);
}

void dispatch_waiting(gateway_route *route)
{
    while (route->waiting_head && choose(route, 0)) {
        remote_request *request = route->waiting_head;
        dispatch_stop_waiting(request);
        dispatch_move(request);
    }
}

void dispatch_note(gateway_route *route)
{
    while (has_failed(route) && route->waiting_head && !choose(route, 0)) {
        remote_request *request = route->waiting_head;
        dispatch_stop_waiting(request);
        request_end(request, TN_FINISH_ERROR, route->note_status, route->note);
    }
}

static void expire(remote_request *request)
{
    const gateway_route *route = request->client->route;
    char text[FRAME_TEXT_MAX + 1];
    snprintf(text, sizeof text, "no instance of %s became ready within %.1f s%s%.300s", route->service,
             route->wake_timeout_ms / 1000.0, route->note[0] ? ": " : "", route->note);
    dispatch_stop_waiting(request);
    request_end(request, TN_FINISH_ERROR, TN_E_DEVICE_LOST, text); /* no fault of the caller's, and no 429 */
}

int64_t dispatch_expire(gateway_route *route, int64_t now_ms)
{
    int64_t next = 0;
    for (remote_request *request = route->waiting_head, *after; request; request = after) {
        after = request->waiting_next;
        if (request->deadline_ms <= now_ms)
            expire(request);
        else if (next == 0 || request->deadline_ms < next)
            next = request->deadline_ms;
    }
    return next;
}
