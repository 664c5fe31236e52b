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

static tn_value weight_value(const walk *w, uint32_t value_id)
{
    tn_value value = {.struct_size = sizeof value};
    tn_status status = w->api->value(w->graph, value_id, &value);
    TN_ASSERT(status == TN_OK && value.kind == TN_VALUE_WEIGHT);
    return value;
}

/* ---- tensors ---- */

/* The one tensor that holds a weight's rows; a vector lies along its columns. */
static tensor_rows rows_of(const walk *w, uint32_t value_id)
{
    uint32_t id = weight_value(w, value_id).weight_id;
    weight_part part;

    model_graph_part(w->graph, id, 0, &part);
    TN_ASSERT(model_graph_part_count(w->graph, id) == 1 && part.row_step == 1 && !part.transposed);
    uint64_t n, k;
    model_graph_weight_shape(w->graph, id, &n, &k);
    return n == 1 ? (tensor_rows){part.tensor, part.column0, k} : (tensor_rows){part.tensor, part.row0, part.rows};
}

static tensor_rows expert_of(const walk *w, uint32_t value_id, uint32_t expert)
{
    weight_part part;
    model_graph_part(w->graph, weight_value(w, value_id).weight_id, expert, &part);
    return (tensor_rows){part.tensor, part.row0, part.rows};
}

static bool is_quantized(const walk *w, const tn_node *node)
{
    if (node->op != TN_OP_LINEAR)
        return false;
    weight_part part;
    model_graph_part(w->graph, weight_value(w, node->in[1]).weight_id, 0, &part);
    const shard_item *item = shard_plan_find(w->plan, part.tensor);
    return item && item->type;
}

static bool has_quantized_experts(const walk *w, const tn_node *node)
{
    return node->op == TN_OP_MOE &&
           shard_plan_has_experts(w->plan, w->graph, weight_value(w, node->in[TN_MOE_IN_GATE]).weight_id);
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

/* Everything that reads the value is quantized (or a router), and of one group. */
static bool only_scaled_read(const walk *w, uint32_t value)
{
    bool linear = false, mixture = false;

    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        for (uint32_t j = 0; j < node.in_count; j++) {
            if (node.in[j] != value)
                continue;
            if (j > 0 || !(is_quantized(w, &node) || has_quantized_experts(w, &node)))
                return false;
            *(node.op == TN_OP_MOE ? &mixture : &linear) = true;
        }
    }
    return linear != mixture;
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
        origin.out[0] == group->input && only_scaled_read(w, group->input)) {
        group->fold = FOLD_GAIN;
        group->gain = rows_of(w, origin.in[1]);
        group->gain_offset = origin.fattr[TN_RMS_NORM_F_GAIN_OFFSET];
    } else if (count_readers(w, origin.out[0]) != 1 || count_readers(w, group->input) != 1) {
        return;
    } else if (origin.op == TN_OP_GATED) {
        fold_into_rows(w, group, origin.in[1]);
    } else if (origin.op == TN_OP_ATTENTION && fold_into_rows(w, group, origin.in[2])) {
        group->head_dim = (uint32_t)origin.attr[TN_ATTENTION_A_V_DIM];
        group->heads_per_kv = (uint32_t)(origin.attr[TN_ATTENTION_A_HEADS] / origin.attr[TN_ATTENTION_A_KV_HEADS]);
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

static bool has_group(const scale_groups *groups, uint32_t input)
{
    for (uint32_t i = 0; i < groups->count; i++)
        if (groups->groups[i].input == input)
            return true;
    return false;
}

static void add_weight(const walk *w, scale_group *group, tensor_rows rows)
{
    w->groups->weights[w->groups->weight_count++] = rows;
    group->weight_count++;
}

/* A group of the node's input, its scales' place chosen, no weights yet. */
static scale_group *add_group(const walk *w, const tn_node *node, uint32_t reader)
{
    scale_group *group = &w->groups->groups[w->groups->count++];
    tn_value value = weight_value(w, reader);

    *group = (scale_group){.input = node->in[0],
                           .reader = value.name,
                           .expert = -1,
                           .weight_first = w->groups->weight_count,
                           .columns = (uint64_t)value.dim[1]};
    choose_fold(w, group);
    return group;
}

/* All LINEAR nodes that read what this one does, in the order of the graph. */
static void add_linears(const walk *w, const tn_node *first)
{
    scale_group *group = add_group(w, first, first->in[1]);

    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        if (is_quantized(w, &node) && node.in[0] == group->input)
            add_weight(w, group, rows_of(w, node.in[1]));
    }
}

/* Down of one expert; its input is linear in the rows of the expert's up. */
static void add_expert(const walk *w, const tn_node *node, uint32_t expert)
{
    tn_value down = weight_value(w, node->in[TN_MOE_IN_DOWN]);
    scale_group *group = &w->groups->groups[w->groups->count++];

    *group = (scale_group){.input = node->in[0],
                           .reader = down.name,
                           .expert = expert,
                           .weight_first = w->groups->weight_count,
                           .columns = (uint64_t)down.dim[1],
                           .scale_count = (uint64_t)down.dim[1],
                           .fold = FOLD_ROWS,
                           .weight = expert_of(w, node->in[TN_MOE_IN_UP], expert)};
    add_weight(w, group, expert_of(w, node->in[TN_MOE_IN_DOWN], expert));
}

static void add_experts(const walk *w, const tn_node *node)
{
    uint32_t experts = (uint32_t)node->attr[TN_MOE_A_EXPERTS];
    scale_group *group = add_group(w, node, node->in[TN_MOE_IN_GATE]);

    group->router = rows_of(w, node->in[TN_MOE_IN_ROUTER]);
    for (uint32_t e = 0; e < experts; e++) {
        add_weight(w, group, expert_of(w, node->in[TN_MOE_IN_GATE], e));
        add_weight(w, group, expert_of(w, node->in[TN_MOE_IN_UP], e));
    }
    for (uint32_t e = 0; e < experts; e++)
        add_expert(w, node, e);
}

/* Room for a group per node and expert, and for three weights each. */
static tn_status make_room(const walk *w, tn_error *err)
{
    uint64_t most = w->api->node_count;

    for (uint32_t i = 0; i < w->api->node_count; i++) {
        tn_node node = node_at(w, i);
        most += node.op == TN_OP_MOE ? (uint64_t)node.attr[TN_MOE_A_EXPERTS] : 0;
    }
    w->groups->groups = calloc(most, sizeof *w->groups->groups);
    w->groups->weights = calloc(3 * most, sizeof *w->groups->weights);
    if (w->groups->groups && w->groups->weights)
        return TN_OK;
    scale_groups_finish(w->groups);
    return tn_fail(err, TN_E_MEMORY, "groups of %llu weights", (unsigned long long)(3 * most));
}

tn_status scale_groups_init(scale_groups *groups, const tn_graph *graph, const shard_plan *plan, tn_error *err)
{
    walk w = {.graph = graph, .api = model_graph_api(graph), .plan = plan, .groups = groups};

    *groups = (scale_groups){0};
    tn_status status = make_room(&w, err);
    for (uint32_t i = 0; i < w.api->node_count && status == TN_OK; i++) {
        tn_node node = node_at(&w, i);
        if (is_quantized(&w, &node) && !has_group(groups, node.in[0]))
            add_linears(&w, &node);
        else if (has_quantized_experts(&w, &node))
            add_experts(&w, &node);
    }
    return status;
}

void scale_groups_finish(scale_groups *groups)
{
    free(groups->groups);
    free(groups->weights);
    *groups = (scale_groups){0};
}
