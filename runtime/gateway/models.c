/* models.c: tn.models over the routes, and how long a route lives: as long as it is listed, a front end holds its
 * engine, or its wake is being called.
 */
#include "gateway/state.h"

#include <string.h>

enum { FIND_WAKE_MS = 1000 };

static gateway *gateway_of(const tn_models *models)
{
    return (gateway *)(uintptr_t)models;
}

tn_models *gateway_models(gateway *g)
{
    return (tn_models *)(void *)g;
}

static void free_route(gateway_route *route)
{
    TN_ASSERT(!route->clients && !route->links && !route->waiting_head);
    stats_free(route);
    free(route->info_storage);
    free(route->service);
    instance_close(&route->instance);
    settings_destroy(route->instance.settings);
    free(route);
}

void route_release(gateway_route *route)
{
    pthread_mutex_lock(&route->gateway->lock);
    bool last = --route->references == 0;
    pthread_mutex_unlock(&route->gateway->lock);
    if (last)
        free_route(route);
}

void gateway_route_retain(gateway_route *route)
{
    gateway_lock(route->gateway);
    route->references++;
    gateway_unlock(route->gateway);
}

void gateway_route_release(gateway_route *route)
{
    route_release(route);
}

static bool has_name(const gateway_route *route, const char *name)
{
    for (const char *const *at = route->names; *at; at++)
        if (strcmp(*at, name) == 0)
            return true;
    return false;
}

static uint64_t generation(const tn_models *models)
{
    gateway *g = gateway_of(models);
    gateway_lock(g);
    uint64_t now = g->generation;
    gateway_unlock(g);
    return now;
}

static tn_status at(tn_models *models, uint32_t index, tn_engine **ret_engine)
{
    gateway *g = gateway_of(models);
    tn_status status = TN_E_NOT_FOUND;
    gateway_lock(g);
    for (gateway_route *route = g->routes; route; route = route->next) {
        if (!route->known || route->retired || index-- > 0)
            continue;
        route->references++;
        *ret_engine = route_engine(route);
        status = TN_OK;
        break;
    }
    gateway_unlock(g);
    return status;
}

/* Locked. */
static tn_status fail_unknown(const gateway *g, const char *name, tn_error *err)
{
    char known[256] = "";
    for (const gateway_route *route = g->routes; route; route = route->next) {
        if (route->retired)
            continue;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s'%s'", used ? ", " : "", route->service);
    }
    return tn_fail(err, TN_E_NOT_FOUND, "the model '%.128s' does not exist; this server has %s", name,
                   known[0] ? known : "none");
}

/* A service that no instance has told about yet: its first one is on its way, or is sent for now. Locked. */
static tn_status fail_unattached(gateway_route *route, tn_error *err)
{
    int64_t now_ms = (int64_t)clock_ms();
    if (route->note_status != TN_OK && route->note_status != TN_E_AGAIN)
        return tn_fail(err, route->note_status, "%s", route->note);
    if (now_ms - route->woken_ms >= FIND_WAKE_MS) {
        route->woken_ms = now_ms;
        route->wake_wanted = true;
        gateway_kick(route->gateway);
    }
    return tn_fail(err, TN_E_AGAIN, "%s%s", route->note[0] ? route->note : route->service,
                   route->note[0] ? "" : " is not loaded yet");
}

static tn_status find(tn_models *models, const char *name, tn_engine **ret_engine, tn_error *err)
{
    gateway *g = gateway_of(models);
    tn_status status = TN_OK;
    gateway_lock(g);
    gateway_route *route = g->routes;
    while (route && (route->retired || !has_name(route, name)))
        route = route->next;
    if (!route)
        status = fail_unknown(g, name, err);
    else if (!route->known)
        status = fail_unattached(route, err);
    if (status == TN_OK) {
        route->references++;
        *ret_engine = route_engine(route);
    }
    gateway_unlock(g);
    return status;
}

static void release(tn_models *models, tn_engine *engine)
{
    (void)models;
    if (engine)
        route_release(engine_route(engine));
}

const tn_models_table gateway_models_table = {
    .struct_size = sizeof(tn_models_table), .generation = generation, .at = at, .find = find, .release = release};
