/* describe.c: services and pools as JSON, and a service's state in a sentence. */
#include "service/engine_log.h"
#include "service/state.h"

#include <string.h>

enum { LAST_LINES = 20 };

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
    if (!text || !*text)
        return json_null();
    json_t *string = json_string(text);
    return string ? string : json_string("(not valid UTF-8)");
}

/* ---- the sentence ---- */

static const engine_instance *loading_one(const service *service)
{
    for (uint32_t i = 0; i < service->count; i++)
        if (service->instances[i].phase == INSTANCE_LOADING && !service->instances[i].exited)
            return &service->instances[i];
    return NULL;
}

static void describe_loading(const service *service, uint64_t now_ms, char text[SERVICE_MESSAGE_BYTES])
{
    const engine_instance *instance = loading_one(service);
    const machine *machine = &service->machine;
    const char *name = service->wish.name;
    if (service->trouble[0])
        snprintf(text, SERVICE_MESSAGE_BYTES, "%.550s", service->trouble);
    else if (instance && strcmp(instance->status.stage, "loading") == 0)
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s is loading: %.0f %%", name, 100 * instance->status.progress);
    else if (instance)
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s is %s", name,
                 instance->status.stage[0] ? instance->status.stage : "starting");
    else if (machine->failures && machine->retry_ms > now_ms)
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s starts again in %llu s, after %u of %d failures: %s", name,
                 (unsigned long long)(machine->retry_ms - now_ms + 999) / 1000, machine->failures, MACHINE_FAILURES_MAX,
                 service->ended);
    else
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s is about to start", name);
}

static uint32_t count_ready(const service *service)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < service->count; i++)
        count += service->instances[i].phase == INSTANCE_READY && !service->instances[i].exited;
    return count;
}

void describe_message(const services *s, const service *service, uint64_t now_ms, char text[SERVICE_MESSAGE_BYTES])
{
    const wish *wish = &service->wish;
    (void)s;
    switch (service->state) {
    case SERVICE_FAILED:
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s has failed: %s", wish->name, wish->failure.message);
        break;
    case SERVICE_SUSPENDED:
        if (service->trouble[0])
            snprintf(text, SERVICE_MESSAGE_BYTES, "%s is suspended: %.500s", wish->name, service->trouble);
        else
            snprintf(text, SERVICE_MESSAGE_BYTES, "%s is suspended; the first request resumes it", wish->name);
        break;
    case SERVICE_SUSPENDING:
    case SERVICE_DELETING:
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s is being %s: %u of its engines are left", wish->name,
                 service->state == SERVICE_DELETING ? "deleted" : "suspended", service->count);
        break;
    case SERVICE_READY:
        snprintf(text, SERVICE_MESSAGE_BYTES, "%s is ready", wish->name);
        break;
    case SERVICE_DEGRADED:
        if (wish->failure.update_failed)
            snprintf(text, SERVICE_MESSAGE_BYTES,
                     "the update of %s has failed, what was before it still serves: %.480s", wish->name,
                     wish->failure.message);
        else
            snprintf(text, SERVICE_MESSAGE_BYTES, "%u of %u engines of %s are ready%s%.480s", count_ready(service),
                     wish->min ? wish->min : 1, wish->name, service->ended[0] ? "; the last one ended: " : "",
                     service->ended);
        break;
    case SERVICE_PENDING:
    case SERVICE_PLANNING:
    case SERVICE_LOADING:
    case SERVICE_RESUMING:
        describe_loading(service, now_ms, text);
        break;
    }
}

/* ---- a service ---- */

static const char *phase_name(const engine_instance *instance)
{
    switch (instance->phase) {
    case INSTANCE_LOADING:
        return "LOADING";
    case INSTANCE_READY:
        return "READY";
    case INSTANCE_DRAINING:
        return "DRAINING";
    case INSTANCE_STOPPING:
        return "STOPPING";
    }
    return "";
}

