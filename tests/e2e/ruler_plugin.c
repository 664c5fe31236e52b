/* ruler_plugin.c: the backend of tests/unit/ruler_backend.h as a module, so that the program can plan over several
 * ranks where no device backend is built. It opens nothing.
 */
#include "../unit/ruler_backend.h"
#include "tenon/entry.h"

static tn_status fail(tn_error *err)
{
    return tn_fail(err, TN_E_UNSUPPORTED, "a ruler only plans");
}

static tn_status ruler_open(const tn_open *open, tn_dev **ret_dev, tn_error *err)
{
    (void)open, (void)ret_dev;
    return fail(err);
}

static void ruler_close(tn_dev *dev)
{
    (void)dev;
}

static tn_status ruler_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err)
{
    (void)dev, (void)compile, (void)ret_model;
    return fail(err);
}

static tn_status ruler_weight(tn_model *model, uint32_t weight_id, const tn_planes *planes, tn_error *err)
{
    (void)model, (void)weight_id, (void)planes;
    return fail(err);
}

static tn_status ruler_seal(tn_model *model, tn_error *err)
{
    (void)model;
    return fail(err);
}

static tn_status ruler_kv_reserve(tn_model *model, uint32_t group, uint64_t pages, tn_error *err)
{
    (void)model, (void)group, (void)pages;
    return fail(err);
}

static tn_status ruler_submit(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    (void)model, (void)batch, (void)ret_ticket;
    return fail(err);
}

static tn_status ruler_wait(tn_model *model, uint64_t ticket, tn_result *result, tn_error *err)
{
    (void)model, (void)ticket, (void)result;
    return fail(err);
}

static void ruler_model_free(tn_model *model)
{
    (void)model;
}

static const tn_backend *whole_table(void)
{
    static tn_backend table;

    table = ruler_backend;
    table.open = ruler_open;
    table.close = ruler_close;
    table.compile = ruler_compile;
    table.weight = ruler_weight;
    table.seal = ruler_seal;
    table.kv_reserve = ruler_kv_reserve;
    table.submit = ruler_submit;
    table.wait = ruler_wait;
    table.model_free = ruler_model_free;
    return &table;
}

TN_PLUGIN_ENTRY(TN_BACKEND_ID, whole_table(), .id = "ruler", .version = "0.1.0", .vendor = "Tenon",
                .license = "Apache-2.0")
