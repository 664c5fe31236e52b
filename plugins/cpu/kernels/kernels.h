/* plugins/cpu/kernels/kernels.h: the table of kernels that every instruction-set family fills.
 *
 * All families give the same bits (see isa.h), but for AMX on bfloat16 and e4m3 weights, whose tiles sum in their own
 * order. No kernel's result for a row depends on the rows beside it, so the choice of row blocks and of threads is a
 * matter of speed only. Kernels are pure: they read and write what their arguments name, keep no state and never fail.
 * Layouts are made by weight_*.c (weights), program_graph.c (pages) and program_memory.c (rows).
 */
#ifndef CPU_KERNELS_H
#define CPU_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LANES = 16,        /* outputs of a weight panel, tokens of a KV page */
    K_BLOCK = 32,      /* elements of K in one storage block of codes */
    K_CHUNK_MAX = 640, /* elements of K unpacked at once: 20 KiB of int16 panel */
    K_SUM = 64,        /* float weights: elements of K summed before they join the total */
    SPAN_TOKENS = 256, /* absolute positions [256 s, 256 s + 256) form attention span s */
    SPAN_PAGES = SPAN_TOKENS / LANES,
    QUERIES_MAX = 48, /* query vectors (rows x heads of one kv head) of one attention item */
    TILE_ROWS = 16    /* rows of a matrix tile; buffers that tiles read have room for a multiple of it */
};

/* How a row enters a matrix product. */
enum {
    FORM_16,    /* int16, one scale per 16 elements: weights of groups of 16 */
    FORM_32,    /* int16, one scale per 32 */
    FORM_SPLIT, /* two bfloat16 that add up to the float32 within 2^-17: bfloat16 and e4m3 weights in tiles */
    FORM_COUNT,
    FORM_FLOAT = FORM_COUNT /* the float32 row itself */
};

/* Storage of float data: the KV cache and float weights, e4m3 only these. */
enum { STORE_F32 = 0, STORE_F16 = 1, STORE_BF16 = 2, STORE_E4M3 = 3 };

/* Rows prepared for products. FORM_16 and FORM_32: int16, one scale per `block` elements of K: x ~ scale * q.
 * tiles: the same rows as matrix tiles read them, for families that have any: per K_BLOCK the high bytes of q, then the
 * low bytes, both in the order of amx_affine.c; FORM_SPLIT has tiles only: per K_BLOCK the high parts, then the low. */
typedef struct quant_rows {
    int16_t *q;     /* [rows, k_pad] */
    float *scale;   /* [rows, blocks] */
    float *sum;     /* [rows, blocks]  scale * sum of q, what a group's minimum is multiplied with */
    int32_t *isum;  /* [rows, blocks]  sum of q, what an integer zero point is multiplied with */
    uint8_t *tiles; /* [rows, tile_stride] 64-byte aligned; NULL: this family has none */
    uint32_t k_pad, block, blocks, form; /* k_pad: multiple of K_BLOCK; blocks = k_pad / block; form: FORM_* */
    uint32_t tile_stride, reserved0;     /* bytes; an odd number of cache lines, so that rows differ in their sets */
} quant_rows;

/* Weights of integers, AFFINE, LUT and MX, in panels of 16 outputs. A panel holds, in this order: scale2 (and its min
 * factors), scales, mins, codes. Arrays of scales are [group][16]. Codes come per K_BLOCK as one bit plane per power of
 * two in `bits` (8, or 4
 * + 2 + 1), each a run of 64-byte vectors: 16-bit half h of lane n holds, from its lowest bits up, the codes of output
 * n and k = 2 i + h for consecutive i. Codes are unsigned; the value is scale * (code - offset - point) + min. Codes
 * that are looked up count as the entries of a table, and E8M0 scales half: an e2m1 number is half an integer. */
typedef struct affine_weight {
    const uint8_t *data; /* [panels] of panel_bytes, 64-byte aligned */
    uint64_t panel_bytes;
    uint32_t n, k, panels, k_pad;
    uint32_t bits, block;                          /* block: of the quantised rows it wants, 16 or 32 */
    uint32_t group_blocks;                         /* blocks per scale group */
    uint32_t group2_blocks;                        /* blocks per second-level group; 0: one level */
    uint32_t scale_type, scale2_type;              /* TN_F16... */
    uint32_t zero_type;                            /* TN_ZERO_* */
    int32_t offset;                                /* subtracted from every code */
    uint32_t scale2_at, scale_at, min_at, code_at; /* byte offsets in a panel */
    uint32_t looked_up;                            /* 4-bit codes are positions in table */
    uint8_t table[LANES];                          /* entries plus offset, so that they too are unsigned */
} affine_weight;

/* FLOAT weights in panels of 16 outputs, zero beyond n: [panels][k][16]; bfloat16 in pairs of k, as tiles and shifts
 * like them: [panels][k_pad / 2][16][2], zero beyond k. AFFINE weights of e4m3 numbers: [panels][k_pad][16], then the
 * groups' scales times 256, float32 [groups][16]: kernels read e4m3 divided by 256, as which half floats hold it. */
