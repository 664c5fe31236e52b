/* layout.c: sizes. Which values share a slot, what the host arena holds, and with that the plan.
 *
 * Activations live from the node that writes them to the last node that reads them; a slot that is free again is
 * reused, the smallest that is large enough, else the largest grown. A Llama of any depth needs seven or so.
 */
#include "interp/decode.h"
#include "interp/kernels.h"
#include "interp/model.h"

#include <string.h>

#include "base/sampler.h"
#include "base/size.h"

#define NO_SLOT UINT32_MAX

void *interp_carve(interp_carver *carver, uint64_t bytes)
{
    void *at = carver->base ? carver->base + carver->used : NULL;
    carver->used += (bytes + 63) / 64 * 64;
    return at;
}

tn_node interp_node(const tn_model *model, uint32_t index)
{
    tn_node node = {.struct_size = sizeof node};
    TN_ASSERT(model->api->node(model->graph, index, &node) == TN_OK);
    return node;
}

tn_value interp_value(const tn_model *model, uint32_t index)
{
    tn_value value = {.struct_size = sizeof value};
    TN_ASSERT(model->api->value(model->graph, index, &value) == TN_OK);
    return value;
}

uint64_t interp_weight_bytes(uint64_t n, uint64_t k)
{
    return (n * k * sizeof(float) + 63) / 64 * 64;
}

uint64_t interp_page_bytes(const tn_kv_group *group)
{
    return (uint64_t)INTERP_PAGE_TOKENS * group->kv_heads * (group->head_dim + group->v_dim) * sizeof(float);
}

static uint64_t activation_bytes(const tn_model *model, const tn_value *value)
{
    uint64_t rows = value->dim[0] == TN_DIM_TOKENS ? model->limits.max_tokens : model->limits.max_outputs;
    return interp_weight_bytes(rows, (uint64_t)value->dim[1]);
}

/* ---- checks ---- */

tn_status interp_node_check(const tn_graph *graph, const tn_graph_api *api, uint32_t index, tn_error *err)
{
    tn_node node = {.struct_size = sizeof node};

    TN_ASSERT(api->node(graph, index, &node) == TN_OK);
    if (node.op < TN_OP_EMBED || node.op > TN_OP_MOE)
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: node %u has op %u, which this version does not know", index,
                       node.op);
    if (node.in_count > INTERP_INPUTS_MAX || node.out_count != 1)
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: node %u has %u inputs and %u outputs", index, node.in_count,
                       node.out_count);
    int64_t activation = node.op == TN_OP_GATED ? node.attr[TN_GATED_A_ACTIVATION]
                         : node.op == TN_OP_MOE ? node.attr[TN_MOE_A_ACTIVATION]
                                                : TN_ACT_SILU;
    if (activation < TN_ACT_SILU || activation > (node.op == TN_OP_MOE ? TN_ACT_SWIGLU_CLAMPED : TN_ACT_GELU))
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: node %u has activation %lld", index, (long long)activation);
    if (node.op == TN_OP_MOE &&
        (node.attr[TN_MOE_A_CHOSEN] < 1 || node.attr[TN_MOE_A_CHOSEN] > node.attr[TN_MOE_A_EXPERTS]))
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: node %u chooses %lld of %lld experts", index,
                       (long long)node.attr[TN_MOE_A_CHOSEN], (long long)node.attr[TN_MOE_A_EXPERTS]);
    return TN_OK;
}

static tn_status check_request(const tn_compile *c, tn_error *err)
{
    if (!c->graph || !c->api || (c->api->weight_count && !c->weight_enc))
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: compile needs a graph, its accessors and weight encodings");
    if (!c->max_tokens || !c->max_seqs || !c->max_outputs || !c->max_model_len)
        return tn_fail(err, TN_E_ARGUMENT, "interpreter: no limit may be 0");
    if (c->kv_dtype != 0 && c->kv_dtype != TN_F32)
        return tn_fail(err, TN_E_UNSUPPORTED, "interpreter: the KV cache is float32 only");
    return TN_OK;
}

/* ---- lifetimes ---- */

static void find_last_uses(tn_model *model)
{
    for (uint32_t i = 0; i < model->api->node_count; i++) {
        tn_node node = interp_node(model, i);
        model->last_use[node.out[0]] = i;
        for (uint32_t j = 0; j < node.in_count; j++)
            model->last_use[node.in[j]] = i;
    }
}

static uint32_t pick_slot(const tn_model *model, uint32_t node, uint64_t bytes)
{
    uint32_t fitting = NO_SLOT, largest = NO_SLOT;

    for (uint32_t s = 0; s < model->slot_count; s++) {
        if (model->slot_expiry[s] >= node)
            continue;
        uint64_t size = model->slot_bytes[s];
        if (size >= bytes && (fitting == NO_SLOT || size < model->slot_bytes[fitting]))
            fitting = s;
        if (largest == NO_SLOT || size > model->slot_bytes[largest])
            largest = s;
    }
    return fitting != NO_SLOT ? fitting : largest;
}

