/* plugins/cpu/kernels/amx_affine.c: int16 rows times 2..8-bit AFFINE weights in tiles of bytes, with the bits of every
 * other family.
 *
 * x = 256 high + low, so a block's exact integer sum is 256 times the tile product of the high bytes plus that of the
 * low bytes, and joins the float32 sum as it does elsewhere (linear_affine.c). Per 16 rows, 16 outputs and block of 32
 * that is two tile products, 32 cycles, beside some 50 for the joining, which the next block's products overlap; eight
 * rows or fewer take half.
 * Codes lie so that byte i of lane n of tile row 2 j + t is k = 8 j + 2 t + {0, 4, 1, 5}[i]: for 4 bits a shift and a
 * mask; 8-bit codes are stored like that, less 128, and read in place. Rows are in the same order (amx_rows.c); integer
 * sums do not mind.
 */
#include "affine.h"
#include "amx.h"

enum {
    AMX_ROWS_MIN = 4, /* fewer rows are faster through affine_packed.c */
    LOW_ROWS = 8,     /* of a low tile */
    BLOCK_BYTES = 512 /* of K_BLOCK x 16 codes in a tile */
};

/* What the tile's bytes lack to be code - offset - point: 8-bit codes are stored less 128, others less offset + point.
 */
INLINE bool needs_correction(const affine_weight *w)
{
    return w->bits == 8 ? w->offset != 128 || w->zero_type == TN_ZERO_POINT
                        : w->offset && w->zero_type == TN_ZERO_POINT;
}

/* 8-bit codes lie as tiles read them. */
INLINE bool in_place(const affine_weight *w)
{
    return w->bits == 8;
}

INLINE vi every_byte(vi lane)
{
    vi half = vi_or(lane, vi_left32(lane, 16));
    return vi_or(half, vi_left32(half, 8));
}

/* Subtracted from the codes of block `block` as bytes. */
INLINE vi base_of(const affine_weight *w, const uint8_t *panel, uint32_t block)
{
    return needs_correction(w) ? vi_zero() : zero_at(w, panel, block);
}

/* Tile row i of a block as unsigned codes. */
INLINE vi tile_row(const int bits, const uint8_t *codes, const int i)
{
    if (bits == 4) { /* nibbles t and t + 2 of every half at once */
        vi both = vi_load(codes + i / 2 * 64);
        return vi_and(i % 2 ? vi_right16(both, 4) : both, vi_set16(0x0F0F));
    }
    const int pair = i / 2 * 4 + i % 2;
    return vi_or(codes_at(bits, codes, pair), vi_left16(codes_at(bits, codes, pair + 2), 8));
}

INLINE void unpack_tiles(const int bits, const bool looked_up, const chunk_args *a)
{
    const affine_weight *w = a->w;
    const uint32_t halves = K_BLOCK / w->block, first = a->block0 / halves, count = a->blocks / halves;
    const uint8_t *codes = a->panel + w->code_at + (uint64_t)first * 64u * (unsigned)bits;
    const vi table = table_of(w);
    uint8_t *out = (uint8_t *)a->scratch->codes;

    for (uint32_t b = 0; b < count; b++, codes += 64 * bits, out += BLOCK_BYTES) {
        for (int line = 0; line < bits; line++)
            isa_prefetch(codes + PREFETCH_BYTES + line * 64);
        vi base[2];
        for (uint32_t half = 0; half < 2; half++)
            base[half] = every_byte(base_of(w, a->panel, a->block0 + b * halves + half * (halves - 1)));
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            vi row = tile_row(bits, codes, i);
            vi_store(out + i * 64, _mm512_sub_epi8(looked_up ? vi_lookup(table, row) : row, base[i / 4]));
        }
    }
}

