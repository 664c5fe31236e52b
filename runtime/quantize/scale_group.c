/* runtime/quantize/scale_group.c: walks the graph; a value is followed back through SELECT to the node that made it. */
#include "quantize/scale_group.h"

#include <stdlib.h>
#include <string.h>

typedef struct walk {
    const tn_graph *graph;
    const tn_graph_api *api;
    const shard_plan *plan;
    scale_groups *groups;
} walk;

static tn_node node_at(const walk *w, uint32_t index)
{
    tn_node node = {.struct_size = sizeof node};
    tn_status status = w->api->node(w->graph, index, &node);
    TN_ASSERT(status == TN_OK);
    return node;
}

static uint32_t weight_id(const walk *w, uint32_t value_id)
{
    tn_value value = {.struct_size = sizeof value};
    tn_status status = w->api->value(w->graph, value_id, &value);
    TN_ASSERT(status == TN_OK && value.kind == TN_VALUE_WEIGHT);
    return value.weight_id;
}

/* ---- tensors ---- */

/* The one tensor that holds a weight's rows; a vector lies along its columns. */
static tensor_rows rows_of(const walk *w, uint32_t value_id)
{
    uint32_t id = weight_id(w, value_id);
    weight_part part;

    model_graph_part(w->graph, id, 0, &part);
    TN_ASSERT(model_graph_part_count(w->graph, id) == 1 && part.row_step == 1 && !part.transposed);
    uint64_t n, k;
    model_graph_weight_shape(w->graph, id, &n, &k);
    return n == 1 ? (tensor_rows){part.tensor, part.column0, k} : (tensor_rows){part.tensor, part.row0, part.rows};
}

static bool is_quantized(const walk *w, const tn_node *node)
{
    if (node->op != TN_OP_LINEAR)
        return false;
    weight_part part;
    model_graph_part(w->graph, weight_id(w, node->in[1]), 0, &part);
    const shard_item *item = shard_plan_find(w->plan, part.tensor);
    return item && item->type;
}

/* ---- where an input comes from ---- */

/* The node that made a value, past SELECT; false for what no node made. */
static bool find_origin(const walk *w, uint32_t value, tn_node *ret_node)
{
    for (uint32_t i = w->api->node_count; i-- > 0;) {
        *ret_node = node_at(w, i);
        if (ret_node->out[0] != value)
            continue;
        if (ret_node->op != TN_OP_SELECT)
            return true;
        value = ret_node->in[0];
    }
    return false;
}

/* Only quantized LINEAR nodes read the value, and they are of one group. */
static bool only_linears_read(const walk *w, uint32_t value)
{
    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        for (uint32_t j = 0; j < node.in_count; j++)
            if (node.in[j] == value && !(j == 0 && is_quantized(w, &node)))
                return false;
    }
    return true;
}

static uint32_t count_readers(const walk *w, uint32_t value)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        for (uint32_t j = 0; j < node.in_count; j++)
            count += node.in[j] == value;
    }
    return count;
}

/* `value` is the product of a quantized weight that nothing else reads: its rows can be divided. */
static bool fold_into_rows(const walk *w, scale_group *group, uint32_t value)
{
    tn_node linear;

    if (!find_origin(w, value, &linear) || linear.out[0] != value || !is_quantized(w, &linear) ||
        count_readers(w, value) != 1)
        return false;
    group->fold = FOLD_ROWS;
    group->weight = rows_of(w, linear.in[1]);
    if (linear.in_count > 2)
        group->bias = rows_of(w, linear.in[2]);
    return true;
}

static void choose_fold(const walk *w, scale_group *group)
{
    tn_node origin;

    group->scale_count = group->columns;
    if (!find_origin(w, group->input, &origin) || count_readers(w, origin.out[0]) == 0)
        return;
    if (origin.op == TN_OP_RMS_NORM && (uint64_t)origin.attr[TN_RMS_NORM_A_WIDTH] == group->columns &&
        origin.out[0] == group->input && only_linears_read(w, group->input)) {
        group->fold = FOLD_GAIN;
        group->gain = rows_of(w, origin.in[1]);
        group->gain_offset = origin.fattr[TN_RMS_NORM_F_GAIN_OFFSET];
    } else if (count_readers(w, origin.out[0]) != 1 || count_readers(w, group->input) != 1) {
        return;
    } else if (origin.op == TN_OP_GATED) {
        fold_into_rows(w, group, origin.in[1]);
    } else if (origin.op == TN_OP_ATTENTION && fold_into_rows(w, group, origin.in[2])) {
        group->head_dim = (uint32_t)origin.attr[TN_ATTENTION_A_V_DIM];
        group->heads_per_kv =
            (uint32_t)(origin.attr[TN_ATTENTION_A_HEADS] / origin.attr[TN_ATTENTION_A_KV_HEADS]);
        group->scale_count = group->weight.rows;
    }
}

uint64_t scale_group_index(const scale_group *group, uint64_t column)
{
    if (!group->head_dim)
        return column;
    return column / group->head_dim / group->heads_per_kv * group->head_dim + column % group->head_dim;
}

/* ---- the groups ---- */

static scale_group *group_of(scale_groups *groups, uint32_t input)
{
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->groups[i].input == input)
            return &groups->groups[i];
    return NULL;
}

static void add_group(const walk *w, const tn_node *node)
{
    uint64_t n;
    scale_group *group = &w->groups->groups[w->groups->count++];

    *group = (scale_group){.input = node->in[0], .first_weight = node->in[1]};
    model_graph_weight_shape(w->graph, weight_id(w, node->in[1]), &n, &group->columns);
    choose_fold(w, group);
}

/* Weights of a group lie together, in the order of its nodes. */
static void list_weights(const walk *w, scale_group *group)
{
    group->weight_first = w->groups->weight_count;
    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        if (!is_quantized(w, &node) || node.in[0] != group->input)
            continue;
        w->groups->weights[w->groups->weight_count++] = rows_of(w, node.in[1]);
        group->weight_count++;
    }
}

tn_status scale_groups_init(scale_groups *groups, const tn_graph *graph, const shard_plan *plan, tn_error *err)
{
    walk w = {.graph = graph, .api = model_graph_api(graph), .plan = plan, .groups = groups};

    *groups = (scale_groups){0};
    groups->groups = calloc(w.api->node_count, sizeof *groups->groups);
    groups->weights = calloc(w.api->node_count, sizeof *groups->weights);
    if (!groups->groups || !groups->weights) {
        scale_groups_finish(groups);
        return tn_fail(err, TN_E_MEMORY, "groups of %u nodes", w.api->node_count);
    }
    for (uint32_t i = 0; i < w.api->node_count; i++) {
        tn_node node = node_at(&w, i);
        if (is_quantized(&w, &node) && !group_of(groups, node.in[0]))
            add_group(&w, &node);
    }
    for (uint32_t i = 0; i < groups->count; i++)
        list_weights(&w, &groups->groups[i]);
    return TN_OK;
}

void scale_groups_finish(scale_groups *groups)
{
    free(groups->groups);
    free(groups->weights);
    *groups = (scale_groups){0};
}

const scale_group *scale_groups_find(const scale_groups *groups, const char *tensor)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        const scale_group *group = &groups->groups[i];
        for (uint32_t j = 0; j < group->weight_count; j++)
            if (strcmp(groups->weights[group->weight_first + j].tensor, tensor) == 0)
                return group;
    }
    return NULL;
}
