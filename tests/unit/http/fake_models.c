/* fake_models.c: see fake_models.h. */
#include "fake_models.h"

#include <string.h>

static fake_models *models_of(const tn_models *models)
{
    return (fake_models *)(uintptr_t)models;
}

static uint64_t generation(const tn_models *models)
{
    return atomic_load(&models_of(models)->generation);
}

static tn_status at(tn_models *opaque, uint32_t index, tn_engine **ret_engine)
{
    fake_models *models = models_of(opaque);
    for (uint32_t i = 0; i < 2; i++) {
        if (!atomic_load(&models->listed[i]) || index-- > 0)
            continue;
        atomic_fetch_add(&models->retained[i], 1);
        *ret_engine = models->engine[i];
        return TN_OK;
    }
    return TN_E_NOT_FOUND;
}

static tn_status find(tn_models *opaque, const char *name, tn_engine **ret_engine, tn_error *err)
{
    fake_models *models = models_of(opaque);
    if (strcmp(name, "loading") == 0)
        return tn_fail(err, TN_E_AGAIN, "loading is LOADING, 42 %%");
    if (strcmp(name, "broken") == 0)
        return tn_fail(err, TN_E_DEVICE_LOST, "broken has FAILED");
    for (uint32_t i = 0; i < 2; i++) {
        if (!atomic_load(&models->listed[i]))
            continue;
        for (const char *const *served = models->engine[i]->info.served_names; *served; served++) {
            if (strcmp(*served, name) != 0)
                continue;
            atomic_fetch_add(&models->retained[i], 1);
            *ret_engine = models->engine[i];
            return TN_OK;
        }
    }
    return tn_fail(err, TN_E_NOT_FOUND, "the model '%.128s' does not exist; this server has 'tiny', 'other'", name);
}

static void release(tn_models *opaque, tn_engine *engine)
{
    fake_models *models = models_of(opaque);
    for (uint32_t i = 0; i < 2; i++)
        if (models->engine[i] == engine)
            atomic_fetch_sub(&models->retained[i], 1);
}

const tn_models_table fake_models_table = {
    .struct_size = sizeof fake_models_table, .generation = generation, .at = at, .find = find, .release = release};

void fake_models_list(fake_models *models, uint32_t index, bool listed)
{
    atomic_store(&models->listed[index], listed);
    atomic_fetch_add(&models->generation, 1);
}
