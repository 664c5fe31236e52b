/* graph.c: the graph's storage, its accessors, and one append function per op.
 *
 * Nodes, values and names are flat arrays that grow by doubling while building and never move afterwards, so that
 * tn_node and tn_value may point into them. Running out of memory is remembered in the builder: every later append is a
 * no-op that returns GRAPH_NO_VALUE. Shapes are asserted, since they follow from a config that has been checked.
 */
#include "model/graph.h"
#include "model/decoder.h"

#include <stdlib.h>
#include <string.h>

enum { NODE_INPUTS_MAX = 9, NODE_ATTRS_MAX = 7, NODE_FATTRS_MAX = 2 };

typedef struct graph_node {
    uint32_t op, in_count, attr_count, fattr_count;
    uint32_t in[NODE_INPUTS_MAX], out;
    int64_t attr[NODE_ATTRS_MAX];
    double fattr[NODE_FATTRS_MAX];
} graph_node;

typedef struct graph_value {
    uint32_t kind, weight_id, shard, shard_unit;
    int64_t dim[2];
    float *constant;    /* owned */
    char *name;         /* owned */
    weight_part *parts; /* owned, tensor names too; NULL: one tensor of the value's name */
    uint32_t part_count;
} graph_value;

struct tn_graph {
    tn_graph_api api;
    graph_node *nodes;
    graph_value *values;
    uint32_t *weight_value; /* [weight_count] first value of each weight */
    tn_kv_group *kv_groups;
    uint32_t node_room, value_room, weight_room, kv_group_room;
};

struct graph_builder {
    tn_graph *graph;
    bool failed; /* out of memory */
};

/* Makes room for one more element; false and b->failed when there is no memory. */
static bool grow(graph_builder *b, void **array, uint32_t count, uint32_t *room, size_t size)
{
    if (b->failed)
        return false;
    if (count < *room)
        return true;
    uint32_t wanted = *room ? *room * 2 : 64;
    void *grown = realloc(*array, wanted * size);
    if (!grown) {
        b->failed = true;
        return false;
    }
    *array = grown;
    *room = wanted;
    return true;
}

/* ---- values ---- */

static uint32_t add_value(graph_builder *b, const char *name, uint32_t kind, int64_t rows, int64_t columns)
{
    tn_graph *graph = b->graph;
    void *values = graph->values;

    bool grown = grow(b, &values, graph->api.value_count, &graph->value_room, sizeof *graph->values);
    graph->values = values;
    char *copy = grown ? strdup(name) : NULL;
    if (!copy) {
        b->failed = true;
        return GRAPH_NO_VALUE;
    }
    graph->values[graph->api.value_count] = (graph_value){.kind = kind, .dim = {rows, columns}, .name = copy};
    return graph->api.value_count++;
}

/* The weight id of a name, or the next free one. Linear: a few hundred names in practice, each compared once. */
static uint32_t weight_id(const tn_graph *graph, const char *name)
{
    for (uint32_t id = 0; id < graph->api.weight_count; id++) {
        if (strcmp(graph->values[graph->weight_value[id]].name, name) == 0)
            return id;
    }
    return graph->api.weight_count;
}

uint32_t graph_weight(graph_builder *b, const char *name, uint64_t rows, uint64_t columns, uint32_t shard,
                      uint32_t shard_unit)
{
    tn_graph *graph = b->graph;
    void *weights = graph->weight_value;

    TN_ASSERT(rows > 0 && columns > 0 && rows < (1u << 30) && columns < (1u << 30));
    bool grown = grow(b, &weights, graph->api.weight_count, &graph->weight_room, sizeof *graph->weight_value);
    graph->weight_value = weights;
    uint32_t value = grown ? add_value(b, name, TN_VALUE_WEIGHT, (int64_t)rows, (int64_t)columns) : GRAPH_NO_VALUE;
    if (value == GRAPH_NO_VALUE)
        return value;

    graph_value *added = &graph->values[value];
    added->weight_id = weight_id(graph, name);
    added->shard = shard;
    added->shard_unit = shard_unit;
    if (added->weight_id == graph->api.weight_count) {
        graph->weight_value[graph->api.weight_count++] = value;
    } else {
        const graph_value *first = &graph->values[graph->weight_value[added->weight_id]];
        TN_ASSERT(first->dim[0] == added->dim[0] && first->dim[1] == added->dim[1]);
    }
    return value;
}