typedef struct float_weight {
    const uint8_t *data;
    uint64_t panel_bytes;
    uint32_t n, k, panels, store; /* STORE_* */
    uint32_t k_pad;               /* multiple of K_BLOCK */
    uint32_t group;               /* e4m3: elements of K that share a scale, a multiple of K_BLOCK */
    uint32_t scale_at, run;       /* byte offset in a panel; run: elements summed before they are scaled */
} float_weight;

/* Scratch of one thread for any kernel, 64-byte aligned. */
typedef struct kernel_scratch {
    int16_t codes[K_CHUNK_MAX / 2][32];
    float scale[K_CHUNK_MAX / 16][LANES];
    float min[K_CHUNK_MAX / 16][LANES];
    float panel[SPAN_TOKENS][LANES];
    float score[QUERIES_MAX][SPAN_TOKENS];
    int32_t sums[4][TILE_ROWS][LANES]; /* results of tiles on their way to registers */
} kernel_scratch;

/* Query vectors of one (row block, kv head) against the pages of one sequence. Query i = (row i / heads, head i %
 * heads). */
typedef struct attention_item {
    const float *q;                 /* [queries, head_pad], already scaled */
    const uint32_t *pages;          /* the sequence's page table */
    const uint8_t *k_base, *v_base; /* of this layer and kv head; a page adds page_stride bytes */
    uint64_t page_stride;
    uint32_t store;           /* STORE_* */
    uint32_t queries, heads;  /* heads: query heads per kv head */
    uint32_t head_dim, v_pad; /* v_pad: width of a value vector, multiple of 16 */
    uint32_t position;        /* of the first row; rows are consecutive */
    uint32_t window;          /* 0: none */
    float softcap;            /* 0: none */
} attention_item;

/* State of one query after some spans: out is not yet divided by sum. */
typedef struct softmax_state {
    float max, sum;
} softmax_state;

typedef struct kernels {
    const char *name;
    bool tiles; /* rows are wanted as tiles too; linear_split exists */
    /* x [n] -> elements first..first+n of row `row`, first and n multiples of K_BLOCK. Non-finite elements make their
     * block's scale, or their low part, NaN. */
    void (*quantize_part)(const float *x, uint32_t first, uint32_t n, const quant_rows *ret, uint32_t row);
    /* tile[r * tile_stride + p * 16 + i] = sum over k of x[row0 + r, k] * W[(panel0 + p) * 16 + i, k]. */
    void (*linear_affine)(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                          uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
    void (*linear_float)(const float_weight *w, uint32_t panel0, uint32_t panels, const float *x, uint32_t x_stride,
                         uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
    /* The same for STORE_BF16 and STORE_E4M3 weights and rows of FORM_SPLIT. Writes whole tiles: up to TILE_ROWS - 1
     * rows more. */
    void (*linear_split)(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                         uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
    /* out = x / sqrt(mean(x^2) + eps) * (gain + gain_offset), over n elements; may alias. */
    void (*rms_norm)(const float *x, const float *gain, uint32_t n, float eps, float gain_offset, float *out);
    void (*add)(const float *a, const float *b, uint32_t n, float *out);                            /* may alias */
    void (*gated)(const float *gate, const float *up, uint32_t n, uint32_t activation, float *out); /* may alias */
    /* x = cap * tanh(scale * x / cap), or scale * x when cap is 0. */
    void (*scale_cap)(float *x, uint32_t n, float scale, float cap);
    /* Rotates `rotated` elements of one head in place; cos, sin: [rotated / 2], magnitude included. */
    void (*rope_head)(float *x, const float *cos, const float *sin, uint32_t rotated, uint32_t style);
    /* Attends to the part of span `span` that each query may see. Query i gets state[i] and out[i * v_pad ..];
     * state.sum = 0 where nothing is visible. */
    void (*attention_span)(const attention_item *item, uint32_t span, softmax_state *state, float *out,
                           kernel_scratch *scratch);
    /* Folds a later span into an earlier state. */
    void (*attention_merge)(softmax_state *state, float *out, const softmax_state *part, const float *part_out,
                            uint32_t v_pad);
    /* out [v_dim] = state_out / sum, after adding a sink logit (NULL: none) to the sum. */
    void (*attention_finish)(const softmax_state *state, const float *state_out, const float *sink, uint32_t v_dim,
                             float *out);
    /* Writes one token: k [head_dim] into column `token` of a K page, v [v_dim] into row `token` of a V page. */
    void (*kv_write)(const float *k, const float *v, uint32_t head_dim, uint32_t v_dim, uint32_t v_pad, uint32_t store,
                     uint32_t token, uint8_t *k_page, uint8_t *v_page);
    /* The largest element's index, the lowest among equals; -1 if any is NaN. */
    int32_t (*argmax)(const float *x, uint32_t n);
} kernels;

const kernels *kernels_portable(void);
const kernels *kernels_avx2(void);
const kernels *kernels_avx512(void);
const kernels *kernels_amx(void);

#endif
