/* routes.c: a service's door in the gateway: one route, and after an update that changes what instances must agree on
 * the one before it, for as long as somebody is served there.
 */
#include "service/state.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 2000 /* of what failed and nobody tells when it will not */ };

/* ---- requests that find no instance ---- */

static void on_wake(void *ctx, gateway_route *route)
{
    services *s = ctx;
    pthread_mutex_lock(&s->wake_mutex);
    if (s->woken_count < SERVICES_MAX) /* more are asked for again soon */
        s->woken[s->woken_count++] = route;
    pthread_mutex_unlock(&s->wake_mutex);
    services_signal(s);
}

/* Routes come as they are named: one that is gone by now matches none. */
void routes_take_woken(services *s)
{
    pthread_mutex_lock(&s->wake_mutex);
    for (uint32_t i = 0; i < s->count; i++)
        for (uint32_t j = 0; j < s->woken_count; j++)
            s->all[i]->asked = s->all[i]->asked || s->all[i]->route == s->woken[j];
    s->woken_count = 0;
    pthread_mutex_unlock(&s->wake_mutex);
}

/* ---- what a route is made of ---- */

/* Whether a setting changes what the gateway opens itself, or what instances must agree on. */
static bool concerns_route(const char *setting)
{
    return strncmp(setting, "model.", 6) == 0 || strncmp(setting, "tokenizer.", 10) == 0 ||
           strncmp(setting, "plugins.", 8) == 0;
}

static bool same_route(const engine_settings *a, const engine_settings *b)
{
    uint32_t counts[2] = {0};
    for (uint32_t i = 0; i < b->count; i++)
        counts[1] += concerns_route(b->at[i]);
    for (uint32_t i = 0; i < a->count; i++) {
        bool found = !concerns_route(a->at[i]);
        counts[0] += !found;
        for (uint32_t j = 0; !found && j < b->count; j++)
            found = strcmp(a->at[i], b->at[j]) == 0;
        if (!found)
            return false;
    }
    return counts[0] == counts[1];
}

static void remove_retired(service *service)
{
    for (uint32_t i = 0; i < service->count; i++)
        if (service->instances[i].route == service->retired)
            service->instances[i].route = NULL;
    if (service->retired)
        gateway_route_remove(service->retired);
    service->retired = NULL;
}

void routes_drop_retired(service *service)
{
    for (uint32_t i = 0; i < service->count; i++)
        if (service->retired && service->instances[i].route == service->retired)
            return;
    remove_retired(service);
}

/* made: what it is made of. replaced: see gateway_route_options. */
static tn_status add_route(services *s, const service *service, const engine_settings *made, gateway_route *replaced,
                           gateway_route **ret_route, tn_error *err)
{
    settings *settings;
    tn_status status = settings_read(NULL, (const char *const *)made->at, &settings, err);
    if (status != TN_OK)
        return status;
    const gateway_route_options options = {
        .service = service->wish.name,
        .settings = settings,
        .queue_max = (uint32_t)settings_integer(s->settings, "server", "queue_max"),
        .wake_timeout_ms = (uint32_t)(settings_number(s->settings, "server", "wake_timeout") * 1000),
        .wake = on_wake,
        .ctx = s,
        .replaces = replaced,
    };
    status = gateway_route_add(s->gateway, &options, ret_route, err);
    if (status != TN_OK)
        settings_destroy(settings);
    return status;
}

static tn_status make_route_settings(services *s, const wish *wish, engine_settings *ret_made, tn_error *err)
{
    pool pool;
    ledger_pool devices;
    tn_status status = admission_pool(s, wish, &pool, &devices, err);
    return status == TN_OK ? engine_settings_make(s->settings, wish, &pool, ENGINE_ROUTE, NULL, ret_made, err) : status;
}

/* What the instances run that are there before an update is done. */
static const wish *served_wish(const service *service)
{
    for (uint32_t i = 0; i < service->count; i++)
        if (!instance_is_fresh(service, &service->instances[i]) && service->wish.before)
            return service->wish.before;
    return &service->wish;
}

static void take_route(service *service, gateway_route *route, engine_settings *made)
{
    service->route = route;
    service->told[0] = '\0';
    engine_settings_finish(&service->route_made);
    service->route_made = *made;
    *made = (engine_settings){.count = 0};
}

/* The door is there before the first instance is, so that requests wait instead of failing. */
void routes_open(services *s, service *service, uint64_t now)
{
    tn_error err = TN_ERROR_INIT;
    engine_settings made = {.count = 0};
    gateway_route *route;
    if (service->route || now < service->route_retry_ms || service->wish.deleting)
        return;
    service->route_retry_ms = now + RETRY_MS;
    tn_status status = make_route_settings(s, served_wish(service), &made, &err);
    if (status == TN_OK)
        status = add_route(s, service, &made, NULL, &route, &err);
    if (status == TN_OK)
        take_route(service, route, &made);
    else
        snprintf(service->trouble, sizeof service->trouble, "%s", err.msg);
    engine_settings_finish(&made);
}

/* The first instance of a generation that needs another route: that takes the place of the old one, which goes on
 * serving what it has, in one step. */
static tn_status replace_route(services *s, service *service, engine_instance *instance, engine_settings *made,
                               tn_error *err)
{
    gateway_route *route;
    tn_status status = add_route(s, service, made, service->route, &route, err);
    if (status != TN_OK)
        return status;
    status = gateway_attach(route, instance_id(instance), instance->process.socket, err);
    if (status != TN_OK) {
        gateway_route_remove(route);
        return status;
    }
    remove_retired(service);
    gateway_route_replace(service->route, route);
    service->retired = service->route;
    take_route(service, route, made);
    return TN_OK;
}

tn_status routes_attach(services *s, service *service, engine_instance *instance, uint64_t now, tn_error *err)
{
    engine_settings made = {.count = 0};
    if (now < instance->attach_ms || !service->route)
        return TN_E_AGAIN;
    instance->attach_ms = now + RETRY_MS;
    tn_status status =
        instance_is_fresh(service, instance) ? make_route_settings(s, &service->wish, &made, err) : TN_OK;
    if (status == TN_OK && instance_is_fresh(service, instance) && !same_route(&made, &service->route_made))
        status = replace_route(s, service, instance, &made, err);
    else if (status == TN_OK)
        status = gateway_attach(service->route, instance_id(instance), instance->process.socket, err);
    if (status == TN_OK)
        instance->route = service->route;
    engine_settings_finish(&made);
    return status;
}

void routes_detach(engine_instance *instance)
{
    if (instance->route)
        gateway_detach(instance->route, instance_id(instance));
    instance->route = NULL;
}

/* Where some of the failed generation had come up, the route is theirs, and what was before has its own. */
void routes_take_back(services *s, service *service)
{
    engine_settings made = {.count = 0};
    gateway_route *failed = service->route;
    if (!service->retired || make_route_settings(s, &service->wish, &made, NULL) != TN_OK)
        return;
    gateway_route_replace(failed, service->retired);
    take_route(service, service->retired, &made);
    service->retired = failed;
}

void routes_remove(service *service)
{
    remove_retired(service);
    if (service->route)
        gateway_route_remove(service->route);
    service->route = NULL;
}