uint32_t graph_out_of_memory(graph_builder *b)
{
    b->failed = true;
    return GRAPH_NO_VALUE;
}

/* Copies the parts; false when there is no memory. What was copied is freed with the value. */
static bool set_parts(graph_value *value, const weight_part *parts, uint32_t part_count)
{
    value->parts = calloc(part_count, sizeof *value->parts);
    for (uint32_t i = 0; value->parts && i < part_count; i++) {
        char *tensor = strdup(parts[i].tensor);
        if (!tensor)
            return false;
        value->parts[i] = parts[i];
        value->parts[i].tensor = tensor;
        value->part_count = i + 1;
    }
    return value->parts != NULL;
}

uint32_t graph_weight_of_parts(graph_builder *b, const char *name, uint64_t rows, uint64_t columns, uint32_t shard,
                               uint32_t shard_unit, const weight_part *parts, uint32_t part_count)
{
    uint32_t value = graph_weight(b, name, rows, columns, shard, shard_unit);
    uint64_t covered = 0;

    TN_ASSERT(part_count > 0);
    for (uint32_t i = 0; i < part_count; i++)
        covered += parts[i].rows;
    TN_ASSERT(covered == rows);
    if (value != GRAPH_NO_VALUE && !set_parts(&b->graph->values[value], parts, part_count))
        b->failed = true;
    return value;
}

uint32_t graph_constant(graph_builder *b, const char *name, uint32_t count, const float *values)
{
    TN_ASSERT(count > 0);
    uint32_t value = add_value(b, name, TN_VALUE_CONSTANT, 1, count);
    float *copy = value != GRAPH_NO_VALUE ? malloc(count * sizeof *copy) : NULL;
    if (!copy) {
        b->failed = true;
        return GRAPH_NO_VALUE;
    }
    memcpy(copy, values, count * sizeof *copy);
    b->graph->values[value].constant = copy;
    return value;
}

uint32_t graph_kv_group(graph_builder *b, uint32_t kind, uint32_t window, uint32_t kv_heads, uint32_t head_dim,
                        uint32_t v_dim)
{
    tn_graph *graph = b->graph;
    void *groups = graph->kv_groups;

    for (uint32_t i = 0; i < graph->api.kv_group_count; i++) {
        const tn_kv_group *g = &graph->kv_groups[i];
        if (g->kind == kind && g->window == window && g->kv_heads == kv_heads && g->head_dim == head_dim &&
            g->v_dim == v_dim)
            return i;
    }
    bool grown = grow(b, &groups, graph->api.kv_group_count, &graph->kv_group_room, sizeof *graph->kv_groups);
    graph->kv_groups = groups;
    if (!grown)
        return 0;
    graph->kv_groups[graph->api.kv_group_count] = (tn_kv_group){.struct_size = sizeof(tn_kv_group),
                                                                .kind = kind,
                                                                .window = window,
                                                                .kv_heads = kv_heads,
                                                                .head_dim = head_dim,
                                                                .v_dim = v_dim};
    return graph->api.kv_group_count++;
}

/* ---- nodes ---- */

static const graph_value *value_at(const graph_builder *b, uint32_t value)
{
    TN_ASSERT(value < b->graph->api.value_count);
    return &b->graph->values[value];
}

static void add_input(graph_node *node, uint32_t value)
{
    if (value == GRAPH_NO_VALUE)
        return;
    TN_ASSERT(node->in_count < NODE_INPUTS_MAX);
    node->in[node->in_count++] = value;
}

/* Appends node, whose output is a new activation named after `stem` ("blk.0.attn_q.weight" loses its ending). */
static uint32_t add_node(graph_builder *b, graph_node node, const char *stem, const char *ending, int64_t rows,
                         int64_t columns)
{
    tn_graph *graph = b->graph;
    void *nodes = graph->nodes;
    char name[160];
    size_t length = strlen(stem);

    if (length > 7 && strcmp(stem + length - 7, ".weight") == 0)
        length -= 7;
    snprintf(name, sizeof name, "%.*s%s", (int)length, stem, ending);
    bool grown = grow(b, &nodes, graph->api.node_count, &graph->node_room, sizeof *graph->nodes);
    graph->nodes = nodes;
    if (!grown)
        return GRAPH_NO_VALUE;
    node.out = add_value(b, name, TN_VALUE_ACTIVATION, rows, columns);
    if (node.out != GRAPH_NO_VALUE)
        graph->nodes[graph->api.node_count++] = node;
    return node.out;
}

