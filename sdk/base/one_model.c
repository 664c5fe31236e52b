/* one_model.c: see one_model.h. */
#include "base/one_model.h"

#include <string.h>

static one_model *model_of(const tn_models *models)
{
    return (one_model *)(uintptr_t)models;
}

static uint64_t generation(const tn_models *models)
{
    (void)models;
    return 1;
}

static tn_status at(tn_models *models, uint32_t index, tn_engine **ret_engine)
{
    if (index > 0)
        return TN_E_NOT_FOUND;
    *ret_engine = model_of(models)->engine;
    return TN_OK;
}

static tn_status find(tn_models *models, const char *name, tn_engine **ret_engine, tn_error *err)
{
    const one_model *model = model_of(models);
    tn_engine_info info = {.struct_size = sizeof info};
    tn_status status = model->engine_api->info(model->engine, &info);
    if (status != TN_OK)
        return tn_fail(err, status, "the engine tells no names: %s", tn_status_text(status));
    for (const char *const *served = info.served_names; *served; served++) {
        if (strcmp(*served, name) != 0)
            continue;
        *ret_engine = model->engine;
        return TN_OK;
    }
    return tn_fail(err, TN_E_NOT_FOUND, "the model '%.128s' does not exist; this server has '%.128s'", name,
                   info.served_names[0]);
}

static void release(tn_models *models, tn_engine *engine)
{
    (void)models, (void)engine;
}

const tn_models_table one_model_table = {
    .struct_size = sizeof(tn_models_table), .generation = generation, .at = at, .find = find, .release = release};
