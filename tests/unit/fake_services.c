/* fake_services.c: what services.h promises, as far as admin routes can tell. */
#include "fake_services.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static const char *const names[] = {
#define SERVICE_STATE_NAME(name) #name,
    SERVICE_STATES(SERVICE_STATE_NAME)
#undef SERVICE_STATE_NAME
};

const char *service_state_name(service_state state)
{
    return names[state];
}

bool service_state_parse(const char *text, service_state *ret_state)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i], text) == 0) {
            *ret_state = (service_state)i;
            return true;
        }
    }
    return false;
}

fake_service *fake_service_find(services *s, const char *name)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->at[i].name, name) == 0)
            return &s->at[i];
    return NULL;
}

static fake_service *find(services *s, const char *name, tn_error *err)
{
    fake_service *found = fake_service_find(s, name);
    if (!found)
        tn_fail(err, TN_E_NOT_FOUND, "there is no service %s", name);
    return found;
}

static json_t *show(const fake_service *service)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i}", "name", service->name, "state",
                     service_state_name(service->state), "model", service->model, "pool", service->pool, "gpus",
                     (int)service->gpus, "min", (int)service->min, "max", (int)service->max, "autosuspend",
                     (int)service->autosuspend);
}

/* SERVICE_UNCHANGED and NULL leave what is. */
static void take(fake_service *service, const service_spec *spec)
{
    const struct {
        uint32_t *to, from;
    } counts[] = {{&service->gpus, spec->gpus},
                  {&service->min, spec->min_instances},
                  {&service->max, spec->max_instances},
                  {&service->autosuspend, spec->autosuspend_s}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].from != SERVICE_UNCHANGED)
            *counts[i].to = counts[i].from;
    if (spec->model)
        snprintf(service->model, sizeof service->model, "%s", spec->model);
    if (spec->pool)
        snprintf(service->pool, sizeof service->pool, "%s", spec->pool);
    if (spec->sets)
        service->settings[0] = '\0';
    for (const char *const *set = spec->sets; set && *set; set++) {
        size_t used = strlen(service->settings);
        snprintf(service->settings + used, sizeof service->settings - used, "%s ", *set);
    }
}

static tn_status plan_of(services *s, json_t **ret_plan, tn_error *err)
{
    bool misfit = s->misfit;
    s->misfit = false;
    *ret_plan = json_pack("{s:b, s:i, s:i}", "fits", !misfit, "needed_bytes", 200, "had_bytes", 100);
    return misfit ? tn_fail(err, TN_E_MEMORY, "200 bytes are needed and 100 are free") : TN_OK;
}

tn_status services_create(services *s, const service_spec *spec, bool replace, bool dry_run, json_t **ret_plan,
                          tn_error *err)
{
    s->creates++;
    *ret_plan = NULL;
    fake_service *service = fake_service_find(s, spec->name);
    if (strcmp(spec->pool, "nowhere") == 0)
        return tn_fail(err, TN_E_NOT_FOUND, "there is no pool \"%s\"", spec->pool);
    if (spec->min_instances > spec->max_instances)
        return tn_fail(err, TN_E_ARGUMENT, "min_instances: %u is more than max_instances, %u", spec->min_instances,
                       spec->max_instances);
    if (service && !replace) {
        err->native_code = EEXIST;
        return tn_fail(err, TN_E_ARGUMENT, "name: there is a service %s already", spec->name);
    }
    tn_status status = plan_of(s, ret_plan, err);
    if (status != TN_OK || dry_run)
        return status;
    if (!service)
        service = &s->at[s->count++];
    snprintf(service->name, sizeof service->name, "%s", spec->name);
    take(service, spec);
    service->state = SERVICE_LOADING;
    return TN_OK;
}

tn_status services_update(services *s, const char *name, const service_spec *changes, json_t **ret_plan, tn_error *err)
{
    *ret_plan = NULL;
    fake_service *service = find(s, name, err);
    tn_status status = service ? plan_of(s, ret_plan, err) : TN_E_NOT_FOUND;
    if (status == TN_OK)
        take(service, changes);
    return status;
}

tn_status services_scale(services *s, const char *name, uint32_t min, uint32_t max, tn_error *err)
{
    fake_service *service = find(s, name, err);
    const service_spec spec = {
        .gpus = SERVICE_UNCHANGED, .min_instances = min, .max_instances = max, .autosuspend_s = SERVICE_UNCHANGED};
    if (service)
        take(service, &spec);
    return service ? TN_OK : TN_E_NOT_FOUND;
}

tn_status services_do(services *s, const char *name, service_verb verb, uint32_t drain_s, tn_error *err)
{
    static const service_state then[] = {SERVICE_SUSPENDING, SERVICE_RESUMING, SERVICE_DELETING};
    fake_service *service = find(s, name, err);
    if (!service)
        return TN_E_NOT_FOUND;
    service->state = then[verb];
    service->drain_s = drain_s;
    return TN_OK;
}

static void wait_ms(uint32_t ms)
{
    const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

tn_status services_wait(services *s, const char *name, service_state state, uint32_t timeout_ms, json_t **ret_service,
                        tn_error *err)
{
    fake_service *service = find(s, name, err);
    s->waits++;
    *ret_service = NULL;
    if (!service)
        return TN_E_NOT_FOUND;
    if (s->never)
        wait_ms(timeout_ms);
    else
        service->state = s->reached ? s->reached : state;
    if (service->state == SERVICE_DELETING && !s->never) {
        service->name[0] = '\0';
        return TN_OK;
    }
    *ret_service = show(service);
    return service->state == state || service->state == SERVICE_FAILED ? TN_OK : TN_E_AGAIN;
}

tn_status services_show(services *s, const char *name, json_t **ret_service, tn_error *err)
{
    fake_service *service = find(s, name, err);
    if (!service)
        return TN_E_NOT_FOUND;
    *ret_service = show(service);
    return TN_OK;
}

json_t *services_list(services *s)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < s->count; i++)
        json_array_append_new(array, show(&s->at[i]));
    return array;
}

json_t *services_pools(services *s)
{
    (void)s;
    return json_pack("[{s:s}]", "name", "a");
}

tn_status services_logs(services *s, const char *name, const char *instance, uint64_t since_ms, bool follow,
                        const log_sink *sink, tn_error *err)
{
    char line[64];
    bool more = true;

    if (!find(s, name, err))
        return TN_E_NOT_FOUND;
    for (uint32_t i = 0; i < s->log_lines && more; i++) {
        int bytes = snprintf(line, sizeof line, "line %u", i);
        more = sink->line(sink->ctx, instance ? instance : "i0", since_ms + i, line, (size_t)bytes);
    }
    while (follow && more) {
        s->ticks++;
        more = sink->line(sink->ctx, NULL, 0, NULL, 0);
    }
    return TN_OK;
}
