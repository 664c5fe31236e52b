/* plugins/cpu/kernels/linear_float.c: float32 rows times panels of 16 float columns; also the two products of
 * attention.
 *
 * acc[n] = fma(x[k], w[k][n], acc[n]) in ascending k, lanes over n. A linear layer adds up runs of K_SUM products,
 * which keeps the rounding error of long K near that of a pairwise sum.
 */
#include "family.h"

enum { STREAM_ROWS_MAX = 3, STREAM_AHEAD = 1024 };

/* 16 outputs at k and at k + 1, k even, of a panel in the layout of its store. */
typedef struct vf_pair {
    vf at[2];
} vf_pair;

INLINE vf_pair load_pair(const uint8_t *panel, uint32_t k, const uint32_t store)
{
    const uint64_t index = (uint64_t)k * LANES;

    if (store == STORE_BF16) { /* halves of 32-bit lanes */
        vi both = vi_load(panel + index * 2);
        return (vf_pair){{vf_bits(vi_left32(both, 16)), vf_bits(vi_and(both, vi_set32(-0x10000)))}};
    }
    if (store == STORE_F16) {
        const uint16_t *half = (const uint16_t *)(const void *)panel + index;
        return (vf_pair){{vf_load_f16(half), vf_load_f16(half + LANES)}};
    }
    const float *wide = (const float *)(const void *)panel + index;
    return (vf_pair){{vf_load(wide), vf_load(wide + LANES)}};
}

/* ---- rows x 16 on top of what the tile holds ---- */

typedef struct product_args {
    const float *x;
    const float (*panel)[LANES];
    float *tile;
    uint32_t x_stride, k, tile_stride; /* strides in floats */
} product_args;
typedef void (*product_kernel)(const product_args *a);

/* add: the products are summed on their own first, then joined to the tile. */
INLINE void product_rows(const int rows, const bool add, const product_args *a)
{
    vf acc[ISA_ROWS_MAX];

    for (int r = 0; r < rows; r++)
        acc[r] = add ? vf_zero() : vf_load(a->tile + (uint64_t)(unsigned)r * a->tile_stride);
    for (uint32_t k = 0; k < a->k; k++) {
        vf w = vf_load(a->panel[k]);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            acc[r] = vf_fma(vf_set(a->x[(uint64_t)(unsigned)r * a->x_stride + k]), w, acc[r]);
    }
    for (int r = 0; r < rows; r++) {
        float *tile = a->tile + (uint64_t)(unsigned)r * a->tile_stride;
        vf_store(tile, add ? vf_add(vf_load(tile), acc[r]) : acc[r]);
    }
}

#define PRODUCT(rows)                                          \
    static void product_continue_##rows(const product_args *a) \
    {                                                          \
        product_rows(rows, false, a);                          \
    }                                                          \
    static void product_add_##rows(const product_args *a)      \
    {                                                          \
        product_rows(rows, true, a);                           \
    }
PRODUCT(1)
PRODUCT(2)
#if ISA_ROWS_MAX >= 6
PRODUCT(3)
PRODUCT(4)
PRODUCT(5)
PRODUCT(6)
#endif
#if ISA_ROWS_MAX >= 12
PRODUCT(7)
PRODUCT(8)
PRODUCT(9)
PRODUCT(10)
PRODUCT(11)
PRODUCT(12)
#endif

static const product_kernel continue_kernels[ISA_ROWS_MAX] = {
    product_continue_1,  product_continue_2,
#if ISA_ROWS_MAX >= 6
    product_continue_3,  product_continue_4,  product_continue_5, product_continue_6,
#endif
#if ISA_ROWS_MAX >= 12
    product_continue_7,  product_continue_8,  product_continue_9, product_continue_10,
    product_continue_11, product_continue_12,
#endif
};
static const product_kernel add_kernels[ISA_ROWS_MAX] = {
    product_add_1, product_add_2,
#if ISA_ROWS_MAX >= 6
    product_add_3, product_add_4, product_add_5, product_add_6,
#endif
#if ISA_ROWS_MAX >= 12
    product_add_7, product_add_8, product_add_9, product_add_10, product_add_11, product_add_12,
#endif
};

static void product_in_groups(product_args a, uint32_t rows, const product_kernel *kernel)
{
    uint32_t groups = (rows + ISA_ROWS_MAX - 1) / ISA_ROWS_MAX;
    for (uint32_t g = 0; g < groups; g++) { /* of nearly equal size */
        uint32_t count = rows / groups + (g < rows % groups);
        kernel[count - 1](&a);
        a.x += (uint64_t)count * a.x_stride;
        a.tile += (uint64_t)count * a.tile_stride;
    }
}

void FAMILY(product_continue)(const float *x, uint32_t x_stride, uint32_t rows, const float (*panel)[LANES], uint32_t k,
                              float *tile, uint32_t tile_stride)
{
    product_in_groups((product_args){x, panel, tile, x_stride, k, tile_stride}, rows, continue_kernels);
}

/* ---- linear layers ---- */

