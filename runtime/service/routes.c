/* routes.c: a service's door in the gateway: one route, and after an update that changes what instances must agree on
 * the one before it, for as long as somebody is served there.
 */
#include "service/state.h"

#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 2000 /* of what failed and nobody tells when it will not */ };

/* ---- requests that find no instance ---- */

void routes_on_wake(void *ctx, gateway_route *route)
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

bool routes_concern(const char *setting)
{
    return strncmp(setting, "model.", 6) == 0 || strncmp(setting, "tokenizer.", 10) == 0 ||
           strncmp(setting, "plugins.", 8) == 0;
}

static bool same_route(const engine_settings *a, const engine_settings *b)
{
    uint32_t counts[2] = {0};
    for (uint32_t i = 0; i < b->count; i++)
        counts[1] += routes_concern(b->at[i]);
    for (uint32_t i = 0; i < a->count; i++) {
        bool found = !routes_concern(a->at[i]);
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

static void take_opened(services *s, service *service)
{
    errand *errand = service->opening;
    TN_ASSERT(service->route == errand->replaced);
    service->opening = NULL;
    if (errand->status == TN_OK) {
        if (errand->replaced) {
            gateway_route_replace(errand->replaced, errand->route);
            gateway_route_remove(errand->replaced);
        }
        take_route(service, errand->route, &errand->made);
    } else {
        snprintf(service->trouble, sizeof service->trouble, "%s", errand->err.msg);
    }
    errand_finish(errand);
    pthread_cond_broadcast(&s->changed);
}

/* A service that has no instance does not wait for one until what it is asked is what was wished for last. */
static void start_opening(services *s, service *service, uint64_t now)
{
    tn_error err = TN_ERROR_INIT;
    engine_settings made = {.count = 0};
    const wish *wish = served_wish(service);
    const errand_task task = {.service = service->wish.name,
                              .made = &made,
                              .told = wish->told,
                              .max_model_len = wish->plan.max_model_len,
                              .max_num_seqs = wish->plan.max_num_seqs,
                              .replaced = service->route};
    service->route_retry_ms = now + RETRY_MS;
    service->route_generation = wish->generation;
    tn_status status = make_route_settings(s, wish, &made, &err);
    if (status == TN_OK && service->route && same_route(&made, &service->route_made)) {
        engine_settings_finish(&made);
        pthread_cond_broadcast(&s->changed);
        return;
    }
    if (status == TN_OK)
        status = errand_start(s, &task, &service->opening, &err);
    if (status != TN_OK)
        snprintf(service->trouble, sizeof service->trouble, "%s", err.msg);
    engine_settings_finish(&made);
}

bool routes_is_old(const service *service)
{
    return service->count == 0 && (service->opening || service->route_generation != service->wish.generation);
}

void routes_open(services *s, service *service, uint64_t now)
{
    if (service->opening && errand_is_done(service->opening))
        take_opened(s, service);
    bool is_new = service->route_generation != served_wish(service)->generation; /* else it is tried again in a while */
    if (service->opening || service->wish.deleting || (service->route && !routes_is_old(service)))
        return;
    if (is_new || now >= service->route_retry_ms)
        start_opening(s, service, now);
}

void routes_open_all(services *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        routes_open(s, s->all[i], clock_ms());
    for (uint32_t i = 0; i < s->count; i++) {
        if (!s->all[i]->opening)
            continue;
        errand_wait(s->all[i]->opening);
        take_opened(s, s->all[i]);
    }
}

/* ---- attaching ---- */

/* What the generation of the instance says of itself is kept, for when the next daemon has the route before it has an
 * instance. Not written: the next instance tells it again. */
static void remember(services *s, service *service, const engine_instance *instance)
{
    bool fresh = instance_is_fresh(service, instance);
    wish *wish = fresh ? &service->wish : service->wish.before;
    char *told;
    if (!wish || wish->generation != instance->process.record.generation ||
        gateway_route_told(instance->route, &told, NULL) != TN_OK)
        return;
    if (wish->told && strcmp(wish->told, told) == 0) {
        free(told);
        return;
    }
    free(wish->told);
    wish->told = told;
    services_write(s, service, NULL);
}

/* The instance is not what the route takes it for: another file lies at the model's path, say. The next try makes a
 * route anew, once. */
static void forget_told(service *service, const engine_instance *instance)
{
    if (!instance_is_fresh(service, instance) || !service->wish.told)
        return;
    free(service->wish.told);
    service->wish.told = NULL;
    engine_settings_finish(&service->route_made);
}

/* The first instance of a generation that needs another route: that takes the place of the old one, which goes on
 * serving what it has, in one step. */
static bool replace_route(service *service, errand *errand)
{
    if (service->route != errand->replaced) {
        gateway_route_remove(errand->route); /* another instance was faster */
        return false;
    }
    remove_retired(service);
    gateway_route_replace(service->route, errand->route);
    service->retired = service->route;
    take_route(service, errand->route, &errand->made);
    return true;
}

/* What a finished errand has brought about. TN_E_AGAIN: nothing that is still of use. */
static tn_status take_attached(services *s, service *service, engine_instance *instance, tn_error *err)
{
    errand *errand = instance->attaching;
    tn_status status = errand->status;
    instance->attaching = NULL;
    if (status == TN_E_ARGUMENT && !errand->adds)
        forget_told(service, instance);
    if (status != TN_OK)
        tn_fail(err, status, "%s", errand->err.msg);
    else if (errand->adds ? !replace_route(service, errand)
                          : errand->route != service->route && errand->route != service->retired)
        status = TN_E_AGAIN; /* routes have come or gone meanwhile */
    if (status == TN_OK) {
        instance->route = errand->route;
        remember(s, service, instance);
    }
    if (status == TN_E_AGAIN)
        instance->attach_ms = 0;
    errand_finish(errand);
    return status;
}

/* Whether the route is being replaced for another instance. */
static bool is_replacing(const service *service)
{
    for (uint32_t i = 0; i < service->count; i++)
        if (service->instances[i].attaching && service->instances[i].attaching->adds)
            return true;
    return false;
}

static tn_status start_attaching(services *s, service *service, engine_instance *instance, tn_error *err)
{
    engine_settings made = {.count = 0};
    bool fresh = instance_is_fresh(service, instance);
    errand_task task = {.service = service->wish.name,
                        .route = service->route,
                        .instance = instance_id(instance),
                        .socket = instance->process.socket};
    tn_status status = fresh ? make_route_settings(s, &service->wish, &made, err) : TN_OK;
    if (status == TN_OK && fresh && !same_route(&made, &service->route_made)) {
        task.made = &made;
        task.replaced = service->route;
        task.route = NULL;
    }
    if (status == TN_OK)
        status = errand_start(s, &task, &instance->attaching, err);
    engine_settings_finish(&made);
    return status == TN_OK ? TN_E_AGAIN : status;
}

tn_status routes_attach(services *s, service *service, engine_instance *instance, uint64_t now, tn_error *err)
{
    if (instance->attaching)
        return errand_is_done(instance->attaching) ? take_attached(s, service, instance, err) : TN_E_AGAIN;
    if (now < instance->attach_ms || !service->route || service->opening || is_replacing(service))
        return TN_E_AGAIN;
    instance->attach_ms = now + RETRY_MS;
    return start_attaching(s, service, instance, err);
}

void routes_attach_again(services *s, service *service, engine_instance *instance, uint64_t now)
{
    if (instance->attaching && errand_is_done(instance->attaching))
        take_attached(s, service, instance, NULL);
    else if (!instance->attaching && now >= instance->attach_ms) {
        errand_task task = {.service = service->wish.name,
                            .route = instance->route ? instance->route : service->route,
                            .instance = instance_id(instance),
                            .socket = instance->process.socket};
        instance->attach_ms = now + RETRY_MS;
        if (task.route)
            errand_start(s, &task, &instance->attaching, NULL);
    }
}

void routes_detach(engine_instance *instance)
{
    errand_abandon(instance->attaching);
    instance->attaching = NULL;
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
    errand_abandon(service->opening);
    service->opening = NULL;
    remove_retired(service);
    if (service->route)
        gateway_route_remove(service->route);
    service->route = NULL;
}