static void assign_slots(tn_model *model)
{
    for (uint32_t i = 0; i < model->api->value_count; i++)
        model->value_slot[i] = NO_SLOT;
    for (uint32_t i = 0; i < model->api->node_count; i++) {
        tn_node node = interp_node(model, i);
        tn_value out = interp_value(model, node.out[0]);
        uint64_t bytes = activation_bytes(model, &out);
        uint32_t slot = pick_slot(model, i, bytes);
        if (slot == NO_SLOT)
            slot = model->slot_count++;
        if (model->slot_bytes[slot] < bytes)
            model->slot_bytes[slot] = bytes;
        model->slot_expiry[slot] = model->last_use[node.out[0]];
        model->value_slot[node.out[0]] = slot;
    }
}

/* Value tables of the model, allocated before the arena since the arena's size depends on them. */
static uint64_t value_tables_bytes(const tn_model *model)
{
    return model->api->value_count * (uint64_t)(3 * sizeof(uint32_t) + sizeof(uint64_t));
}

static tn_status allocate_value_tables(tn_model *model, tn_error *err)
{
    uint64_t count = model->api->value_count;

    model->slot_bytes = calloc(1, value_tables_bytes(model));
    if (!model->slot_bytes)
        return tn_fail(err, TN_E_MEMORY, "interpreter: no memory for %llu values", (unsigned long long)count);
    model->value_slot = (uint32_t *)(model->slot_bytes + count);
    model->slot_expiry = model->value_slot + count;
    model->last_use = model->slot_expiry + count;
    return TN_OK;
}

/* ---- arena ---- */

static void carve_ticket(tn_model *model, interp_ticket *ticket, interp_carver *carver)
{
    uint64_t outputs = model->limits.max_outputs;

    ticket->want = interp_carve(carver, outputs * sizeof *ticket->want);
    ticket->token = interp_carve(carver, outputs * sizeof *ticket->token);
    ticket->logprob = interp_carve(carver, outputs * sizeof *ticket->logprob);
    ticket->target_logprob = interp_carve(carver, outputs * sizeof *ticket->target_logprob);
    ticket->top_id = interp_carve(carver, outputs * INTERP_TOP_MAX * sizeof *ticket->top_id);
    ticket->top_logprob = interp_carve(carver, outputs * INTERP_TOP_MAX * sizeof *ticket->top_logprob);
    ticket->hidden = interp_carve(carver, outputs * model->api->model_width * sizeof *ticket->hidden);
    ticket->logits = interp_carve(carver, outputs * model->api->vocab_size * sizeof *ticket->logits);
}

/* What attention needs at its largest node and KV group. */
static void carve_attention(tn_model *model, interp_carver *carver)
{
    uint64_t heads = 0, accumulators = 0, page = 0;

    for (uint32_t i = 0; i < model->api->node_count; i++) {
        tn_node node = interp_node(model, i);
        if (node.op != TN_OP_ATTENTION)
            continue;
        uint64_t h = (uint64_t)node.attr[TN_ATTENTION_A_HEADS];
        uint64_t acc = h * (uint64_t)node.attr[TN_ATTENTION_A_V_DIM];
        heads = h > heads ? h : heads;
        accumulators = acc > accumulators ? acc : accumulators;
    }
    for (uint32_t g = 0; g < model->api->kv_group_count; g++) {
        tn_kv_group group = {.struct_size = sizeof group};
        TN_ASSERT(model->api->kv_group(model->graph, g, &group) == TN_OK);
        page = interp_page_bytes(&group) > page ? interp_page_bytes(&group) : page;
    }
    model->attention_acc = interp_carve(carver, INTERP_ROW_TILE * accumulators * sizeof(double));
    model->attention_state = interp_carve(carver, INTERP_ROW_TILE * heads * sizeof(interp_attention_state));
    model->page = interp_carve(carver, model->mapped ? 0 : page);
}

/* What the largest MOE node needs for a row. */
static void carve_moe(tn_model *model, interp_carver *carver)
{
    uint64_t floats = 0, experts = 0;

    for (uint32_t i = 0; i < model->api->node_count; i++) {
        tn_node node = interp_node(model, i);
        if (node.op != TN_OP_MOE)
            continue;
        uint64_t count = (uint64_t)node.attr[TN_MOE_A_EXPERTS];
        experts = count > experts ? count : experts;
        floats = interp_moe_floats(model, &node) > floats ? interp_moe_floats(model, &node) : floats;
    }
    model->moe = interp_carve(carver, floats * sizeof *model->moe);
    model->moe_chosen = interp_carve(carver, experts * sizeof *model->moe_chosen);
}