static json_t *instance_json(const engine_instance *instance)
{
    const engine_record *record = &instance->process.record;
    json_t *object = json_object(), *devices = json_array();
    char log[PATH_MAX];
    snprintf(log, sizeof log, "%s/log", instance->process.folder);
    for (uint32_t i = 0; i < record->claim.device_count; i++)
        json_array_append_new(devices, json_integer(record->claim.ordinals[i]));
    json_object_set_new(object, "id", json_string(record->claim.instance));
    json_object_set_new(object, "state", json_string(phase_name(instance)));
    json_object_set_new(object, "generation", number(record->generation));
    json_object_set_new(object, "pid", instance->status.pid ? json_integer(instance->status.pid) : json_null());
    json_object_set_new(object, "keeper_pid", json_integer(instance->process.keeper));
    json_object_set_new(object, "started", number(record->started_ms));
    json_object_set_new(object, "restart_count", number(record->restart_count));
    json_object_set_new(object, "socket", json_string(instance->process.socket));
    json_object_set_new(object, "log", json_string(log));
    json_object_set_new(object, "memory_bytes", number(engine_process_memory(instance->status.pid)));
    json_object_set_new(object, "reserved_bytes", number(record->claim.bytes));
    json_object_set_new(object, "devices", devices);
    json_object_set_new(object, "progress",
                        strcmp(instance->status.stage, "loading") == 0 ? json_real(instance->status.progress)
                                                                       : json_null());
    json_object_set_new(object, "message", text_or_null(instance->status.message));
    return object;
}

static bool add_line(void *ctx, uint64_t time_ms, const char *text, size_t bytes)
{
    (void)time_ms;
    json_t *line = json_stringn(text, bytes);
    json_array_append_new(ctx, line ? line : json_string("(not valid UTF-8)"));
    return true;
}

/* Of the instance that came last, or of the last one that ended. */
static json_t *last_log(const services *s, const service *service)
{
    json_t *lines = json_array();
    char path[PATH_MAX];
    if (service->count)
        snprintf(path, sizeof path, "%s/log", service->instances[service->count - 1].process.folder);
    else
        snprintf(path, sizeof path, "%s/%s", s->logs_folder, service->wish.name);
    engine_log_tail(path, LAST_LINES, add_line, lines);
    return lines;
}

static void add_wish(json_t *object, const wish *wish)
{
    json_t *sets = json_array();
    for (char **set = wish->sets; *set; set++)
        json_array_append_new(sets, json_string(*set));
    json_object_set_new(object, "model", json_string(wish->model));
    json_object_set_new(object, "digest", text_or_null(wish->digest.hex));
    json_object_set_new(object, "path", json_string(wish->path));
    json_object_set_new(object, "pool", json_string(wish->pool));
    json_object_set_new(object, "gpus", number(wish->gpus ? wish->gpus : wish->plan.world));
    json_object_set_new(object, "min", number(wish->min));
    json_object_set_new(object, "max", number(wish->max));
    json_object_set_new(object, "autosuspend", number(wish->autosuspend_s));
    json_object_set_new(object, "settings", sets);
    json_object_set_new(object, "generation", number(wish->generation));
    json_object_set_new(object, "created", number(wish->created_ms));
}

static void add_state(json_t *object, const service *service)
{
    const wish_failure *failure = &service->wish.failure;
    const engine_instance *loading = loading_one(service);
    bool has_code = failure->failed ? failure->has_exit_code : service->has_exit_code;
    uint64_t had = service->had_bytes ? service->had_bytes : failure->had_bytes;
    json_object_set_new(object, "state", json_string(service_state_name(service->state)));
    json_object_set_new(object, "message", text_or_null(service->message));
    json_object_set_new(object, "progress", loading ? json_real(loading->status.progress) : json_null());
    json_object_set_new(object, "restart_count", number(service->restart_count));
    json_object_set_new(object, "exit_code",
                        has_code ? json_integer(failure->failed ? failure->exit_code : service->exit_code)
                                 : json_null());
    json_object_set_new(object, "needed_bytes", number(service->wish.plan.device_bytes * service->wish.plan.world));
    json_object_set_new(object, "had_bytes", had ? number(had * service->wish.plan.world) : json_null());
    json_object_set_new(object, "running", number(service->activity.running));
    json_object_set_new(object, "waiting", number(service->activity.waiting));
    json_object_set_new(object, "idle_ms", number(service->activity.idle_ms));
    json_object_set_new(object, "requests", number(service->activity.requests));
    json_object_set_new(object, "tokens", number(service->activity.tokens));
}

