/* plugins/cpu/kernels/amx_float.c: split rows times bfloat16 or e4m3 weights in tiles.
 *
 * A row is the sum of two bfloat16 (FORM_SPLIT), so products are exact but for 2^-17 of x; high and low parts sum in
 * tiles of their own, float32, ascending k, and are added at the end. The instruction treats each row alike whatever
 * stands beside it, so one row and sixteen give the same bits. Per 32 k, 16 rows and 32 outputs: four products, 64
 * cycles, 4 KB of operands. With few rows the weights' 2 KB are what takes time.
 *
 * e4m3 numbers become bfloat16, exactly, some K of two panels at a time in L1; every such sum is scaled by its group
 * and joins the total. Where K is cut depends on the weight alone.
 */
#include "amx.h"

enum {
    AHEAD = 4096, /* bytes of each panel; a step takes 1,024 */
    E4M3_AHEAD = 4096,
    E4M3_CHUNK = 128 /* elements of K of two panels that scratch holds as bfloat16 */
};
_Static_assert(E4M3_CHUNK % K_BLOCK == 0 && 2 * E4M3_CHUNK <= K_CHUNK_MAX, "two chunks of whole steps fit");

INLINE void prefetch_step(const uint8_t *panel)
{
#pragma GCC unroll 16
    for (int line = 0; line < 16; line++)
        isa_prefetch(panel + AHEAD + line * 64);
}

/* sums[0..1] = high and low sums of panel `b0`, sums[2..3] of `b1` if pair. fetch: the weights are not in cache yet. */
INLINE void multiply(const bool pair, const bool fetch, const uint8_t *rows, uint64_t stride, const uint8_t *b0,
                     const uint8_t *b1, uint32_t steps, int32_t (*sums)[TILE_ROWS][LANES])
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (uint32_t i = 0; i < steps; i++, rows += 128, b0 += 1024, b1 += 1024) {
        TILE_LOAD(4, rows, stride);
        TILE_LOAD(6, b0, 64);
        TILE_LOAD(5, rows + 64, stride);
        TILE_DOT(bf16ps, 0, 4, 6);
        TILE_DOT(bf16ps, 1, 5, 6);
        if (pair) {
            TILE_LOAD(7, b1, 64);
            TILE_DOT(bf16ps, 2, 4, 7);
            TILE_DOT(bf16ps, 3, 5, 7);
        }
        if (fetch)
            prefetch_step(b0);
        if (fetch && pair)
            prefetch_step(b1);
    }
    TILE_STORE(0, sums[0], 64);
    TILE_STORE(1, sums[1], 64);
    if (pair) {
        TILE_STORE(2, sums[2], 64);
        TILE_STORE(3, sums[3], 64);
    }
}

static void add_parts(const int32_t (*sums)[TILE_ROWS][LANES], uint32_t rows, float *tile, uint32_t tile_stride)
{
    for (uint32_t r = 0; r < rows; r++) {
        vf high = vf_load((const float *)(const void *)sums[0][r]),
           low = vf_load((const float *)(const void *)sums[1][r]);
        vf_store(tile + (uint64_t)r * tile_stride, vf_add(high, low));
    }
}

static void multiply_bf16(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                          uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint32_t steps = w->k_pad / K_BLOCK;
    int32_t(*sums)[TILE_ROWS][LANES] = scratch->sums;

    for (uint32_t p = 0; p < panels; p += 2) {
        const bool pair = p + 1 < panels;
        const uint8_t *b0 = w->data + (uint64_t)(panel0 + p) * w->panel_bytes, *b1 = pair ? b0 + w->panel_bytes : b0;
        for (uint32_t r = 0; r < rows; r += TILE_ROWS) {
            const uint8_t *from = x->tiles + (uint64_t)(row0 + r) * x->tile_stride;
            float *out = tile + (uint64_t)r * tile_stride + p * LANES;
            uint32_t count = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
            if (!pair)
                multiply(false, true, from, x->tile_stride, b0, b1, steps, sums);
            else if (r == 0)
                multiply(true, true, from, x->tile_stride, b0, b1, steps, sums);
            else
                multiply(true, false, from, x->tile_stride, b0, b1, steps, sums);
            add_parts((const int32_t(*)[TILE_ROWS][LANES])sums, count, out, tile_stride);
            if (pair)
                add_parts((const int32_t(*)[TILE_ROWS][LANES])sums + 2, count, out + LANES, tile_stride);
        }
    }
}

/* ---- e4m3 ---- */

/* A code below 128, divided by 256, as the bits of a bfloat16. */
#define BF16_SUBNORMAL(c) \
    ((c) == 0 ? 0 : (c) == 1 ? 110 * 128 : (c) < 4 ? 111 * 128 + ((c)-2) * 64 : 112 * 128 + ((c)-4) * 32)
#define BF16(c)       ((c) < 8 ? BF16_SUBNORMAL(c) : (c)*16 + 112 * 128)
#define HIGH(c)       (BF16(c) >> 8)
#define LOW(c)        (BF16(c) & 0xFF)
#define FOUR(f, c)    f(c), f((c) + 1), f((c) + 2), f((c) + 3)
#define SIXTEEN(f, c) FOUR(f, c), FOUR(f, (c) + 4), FOUR(f, (c) + 8), FOUR(f, (c) + 12)
#define CODES(f)                                                                                                       \
    {                                                                                                                  \
        SIXTEEN(f, 0), SIXTEEN(f, 16), SIXTEEN(f, 32), SIXTEEN(f, 48), SIXTEEN(f, 64), SIXTEEN(f, 80), SIXTEEN(f, 96), \
            SIXTEEN(f, 112)                                                                                            \
    }
