/* plugins/cpu/kernels/amx_affine.c: int16 rows times 2..8-bit AFFINE weights in tiles of bytes, with the bits of every
 * other family.
 *
 * x = 256 high + low, so a block's exact integer sum is 256 times the tile product of the high bytes plus that of the
 * low bytes, and joins the float32 sum as it does elsewhere (linear_affine.c). Per 16 rows, 16 outputs and block of 32
 * that is two tile products, 32 cycles, beside some 50 for the joining, which the next block's products overlap.
 * Codes lie so that byte i of lane n of tile row 2 j + t is k = 8 j + 2 t + {0, 4, 1, 5}[i]: for 4 bits a shift and a
 * mask. Rows are in the same order (amx_rows.c); integer sums do not mind.
 */
#include "affine.h"
#include "amx.h"

enum {
    AMX_ROWS_MIN = 5, /* fewer rows are faster through affine_packed.c */
    BLOCK_BYTES = 512 /* of K_BLOCK x 16 codes in a tile */
};

/* What the tile's bytes lack to be code - offset - point: 8-bit codes are stored less 128, others less offset + point.
 */
INLINE bool needs_correction(const affine_weight *w)
{
    return w->bits == 8 ? w->offset != 128 || w->zero_type == TN_ZERO_POINT
                        : w->offset && w->zero_type == TN_ZERO_POINT;
}

INLINE vi every_byte(vi lane)
{
    vi half = vi_or(lane, vi_left32(lane, 16));
    return vi_or(half, vi_left32(half, 8));
}

/* Subtracted from the codes of block `block` as bytes. */
INLINE vi base_of(const int bits, const affine_weight *w, const uint8_t *panel, uint32_t block)
{
    if (bits == 8)
        return vi_set32(128);
    return needs_correction(w) ? vi_zero() : zero_at(w, panel, block);
}

INLINE void unpack_tiles(const int bits, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const uint32_t halves = K_BLOCK / w->block, first = a->block0 / halves, count = a->blocks / halves;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)first * 64u * (unsigned)bits;
    uint8_t *out = (uint8_t *)a->scratch->codes;

    for (uint32_t b = 0; b < count; b++, codes += 64 * bits, out += BLOCK_BYTES) {
        vi base[2];
        for (uint32_t half = 0; half < 2; half++)
            base[half] = every_byte(base_of(bits, w, a->panel, a->block0 + b * halves + half * (halves - 1)));
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
#pragma GCC unroll 2
            for (int t = 0; t < 2; t++) {
                vi even = codes_at(bits, codes, 4 * j + t), odd = codes_at(bits, codes, 4 * j + t + 2);
                vi bytes = vi_or(even, vi_left16(odd, 8));
                vi_store(out + (2 * j + t) * 64, _mm512_sub_epi8(bytes, base[j / 2]));
            }
        }
    }
}

static void unpack_chunk(const chunk_args *a)
{
    switch (a->w->bits) {
    case 2:
        unpack_tiles(2, a);
        break;
    case 3:
        unpack_tiles(3, a);
        break;
    case 4:
        unpack_tiles(4, a);
        break;
    case 5:
        unpack_tiles(5, a);
        break;
    case 6:
        unpack_tiles(6, a);
        break;
    case 7:
        unpack_tiles(7, a);
        break;
    default:
        unpack_tiles(8, a);
        break;
    }
}

/* Starts the products of one block; parity names the tiles and the buffers of the result. */
INLINE void multiply(const int parity, const uint8_t *rows, uint64_t stride, const uint8_t *codes, kernel_scratch *s)
{
    TILE_LOAD(6, codes, 64);
    TILE_LOAD(4, rows, stride);
    TILE_LOAD(5, rows + K_BLOCK, stride);
    if (parity) {
        TILE_ZERO(2);
        TILE_ZERO(3);
        TILE_DOT(bssd, 2, 4, 6);
        TILE_DOT(busd, 3, 5, 6);
        TILE_STORE(2, s->sums[2], 64);
        TILE_STORE(3, s->sums[3], 64);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_DOT(bssd, 0, 4, 6);
        TILE_DOT(busd, 1, 5, 6);
        TILE_STORE(0, s->sums[0], 64);
        TILE_STORE(1, s->sums[1], 64);
    }
}

/* Joins block b of the chunk to the sums of 16 rows. at: index of the first row's block in x. */
INLINE void join(const bool minima, const bool correct, const chunk_args *a, uint32_t b, uint64_t at,
                 const int32_t (*high)[LANES], const int32_t (*low)[LANES], vf acc[TILE_ROWS])
{
    const quant_rows *x = a->x;
    const vf scale = vf_load(a->scratch->scale[b]), min = minima ? vf_load(a->scratch->min[b]) : vf_zero();
    vi lack = vi_zero();

    if (correct) {
        int32_t stored = a->w->bits == 8 ? 128 : 0;
        lack = _mm512_sub_epi32(vi_set32(stored), zero_at(a->w, a->panel, a->block0 + b));
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; r++) {
        const uint64_t block = at + (unsigned)r * x->blocks;
        vi sum = vi_add32(vi_left32(vi_load(high[r]), 8), vi_load(low[r]));
        if (correct)
            sum = vi_add32(sum, vi_mul32(lack, vi_set32(x->isum[block])));
        acc[r] = vf_fma(vf_mul(vf_from_vi(sum), vf_set(x->scale[block])), scale, acc[r]);
        if (minima)
            acc[r] = vf_fma(vf_set(x->sum[block]), min, acc[r]);
    }
}