json_t *describe_service(const services *s, const service *service)
{
    json_t *object = json_object(), *instances = json_array();
    json_object_set_new(object, "name", json_string(service->wish.name));
    add_state(object, service);
    add_wish(object, &service->wish);
    for (uint32_t i = 0; i < service->count; i++)
        json_array_append_new(instances, instance_json(&service->instances[i]));
    json_object_set_new(object, "instances", instances);
    json_object_set_new(object, "last_log", last_log(s, service));
    return object;
}

/* ---- pools ---- */

/* What a plan said of the pool's devices; NULL: there was none yet. */
static const wish *planned_on(const services *s, const char *pool)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->all[i]->wish.pool, pool) == 0)
            return &s->all[i]->wish;
    return NULL;
}

static json_t *devices_json(const services *s, const ledger_pool *devices)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < devices->device_count; i++) {
        json_t *device = json_object();
        uint64_t total = devices->device_bytes;
        uint64_t reserved = ledger_reserved(&s->ledger, devices->domain, devices->ordinals[i]);
        json_object_set_new(device, "ordinal", json_integer(devices->ordinals[i]));
        json_object_set_new(device, "total_bytes", total ? number(total) : json_null());
        json_object_set_new(device, "reserved_bytes", number(reserved));
        json_object_set_new(device, "free_bytes",
                            total ? number(total > reserved ? total - reserved : 0) : json_null());
        json_array_append_new(array, device);
    }
    return array;
}

static json_t *claims_json(const services *s, const ledger_pool *devices)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < s->ledger.count; i++) {
        const ledger_claim *claim = &s->ledger.claims[i];
        if (strcmp(claim->domain, devices->domain) == 0)
            json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "service", claim->service, "instance",
                                                   claim->instance, "bytes", (json_int_t)claim->bytes));
    }
    return array;
}

static json_t *pool_json(services *s, const pool *pool)
{
    char section[POOL_NAME_BYTES + 8];
    ledger_pool devices = {.device_count = 0};
    struct pool ignored;
    const wish *known = planned_on(s, pool->name);
    wish asked = {0};
    uint64_t services_there = 0;

    snprintf(asked.pool, sizeof asked.pool, "%s", pool->name);
    asked.plan.total_bytes = known ? known->plan.total_bytes : pool->described ? pool->device.mem_total : 0;
    asked.plan.pool_devices = known ? known->plan.pool_devices : pool->count;
    if (admission_pool(s, &asked, &ignored, &devices, NULL) != TN_OK)
        return NULL;
    for (uint32_t i = 0; i < s->count; i++)
        services_there += strcmp(s->all[i]->wish.pool, pool->name) == 0;
    snprintf(section, sizeof section, "pool %s", pool->name);
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(pool->name));
    json_object_set_new(object, "backend",
                        json_string(pool->backend ? pool->backend : settings_string(s->settings, "backend", "plugin")));
    json_object_set_new(object, "max_services", json_integer(settings_integer(s->settings, section, "max_services")));
    json_object_set_new(object, "services", number(services_there));
    json_object_set_new(object, "devices", devices_json(s, &devices));
    json_object_set_new(object, "reserved", claims_json(s, &devices));
    return object;
}

/* Those of the settings; the predefined ones are only to be planned for. */
json_t *services_pools(services *s)
{
    json_t *array = json_array();
    const char *section;
    pthread_mutex_lock(&s->mutex);
    for (uint32_t i = 0; (section = settings_named_section(s->settings, "pool", i)); i++) {
        pool pool;
        json_t *object = pool_find(s->settings, section + 5, &pool, NULL) == TN_OK ? pool_json(s, &pool) : NULL;
        if (object)
            json_array_append_new(array, object);
    }
    pthread_mutex_unlock(&s->mutex);
    return array;
}
