/* planner.c: see planner.h. */
#include "service/planner.h"

#include "service/child.h"
#include "service/engine_settings.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLAN_TIMEOUT_MS = 120 * 1000 };

/* ---- the pool ---- */

static tn_status read_ordinals(const settings *settings, const char *section, uint32_t *ordinals, uint32_t *ret_count,
                               tn_error *err)
{
    const char *at = settings_string(settings, section, "gpus");
    uint32_t count = 0;
    while (at && *at) {
        char *end;
        unsigned long ordinal = strtoul(at, &end, 10);
        bool again = false;
        for (uint32_t i = 0; i < count; i++)
            again = again || ordinals[i] == ordinal;
        if (end == at || ordinal > 1023 || again || count == PLANNER_DEVICES_MAX)
            return settings_fail(settings, section, "gpus", TN_E_ARGUMENT,
                                 "it is a list of ordinals, each once, such as 0,1", err);
        ordinals[count++] = (uint32_t)ordinal;
        at = end + strspn(end, ", \t");
    }
    *ret_count = count;
    return TN_OK;
}

tn_status planner_pool(const settings *settings, const char *name, pool *ret_pool, uint32_t *ordinals,
                       uint32_t *ret_devices, tn_error *err)
{
    char section[POOL_NAME_BYTES + 8];
    uint32_t listed = 0;
    tn_status status = pool_find(settings, name, ret_pool, err);
    if (status != TN_OK)
        return status;
    snprintf(section, sizeof section, "pool %s", name);
    status = read_ordinals(settings, section, ordinals, &listed, err);
    if (status != TN_OK)
        return status;
    uint32_t count = listed ? listed : ret_pool->count;
    if (count > PLANNER_DEVICES_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "pool: %s has more than %d devices", name, PLANNER_DEVICES_MAX);
    for (uint32_t i = listed; i < PLANNER_DEVICES_MAX; i++)
        ordinals[i] = i;
    *ret_devices = count;
    return TN_OK;
}

/* "0,1" for the environment; empty where the pool does not list them, or describes what may not be here. */
static void list_ordinals(const settings *settings, const pool *pool, const uint32_t *ordinals, uint32_t count,
                          char text[512])
{
    char section[POOL_NAME_BYTES + 8];
    size_t used = 0;
    snprintf(section, sizeof section, "pool %s", pool->name);
    text[0] = '\0';
    for (uint32_t i = 0; i < count && !pool->described && settings_string(settings, section, "gpus"); i++)
        used += (size_t)snprintf(text + used, 512 - used, "%s%u", i ? "," : "", ordinals[i]);
}

/* ---- the question ---- */

static tn_status write_settings(const settings *settings, const wish *wish, const pool *pool, const char *path,
                                tn_error *err)
{
    engine_settings list = {0};
    tn_status status = engine_settings_make(settings, wish, pool, ENGINE_PLAN, NULL, &list, err);
    if (status == TN_OK)
        status = engine_settings_write(&list, path, err);
    engine_settings_finish(&list);
    return status;
}

static tn_status run_plan(const char *program, const char *path, const wish *wish, const char *devices, char **ret_out,
                          char **ret_error, int *ret_code, tn_error *err)
{
    char gpus[16];
    child_environment environment;
    char *argv[12] = {"tenon", "plan", "--json", "--config", (char *)path, "--pool", (char *)wish->pool};
    int count = 7;
    if (wish->gpus) {
        snprintf(gpus, sizeof gpus, "%u", wish->gpus);
        argv[count++] = "--tp";
        argv[count++] = gpus;
    }
    argv[count++] = "--";
    argv[count++] = wish->path;
    tn_status status = child_environment_make(devices, &environment, err);
    if (status != TN_OK)
        return status;
    status = child_run(program, argv, &environment, PLAN_TIMEOUT_MS, ret_out, ret_error, ret_code, err);
    child_environment_finish(&environment);
    return status;
}

/* ---- the answer ---- */

static uint64_t number_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static tn_status read_answer(json_t *json, const wish *wish, engine_plan *ret_plan, tn_error *err)
{
    const char *reason = json_string_value(json_object_get(json, "reason"));
    *ret_plan = (engine_plan){
        .device_bytes = number_of(json, "needed"),
        .kv_bytes = number_of(json_object_get(json, "bytes"), "kv"),
        .total_bytes = number_of(json, "device_total"),
        .host_bytes = number_of(json, "host"),
        .world = (uint32_t)number_of(json, "tensor_parallel_size"),
        .nodes = (uint32_t)number_of(json, "nodes"),
        .on_host = json_is_true(json_object_get(json, "on_host")),
        .pool_devices = (uint32_t)number_of(json_object_get(json, "pool"), "count"),
        .max_model_len = (uint32_t)number_of(json, "max_model_len"),
        .max_num_seqs = (uint32_t)number_of(json, "max_num_seqs"),
        .max_num_batched_tokens = (uint32_t)number_of(json, "max_num_batched_tokens"),
    };
    if (!json_is_true(json_object_get(json, "fits")))
        return tn_fail(err, TN_E_MEMORY, "%s does not fit pool %s: %.400s", wish->name, wish->pool,
                       reason ? reason : "no plan was found");
    if (ret_plan->world == 0 || ret_plan->kv_bytes == 0 || ret_plan->pool_devices == 0)
        return tn_fail(err, TN_E_INTERNAL, "`tenon plan` answered without the numbers of a plan");
    return TN_OK;
}

/* The program's own sentence, without its name. */
static const char *last_sentence(char *text)
{
    size_t bytes = strlen(text);
    while (bytes && (text[bytes - 1] == '\n' || text[bytes - 1] == ' '))
        text[--bytes] = '\0';
    char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    return strncmp(line, "tenon: ", 7) == 0 ? line + 7 : line;
}

tn_status planner_ask(const settings *settings, const char *program, const char *folder, const wish *wish,
                      engine_plan *ret_plan, json_t **ret_json, tn_error *err)
{
    char path[PATH_MAX], devices[512], *out = NULL, *words = NULL;
    uint32_t ordinals[PLANNER_DEVICES_MAX], count;
    pool pool;
    int code = 0;

    *ret_json = NULL;
    tn_status status = planner_pool(settings, wish->pool, &pool, ordinals, &count, err);
    if (status != TN_OK)
        return status;
    snprintf(path, sizeof path, "%s/plan-XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return tn_fail(err, TN_E_IO, "%.400s: no file can be made there", folder);
    close(fd);
    list_ordinals(settings, &pool, ordinals, count, devices);
    status = write_settings(settings, wish, &pool, path, err);
    if (status == TN_OK)
        status = run_plan(program, path, wish, devices, &out, &words, &code, err);
    unlink(path);
    if (status == TN_OK) {
        *ret_json = json_loads(out, 0, NULL);
        status = *ret_json && json_object_get(*ret_json, "fits") ? read_answer(*ret_json, wish, ret_plan, err)
                 : code < 0 ? tn_fail(err, TN_E_INTERNAL, "`tenon plan` was ended by signal %d", -code)
                            : tn_fail(err, TN_E_ARGUMENT, "%.480s", last_sentence(words));
    }
    free(out);
    free(words);
    return status;
}
