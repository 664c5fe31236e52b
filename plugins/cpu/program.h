/* plugins/cpu/program.h: the execution plan: a graph turned into a flat array of fused steps over planned buffers.
 *
 * Fusions: RMS_NORM + quantise; LINEARs of one input in one step; LINEAR + bias + ADD; gate + up LINEARs + GATED +
 * quantise; ROPE of q and k + KV write; ATTENTION + quantise. Whatever matches none of them runs as a step of its own.
 * Building a program touches no weight and allocates little, so plan and compile share it and cannot disagree.
 */
#ifndef CPU_PROGRAM_H
#define CPU_PROGRAM_H

#include "weight.h"

#define NONE UINT32_MAX /* a macro: enumerators are ints */

enum {
    PARTS_MAX = 4,      /* linears of one input in one step */
    ROW_CHUNK = 96,     /* rows of one linear work item */
    TILE_COLUMNS = 128, /* columns of one work item of few rows */
    TILE_FLOATS = 8192, /* of a thread's tile */
    FEW_ROWS = 4,
    ATTEND_ROWS_MAX = 16,  /* rows of one attention task */
    ATTEND_HEADS_MAX = 16, /* query heads of one attention item */
    SPLIT_QUERIES = 12,    /* sizing of the partial buffer */
    SPLIT_ITEMS = 4,       /* times threads: fewer items than this are split by span */
    ROPES_MAX = 4,
    TOP_MAX = 128 /* top_logprobs of a batch */
};

/* A buffer in the activation arena: rows of float32, or rows prepared for products. */
typedef struct buffer {
    uint32_t form;            /* FORM_* */
    uint32_t columns, stride; /* stride in floats; for prepared rows k_pad */
    uint32_t tile_stride;     /* of prepared rows; 0: none */
    uint32_t rows;            /* capacity */
    uint32_t first, last;     /* steps */
    uint64_t bytes, offset;
} buffer;

typedef struct linear_part {
    uint32_t weight, bias; /* weight ids; bias may be NONE */
    uint32_t in;           /* buffer in the form and order that the weight multiplies */
    uint32_t residual;     /* buffer added at the end, or NONE */
    uint32_t out;          /* buffer */
} linear_part;

typedef struct rope_use {
    uint32_t table; /* index of program.rope, NONE: not rotated */
    uint32_t heads, head_dim, rotated, style;
} rope_use;

enum {
    STEP_EMBED,
    STEP_NORM,
    STEP_QUANTIZE,
    STEP_PERMUTE, /* in[0] in the order of each part's columns, to part.out */
    STEP_LINEAR,
    STEP_GATED_LINEAR, /* part[0] gate, part[1] up */
    STEP_KV,           /* rope q in place, rope k, write k and v */
    STEP_ATTEND,
    STEP_ATTEND_END, /* merge split spans, quantise */
    STEP_ROPE,
    STEP_GATED,
    STEP_ADD,
    STEP_SELECT,
    STEP_LOGITS,
    STEP_ADD_SCALED,
    STEP_MOE_ROUTE,   /* router logits to experts and weights */
    STEP_MOE_GATHER,  /* rows in the order of their experts, once per choice; to part.out in that of its columns too */
    STEP_MOE_GATED,   /* part[0] gate, part[1] up of each expert */
    STEP_MOE_PERMUTE, /* in[0] in the order of the columns of its expert in part[0], to part.out */
    STEP_MOE_DOWN,
    STEP_MOE_COMBINE /* the weighted sum of a row's choices */
};

typedef struct step {
    uint32_t kind;
    bool outputs;               /* rows are output rows, not token rows */
    uint32_t in[3];             /* buffers, NONE */
    uint32_t out;               /* float32 buffer, or NONE */
    uint32_t quant[FORM_COUNT]; /* buffers that receive the result prepared for products, or NONE */
    uint32_t columns;
    uint32_t gain;              /* NORM: weight id; EMBED: table; ATTEND: sinks or NONE */
    uint32_t width, activation; /* NORM: run length */
    float eps, offset, scale, cap;
    uint32_t part_count;
    linear_part part[PARTS_MAX];
    rope_use q_rope, k_rope;
    uint32_t group, layer, heads, kv_heads, head_dim, v_dim, window;
    uint32_t experts, chosen; /* MOE */
    bool normalised;
    float limit, alpha;
} step;

/* A rotation table [max_tokens][rotated / 2] of cosines and one of sines, filled once per batch. */
typedef struct rope_table {
    const float *inv_freq;
    uint32_t half, axis;
    float magnitude;
    uint64_t offset; /* cos; sin follows */
} rope_table;

typedef struct kv_layout {
    tn_kv_group shape;
    uint32_t store, v_pad, table_stride; /* table_stride: pages of a sequence */
    uint64_t k_bytes, v_bytes;           /* of one head in a page */
    uint64_t layer_page_bytes, page_bytes;
} kv_layout;

typedef struct limits {
    uint32_t max_tokens, max_seqs, max_outputs, max_model_len, threads;
    bool tiles; /* the family multiplies in tiles: rows are prepared for them too */
} limits;

typedef struct program {
    limits limits;
    uint32_t vocab, width;
    step *steps;
    uint32_t step_count;
    buffer *buffers;
    uint32_t buffer_count;
    weight *weights;     /* [weight_count] */
    const char **names;  /* [weight_count] borrowed from the graph */
    uint64_t *weight_at; /* [weight_count] offset in the weight arena */
    uint32_t weight_count;
    kv_layout *kv; /* [group_count] */
    uint32_t group_count;
    rope_table rope[ROPES_MAX];
    uint32_t rope_count;
    uint32_t hidden;      /* buffer that enters LOGITS */
    uint32_t logits;      /* buffer */
    uint32_t attend_rows; /* rows of one attention task */
    uint32_t queries_max, v_pad_max, head_dim_max, columns_max;
    uint32_t experts_max, choices_max;                     /* of a mixture; rows times chosen experts */
    uint64_t weight_bytes, activation_bytes, logits_bytes; /* of the three arenas */
    uint64_t logits_at;                                    /* always 0: the logits buffer starts its arena */
} program;

/* Bytes of one thread's private memory and where its parts begin. */
typedef struct thread_layout {
    uint64_t kernel, tile, second_tile, row, query, state, span_out, sampler, sample_row, bytes;
} thread_layout;
void program_thread_layout(const program *p, thread_layout *ret);

/* The arrays of a buffer of prepared rows that begins at `base`. */
quant_rows buffer_rows(const buffer *n, uint8_t *base);

/* Builds a program for `threads` threads; tiles: see limits. TN_E_UNSUPPORTED names the first node that cannot run
 * (bad, bad_count: all of them, as in tn_backend.check; bad may be NULL). The graph outlives the program. Moved to the
 * caller. */
tn_status program_build(const tn_compile *compile, uint32_t threads, bool tiles, uint32_t *bad, uint32_t *bad_count,
                        program **ret_program, tn_error *err);
/* NULL is fine. */
void program_free(program *p);
/* Partial results of split attention: floats in the shared buffer. */
uint64_t program_partial_floats(const program *p);

#endif
