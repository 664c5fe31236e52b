/* plugins/cuda_tp/program.h: the execution plan of one rank: a graph cut over ranks and lowered to kernel launches over
 * planned buffers.
 *
 * All ranks run one program: their parts have equal shapes, and what differs (first row, first head) is computed from
 * the rank. Building it touches no weight and no device, so plan and compile share it and cannot disagree.
 *
 * Types: the residual stream is f32; what enters a product, keys, values and attention are bf16; a product's part that
 * ranks add up is bf16 when there are several, f32 when there is one.
 */
#ifndef CUDA_TP_PROGRAM_H
#define CUDA_TP_PROGRAM_H

#include "kernels/launch.h"
#include "matmul.h"
#include "partition.h"

enum {
    KV_PAGE_TOKENS = 16,
    SPAN_TOKENS = 256, /* keys of one attention span */
    ALIGNMENT = 256,   /* of every buffer and plane */
    GROUPS_MAX = 16,   /* of KV */
    GRAPHS_MAX = 64,   /* buckets */
    SAMPLE_TOP_MAX = CUDA_TOP_MAX
};

/* How many rows a step has. */
enum { ROWS_TOKENS, ROWS_OUTPUTS };

typedef struct buffer {
    uint32_t type, columns, stride; /* type: TN_F32, TN_BF16; 0: plain bytes */
    uint32_t first, last;           /* steps */
    uint64_t bytes, offset;         /* in the activation arena */
} buffer;

/* A buffer, or a rank's columns of one that holds all of them. */
typedef struct operand {
    uint32_t buffer;
    uint32_t part_columns; /* 0: all; else rank r reads from column r / replicas * part_columns on */
    uint32_t replicas;
} operand;

enum {
    STEP_EMBED,
    STEP_LINEAR,
    STEP_NORM, /* in[1]: the delta of a residual sum, whose result is sum */
    STEP_CAST,
    STEP_ADD, /* in[0] + scale * in[1] */
    STEP_GATED,
    STEP_ROPE_KV, /* in: q, k, v; q is turned in place */
    STEP_ATTEND,
    STEP_SELECT,
    STEP_PERMUTE, /* out = in[0] in the column order of weight; sum: where ranks' columns are gathered, NONE: it has all
                   */
    STEP_REDUCE,  /* out = sum over ranks of in[0]; sum: scratch of ordered_sum, NONE: in any order */
    STEP_ROUTE,   /* MOE, from router logits to sorted choices */
    STEP_EXPERT,  /* a product of a mixture */
    STEP_COMBINE,
    STEP_GATHER, /* logits: out = ranks' columns side by side */
    STEP_SOFTCAP
};

/* Scratch of a mixture: one set, since mixtures follow each other. */
typedef struct moe_scratch {
    uint32_t expert, weight, expert_start, place, place_row, task, task_count; /* buffers */
} moe_scratch;

typedef struct step {
    uint32_t kind, rows; /* ROWS_* */
    operand in[3];
    uint32_t out, sum;     /* buffers, NONE */
    uint32_t columns;      /* of out, this rank's */
    uint32_t weight, bias; /* weight ids, NONE; NORM: gain; ATTEND: sinks in bias */
    uint32_t shape;        /* LINEAR: of p->shapes, NONE: our kernels alone */
    bool bias_by_rows;     /* bias begins at the rank's first row; else only rank 0 adds it */
    bool choices;          /* GATED: rows are choices of a mixture */
    bool gather;           /* EXPERT, PERMUTE: inputs are rows of the batch, found by place_row */
    uint32_t run, activation;
    float scale, eps, offset, cap, limit, alpha;
    uint32_t group, layer, heads, kv_heads, window; /* attention; heads: this rank's */
    uint32_t total_heads, total_kv_heads;
    uint32_t rope; /* value id of the frequencies, NONE: not rotated */
    uint32_t rotated, style;
    float magnitude;
    uint32_t experts, chosen;
    bool normalised;
    moe_scratch moe;
} step;

