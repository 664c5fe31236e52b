/* plugins/cpu/kernels/linear_float.c: float32 rows times panels of 16 float columns; also the two products of
 * attention.
 *
 * acc[n] = fma(x[k], w[k][n], acc[n]) in ascending k, lanes over n. A linear layer adds up runs of K_SUM products,
 * which keeps the rounding error of long K near that of a pairwise sum; e4m3 weights scale each run by its group.
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
    if (store == STORE_E4M3) {
        vf_pair numbers;
        vf_load_e4m3(panel + index, numbers.at);
        return numbers;
    }
    const float *wide = (const float *)(const void *)panel + index;
    return (vf_pair){{vf_load(wide), vf_load(wide + LANES)}};
}

/* ---- rows x 16 on top of what the tile holds ---- */

typedef struct product_args {
    const float *x;
    const float (*panel)[LANES];
    float *tile;
    const float *scale;                /* [LANES] of PRODUCT_SCALE */
    uint32_t x_stride, k, tile_stride; /* strides in floats */
} product_args;
typedef void (*product_kernel)(const product_args *a);

/* How products join the tile: one by one, as a sum of their own, or as one that is scaled. */
enum { PRODUCT_CONTINUE, PRODUCT_ADD, PRODUCT_SCALE };

INLINE void product_rows(const int rows, const int joined, const product_args *a)
{
    vf acc[ISA_ROWS_MAX];

    for (int r = 0; r < rows; r++)
        acc[r] = joined != PRODUCT_CONTINUE ? vf_zero() : vf_load(a->tile + (uint64_t)(unsigned)r * a->tile_stride);
    for (uint32_t k = 0; k < a->k; k++) {
        vf w = vf_load(a->panel[k]);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++)
            acc[r] = vf_fma(vf_set(a->x[(uint64_t)(unsigned)r * a->x_stride + k]), w, acc[r]);
    }
    for (int r = 0; r < rows; r++) {
        float *tile = a->tile + (uint64_t)(unsigned)r * a->tile_stride;
        if (joined == PRODUCT_ADD)
            acc[r] = vf_add(vf_load(tile), acc[r]);
        else if (joined == PRODUCT_SCALE)
            acc[r] = vf_fma(acc[r], vf_load(a->scale), vf_load(tile));
        vf_store(tile, acc[r]);
    }
}

#define PRODUCT(rows)                                          \
    static void product_continue_##rows(const product_args *a) \
    {                                                          \
        product_rows(rows, PRODUCT_CONTINUE, a);               \
    }                                                          \
    static void product_add_##rows(const product_args *a)      \
    {                                                          \
        product_rows(rows, PRODUCT_ADD, a);                    \
    }                                                          \
    static void product_scale_##rows(const product_args *a)    \
    {                                                          \
        product_rows(rows, PRODUCT_SCALE, a);                  \
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

#if ISA_ROWS_MAX >= 12
#define PRODUCTS_MORE(joined)                                                                                     \
    product_##joined##_3, product_##joined##_4, product_##joined##_5, product_##joined##_6, product_##joined##_7, \
        product_##joined##_8, product_##joined##_9, product_##joined##_10, product_##joined##_11,                 \
        product_##joined##_12
#elif ISA_ROWS_MAX >= 6
#define PRODUCTS_MORE(joined) product_##joined##_3, product_##joined##_4, product_##joined##_5, product_##joined##_6
#else
#define PRODUCTS_MORE(joined)
#endif
#define PRODUCTS(joined)                                                  \
    {                                                                     \
        product_##joined##_1, product_##joined##_2, PRODUCTS_MORE(joined) \
    }
static const product_kernel continue_kernels[ISA_ROWS_MAX] = PRODUCTS(continue);
static const product_kernel add_kernels[ISA_ROWS_MAX] = PRODUCTS(add);
static const product_kernel scale_kernels[ISA_ROWS_MAX] = PRODUCTS(scale);

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
    product_in_groups((product_args){x, panel, tile, NULL, x_stride, k, tile_stride}, rows, continue_kernels);
}

/* ---- linear layers ---- */

