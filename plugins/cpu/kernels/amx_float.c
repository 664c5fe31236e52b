/* plugins/cpu/kernels/amx_float.c: split rows times bfloat16 weights in tiles.
 *
 * A row is the sum of two bfloat16 (FORM_SPLIT), so products are exact but for 2^-17 of x; high and low parts sum in
 * tiles of their own, float32, ascending k, and are added at the end. The instruction treats each row alike whatever
 * stands beside it, so one row and sixteen give the same bits. Per 32 k, 16 rows and 32 outputs: four products, 64
 * cycles, 4 KB of operands. With few rows the weights' 2 KB are what takes time.
 */
#include "amx.h"

enum { AHEAD = 4096 }; /* bytes of each panel; a step takes 1,024 */

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

void linear_split_amx(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                      uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint8_t height = (uint8_t)(rows < TILE_ROWS ? rows : TILE_ROWS);
    const tile_config config = {.palette = 1,
                                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                .rows = {height, height, height, height, height, height, 16, 16}};
    const uint32_t steps = w->k_pad / K_BLOCK;
    int32_t(*sums)[TILE_ROWS][LANES] = scratch->sums;

    tiles_configure(&config);
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
    tiles_release();
}
