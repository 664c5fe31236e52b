/* runtime/model/graph.h: builds the SSA graph (tenon/graph.h) of a model from its config.
 *
 * graph_builder appends values and nodes with one call per op; decoder.c is the function over it that all families share.
 * A finished graph is immutable.
 */
#ifndef MODEL_GRAPH_H
#define MODEL_GRAPH_H

#include "model/config.h"
#include "tenon/graph.h"

/* The graph of a model. Borrows nothing: config may go. Moved to the caller. Fails only for want of memory, since config has
 * been checked; an architecture that is not in families.c is our bug. */
tn_status model_graph_build(const model_config *config, tn_graph **ret_graph, tn_error *err);
/* One layer of it, as a model of its own: rows come as tn_batch.embed, and TN_WANT_HIDDEN returns what leaves the layer.
 * Weights have the names and shapes that they have in the whole model. */
tn_status model_graph_build_layer(const model_config *config, uint32_t layer, tn_graph **ret_graph, tn_error *err);
void model_graph_free(tn_graph *graph); /* NULL is fine */
/* The accessors for this graph; borrowed until it is freed. */
const tn_graph_api *model_graph_api(const tn_graph *graph);
/* Checkpoint name of weight `weight_id` ("blk.0.attn_q.weight"); its matrix shape [N, K]. */
const char *model_graph_weight_name(const tn_graph *graph, uint32_t weight_id);
void model_graph_weight_shape(const tn_graph *graph, uint32_t weight_id, uint64_t *ret_n, uint64_t *ret_k);
/* Where some rows of a weight lie in the checkpoint. Row i of the part is row row0 + i * row_step of `tensor`, its columns
 * those at column0, column0 + column_step, ...; transposed: column column0 + i * column_step, its rows from row0 on. */
typedef struct weight_part {
    const char *tensor;
    uint64_t tensor_rows, tensor_columns; /* the matrix that the checkpoint must have */
    uint64_t rows;                        /* of the weight */
    uint64_t row0, row_step, column0, column_step;
    bool transposed;
} weight_part;
/* The parts of a weight, in the order of its rows, which they cover. Most weights are one whole tensor of the weight's name.
 * Pointers live as long as the graph. */
uint32_t model_graph_part_count(const tn_graph *graph, uint32_t weight_id);
void model_graph_part(const tn_graph *graph, uint32_t weight_id, uint32_t index, weight_part *ret_part);
/* The value id that describes weight `weight_id` (its first use). */
uint32_t model_graph_weight_value(const tn_graph *graph, uint32_t weight_id);

/* ---- for decoder.c ---- */
typedef struct graph_builder graph_builder;
#define GRAPH_NO_VALUE UINT32_MAX

/* Values. rows x columns weights; name is the checkpoint tensor's. A second value of the same name shares the weight id, and
 * must have the same shape. */
uint32_t graph_weight(graph_builder *b, const char *name, uint64_t rows, uint64_t columns, uint32_t shard,
                      uint32_t shard_unit);
/* The same from `part_count` parts, which are copied. name: the graph's own. */
uint32_t graph_weight_of_parts(graph_builder *b, const char *name, uint64_t rows, uint64_t columns, uint32_t shard,
                               uint32_t shard_unit, const weight_part *parts, uint32_t part_count);
uint32_t graph_constant(graph_builder *b, const char *name, uint32_t count, const float *values); /* copied */
/* A KV group, once per distinct (kind, window, heads, dims); returns its index. */
uint32_t graph_kv_group(graph_builder *b, uint32_t kind, uint32_t window, uint32_t kv_heads, uint32_t head_dim,
                        uint32_t v_dim);

/* Makes the build fail for want of memory. Returns GRAPH_NO_VALUE. */
uint32_t graph_out_of_memory(graph_builder *b);

/* Nodes; each returns its output value. Bias: GRAPH_NO_VALUE for none. Errors are remembered and reported once, by
 * model_graph_build. */
uint32_t graph_embed(graph_builder *b, uint32_t table, double scale);
uint32_t graph_linear(graph_builder *b, uint32_t x, uint32_t weight, uint32_t bias);
uint32_t graph_rms_norm(graph_builder *b, uint32_t x, uint32_t gain, uint32_t width, double eps, double gain_offset);
uint32_t graph_rope(graph_builder *b, uint32_t x, uint32_t inv_freq, uint32_t heads, uint32_t head_dim,
                    uint32_t rotated, uint32_t style, double magnitude);
typedef struct graph_attention_spec {
    uint32_t kv_group, heads, kv_heads, head_dim, v_dim, window;
    double scale, softcap;
} graph_attention_spec;
uint32_t graph_attention(graph_builder *b, uint32_t q, uint32_t k, uint32_t v, uint32_t sinks,
                         const graph_attention_spec *spec); /* the layer index within the group counts up */
uint32_t graph_gated(graph_builder *b, uint32_t gate, uint32_t up, uint32_t activation);
uint32_t graph_add(graph_builder *b, uint32_t left, uint32_t right);
uint32_t graph_add_scaled(graph_builder *b, uint32_t left, uint32_t right, double scale);
/* weight, bias: in the order of TN_MOE_IN_ROUTER.., biases all GRAPH_NO_VALUE or none. */
typedef struct graph_moe_spec {
    uint32_t weight[4], bias[4];
    uint32_t experts, chosen, activation;
    bool normalised;
    double limit, alpha;
} graph_moe_spec;
uint32_t graph_moe(graph_builder *b, uint32_t x, const graph_moe_spec *spec);
uint32_t graph_select(graph_builder *b, uint32_t x);
uint32_t graph_logits(graph_builder *b, uint32_t x, uint32_t weight, uint32_t bias, double scale, double softcap);

#endif