/* A weight as one rank holds it. */
typedef struct program_weight {
    const char *name; /* borrowed from the graph */
    tn_enc enc;       /* as it arrives */
    tn_enc own;       /* as a rank has it: where its rows share one scale with other ranks', among themselves */
    uint64_t rows, columns;
    uint32_t roles;
    weight_cut cut;
    cuda_weight layout; /* matrices; no pointers */
    cuda_weight_size size;
    uint64_t offset, bytes; /* in the weight arena; vectors: f32 [rows, columns] */
    uint64_t perm_at;       /* behind offset: u32 [perm_count][cut.columns], if its columns are permuted */
} program_weight;

typedef struct kv_layout {
    tn_kv_group shape;
    uint32_t kv_heads;     /* this rank's */
    uint32_t task_rows;    /* token rows of one attention task */
    uint32_t table_stride; /* pages of a sequence */
    uint32_t table_first;  /* entries of the groups before */
    uint32_t type;
    uint64_t layer_page_bytes, page_bytes;
} kv_layout;

/* A shape of dense products, with a step that has it and has room for the most rows. */
typedef struct product_shape {
    matmul_shape shape;
    uint32_t step;
} product_shape;

/* A rotation's frequencies in the weight arena. */
typedef struct constant_place {
    uint32_t value;
    uint64_t offset;
} constant_place;
enum { CONSTANTS_MAX = 8 };

typedef struct program {
    tn_compile request; /* what it was built for; its arrays are gone */
    graph_view view;
    uint32_t world;
    uint32_t vocab, width;
    uint32_t reduce_type;
    step *steps;
    uint32_t step_count;
    buffer *buffers;
    uint32_t buffer_count;
    program_weight *weights;     /* [weight_count] */
    kv_layout *kv;               /* [kv_group_count] */
    uint32_t bucket[GRAPHS_MAX]; /* rows of the graphs, ascending */
    uint32_t bucket_count;
    constant_place constant[CONSTANTS_MAX];
    uint32_t constant_count;
    uint32_t hidden;               /* f32 buffer that enters LOGITS */
    uint32_t logits;               /* f32 buffer [O, V], in the logits arena */
    uint32_t heads_max, v_dim_max; /* this rank's query heads; Dv */
    product_shape *shapes;         /* of products that cuBLASLt may do: none with batch_invariant */
    uint32_t shape_count;
    uint64_t split_floats;                   /* scratch of products that split K */
    uint32_t reduce_columns;                 /* widest row that ranks add up or gather */
    uint64_t weight_bytes, activation_bytes; /* of the arenas */
} program;

/* Builds the program of `world` ranks. TN_E_UNSUPPORTED names the first node that cannot run (bad, bad_count: all of
 * them, as in tn_backend.check; bad may be NULL), or a degree that does not divide the model. Moved to the caller. */
tn_status program_build(const tn_compile *compile, uint32_t world, uint32_t *bad, uint32_t *bad_count,
                        program **ret_program, tn_error *err);
void program_free(program *p); /* NULL is fine */

/* Bytes of rows of a buffer at capacity. */
static inline uint64_t align_up(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- between program.c, lower.c and node_check.c ---- */

typedef struct value_place {
    operand at;
    bool known, cut; /* cut: this rank's columns only */
    uint32_t cast;   /* bf16 copy of an f32 buffer, NONE */
} value_place;

typedef struct builder {
    program *p;
    const graph_view *view;
    value_place *place; /* [value_count] */
    bool *done;         /* [node_count] swallowed by an earlier step */
    uint32_t step_capacity, buffer_capacity;
    bool failed; /* out of memory */
    moe_scratch moe;
} builder;

/* TN_E_UNSUPPORTED if the kernels cannot run the node. */
tn_status node_check(const graph_view *view, uint32_t index, tn_error *err);
/* Appends the steps of all nodes; fails only by b->failed. */
void lower_graph(builder *b);
/* A buffer of rows (ROWS_*; times `each` rows) and its index. */
uint32_t buffer_add(builder *b, uint32_t type, uint32_t columns, uint32_t rows, uint32_t each);
uint32_t buffer_add_bytes(builder *b, uint64_t bytes);
step *step_add(builder *b, uint32_t kind, uint32_t rows);

#endif
