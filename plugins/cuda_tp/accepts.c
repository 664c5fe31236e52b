/* accepts.c: see accepts.h. */
#include "accepts.h"

#include "kernels/launch.h"
#include "planes.h"

#include <stdbool.h>

static bool is_float(const tn_enc *enc)
{
    return enc->family == TN_ENC_FLOAT && (enc->qtype == TN_F32 || enc->qtype == TN_F16 || enc->qtype == TN_BF16);
}

/* True for a matrix of a mixture. */
static bool is_expert(const tn_graph *graph, const tn_graph_api *api, uint32_t value)
{
    for (uint32_t i = 0; i < api->node_count; i++) {
        tn_node node = {.struct_size = sizeof node};
        if (api->node(graph, i, &node) != TN_OK || node.op != TN_OP_MOE)
            continue;
        for (uint32_t in = TN_MOE_IN_GATE; in <= TN_MOE_IN_DOWN && in < node.in_count; in++)
            if (node.in[in] == value)
                return true;
    }
    return false;
}

tn_status accepts_weight(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                         const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    tn_value v = {.struct_size = sizeof v};
    cuda_weight layout;
    cuda_weight_size size;

    (void)info;
    tn_status status = api->value(graph, value, &v);
    if (status != TN_OK)
        return tn_fail(err, status, "value %u cannot be read", value);
    if (v.kind != TN_VALUE_WEIGHT)
        return tn_fail(err, TN_E_ARGUMENT, "%s is not a weight", v.name);
    bool vector = v.shard == TN_SHARD_NONE && is_float(enc); /* gains, biases, sinks, and small matrices as bf16: */
    if (vector && (v.dim[0] == 1 || enc->qtype == TN_BF16)) {
        *ret_cost = 4000;
        return TN_OK;
    }
    if (enc->family == TN_ENC_FLOAT && enc->qtype != TN_BF16)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: CUDA multiplies floats as bfloat16", v.name);
    status = cuda_weight_layout(enc, (uint64_t)v.dim[0], (uint64_t)v.dim[1], &layout, &size);
    if (status != TN_OK)
        return tn_fail(err, status, "%s: there are no kernels for its encoding", v.name);
    if (perm_count(enc, (uint64_t)v.dim[0]) > 1 && !is_expert(graph, api, value))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: parts with columns in orders of their own are experts or nothing",
                       v.name);
    uint64_t per_mille = size.total * 1000 / ((uint64_t)v.dim[0] * (uint64_t)v.dim[1]);
    *ret_cost = per_mille < UINT32_MAX ? (uint32_t)per_mille : UINT32_MAX;
    return TN_OK;
}