static const uint8_t high_bytes[128] = CODES(HIGH), low_bytes[128] = CODES(LOW);

/* Codes of four k by 16 outputs, [k][output], so that interleaving high and low bytes within 128 bits gives two tile
 * rows: byte 16 q + 8 j + 2 i + t comes from k = 2 j + t, output 4 q + i. */
#define CODE_AT(i) (((i) % 16 / 8 * 2 + (i) % 2) * 16 + (i) / 16 * 4 + (i) % 8 / 2)
static const uint8_t code_order[64] = {SIXTEEN(CODE_AT, 0), SIXTEEN(CODE_AT, 16), SIXTEEN(CODE_AT, 32),
                                       SIXTEEN(CODE_AT, 48)};

/* `count` elements of K, a multiple of K_BLOCK, as [count / 2][16][2] bfloat16. */
static void widen_e4m3(const uint8_t *codes, uint32_t count, int16_t (*out)[32])
{
    const __m512i order = _mm512_loadu_si512(code_order), sign = _mm512_set1_epi8((char)0x80);
    const __m512i high0 = _mm512_loadu_si512(high_bytes), high1 = _mm512_loadu_si512(high_bytes + 64);
    const __m512i low0 = _mm512_loadu_si512(low_bytes), low1 = _mm512_loadu_si512(low_bytes + 64);

    for (uint32_t k = 0; k < count; k += 4, codes += 64, out += 2) {
        isa_prefetch(codes + E4M3_AHEAD);
        __m512i code = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(codes));
        __m512i high = _mm512_or_si512(_mm512_permutex2var_epi8(high0, code, high1), _mm512_and_si512(code, sign));
        __m512i low = _mm512_permutex2var_epi8(low0, code, low1);
        _mm512_store_si512(out[0], _mm512_unpacklo_epi8(low, high));
        _mm512_store_si512(out[1], _mm512_unpackhi_epi8(low, high));
    }
}

/* tile = (tile, or 0 at first) + scale * (high + low) */
static void scale_parts(const int32_t (*sums)[TILE_ROWS][LANES], uint32_t rows, bool first, const float *scale,
                        float *tile, uint32_t tile_stride)
{
    const vf factor = vf_load(scale);

    for (uint32_t r = 0; r < rows; r++, tile += tile_stride) {
        vf high = vf_load((const float *)(const void *)sums[0][r]),
           low = vf_load((const float *)(const void *)sums[1][r]);
        vf_store(tile, vf_fma(vf_add(high, low), factor, first ? vf_zero() : vf_load(tile)));
    }
}

/* One or two panels from element k on, `count` of K within one group. */
static void multiply_chunk(const float_weight *w, const uint8_t *panel, bool pair, uint32_t k, uint32_t count,
                           const quant_rows *x, uint32_t row0, uint32_t rows, float *tile, uint32_t tile_stride,
                           kernel_scratch *scratch)
{
    int32_t(*sums)[TILE_ROWS][LANES] = scratch->sums;
    const uint8_t *b0 = (const uint8_t *)scratch->codes, *b1 = (const uint8_t *)scratch->codes[E4M3_CHUNK / 2];
    const float *scale0 = group_scale(w, panel, k), *scale1 = group_scale(w, panel + w->panel_bytes, k);

    widen_e4m3(panel + (uint64_t)k * LANES, count, scratch->codes);
    if (pair)
        widen_e4m3(panel + w->panel_bytes + (uint64_t)k * LANES, count, scratch->codes + E4M3_CHUNK / 2);
    for (uint32_t r = 0; r < rows; r += TILE_ROWS, tile += (uint64_t)TILE_ROWS * tile_stride) {
        const uint8_t *from = x->tiles + (uint64_t)(row0 + r) * x->tile_stride + (uint64_t)k / K_BLOCK * 128;
        uint32_t height = rows - r < TILE_ROWS ? rows - r : TILE_ROWS;
        if (pair)
            multiply(true, false, from, x->tile_stride, b0, b1, count / K_BLOCK, sums);
        else
            multiply(false, false, from, x->tile_stride, b0, b1, count / K_BLOCK, sums);
        scale_parts((const int32_t(*)[TILE_ROWS][LANES])sums, height, k == 0, scale0, tile, tile_stride);
        if (pair)
            scale_parts((const int32_t(*)[TILE_ROWS][LANES])sums + 2, height, k == 0, scale1, tile + LANES,
                        tile_stride);
    }
}

static void multiply_e4m3(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                          uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    for (uint32_t p = 0; p < panels; p += 2) {
        const uint8_t *panel = w->data + (uint64_t)(panel0 + p) * w->panel_bytes;
        for (uint32_t k = 0, count; k < w->k_pad; k += count) {
            uint32_t left = w->group - k % w->group, end = w->k_pad - k;
            count = left < E4M3_CHUNK ? left : E4M3_CHUNK;
            count = count < end ? count : end;
            multiply_chunk(w, panel, p + 1 < panels, k, count, x, row0, rows, tile + p * LANES, tile_stride, scratch);
        }
    }
}

void linear_split_amx(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                      uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint8_t height = (uint8_t)(rows < TILE_ROWS ? rows : TILE_ROWS);
    const tile_config config = {.palette = 1,
                                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                .rows = {height, height, height, height, height, height, 16, 16}};

    tiles_configure(&config);
    if (w->store == STORE_E4M3)
        multiply_e4m3(w, panel0, panels, x, row0, rows, tile, tile_stride, scratch);
    else
        multiply_bf16(w, panel0, panels, x, row0, rows, tile, tile_stride, scratch);
    tiles_release();
}
