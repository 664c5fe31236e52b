/* tenon/graph.h: the model as a read-only SSA graph of coarse ops.
 *
 * The core builds one graph per model; a backend reads it in `check`, `plan` and `compile` and fuses as it likes.
 * Values are numbered 0..value_count-1, nodes are in execution order, every activation is written by one node.
 * Symbolic extents: TN_DIM_TOKENS is the batch's token rows (T), TN_DIM_OUTPUTS its output rows (O).
 * Glossary: M model width, H query heads, G key/value heads, D head width, F feed-forward width, V vocabulary,
 * E experts.
 */
#ifndef TENON_GRAPH_H
#define TENON_GRAPH_H

#include "tenon/encoding.h"
#include "tenon/error.h"

TN_BEGIN_DECLS

enum { TN_DIM_TOKENS = -1, TN_DIM_OUTPUTS = -2 };

/* The op registry: appended to, never renumbered. in/out/attr/fattr are listed in order; [x] is optional and may
 * be missing only at the end of the list. Activations are float32 in meaning; a backend may store them narrower.
 *
 * EMBED      in: table weight [V, M]; the batch's tokens          out: [T, M]      fattr: scale
 *            row `token` of the table times scale; or, for TN_TOKEN_EMBED, the row of tn_batch.embed as it is
 * LINEAR     in: x [R, K], weight [N, K], [bias weight [1, N]]    out: [R, N]      y = x W^T + b
 * RMS_NORM   in: x [R, C], gain weight [1, A]                     out: [R, C]      attr: A; fattr: eps, gain_offset
 *            over runs of A elements (A divides C): x / sqrt(mean(x^2) + eps) * (gain + gain_offset)
 * ROPE       in: x [T, C], inv_freq constant [1, R/2]             out: [T, C]
 *            attr: head_count, D, R (rotated elements, even, <= D), style, axis;  fattr: magnitude
 *            per head, pair i turns by position[axis] * inv_freq[i] (float32), results times magnitude;
 *            TN_ROPE_HALVES pairs (i, i + R/2), TN_ROPE_PAIRS pairs (2i, 2i + 1)
 * ATTENTION  in: q [T, H*D], k [T, G*D], v [T, G*Dv], [sinks weight [1, H]]   out: [T, H*Dv]
 *            attr: kv_layer (0.. in its group), kv_group, H, G, D, Dv, window (0: none); fattr: scale, softcap (0: none)
 *            writes k and v of the batch's tokens into the KV pages, then attends causally to positions
 *            p - window < j <= p; softmax in float32; head h reads key/value head h / (H / G)
 * GATED      in: gate [R, F], up [R, F]                           out: [R, F]      attr: activation; act(gate) * up
 * ADD        in: a, b                                             out: a + b
 * SELECT     in: x [T, C]                                         out: [O, C]      rows tn_batch.out_row
 * LOGITS     in: x [O, M], weight [V, M], [bias]                  out: [O, V]      fattr: scale, softcap (0: none)
 *            y = softcap * tanh(scale * (x W^T + b) / softcap); the graph's last node
 * ADD_SCALED in: a, b                                             out: a + scale * b                fattr: scale
 * MOE        in: x [R, M], router weight [E, M], gate weight [E*F, M], up weight [E*F, M], down weight [E*M, F],
 *                [router bias weight [1, E], gate bias weight [E, F], up bias weight [E, F], down bias weight [E, M]]
 *            attr: E, chosen, activation, normalised;  fattr: limit, alpha                     out: [R, M]
 *            p = softmax(x router^T + bias) in float32 or better; the `chosen` experts of largest p, the lower number
 *            among equals, each give p_e * (down_e h_e + bias), h_e = act(gate_e x + bias) * (up_e x + bias); normalised
 *            (1): the chosen p are divided by their sum. Expert e's matrices are rows e*F.. (gate, up) and e*M.. (down).
 *            Activations are those of GATED, and TN_ACT_SWIGLU_CLAMPED: with g = min(gate, limit) and
 *            u = clamp(up, -limit, limit), h = g * sigmoid(alpha * g) * (u + 1)
 */
enum {
    TN_OP_EMBED = 1,
    TN_OP_LINEAR = 2,
    TN_OP_RMS_NORM = 3,
    TN_OP_ROPE = 4,
    TN_OP_ATTENTION = 5,
    TN_OP_GATED = 6,
    TN_OP_ADD = 7,
    TN_OP_SELECT = 8,
    TN_OP_LOGITS = 9,
    TN_OP_ADD_SCALED = 10,
    TN_OP_MOE = 11
};