/* Few rows: stored weights are read once and converted in registers; `panels` of them at a time hide the latency. */
INLINE void stream_rows(const int rows, const int panels, const uint32_t store, const float_weight *w, uint32_t panel0,
                        const float *x, uint32_t x_stride, float *tile, uint32_t tile_stride)
{
    const uint8_t *data = w->data + panel0 * w->panel_bytes;
    const uint64_t line = LANES * (store == STORE_F32 ? 4 : store == STORE_E4M3 ? 1 : 2);
    const uint32_t run = store == STORE_E4M3 ? w->run : K_SUM;
    vf total[2 * STREAM_ROWS_MAX];

    for (int i = 0; i < rows * panels; i++)
        total[i] = vf_zero();
    for (uint32_t k0 = 0; k0 < w->k; k0 += run) {
        uint32_t end = w->k - k0 < run ? w->k : k0 + run;
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
        for (int p = 0; p < panels; p++) {
            vf scale =
                store == STORE_E4M3 ? vf_load(group_scale(w, data + (unsigned)p * w->panel_bytes, k0)) : vf_zero();
            for (int i = p * rows; i < (p + 1) * rows; i++)
                total[i] = store == STORE_E4M3 ? vf_fma(acc[i], scale, total[i]) : vf_add(total[i], acc[i]);
        }
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
#define STREAM_STORES(rows, panels)        \
    STREAM(rows, panels, f32, STORE_F32)   \
    STREAM(rows, panels, f16, STORE_F16)   \
    STREAM(rows, panels, bf16, STORE_BF16) \
    STREAM(rows, panels, e4m3, STORE_E4M3)
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
#define STREAM_ENTRIES(panels)                                                               \
    {                                                                                        \
        [STORE_F32] = STREAM_ENTRY(panels, f32), [STORE_F16] = STREAM_ENTRY(panels, f16),    \
        [STORE_BF16] = STREAM_ENTRY(panels, bf16), [STORE_E4M3] = STREAM_ENTRY(panels, e4m3) \
    }
static const stream_kernel stream_kernels[2][4][STREAM_ROWS_MAX] = {STREAM_ENTRIES(1), STREAM_ENTRIES(2)};

INLINE void widen_panel(const uint32_t store, const uint8_t *panel, uint32_t k0, uint32_t count, float (*out)[LANES])
{
    for (uint32_t k = 0; k < count; k += 2) {
        vf_pair wide = load_pair(panel, k0 + k, store);
        vf_store(out[k], wide.at[0]);
        vf_store(out[k + 1], wide.at[1]);
    }
}

/* Many rows: SPAN_TOKENS of K of a panel become float32 in L1 and serve all rows. */
static void reuse_panel(const float_weight *w, uint32_t panel, const float *x, uint32_t x_stride, uint32_t rows,
                        float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint8_t *data = w->data + panel * w->panel_bytes;
    const bool scaled = w->store == STORE_E4M3;
    const uint32_t run = scaled ? w->run : K_SUM;

    for (uint32_t r = 0; r < rows; r++)
        vf_store(tile + (uint64_t)r * tile_stride, vf_zero());
    for (uint32_t k0 = 0; k0 < w->k; k0 += SPAN_TOKENS) {
        uint32_t count = w->k - k0 < SPAN_TOKENS ? w->k - k0 : SPAN_TOKENS;
        switch (w->store) {
        case STORE_F16:
            widen_panel(STORE_F16, data, k0, count, scratch->panel);
            break;
        case STORE_BF16:
            widen_panel(STORE_BF16, data, k0, count, scratch->panel);
            break;
        case STORE_E4M3:
            widen_panel(STORE_E4M3, data, k0, count, scratch->panel);
            break;
        default:
            widen_panel(STORE_F32, data, k0, count, scratch->panel);
            break;
        }
        for (uint32_t k = 0; k < count; k += run) {
            product_args a = {.x = x + k0 + k,
                              .panel = (const float(*)[LANES])scratch->panel + k,
                              .tile = tile,
                              .scale = scaled ? group_scale(w, data, k0 + k) : NULL,
                              .x_stride = x_stride,
                              .k = count - k < run ? count - k : run,
                              .tile_stride = tile_stride};
            product_in_groups(a, rows, scaled ? scale_kernels : add_kernels);
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