uint32_t graph_embed(graph_builder *b, uint32_t table, double scale)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    const graph_value *t = value_at(b, table);
    graph_node node = {.op = TN_OP_EMBED, .fattr_count = 1, .fattr = {scale}};
    add_input(&node, table);
    b->graph->api.vocab_size = (uint32_t)t->dim[0];
    b->graph->api.model_width = (uint32_t)t->dim[1];
    return add_node(b, node, t->name, "", TN_DIM_TOKENS, t->dim[1]);
}

static uint32_t add_matrix_node(graph_builder *b, graph_node node, uint32_t x, uint32_t weight, uint32_t bias,
                                const char *stem)
{
    const graph_value *in = value_at(b, x), *w = value_at(b, weight);

    TN_ASSERT(in->dim[1] == w->dim[1]);
    TN_ASSERT(bias == GRAPH_NO_VALUE || value_at(b, bias)->dim[1] == w->dim[0]);
    add_input(&node, x);
    add_input(&node, weight);
    add_input(&node, bias);
    return add_node(b, node, stem ? stem : w->name, "", in->dim[0], w->dim[0]);
}

uint32_t graph_linear(graph_builder *b, uint32_t x, uint32_t weight, uint32_t bias)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    return add_matrix_node(b, (graph_node){.op = TN_OP_LINEAR}, x, weight, bias, NULL);
}

uint32_t graph_logits(graph_builder *b, uint32_t x, uint32_t weight, uint32_t bias, double scale, double softcap)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    graph_node node = {.op = TN_OP_LOGITS, .fattr_count = 2, .fattr = {scale, softcap}};
    return add_matrix_node(b, node, x, weight, bias, "logits");
}

uint32_t graph_rms_norm(graph_builder *b, uint32_t x, uint32_t gain, uint32_t width, double eps, double gain_offset)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    const graph_value *in = value_at(b, x), *g = value_at(b, gain);
    TN_ASSERT(width > 0 && in->dim[1] % width == 0 && g->dim[1] == width);
    graph_node node = {
        .op = TN_OP_RMS_NORM, .attr_count = 1, .attr = {width}, .fattr_count = 2, .fattr = {eps, gain_offset}};
    add_input(&node, x);
    add_input(&node, gain);
    return add_node(b, node, g->name, "", in->dim[0], in->dim[1]);
}

uint32_t graph_rope(graph_builder *b, uint32_t x, uint32_t inv_freq, uint32_t heads, uint32_t head_dim,
                    uint32_t rotated, uint32_t style, double magnitude)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    const graph_value *in = value_at(b, x), *frequencies = value_at(b, inv_freq);
    TN_ASSERT(in->dim[1] == (int64_t)heads * head_dim);
    TN_ASSERT(rotated % 2 == 0 && rotated <= head_dim && frequencies->dim[1] == rotated / 2);
    graph_node node = {.op = TN_OP_ROPE,
                       .attr_count = 5,
                       .attr = {heads, head_dim, rotated, style, 0},
                       .fattr_count = 1,
                       .fattr = {magnitude}};
    add_input(&node, x);
    add_input(&node, inv_freq);
    return add_node(b, node, in->name, ".rope", in->dim[0], in->dim[1]);
}

uint32_t graph_attention(graph_builder *b, uint32_t q, uint32_t k, uint32_t v, uint32_t sinks,
                         const graph_attention_spec *spec)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    tn_kv_group *group = &b->graph->kv_groups[spec->kv_group];
    TN_ASSERT(spec->kv_group < b->graph->api.kv_group_count && spec->heads % spec->kv_heads == 0);
    TN_ASSERT(group->kv_heads == spec->kv_heads && group->head_dim == spec->head_dim && group->v_dim == spec->v_dim);
    TN_ASSERT(value_at(b, q)->dim[1] == (int64_t)spec->heads * spec->head_dim);
    TN_ASSERT(value_at(b, k)->dim[1] == (int64_t)spec->kv_heads * spec->head_dim);
    TN_ASSERT(value_at(b, v)->dim[1] == (int64_t)spec->kv_heads * spec->v_dim);
    graph_node node = {.op = TN_OP_ATTENTION,
                       .attr_count = 7,
                       .attr = {group->layer_count, spec->kv_group, spec->heads, spec->kv_heads, spec->head_dim,
                                spec->v_dim, spec->window},
                       .fattr_count = 2,
                       .fattr = {spec->scale, spec->softcap}};
    add_input(&node, q);
    add_input(&node, k);
    add_input(&node, v);
    add_input(&node, sinks);
    group->layer_count++;
    return add_node(b, node, value_at(b, q)->name, ".attention", TN_DIM_TOKENS, (int64_t)spec->heads * spec->v_dim);
}

