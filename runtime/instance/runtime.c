/* runtime.c: libtenon's public doors (tenon/embed.h): settings and one instance behind an opaque handle. */
#include "base/one_model.h"
#include "instance/doors.h"
#include "tenon/embed.h"
#include "version.h"

#include <stdlib.h>
#include <string.h>

struct tn_runtime {
    settings *settings;
    instance instance;
    one_model model; /* what the front ends find by name */
    doors doors;
};

static tn_status open_all(tn_runtime *runtime, tn_error *err)
{
    tn_engine *engine = runtime->instance.engine;

    runtime->model = (one_model){engine, &engine_table};
    const tn_frontend_args args = {.struct_size = sizeof args,
                                   .engine = engine,
                                   .engine_api = &engine_table,
                                   .chat = &instance_chat_table,
                                   .stats = &engine_stats_table,
                                   .models = one_model_models(&runtime->model),
                                   .models_api = &one_model_table};
    return doors_open(&runtime->instance.frontends, &args, &runtime->doors, err);
}

static tn_status open_runtime(const char *ini_path, const char *const *overrides, bool serves, tn_runtime **ret_runtime,
                              tn_error *err)
{
    if (!ret_runtime)
        return tn_fail(err, TN_E_ARGUMENT, "ret_runtime is NULL");
    tn_runtime *runtime = calloc(1, sizeof *runtime);
    if (!runtime)
        return tn_fail(err, TN_E_MEMORY, "runtime");

    tn_status status = settings_read(ini_path, overrides, &runtime->settings, err);
    instance_init(&runtime->instance, runtime->settings);
    if (status == TN_OK)
        status = instance_load_plugins(&runtime->instance, serves, err);
    if (status == TN_OK)
        status = instance_open_tokenizer(&runtime->instance, err);
    if (status == TN_OK)
        status = instance_open_model(&runtime->instance, err);
    if (status == TN_OK)
        status = instance_make_plan(&runtime->instance, err);
    if (status == TN_OK)
        status = instance_load(&runtime->instance, NULL, err);
    if (status == TN_OK)
        status = instance_warm_up(&runtime->instance, NULL, err);
    if (status == TN_OK)
        status = instance_start(&runtime->instance, err);
    if (status == TN_OK && serves)
        status = open_all(runtime, err);
    if (status != TN_OK) {
        tn_runtime_close(runtime);
        return status;
    }
    *ret_runtime = runtime;
    return TN_OK;
}

tn_status tn_runtime_open(const char *ini_path, const char *const *overrides, tn_runtime **ret_runtime, tn_error *err)
{
    return open_runtime(ini_path, overrides, false, ret_runtime, err);
}

tn_status tn_runtime_serve(const char *ini_path, const char *const *overrides, tn_runtime **ret_runtime, tn_error *err)
{
    return open_runtime(ini_path, overrides, true, ret_runtime, err);
}

void tn_runtime_close(tn_runtime *runtime)
{
    if (!runtime)
        return;
    if (runtime->doors.count > 0) {
        doors_drain(&runtime->doors, 0, NULL);
        engine_drain(runtime->instance.engine, 0);
    }
    doors_stop(&runtime->doors);
    instance_close(&runtime->instance);
    settings_destroy(runtime->settings);
    free(runtime);
}

tn_engine *tn_runtime_engine(tn_runtime *runtime)
{
    return runtime ? runtime->instance.engine : NULL;
}

const void *tn_runtime_interface(tn_runtime *runtime, const char *id)
{
    (void)runtime;
    if (!id)
        return NULL;
    if (strcmp(id, TN_ENGINE_ID) == 0)
        return &engine_table;
    if (strcmp(id, TN_CHAT_ID) == 0)
        return &instance_chat_table;
    if (strcmp(id, TN_STATS_ID) == 0)
        return &engine_stats_table;
    return NULL;
}

const char *tn_version(void)
{
    return TENON_VERSION;
}
