/* ruler_backend.c: see ruler_backend.h. */
#include "ruler_backend.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static tn_status ruler_device(uint32_t index, tn_devinfo *ret_info, tn_error *err)
{
    (void)ret_info;
    return tn_fail(err, TN_E_NOT_FOUND, "a ruler has no device %u", index);
}

static tn_status ruler_accepts(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                               const tn_enc *enc, uint32_t *ret_cost, tn_error *err)
{
    (void)info, (void)graph, (void)api, (void)value, (void)err;
    *ret_cost = enc->bits;
    return TN_OK;
}

static uint64_t bits_of(const tn_enc *enc, uint64_t rows, uint64_t columns)
{
    uint64_t bits = 0;
    for (uint32_t plane = 0; plane < TN_PLANE_COUNT; plane++)
        bits += 8 * tn_plane_bytes(enc, plane, rows, columns);
    return bits;
}

/* How many parts the attention of a model can be cut into. */
static bool divides(const tn_graph *graph, const tn_graph_api *api, uint32_t world)
{
    for (uint32_t i = 0; i < api->node_count; i++) {
        tn_node node = {.struct_size = sizeof node};
        if (api->node(graph, i, &node) != TN_OK || node.op != TN_OP_ATTENTION)
            continue;
        int64_t heads = node.attr[TN_ATTENTION_A_HEADS], kv_heads = node.attr[TN_ATTENTION_A_KV_HEADS];
        if (heads % world || (kv_heads % world && world % kv_heads))
            return false;
    }
    return true;
}

static tn_status refuse_degree(const tn_compile *compile, uint32_t world, tn_error *err)
{
    char degrees[128] = "";
    for (uint32_t degree = 1; degree <= 64; degree++)
        if (divides(compile->graph, compile->api, degree))
            snprintf(degrees + strlen(degrees), sizeof degrees - strlen(degrees), "%s%u", degree > 1 ? ", " : "",
                     degree);
    return tn_fail(err, TN_E_UNSUPPORTED, "%u ranks do not divide this model; degrees that do: %s", world, degrees);
}

/* Each weight once: values that share one (tied embeddings) count as it. */
static uint64_t weight_bytes(const tn_compile *compile, uint32_t world)
{
    uint64_t bits = 0;
    bool seen[8192] = {false};

    for (uint32_t i = 0; i < compile->api->value_count; i++) {
        tn_value value = {.struct_size = sizeof value};
        if (compile->api->value(compile->graph, i, &value) != TN_OK || value.kind != TN_VALUE_WEIGHT)
            continue;
        if (value.weight_id >= 8192 || seen[value.weight_id])
            continue;
        seen[value.weight_id] = true;
        uint64_t whole = bits_of(&compile->weight_enc[value.weight_id], (uint64_t)value.dim[0], (uint64_t)value.dim[1]);
        bits += value.shard == TN_SHARD_NONE ? whole : whole / world;
    }
    return bits / 8;
}

static tn_status ruler_plan(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                            tn_error *err)
{
    (void)info;
    if (!divides(compile->graph, compile->api, world))
        return refuse_degree(compile, world, err);
    plan->weights = weight_bytes(compile, world);
    plan->load_peak = 0;
    plan->activations = RULER_ACTIVATIONS(compile);
    plan->logits = RULER_LOGITS(compile);
    plan->comms = 0;
    plan->reserve = RULER_RESERVE;
    for (uint32_t g = 0; g < compile->api->kv_group_count; g++) {
        tn_kv_group group = {.struct_size = sizeof group};
        if (compile->api->kv_group(compile->graph, g, &group) != TN_OK)
            return tn_fail(err, TN_E_INTERNAL, "KV group %u", g);
        uint64_t heads = group.kv_heads < world ? 1 : group.kv_heads / world;
        uint64_t element = compile->kv_dtype == TN_F32 ? 4 : 2;
        plan->page_tokens[g] = RULER_PAGE_TOKENS;
        plan->page_bytes[g] =
            RULER_PAGE_TOKENS * group.layer_count * heads * ((uint64_t)group.head_dim + group.v_dim) * element;
    }
    return TN_OK;
}

const tn_backend ruler_backend = {.struct_size = sizeof(tn_backend),
                                  .max_in_flight = 1,
                                  .device = ruler_device,
                                  .accepts = ruler_accepts,
                                  .plan = ruler_plan};