/* Room to fetch a node's activations, each the largest at its place, and one block of a weight. */
static void carve_fetch(tn_model *model, interp_carver *carver)
{
    uint64_t in[INTERP_INPUTS_MAX] = {0}, out = 0, block = INTERP_BLOCK_BYTES;

    for (uint32_t i = 0; i < model->api->node_count; i++) {
        tn_node node = interp_node(model, i);
        tn_value value = interp_value(model, node.out[0]);
        uint64_t bytes = activation_bytes(model, &value);
        out = bytes > out ? bytes : out;
        for (uint32_t j = 0; j < node.in_count; j++) {
            value = interp_value(model, node.in[j]);
            uint64_t row = (uint64_t)value.dim[1] * sizeof(float);
            bytes = value.kind == TN_VALUE_ACTIVATION ? activation_bytes(model, &value) : value.dim[0] == 1 ? row : 0;
            in[j] = bytes > in[j] ? bytes : in[j];
            block = row > block ? row : block;
        }
    }
    model->weight_block = interp_carve(carver, block);
    for (uint32_t j = 0; j < INTERP_INPUTS_MAX; j++)
        model->in[j] = interp_carve(carver, model->mapped ? 0 : in[j]);
    model->out = interp_carve(carver, model->mapped ? 0 : out);
}

void interp_model_carve(tn_model *model, interp_carver *carver, uint64_t *ret_logits)
{
    const interp_limits *limits = &model->limits;

    model->value_buf = interp_carve(carver, model->api->value_count * sizeof *model->value_buf);
    model->slot_handle = interp_carve(carver, model->slot_count * sizeof *model->slot_handle);
    model->weight = interp_carve(carver, model->api->weight_count * sizeof *model->weight);
    interp_kv *kv = interp_carve(carver, model->api->kv_group_count * sizeof *kv);
    model->kv = kv;
    for (uint32_t g = 0; g < model->api->kv_group_count; g++) {
        uint32_t *table = interp_carve(carver, (uint64_t)limits->max_seqs * model->table_stride * sizeof *table);
        if (kv)
            kv[g].table = table;
    }
    model->token = interp_carve(carver, limits->max_tokens * sizeof *model->token);
    model->slot_seen = interp_carve(carver, limits->max_seqs * sizeof *model->slot_seen);
    carve_attention(model, carver);
    carve_moe(model, carver);
    carve_fetch(model, carver);

    uint64_t before = carver->used;
    for (uint32_t i = 0; i < INTERP_IN_FLIGHT; i++)
        carve_ticket(model, &model->ticket[i], carver);
    model->sample_row = interp_carve(carver, model->api->vocab_size * sizeof *model->sample_row);
    model->sample_scratch = interp_carve(carver, sampler_scratch_bytes(model->api->vocab_size));
    *ret_logits = carver->used - before;
}

/* ---- entry ---- */

/* Each weight once, however many values share it. Reuses last_use, whose work is done, as marks by weight id. */
static uint64_t count_weights(tn_model *model)
{
    uint32_t *seen = model->last_use;
    uint64_t bytes = 0;

    memset(seen, 0, model->api->value_count * sizeof *seen);
    for (uint32_t i = 0; i < model->api->value_count; i++) {
        tn_value value = interp_value(model, i);
        if (value.kind == TN_VALUE_ACTIVATION || (value.kind == TN_VALUE_WEIGHT && seen[value.weight_id]))
            continue;
        if (value.kind == TN_VALUE_WEIGHT)
            seen[value.weight_id] = 1;
        bytes += interp_weight_bytes((uint64_t)value.dim[0], (uint64_t)value.dim[1]);
    }
    return bytes;
}

tn_status interp_layout(tn_model *model, const tn_compile *compile, interp_bytes *ret_bytes, tn_error *err)
{
    tn_status status = check_request(compile, err);
    if (status != TN_OK)
        return status;
    model->graph = compile->graph;
    model->api = compile->api;
    model->limits =
        (interp_limits){compile->max_tokens, compile->max_seqs, compile->max_outputs, compile->max_model_len};
    model->table_stride = (compile->max_model_len + INTERP_PAGE_TOKENS - 1) / INTERP_PAGE_TOKENS;
    for (uint32_t i = 0; i < model->api->node_count && status == TN_OK; i++)
        status = interp_node_check(model->graph, model->api, i, err);
    if (status == TN_OK)
        status = allocate_value_tables(model, err);
    if (status != TN_OK)
        return status;
    find_last_uses(model);
    assign_slots(model);

    interp_carver carver = {0};
    interp_bytes bytes = {.weights = count_weights(model)};
    interp_model_carve(model, &carver, &bytes.logits);
    bytes.host = carver.used + value_tables_bytes(model) + sizeof *model;
    for (uint32_t s = 0; s < model->slot_count; s++)
        bytes.slots += model->slot_bytes[s];
    if (ret_bytes)
        *ret_bytes = bytes;
    return TN_OK;
}

void interp_layout_finish(tn_model *model)
{
    free(model->slot_bytes);
    model->slot_bytes = NULL;
}
