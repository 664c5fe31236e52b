/* faulty_backend.c: the reference interpreter as a backend plugin, with one fault per build (FAULT_*), each of a kind
 * that vendors really make. tenon-check must find every one. Without a fault all checks pass.
 */
#include "tenon/interp.h"

#include <string.h>

enum { VOCAB = 1009 }; /* of tenon-check's model */

static const tn_backend *good;
static tn_backend table;
static uint32_t batch_rows, plan_calls;

static tn_status device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
#ifdef FAULT_ENDLESS_DEVICES
    (void)index;
    return good->device(0, ret_info, err);
#else
    return good->device(index, ret_info, err);
#endif
}

static tn_status accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                         const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
#ifdef FAULT_REFUSES_BF16
    if (enc->qtype == TN_BF16)
        return tn_fail(err, TN_E_UNSUPPORTED, "float32 only");
#endif
    return good->accepts(info, graph, api, value, enc, ret_cost, err);
}

static tn_status plan(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *ret_plan,
                      tn_error *err)
{
    tn_status status = good->plan(info, world, compile, ret_plan, err);
    plan_calls++;
#ifdef FAULT_MOODY_PLAN
    ret_plan->activations += plan_calls * 4096;
#endif
    return status;
}

static tn_status submit(tn_model *model, const tn_batch *batch, uint64_t *ret_ticket, tn_error *err)
{
    tn_batch changed = *batch;
    int32_t shifted[1024];
    batch_rows = batch->token_count;
#ifdef FAULT_POSITIONS
    /* Off by one from position 8 on. */
    for (uint32_t i = 0; i < batch->token_count; i++)
        shifted[i] = batch->token[i] + (batch->position[i] > 8);
    changed.token = shifted;
#else
    (void)shifted;
#endif
    tn_status status = good->submit(model, &changed, ret_ticket, err);
#ifdef FAULT_NEVER_FULL
    if (status == TN_E_AGAIN) {
        *ret_ticket = 0;
        return TN_OK;
    }
#endif
    return status;
}

static tn_status wait(tn_model *model, uint64_t ticket, tn_result *result, tn_error *err)
{
    tn_status status = good->wait(model, ticket, result, err);
#ifdef FAULT_BATCH_DEPENDENT
    /* What another tile size does to rounding, in the batch's last row. */
    if (result->logits)
        result->logits[(uint64_t)(result->out_count - 1) * VOCAB] *= 1.0f + (float)batch_rows * 1e-6f;
#endif
#ifdef FAULT_GREEDY
    if (result->id)
        result->id[0] ^= 1;
#endif
    return status;
}

static void close_device(tn_dev *dev)
{
#ifdef FAULT_CLOSE_NULL
    memset(dev, 0, 1);
#endif
    good->close(dev);
}

static tn_status init(const tn_host *host, tn_error *err)
{
    (void)host;
    tn_status status = tn_interp_backend(tn_interp_host_ops(), &good, err);
    if (status != TN_OK)
        return status;
    table = *good;
    table.device = device;
    table.accepts = accepts;
    table.plan = plan;
    table.submit = submit;
    table.wait = wait;
    table.close = close_device;
    return TN_OK;
}

static const void *get_interface(const char *id)
{
    return strcmp(id, TN_BACKEND_ID) ? NULL : &table;
}

#ifdef FAULT_OPTION
static const tn_option options[] = {{sizeof(tn_option), 0, "threads", "integer", "auto", "Threads."}};
#define OPTIONS options, 1, sizeof(tn_option)
#else
#define OPTIONS NULL, 0, 0
#endif

static const char *const provides[] = {TN_BACKEND_ID, NULL};
static const tn_plugin descriptor = {TN_PLUGIN_MAGIC,
                                     sizeof descriptor,
                                     TN_ABI_MAJOR,
                                     TN_ABI_MINOR,
                                     1,
                                     0,
                                     0,
                                     0,
                                     FIXTURE_NAME,
                                     "1",
                                     "Tenon's tests",
                                     "Apache-2.0",
                                     provides,
                                     init,
                                     NULL,
                                     get_interface,
                                     OPTIONS};

const tn_plugin *tn_plugin_entry(void)
{
    return &descriptor;
}
