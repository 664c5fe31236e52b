/* route.c: a service enters and leaves; its chat template. */
#include "gateway/state.h"

#include <string.h>

/* ---- names ---- */

/* The service's name first, then those of the settings that differ from it. */
static tn_status take_names(gateway_route *route, tn_error *err)
{
    uint32_t count = 0;
    tn_status status = instance_name_model(&route->instance, err);
    if (status != TN_OK)
        return status;
    route->names[count++] = route->service;
    for (const char *const *name = route->instance.served_names; *name; name++)
        if (strcmp(*name, route->service) != 0)
            route->names[count++] = *name;
    route->names[count] = NULL;
    return TN_OK;
}

/* Locked. */
static tn_status check_names(const gateway *g, const gateway_route *added, const gateway_route *replaced, tn_error *err)
{
    for (const gateway_route *route = g->routes; route; route = route->next)
        for (const char *const *theirs = route->names; *theirs && !route->retired && route != replaced; theirs++)
            for (const char *const *ours = added->names; *ours; ours++)
                if (strcmp(*ours, *theirs) == 0)
                    return tn_fail(err, TN_E_ARGUMENT, "the name %s is taken by the service %s", *ours, route->service);
    return TN_OK;
}

/* ---- coming and going ---- */

static tn_status open_route(gateway_route *route, settings *settings, tn_error *err)
{
    instance *in = &route->instance;
    instance_init(in, settings);
    tn_status status = instance_load_tokenizers(in, err);
    if (status == TN_OK)
        status = instance_open_tokenizer(in, err);
    if (status == TN_OK)
        status = take_names(route, err);
    if (status == TN_OK)
        route->identity = frame_identity(in->tokenizer, in->tok, in->tokenizer->vocab_size(in->tok));
    return status;
}

tn_status gateway_route_add(gateway *g, const gateway_route_options *options, gateway_route **ret_route, tn_error *err)
{
    gateway_route *route = calloc(1, sizeof *route);
    if (!route)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the service %s", options->service);
    route->gateway = g;
    route->references = 1;
    route->queue_max = options->queue_max;
    route->wake_timeout_ms = options->wake_timeout_ms;
    route->wake = options->wake;
    route->ctx = options->ctx;
    route->retired = options->replaces != NULL;
    route->note_status = TN_E_AGAIN;
    route->idle_since_ms = (int64_t)clock_ms();
    route->service = strdup(options->service);
    tn_status status = route->service ? open_route(route, options->settings, err)
                                      : tn_fail(err, TN_E_MEMORY, "out of memory for the service %s", options->service);
    if (status == TN_OK) {
        gateway_route **end = &g->routes;
        gateway_lock(g);
        status = check_names(g, route, options->replaces, err);
        if (status == TN_OK && options->told)
            attach_recall(route, options);
        if (status == TN_OK) {
            while (*end) /* listed in the order in which they came */
                end = &(*end)->next;
            *end = route;
        }
        gateway_unlock(g);
    }
    if (status != TN_OK) {
        instance_close(&route->instance);
        free(route->service);
        free(route);
        return status;
    }
    *ret_route = route;
    return TN_OK;
}

void gateway_route_note(gateway_route *route, tn_status status, const char *sentence)
{
    gateway_lock(route->gateway);
    route->note_status = status;
    snprintf(route->note, sizeof route->note, "%s", sentence ? sentence : "");
    dispatch_note(route);
    gateway_unlock(route->gateway);
}

void gateway_route_replace(gateway_route *replaced, gateway_route *route)
{
    gateway_lock(route->gateway);
    replaced->retired = true;
    route->retired = false;
    route->gateway->generation++;
    gateway_unlock(route->gateway);
}

/* Locked. */
static void end_requests(gateway_route *route)
{
    char text[FRAME_TEXT_MAX + 1];
    snprintf(text, sizeof text,
             route->retired ? "the service %s was updated while this waited or ran; ask again"
                            : "the service %s was removed",
             route->service);
    for (remote_client *client = route->clients; client; client = client->next)
        while (client->live) {
            remote_request *request = client->live;
            if (request->waits)
                dispatch_stop_waiting(request);
            if (request->link)
                dispatch_recall(request);
            request_end(request, TN_FINISH_CANCELLED, TN_E_CANCELLED, text);
        }
}

void gateway_route_remove(gateway_route *route)
{
    gateway *g = route->gateway;
    gateway_lock(g);
    route->removed = true;
    route->wake_wanted = false;
    for (gateway_route **at = &g->routes; *at; at = &(*at)->next)
        if (*at == route) {
            *at = route->next;
            break;
        }
    g->generation++;
    end_requests(route);
    while (route->links) {
        gateway_link *link = route->links;
        link_break(link, "the service was removed");
        link_lose(link);
        link_free(link);
    }
    gateway_unlock(g);
    route_release(route);
}

void gateway_route_activity(gateway_route *route, gateway_activity *ret_activity)
{
    gateway_activity activity = {0};
    gateway_lock(route->gateway);
    for (const gateway_link *link = route->links; link; link = link->next)
        activity.instances += link->fd >= 0 && !link->broken;
    activity.running = route->running_count;
    activity.waiting = route->waiting_count;
    if (route->running_count + route->waiting_count == 0)
        activity.idle_ms = clock_ms() - (uint64_t)route->idle_since_ms;
    activity.requests = route->requests;
    activity.tokens = route->tokens;
    gateway_unlock(route->gateway);
    *ret_activity = activity;
}

/* ---- tn.chat ---- */

static tn_status render(tn_engine *engine, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                        tn_error *err)
{
    return instance_render_chat(&engine_route(engine)->instance, json, n_json, text, n_text, err);
}

const tn_chat_table gateway_chat_table = {.struct_size = sizeof(tn_chat_table), .render = render};