/* Few rows: stored weights are read once and converted in registers; `panels` of them at a time hide the latency. */
INLINE void stream_rows(const int rows, const int panels, const uint32_t store, const float_weight *w, uint32_t panel0,
                        const float *x, uint32_t x_stride, float *tile, uint32_t tile_stride)
{
    const uint8_t *data = w->data + panel0 * w->panel_bytes;
    const uint64_t line = LANES * (store == STORE_F32 ? 4 : 2);
    vf total[2 * STREAM_ROWS_MAX];

    for (int i = 0; i < rows * panels; i++)
        total[i] = vf_zero();
    for (uint32_t k0 = 0; k0 < w->k; k0 += K_SUM) {
        uint32_t end = w->k - k0 < K_SUM ? w->k : k0 + K_SUM;
        vf acc[2 * STREAM_ROWS_MAX];
        for (int i = 0; i < rows * panels; i++)
            acc[i] = vf_zero();
        for (uint32_t k = k0; k < end; k += 2) {
            const float *at = x + k, *next = at + (k + 1 < end); /* an odd K ends with 0 times an element */
#pragma GCC unroll 2
            for (int p = 0; p < panels; p++) {
                const uint8_t *panel = data + (unsigned)p * w->panel_bytes;
                isa_prefetch(panel + k * line + STREAM_AHEAD);
                isa_prefetch(panel + k * line + line + STREAM_AHEAD);
                vf_pair wide = load_pair(panel, k, store);
#pragma GCC unroll 3
                for (int r = 0; r < rows; r++) {
                    const uint64_t row = (uint64_t)(unsigned)r * x_stride;
                    vf sum = vf_fma(vf_set(at[row]), wide.at[0], acc[p * rows + r]);
                    acc[p * rows + r] = vf_fma(vf_set(next[row]), wide.at[1], sum);
                }
            }
        }
        for (int i = 0; i < rows * panels; i++)
            total[i] = vf_add(total[i], acc[i]);
    }
    for (int p = 0; p < panels; p++)
        for (int r = 0; r < rows; r++)
            vf_store(tile + (uint64_t)(unsigned)r * tile_stride + p * LANES, total[p * rows + r]);
}

#define STREAM(rows, panels, kind, store)                                                                 \
    static void stream_##rows##_##panels##_##kind(const float_weight *w, uint32_t panel0, const float *x, \
                                                  uint32_t x_stride, float *tile, uint32_t tile_stride)   \
    {                                                                                                     \
        stream_rows(rows, panels, store, w, panel0, x, x_stride, tile, tile_stride);                      \
    }
#define STREAM_STORES(rows, panels)      \
    STREAM(rows, panels, f32, STORE_F32) \
    STREAM(rows, panels, f16, STORE_F16) \
    STREAM(rows, panels, bf16, STORE_BF16)
STREAM_STORES(1, 1)
STREAM_STORES(1, 2)
STREAM_STORES(2, 1)
STREAM_STORES(2, 2)
STREAM_STORES(3, 1)
STREAM_STORES(3, 2)
typedef void (*stream_kernel)(const float_weight *w, uint32_t panel0, const float *x, uint32_t x_stride, float *tile,
                              uint32_t tile_stride);
#define STREAM_ENTRY(panels, kind)                                                         \
    {                                                                                      \
        stream_1_##panels##_##kind, stream_2_##panels##_##kind, stream_3_##panels##_##kind \
    }
static const stream_kernel stream_kernels[2][3][STREAM_ROWS_MAX] = {
    {[STORE_F32] = STREAM_ENTRY(1, f32), [STORE_F16] = STREAM_ENTRY(1, f16), [STORE_BF16] = STREAM_ENTRY(1, bf16)},
    {[STORE_F32] = STREAM_ENTRY(2, f32), [STORE_F16] = STREAM_ENTRY(2, f16), [STORE_BF16] = STREAM_ENTRY(2, bf16)}};

/* Many rows: SPAN_TOKENS of K of a panel become float32 in L1 and serve all rows. */
static void reuse_panel(const float_weight *w, uint32_t panel, const float *x, uint32_t x_stride, uint32_t rows,
                        float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint8_t *data = w->data + panel * w->panel_bytes;

    for (uint32_t r = 0; r < rows; r++)
        vf_store(tile + (uint64_t)r * tile_stride, vf_zero());
    for (uint32_t k0 = 0; k0 < w->k; k0 += SPAN_TOKENS) {
        uint32_t count = w->k - k0 < SPAN_TOKENS ? w->k - k0 : SPAN_TOKENS;
        for (uint32_t k = 0; k < count; k += 2) {
            vf_pair wide = w->store == STORE_F16    ? load_pair(data, k0 + k, STORE_F16)
                           : w->store == STORE_BF16 ? load_pair(data, k0 + k, STORE_BF16)
                                                    : load_pair(data, k0 + k, STORE_F32);
            vf_store(scratch->panel[k], wide.at[0]);
            vf_store(scratch->panel[k + 1], wide.at[1]);
        }
        for (uint32_t k = 0; k < count; k += K_SUM) {
            product_args a = {.x = x + k0 + k,
                              .panel = (const float(*)[LANES])scratch->panel + k,
                              .tile = tile,
                              .x_stride = x_stride,
                              .k = count - k < K_SUM ? count - k : K_SUM,
                              .tile_stride = tile_stride};
            product_in_groups(a, rows, add_kernels);
        }
    }
}

void FAMILY(linear_float)(const float_weight *w, uint32_t panel0, uint32_t panels, const float *x, uint32_t x_stride,
                          uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    if (rows > STREAM_ROWS_MAX) {
        for (uint32_t p = 0; p < panels; p++)
            reuse_panel(w, panel0 + p, x, x_stride, rows, tile + p * LANES, tile_stride, scratch);
        return;
    }
    for (uint32_t p = 0; p < panels;) {
        uint32_t pair = panels - p >= 2;
        stream_kernels[pair][w->store][rows - 1](w, panel0 + p, x, x_stride, tile + p * LANES, tile_stride);
        p += 1 + pair;
    }
}