static uint32_t add_pair_node(graph_builder *b, graph_node node, uint32_t left, uint32_t right, const char *ending)
{
    const graph_value *a = value_at(b, left), *c = value_at(b, right);

    TN_ASSERT(a->dim[0] == c->dim[0] && a->dim[1] == c->dim[1]);
    add_input(&node, left);
    add_input(&node, right);
    return add_node(b, node, c->name, ending, a->dim[0], a->dim[1]);
}

uint32_t graph_gated(graph_builder *b, uint32_t gate, uint32_t up, uint32_t activation)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    graph_node node = {.op = TN_OP_GATED, .attr_count = 1, .attr = {activation}};
    return add_pair_node(b, node, gate, up, ".gated");
}

uint32_t graph_add(graph_builder *b, uint32_t left, uint32_t right)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    return add_pair_node(b, (graph_node){.op = TN_OP_ADD}, left, right, ".add");
}

uint32_t graph_add_scaled(graph_builder *b, uint32_t left, uint32_t right, double scale)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    graph_node node = {.op = TN_OP_ADD_SCALED, .fattr_count = 1, .fattr = {scale}};
    return add_pair_node(b, node, left, right, ".add");
}

static void assert_shape(const graph_builder *b, uint32_t value, uint64_t rows, int64_t columns)
{
    const graph_value *v = value_at(b, value);
    TN_ASSERT(v->dim[0] == (int64_t)rows && v->dim[1] == columns);
}

uint32_t graph_moe(graph_builder *b, uint32_t x, const graph_moe_spec *spec)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    const graph_value *in = value_at(b, x);
    uint64_t e = spec->experts;
    int64_t width = in->dim[1], hidden = value_at(b, spec->weight[3])->dim[1];

    TN_ASSERT(spec->chosen >= 1 && spec->chosen <= spec->experts);
    assert_shape(b, spec->weight[0], e, width);
    assert_shape(b, spec->weight[1], e * (uint64_t)hidden, width);
    assert_shape(b, spec->weight[2], e * (uint64_t)hidden, width);
    assert_shape(b, spec->weight[3], e * (uint64_t)width, hidden);
    graph_node node = {.op = TN_OP_MOE,
                       .attr_count = 4,
                       .attr = {spec->experts, spec->chosen, spec->activation, spec->normalised},
                       .fattr_count = 2,
                       .fattr = {spec->limit, spec->alpha}};
    add_input(&node, x);
    for (uint32_t i = 0; i < 4; i++)
        add_input(&node, spec->weight[i]);
    for (uint32_t i = 0; i < 4; i++)
        add_input(&node, spec->bias[i]);
    TN_ASSERT(node.in_count == 5 || node.in_count == 9);
    return add_node(b, node, value_at(b, spec->weight[3])->name, "", in->dim[0], width);
}

uint32_t graph_select(graph_builder *b, uint32_t x)
{
    if (b->failed)
        return GRAPH_NO_VALUE;
    const graph_value *in = value_at(b, x);
    TN_ASSERT(in->dim[0] == TN_DIM_TOKENS);
    graph_node node = {.op = TN_OP_SELECT};
    add_input(&node, x);
    return add_node(b, node, in->name, ".select", TN_DIM_OUTPUTS, in->dim[1]);
}

/* ---- accessors ---- */

static tn_status node_get(const tn_graph *graph, uint32_t index, tn_node *ret_node)
{
    if (index >= graph->api.node_count || !TN_HAS(ret_node, tn_node, fattr))
        return TN_E_ARGUMENT;
    const graph_node *node = &graph->nodes[index];
    *ret_node = (tn_node){.struct_size = sizeof(tn_node),
                          .op = node->op,
                          .in_count = node->in_count,
                          .out_count = 1,
                          .attr_count = node->attr_count,
                          .fattr_count = node->fattr_count,
                          .in = node->in,
                          .out = &node->out,
                          .attr = node->attr,
                          .fattr = node->fattr};
    return TN_OK;
}

