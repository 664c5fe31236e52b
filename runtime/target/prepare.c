/* prepare.c: see prepare.h. The daemon's own parts do the work: wishes, the planner, engines' settings. */
#include "target/prepare.h"

#include "service/planner.h"
#include "service/wish_model.h"

#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* ---- what is asked for ---- */

static tn_status take_spec(const settings *settings, const service_spec *spec, wish *wish, pool *ret_pool,
                           tn_error *err)
{
    uint32_t ordinals[PLANNER_DEVICES_MAX], count;
    service_spec asked = *spec;

    if (asked.min_instances == 0 && asked.max_instances > 0)
        asked.min_instances = 1;
    tn_status status = wish_take(wish, &asked, err);
    if (status == TN_OK)
        status = planner_pool(settings, wish->pool, ret_pool, ordinals, &count, err);
    return status == TN_OK ? wish_find_model(settings, wish, err) : status;
}

/* ---- what an instance is told ---- */

/* Keys of the core are checked here already; plugins of the nodes check theirs when they start. */
static tn_status check_settings(const engine_settings *list, uint32_t *ret_drain_s, tn_error *err)
{
    settings *checked = NULL;
    tn_error reason = TN_ERROR_INIT;
    tn_status status = settings_read(NULL, (const char *const *)list->at, &checked, &reason);
    const char *text = strncmp(reason.msg, "--set: ", 7) == 0 ? reason.msg + 7 : reason.msg;

    if (status != TN_OK)
        return tn_fail(err, status, "settings: %.480s", text);
    *ret_drain_s = (uint32_t)ceil(settings_number(checked, "engine", "drain_timeout"));
    settings_destroy(checked);
    return TN_OK;
}

/* A key is not to lie about in folders that others read; files are named as they lie here. */
static tn_status check_secrets(const settings *settings, engine_settings *list, tn_error *err)
{
    static const char *const files[] = {"api_key_file", "tls_cert", "tls_key"};
    tn_status status = TN_OK;
    char key[64];

    if (engine_settings_value(list, "http_frontend.api_key"))
        return tn_fail(err, TN_E_ARGUMENT,
                       "[http_frontend] api_key would stand in a file of the cluster: use [auth] token_file or "
                       "[http_frontend] api_key_file, a path that its nodes see");
    for (size_t i = 0; status == TN_OK && i < sizeof files / sizeof *files; i++) {
        snprintf(key, sizeof key, "http_frontend.%s", files[i]);
        if (engine_settings_value(list, key))
            status = engine_settings_put(list, key, settings_plugin_path(settings, "http_frontend", files[i]), err);
    }
    return status;
}

static uint32_t cpus_of(const engine_settings *list, uint32_t gpus)
{
    const char *threads = engine_settings_value(list, "cpu.threads");
    unsigned long count = threads && !gpus ? strtoul(threads, NULL, 10) : 0;

    return count > 0 && count < 4096 ? (uint32_t)count : target_cpus(gpus);
}

static tn_status ask_planner(const settings *settings, target_prepared *p, tn_error *err)
{
    char program[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);

    if (bytes <= 0)
        return tn_fail(err, TN_E_IO, "the path of this program cannot be found out");
    program[bytes] = '\0';
    return planner_ask(settings, program, P_tmpdir, &p->wish, &p->wish.plan, &p->plan, err);
}

static void fill_service(const settings *settings, target_prepared *p, uint32_t drain_s)
{
    const engine_plan *plan = &p->wish.plan;
    const uint32_t nodes = plan->nodes > 1 ? plan->nodes : 1, gpus = plan->on_host ? 0 : plan->world / nodes;

    p->service = (target_service){
        .name = p->wish.name,
        .model = p->wish.model,
        .path = p->wish.path,
        .digest = p->wish.digest.hex[0] ? p->wish.digest.hex : NULL,
        .pool = p->wish.pool,
        .min = p->wish.min,
        .max = p->wish.max,
        .sets = (const char *const *)p->wish.sets,
        .drain_s = drain_s,
        .settings = &p->settings,
        .token_file = settings_string(settings, "auth", "token_file"),
        .nodes = nodes,
        .gpus = gpus,
        .device_bytes = plan->device_bytes,
        .host_bytes = plan->host_bytes,
        .cpus = cpus_of(&p->settings, gpus),
    };
}

static tn_status write_out(const settings *settings, const pool *pool, engine_purpose purpose, target_prepared *p,
                           uint32_t *ret_drain_s, tn_error *err)
{
    engine_settings_finish(&p->settings);
    tn_status status = engine_settings_make(settings, &p->wish, pool, purpose, NULL, &p->settings, err);
    if (status == TN_OK)
        status = check_secrets(settings, &p->settings, err);
    return status == TN_OK ? check_settings(&p->settings, ret_drain_s, err) : status;
}

tn_status target_prepare(const settings *settings, const service_spec *spec, target_prepared *ret_prepared,
                         tn_error *err)
{
    target_prepared *p = ret_prepared;
    uint32_t drain_s = 0;
    pool pool;

    *p = (target_prepared){.plan = NULL};
    tn_status status = take_spec(settings, spec, &p->wish, &pool, err);
    /* What is wrong with the settings is said in their own words, before minutes may go by. */
    if (status == TN_OK)
        status = write_out(settings, &pool, ENGINE_PLAN, p, &drain_s, err);
    if (status == TN_OK)
        status = ask_planner(settings, p, err);
    if (status == TN_OK && p->wish.plan.world % (p->wish.plan.nodes > 1 ? p->wish.plan.nodes : 1))
        status = tn_fail(err, TN_E_UNSUPPORTED, "%s: %u devices on %u nodes are not equal processes; set gpus",
                         p->wish.name, p->wish.plan.world, p->wish.plan.nodes);
    if (status == TN_OK)
        status = write_out(settings, &pool, ENGINE_TARGET, p, &drain_s, err);
    if (status == TN_OK)
        fill_service(settings, p, drain_s);
    return status;
}

void target_prepared_finish(target_prepared *prepared)
{
    engine_settings_finish(&prepared->settings);
    json_decref(prepared->plan);
    wish_finish(&prepared->wish);
    prepared->plan = NULL;
}
