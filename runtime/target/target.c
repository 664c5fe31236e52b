/* target.c: the table of targets, and what they share: see target.h. */
#include "target/target.h"

#include "service/wish_model.h"
#include "target/kubernetes/kubernetes.h"
#include "target/slurm.h"

#include <string.h>

static const target *const targets[] = {&target_slurm, &target_kubernetes};
enum { TARGETS = sizeof targets / sizeof *targets };

tn_status target_find(const char *name, const target **ret_target, tn_error *err)
{
    char known[160] = "";
    size_t used = 0;

    for (int i = 0; i < TARGETS; i++) {
        if (strcmp(targets[i]->name, name) == 0) {
            *ret_target = targets[i];
            return TN_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", targets[i]->name);
        TN_ASSERT(used < sizeof known);
    }
    return tn_fail(err, TN_E_NOT_FOUND, "target: there is no \"%.40s\"; known are %s", name, known);
}

uint32_t target_cpus(uint32_t gpus)
{
    return gpus ? 4 + 2 * gpus : 8;
}

uint64_t target_beside_bytes(uint32_t gpus)
{
    const uint64_t mib = 1 << 20;
    return gpus ? (4096 + 1024 * (uint64_t)gpus) * mib : 512 * mib;
}

tn_status target_keep_model(const settings *settings, const target *target, const char *name, const char *digest,
                            bool keep, tn_error *err)
{
    wish wish = {.model = NULL};
    char holder[160];

    if (!digest || !digest_parse(digest, &wish.digest))
        return TN_OK;
    snprintf(holder, sizeof holder, "service %.80s on %.40s", name, target->name);
    return wish_lease(settings, &wish, holder, keep, err);
}

/* ---- what is told of a service ---- */

static json_t *settings_json(const char *const *sets)
{
    json_t *array = json_array();

    for (; sets && *sets; sets++)
        json_array_append_new(array, json_string(*sets));
    return array;
}

json_t *target_service_json(const target *target, const target_service *service)
{
    json_t *json =
        json_pack("{s:s, s:n, s:s, s:n, s:i, s:n, s:s, s:s?, s:s, s:s, s:I, s:I, s:I, s:i, s:o}", "name", service->name,
                  "state", "message", "", "progress", "restart_count", 0, "exit_code", "model", service->model,
                  "digest", service->digest, "path", service->path, "pool", service->pool, "gpus",
                  (json_int_t)service->gpus * service->nodes, "min", (json_int_t)service->min, "max",
                  (json_int_t)service->max, "autosuspend", 0, "settings", settings_json(service->sets));
    TN_ASSERT(json); /* all is UTF-8: it came by settings, or was checked by wish_take */
    const uint64_t needed = service->gpus ? service->device_bytes * service->gpus : service->host_bytes;
    json_object_set_new(json, "generation", json_integer(1));
    json_object_set_new(json, "needed_bytes", json_integer((json_int_t)(needed * service->nodes)));
    json_object_set_new(json, "had_bytes", json_null());
    json_object_set_new(json, "instances", json_array());
    json_object_set_new(json, "last_log", json_array());
    json_object_set_new(json, "target", json_string(target->name));
    return json;
}