/* Where block b of the chunk begins in a tile row, and its codes. */
INLINE const uint8_t *rows_of(const int block, const chunk_args *a, uint32_t b)
{
    const uint64_t k = (uint64_t)(a->block0 + b) * (unsigned)block;
    return a->x->tiles + (uint64_t)a->row0 * a->x->tile_stride + k / K_BLOCK * 64 + k % K_BLOCK;
}

INLINE const uint8_t *codes_of(const int block, const chunk_args *a, uint32_t b)
{
    return (const uint8_t *)a->scratch->codes + (uint64_t)b * (unsigned)block * LANES;
}

INLINE void tile_chunk(const int block, const bool minima, const bool correct, const chunk_args *a)
{
    const uint64_t stride = a->x->tile_stride;
    uint64_t at = (uint64_t)a->row0 * a->x->blocks + a->block0;
    int32_t(*sums)[TILE_ROWS][LANES] = a->scratch->sums;
    vf acc[TILE_ROWS];

#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; r++)
        acc[r] = tile_begin(a, r);
    multiply(0, rows_of(block, a, 0), stride, codes_of(block, a, 0), a->scratch);
    for (uint32_t b = 0; b < a->blocks; b += 2, at += 2) {
        if (b + 1 < a->blocks)
            multiply(1, rows_of(block, a, b + 1), stride, codes_of(block, a, b + 1), a->scratch);
        join(minima, correct, a, b, at, (const int32_t(*)[LANES])sums[0], (const int32_t(*)[LANES])sums[1], acc);
        if (b + 1 == a->blocks)
            break;
        if (b + 2 < a->blocks)
            multiply(0, rows_of(block, a, b + 2), stride, codes_of(block, a, b + 2), a->scratch);
        join(minima, correct, a, b + 1, at + 1, (const int32_t(*)[LANES])sums[2], (const int32_t(*)[LANES])sums[3],
             acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < TILE_ROWS; r++)
        vf_store(a->tile + (uint64_t)(unsigned)r * a->tile_stride, acc[r]);
}

#define TILE_CHUNK(name, block, minima, correct) \
    static void name(const chunk_args *a)        \
    {                                            \
        tile_chunk(block, minima, correct, a);   \
    }
TILE_CHUNK(tile_16, 16, false, false)
TILE_CHUNK(tile_16_correct, 16, false, true)
TILE_CHUNK(tile_16_min, 16, true, false)
TILE_CHUNK(tile_16_min_correct, 16, true, true)
TILE_CHUNK(tile_32, 32, false, false)
TILE_CHUNK(tile_32_correct, 32, false, true)
TILE_CHUNK(tile_32_min, 32, true, false)
TILE_CHUNK(tile_32_min_correct, 32, true, true)

static const chunk_kernel tile_kernels[2][2][2] = {/* [block is 32][minima][correct] */
                                                   {{tile_16, tile_16_correct}, {tile_16_min, tile_16_min_correct}},
                                                   {{tile_32, tile_32_correct}, {tile_32_min, tile_32_min_correct}}};

/* Tiles 0..3: sums, 4: high bytes, 5: low bytes, 6: codes. */
static const tile_config configs[2] = {
    {.palette = 1, .row_bytes = {64, 64, 64, 64, 16, 16, 64}, .rows = {16, 16, 16, 16, 16, 16, 4}},
    {.palette = 1, .row_bytes = {64, 64, 64, 64, 32, 32, 64}, .rows = {16, 16, 16, 16, 16, 16, 8}}};

void linear_affine_amx(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                       uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint32_t blocks = w->k_pad / w->block, step = affine_chunk_blocks(w);
    const chunk_kernel kernel = tile_kernels[w->block == 32][w->zero_type == TN_ZERO_FLOAT][needs_correction(w)];

    if (rows < AMX_ROWS_MIN) {
        linear_affine_avx512(w, panel0, panels, x, row0, rows, tile, tile_stride, scratch);
        return;
    }
    tiles_configure(&configs[w->block == 32]);
    for (uint32_t p = 0; p < panels; p++) {
        chunk_args a = {.w = w,
                        .panel = w->data + (uint64_t)(panel0 + p) * w->panel_bytes,
                        .x = x,
                        .tile_stride = tile_stride,
                        .scratch = scratch};
        for (a.block0 = 0; a.block0 < blocks; a.block0 += step) {
            a.blocks = blocks - a.block0 < step ? blocks - a.block0 : step;
            affine_expand_avx512(&a);
            unpack_chunk(&a);
            for (uint32_t r = 0; r < rows; r += TILE_ROWS) {
                a.row0 = row0 + r;
                a.tile = tile + (uint64_t)r * tile_stride + p * LANES;
                kernel(&a);
            }
        }
    }
    tiles_release();
}