static tn_status value_get(const tn_graph *graph, uint32_t index, tn_value *ret_value)
{
    if (index >= graph->api.value_count || !TN_HAS(ret_value, tn_value, name))
        return TN_E_ARGUMENT;
    const graph_value *value = &graph->values[index];
    *ret_value = (tn_value){.struct_size = sizeof(tn_value),
                            .kind = value->kind,
                            .dim = {value->dim[0], value->dim[1]},
                            .weight_id = value->weight_id,
                            .shard = value->shard,
                            .shard_unit = value->shard_unit,
                            .constant = value->constant,
                            .name = value->name};
    return TN_OK;
}

static tn_status kv_group_get(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group)
{
    if (index >= graph->api.kv_group_count || !TN_HAS(ret_group, tn_kv_group, reserved0))
        return TN_E_ARGUMENT;
    *ret_group = graph->kv_groups[index];
    return TN_OK;
}

const tn_graph_api *model_graph_api(const tn_graph *graph)
{
    return &graph->api;
}

uint32_t model_graph_weight_value(const tn_graph *graph, uint32_t id)
{
    TN_ASSERT(id < graph->api.weight_count);
    return graph->weight_value[id];
}

const char *model_graph_weight_name(const tn_graph *graph, uint32_t id)
{
    return graph->values[model_graph_weight_value(graph, id)].name;
}

void model_graph_weight_shape(const tn_graph *graph, uint32_t id, uint64_t *ret_n, uint64_t *ret_k)
{
    const graph_value *value = &graph->values[model_graph_weight_value(graph, id)];
    *ret_n = (uint64_t)value->dim[0];
    *ret_k = (uint64_t)value->dim[1];
}

uint32_t model_graph_part_count(const tn_graph *graph, uint32_t id)
{
    const graph_value *value = &graph->values[model_graph_weight_value(graph, id)];
    return value->parts ? value->part_count : 1;
}

void model_graph_part(const tn_graph *graph, uint32_t id, uint32_t index, weight_part *ret_part)
{
    const graph_value *value = &graph->values[model_graph_weight_value(graph, id)];
    uint64_t rows = (uint64_t)value->dim[0], columns = (uint64_t)value->dim[1];

    TN_ASSERT(index < model_graph_part_count(graph, id));
    *ret_part = value->parts ? value->parts[index]
                             : (weight_part){.tensor = value->name,
                                             .tensor_rows = rows,
                                             .tensor_columns = columns,
                                             .rows = rows,
                                             .row_step = 1,
                                             .column_step = 1};
}

/* ---- life ---- */

enum { ALL_LAYERS = -1 };

static tn_status build(const model_config *config, int64_t layer, tn_graph **ret_graph, tn_error *err)
{
    const model_family *family = model_family_find(config->architecture, NULL);
    TN_ASSERT(family);

    graph_builder builder = {.graph = calloc(1, sizeof(tn_graph))};
    if (!builder.graph)
        return tn_fail(err, TN_E_MEMORY, "no memory for the model graph");
    builder.graph->api = (tn_graph_api){
        .struct_size = sizeof(tn_graph_api), .node = node_get, .value = value_get, .kv_group = kv_group_get};
    if (layer == ALL_LAYERS)
        decoder_build(&builder, config, family);
    else
        decoder_build_layer(&builder, config, family, (uint32_t)layer);
    if (builder.failed) {
        model_graph_free(builder.graph);
        return tn_fail(err, TN_E_MEMORY, "no memory for the model graph of %u layers", config->layers);
    }
    *ret_graph = builder.graph;
    return TN_OK;
}

tn_status model_graph_build(const model_config *config, tn_graph **ret_graph, tn_error *err)
{
    return build(config, ALL_LAYERS, ret_graph, err);
}

tn_status model_graph_build_layer(const model_config *config, uint32_t layer, tn_graph **ret_graph, tn_error *err)
{
    TN_ASSERT(layer < config->layers);
    return build(config, layer, ret_graph, err);
}

void model_graph_free(tn_graph *graph)
{
    if (!graph)
        return;
    for (uint32_t i = 0; i < graph->api.value_count; i++) {
        for (uint32_t j = 0; j < graph->values[i].part_count; j++)
            free((char *)graph->values[i].parts[j].tensor);
        free(graph->values[i].parts);
        free(graph->values[i].constant);
        free(graph->values[i].name);
    }
    free(graph->values);
    free(graph->nodes);
    free(graph->weight_value);
    free(graph->kv_groups);
    free(graph);
}