static void unpack_chunk(const chunk_args *a)
{
    if (in_place(a->w))
        return;
    WITH_CODES_OF(a->w, unpack_tiles, a);
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

INLINE vf block_scalar(const chunk_args *a, uint32_t b, uint32_t plane_at, const float (*expanded)[LANES])
{
    if (scales_in_place(a->w))
        return vf_load_f16((const uint16_t *)(const void *)(a->panel + plane_at) + (uint64_t)(a->block0 + b) * LANES);
    return vf_load(expanded[b]);
}

/* Joins block b of the chunk to the sums of `height` rows. at: index of the first row's block in x. */
INLINE void join(const int height, const bool minima, const bool correct, const chunk_args *a, uint32_t b, uint64_t at,
                 const int32_t (*high)[LANES], const int32_t (*low)[LANES], vf acc[TILE_ROWS])
{
    const quant_rows *x = a->x;
    const vf scale = block_scalar(a, b, a->w->scale_at, (const float(*)[LANES])a->scratch->scale);
    const vf min = minima ? block_scalar(a, b, a->w->min_at, (const float(*)[LANES])a->scratch->min) : vf_zero();
    vi lack = vi_zero();

    if (correct) {
        int32_t stored = a->w->bits == 8 ? 128 : 0;
        lack = _mm512_sub_epi32(vi_set32(stored), zero_at(a->w, a->panel, a->block0 + b));
    }
#pragma GCC unroll 16
    for (int r = 0; r < height; r++) {
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
    if (in_place(a->w))
        return a->panel + a->w->code_at + (uint64_t)(a->block0 + b) * (unsigned)block * LANES;
    return (const uint8_t *)a->scratch->codes + (uint64_t)b * (unsigned)block * LANES;
}

/* Starts the products of block b; those that are read in place are fetched ahead here, others while they are unpacked.
 */
INLINE void start(const int parity, const int block, const chunk_args *a, uint32_t b)
{
    const uint8_t *codes = codes_of(block, a, b);

    for (int line = 0; in_place(a->w) && line < block / 4; line++)
        isa_prefetch(codes + PREFETCH_BYTES + line * 64);
    multiply(parity, rows_of(block, a, b), a->x->tile_stride, codes, a->scratch);
}

INLINE void tile_chunk(const int height, const int block, const bool minima, const bool correct, const chunk_args *a)
{
    uint64_t at = (uint64_t)a->row0 * a->x->blocks + a->block0;
    int32_t(*sums)[TILE_ROWS][LANES] = a->scratch->sums;
    vf acc[TILE_ROWS];

#pragma GCC unroll 16
    for (int r = 0; r < height; r++)
        acc[r] = tile_begin(a, r);
    start(0, block, a, 0);
    for (uint32_t b = 0; b < a->blocks; b += 2, at += 2) {
        if (b + 1 < a->blocks)
            start(1, block, a, b + 1);
        join(height, minima, correct, a, b, at, (const int32_t(*)[LANES])sums[0], (const int32_t(*)[LANES])sums[1],
             acc);
        if (b + 1 == a->blocks)
            break;
        if (b + 2 < a->blocks)
            start(0, block, a, b + 2);
        join(height, minima, correct, a, b + 1, at + 1, (const int32_t(*)[LANES])sums[2],
             (const int32_t(*)[LANES])sums[3], acc);
    }
#pragma GCC unroll 16
    for (int r = 0; r < height; r++)
        vf_store(a->tile + (uint64_t)(unsigned)r * a->tile_stride, acc[r]);
}

#define TILE_CHUNK(height, block, minima, correct)                                  \
    static void tile_##height##_##block##_##minima##_##correct(const chunk_args *a) \
    {                                                                               \
        tile_chunk(height, block, minima, correct, a);                              \
    }
#define TILE_CHUNKS(height, block)  \
    TILE_CHUNK(height, block, 0, 0) \
    TILE_CHUNK(height, block, 0, 1) \
    TILE_CHUNK(height, block, 1, 0) \
    TILE_CHUNK(height, block, 1, 1)
TILE_CHUNKS(8, 16)
TILE_CHUNKS(8, 32)
TILE_CHUNKS(16, 16)
TILE_CHUNKS(16, 32)

#define TILE_ENTRY(height, block)                                        \
    {                                                                    \
        {tile_##height##_##block##_0_0, tile_##height##_##block##_0_1},  \
        {                                                                \
            tile_##height##_##block##_1_0, tile_##height##_##block##_1_1 \
        }                                                                \
    }
static const chunk_kernel tile_kernels[2][2][2][2] = {/* [low][block is 32][minima][correct] */
                                                      {TILE_ENTRY(16, 16), TILE_ENTRY(16, 32)},
                                                      {TILE_ENTRY(8, 16), TILE_ENTRY(8, 32)}};

/* Tiles 0..3: sums, 4: high bytes, 5: low bytes, 6: codes. */
#define TILE_CONFIG(height, block)                                               \
    {                                                                            \
        .palette = 1, .row_bytes = {64, 64, 64, 64, block, block, 64}, .rows = { \
            height,                                                              \
            height,                                                              \
            height,                                                              \
            height,                                                              \
            height,                                                              \
            height,                                                              \
            block / 4                                                            \
        }                                                                        \
    }
static const tile_config configs[2][2] = {{TILE_CONFIG(16, 16), TILE_CONFIG(16, 32)},
                                          {TILE_CONFIG(8, 16), TILE_CONFIG(8, 32)}};

void linear_affine_amx(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                       uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch)
{
    const uint32_t blocks = w->k_pad / w->block, step = affine_chunk_blocks(w);
    const bool low = rows <= LOW_ROWS, wide = w->block == 32;
    const chunk_kernel kernel = tile_kernels[low][wide][w->zero_type == TN_ZERO_FLOAT][needs_correction(w)];

    if (rows < AMX_ROWS_MIN) {
        linear_affine_avx512(w, panel0, panels, x, row0, rows, tile, tile_stride, scratch);
        return;
    }
    tiles_configure(&configs[low][wide]);
    for (uint32_t p = 0; p < panels; p++) {
        chunk_args a = {.w = w,
                        .panel = w->data + (uint64_t)(panel0 + p) * w->panel_bytes,
                        .x = x,
                        .tile_stride = tile_stride,
                        .scratch = scratch};
        for (a.block0 = 0; a.block0 < blocks; a.block0 += step) {
            a.blocks = blocks - a.block0 < step ? blocks - a.block0 : step;
            if (!scales_in_place(w))
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