/* Position of each attribute in tn_node.attr / fattr. */
enum { TN_EMBED_F_SCALE = 0 };
enum { TN_RMS_NORM_A_WIDTH = 0, TN_RMS_NORM_F_EPS = 0, TN_RMS_NORM_F_GAIN_OFFSET = 1 };
enum {
    TN_ROPE_A_HEADS = 0,
    TN_ROPE_A_HEAD_DIM = 1,
    TN_ROPE_A_ROTATED = 2,
    TN_ROPE_A_STYLE = 3,
    TN_ROPE_A_AXIS = 4,
    TN_ROPE_F_MAGNITUDE = 0
};
enum { TN_ROPE_HALVES = 0, TN_ROPE_PAIRS = 1 };
enum {
    TN_ATTENTION_A_LAYER = 0,
    TN_ATTENTION_A_GROUP = 1,
    TN_ATTENTION_A_HEADS = 2,
    TN_ATTENTION_A_KV_HEADS = 3,
    TN_ATTENTION_A_HEAD_DIM = 4,
    TN_ATTENTION_A_V_DIM = 5,
    TN_ATTENTION_A_WINDOW = 6,
    TN_ATTENTION_F_SCALE = 0,
    TN_ATTENTION_F_SOFTCAP = 1
};
enum { TN_GATED_A_ACTIVATION = 0 };
enum { TN_ACT_SILU = 1, TN_ACT_GELU_TANH = 2, TN_ACT_GELU = 3, TN_ACT_SWIGLU_CLAMPED = 4 };
enum { TN_LOGITS_F_SCALE = 0, TN_LOGITS_F_SOFTCAP = 1 };
enum { TN_ADD_SCALED_F_SCALE = 0 };
enum {
    TN_MOE_IN_ROUTER = 1,
    TN_MOE_IN_GATE = 2,
    TN_MOE_IN_UP = 3,
    TN_MOE_IN_DOWN = 4,
    TN_MOE_IN_ROUTER_BIAS = 5,
    TN_MOE_IN_GATE_BIAS = 6,
    TN_MOE_IN_UP_BIAS = 7,
    TN_MOE_IN_DOWN_BIAS = 8,
    TN_MOE_A_EXPERTS = 0,
    TN_MOE_A_CHOSEN = 1,
    TN_MOE_A_ACTIVATION = 2,
    TN_MOE_A_NORMALISED = 3,
    TN_MOE_F_LIMIT = 0,
    TN_MOE_F_ALPHA = 1
};

typedef struct tn_graph tn_graph;

typedef struct tn_node {
    uint32_t struct_size, op; /* TN_OP_* */
    uint32_t in_count, out_count, attr_count, fattr_count;
    const uint32_t *in, *out; /* value ids */
    const int64_t *attr;
    const double *fattr;
} tn_node;
TN_SEALED(tn_node, fattr);

enum { TN_VALUE_ACTIVATION = 1, TN_VALUE_WEIGHT = 2, TN_VALUE_CONSTANT = 3 };
/* Where tensor parallelism may cut a weight: by rows (N; "column parallel"), by columns (K), or not at all. A cut by
 * columns implies a sum over ranks right after the node. Rows come in whole units of `shard_unit` (a head's width). A bias is
 * marked TN_SHARD_NONE and follows its matrix: cut where that is cut by rows, added by one rank where it is cut by columns. */
enum { TN_SHARD_NONE = 0, TN_SHARD_ROWS = 1, TN_SHARD_COLUMNS = 2 };

typedef struct tn_value {
    uint32_t struct_size, kind; /* TN_VALUE_* */
    int64_t dim[2];             /* rows, columns; TN_DIM_* for activations' rows */
    uint32_t weight_id;         /* weights: 0..weight_count-1, several values may share one (tied embeddings) */
    uint32_t shard;             /* weights: TN_SHARD_* */
    uint32_t shard_unit;        /* weights: rows or columns that stay together */
    uint32_t reserved0;
    const float *constant; /* constants: dim[0] * dim[1] floats, borrowed for the graph's life; else NULL */
    const char *name;      /* for messages: "blk.3.attn_q"; never NULL */
} tn_value;
TN_SEALED(tn_value, name);

/* KV groups: layers whose pages are allocated together. */
enum { TN_KV_FULL = 1, TN_KV_WINDOW = 2 };
typedef struct tn_kv_group {
    uint32_t struct_size, kind; /* TN_KV_* */
    uint32_t layer_count;       /* attention nodes with this kv_group */
    uint32_t window;            /* tokens; 0 for TN_KV_FULL */
    uint32_t kv_heads, head_dim, v_dim, reserved0; /* the same for all its layers */
} tn_kv_group;
TN_SEALED(tn_kv_group, reserved0);

/* Accessors. Output structs: the caller sets struct_size; pointers inside live as long as the graph. */
typedef struct tn_graph_api {
    uint32_t struct_size;
    uint32_t node_count, value_count, weight_count, kv_group_count, vocab_size, model_width, reserved0;
    tn_status (*node)(const tn_graph *graph, uint32_t index, tn_node *ret_node);            /* [any] */
    tn_status (*value)(const tn_graph *graph, uint32_t index, tn_value *ret_value);         /* [any] */
    tn_status (*kv_group)(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group);   /* [any] */
} tn_graph_api;
TN_SEALED(tn_graph_api, kv_group);

TN_END_DECLS
#endif
