/* plugins/cpu/kernels/amx_rows.c: rows as tiles read them, and the table of the AMX family: the AVX-512 kernels, but
 * for matrix products.
 */
#include "amx.h"

/* Byte i of a block's tile row comes from byte tile_byte(i) of its 32 int16: the high bytes, then the low ones, k in
 * the order in which amx_affine.c finds the codes of four k in one 32-bit lane. */
#define K_OF(i)      ((i) / 8 * 8 + (i) % 8 / 4 * 2 + (i) % 2 * 4 + (i) % 4 / 2)
#define TILE_BYTE(i) ((i) < 32 ? K_OF(i) * 2 + 1 : K_OF((i)-32) * 2)
#define FOUR(i)      TILE_BYTE(i), TILE_BYTE((i) + 1), TILE_BYTE((i) + 2), TILE_BYTE((i) + 3)
#define SIXTEEN(i)   FOUR(i), FOUR((i) + 4), FOUR((i) + 8), FOUR((i) + 12)
static const uint8_t tile_order[64] = {SIXTEEN(0), SIXTEEN(16), SIXTEEN(32), SIXTEEN(48)};

/* x = high + low within 2^-17 of x. An infinite or NaN x has a NaN part. */
static void split_part(const float *x, uint32_t n, uint8_t *out)
{
    for (uint32_t k = 0; k < n; k += K_BLOCK, out += 2 * 64) {
        __m512 x0 = _mm512_loadu_ps(x + k), x1 = _mm512_loadu_ps(x + k + LANES);
        __m512i high = (__m512i)_mm512_cvtne2ps_pbh(x1, x0);
        __m512i wide0 = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(high));
        __m512i wide1 = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1));
        __m512 low0 = _mm512_sub_ps(x0, _mm512_castsi512_ps(_mm512_slli_epi32(wide0, 16)));
        __m512 low1 = _mm512_sub_ps(x1, _mm512_castsi512_ps(_mm512_slli_epi32(wide1, 16)));
        _mm512_store_si512(out, high);
        _mm512_store_si512(out + 64, (__m512i)_mm512_cvtne2ps_pbh(low1, low0));
    }
}

void quantize_part_amx(const float *x, uint32_t first, uint32_t n, const quant_rows *ret, uint32_t row)
{
    uint8_t *tiles = ret->tiles + (uint64_t)row * ret->tile_stride;

    if (ret->form == FORM_SPLIT) {
        split_part(x, n, tiles + first / K_BLOCK * 128);
        return;
    }
    quantize_part_avx512(x, first, n, ret, row);
    const int16_t *q = ret->q + (uint64_t)row * ret->k_pad + first;
    const __m512i order = _mm512_loadu_si512(tile_order);
    for (uint32_t k = 0; k < n; k += K_BLOCK)
        _mm512_store_si512(tiles + (first + k) / K_BLOCK * 64,
                           _mm512_permutexvar_epi8(order, _mm512_loadu_si512(q + k)));
}

const kernels *kernels_amx(void)
{
    static const kernels table = {
        .name = "amx",
        .tiles = true,
        .quantize_part = quantize_part_amx,
        .linear_affine = linear_affine_amx,
        .linear_float = FAMILY(linear_float),
        .linear_split = linear_split_amx,
        FAMILY_VECTOR_KERNELS,
    };
    return &table;
}
