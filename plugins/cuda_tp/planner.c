/* planner.c: the tn.backend table of a plugin that was built without nvcc. It has no kernels: it plans for devices that
 * are described to it, by the same functions as backend.c, and opens none. So there is never a tn_dev or a tn_model
 * for what takes one, which the core wants all the same.
 */
#include "accepts.h"
#include "backend.h"
#include "model.h"
#include "plan.h"

static tn_status refuse(tn_error *err)
{
    return tn_fail(
        err, TN_E_NOT_FOUND,
        "this cuda_tp was built without nvcc and only plans: tenon plan MODEL --pool NAME (tenon pool list); "
        "to run on GPUs, build Tenon where CUDA 12.0 or newer is (-Dcuda=enabled)");
}

static tn_status planner_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    (void)index, (void)ret_info;
    return refuse(err);
}

static tn_status planner_open(const tn_open *open, tn_dev **ret_dev, tn_error *err)
{
    (void)open, (void)ret_dev;
    return refuse(err);
}

static void planner_close(tn_dev *dev)
{
    (void)dev;
}

static tn_status planner_compile(tn_dev *dev, const tn_compile *compile, tn_model **ret_model, tn_error *err)
{
    (void)dev, (void)compile, (void)ret_model;
    return refuse(err);
}

static tn_status planner_weight(tn_model *m, uint32_t weight_id, const tn_planes *planes, tn_error *err)
{
    (void)m, (void)weight_id, (void)planes;
    return refuse(err);
}

static tn_status planner_seal(tn_model *m, tn_error *err)
{
    (void)m;
    return refuse(err);
}

static tn_status planner_kv_reserve(tn_model *m, uint32_t group, uint64_t pages, tn_error *err)
{
    (void)m, (void)group, (void)pages;
    return refuse(err);
}

static tn_status planner_submit(tn_model *m, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    (void)m, (void)batch, (void)ret_ticket;
    return refuse(err);
}

static tn_status planner_wait(tn_model *m, uint64_t id, tn_result *result, tn_error *err)
{
    (void)m, (void)id, (void)result;
    return refuse(err);
}

static void planner_model_free(tn_model *m)
{
    (void)m;
}

const tn_backend *cuda_tp_backend(void)
{
    static const tn_backend table = {
        .struct_size = sizeof table,
        .can = CUDA_TP_CAN,
        .max_in_flight = IN_FLIGHT,
        .device = planner_device,
        .accepts = accepts_weight,
        .plan = plan_backend,
        .check = plan_check,
        .open = planner_open,
        .close = planner_close,
        .compile = planner_compile,
        .weight = planner_weight,
        .seal = planner_seal,
        .kv_reserve = planner_kv_reserve,
        .submit = planner_submit,
        .wait = planner_wait,
        .model_free = planner_model_free,
    };
    return &table;
}
