/* plugins/cpu/kernels/isa_avx512.h: the 16-lane vectors of isa.h in AVX-512 registers (F, BW, DQ, VL, VNNI). */
#ifndef CPU_ISA_AVX512_H
#define CPU_ISA_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef __m512 vf;
typedef __m512i vi;

#define ISA_ROWS_MAX 12 /* rows x (integer + float) accumulators leave 8 of 32 registers for operands */

static inline vf vf_zero(void)
{
    return _mm512_setzero_ps();
}
static inline vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
static inline vf vf_add(vf x, vf y)
{
    return _mm512_add_ps(x, y);
}
static inline vf vf_sub(vf x, vf y)
{
    return _mm512_sub_ps(x, y);
}
static inline vf vf_mul(vf x, vf y)
{
    return _mm512_mul_ps(x, y);
}
static inline vf vf_div(vf x, vf y)
{
    return _mm512_div_ps(x, y);
}
static inline vf vf_max(vf x, vf y)
{
    return _mm512_max_ps(x, y);
}
static inline vf vf_min(vf x, vf y)
{
    return _mm512_min_ps(x, y);
}
static inline vf vf_fma(vf x, vf y, vf z)
{
    return _mm512_fmadd_ps(x, y, z);
}
static inline vf vf_abs(vf x)
{
    return _mm512_abs_ps(x);
}
static inline __mmask16 isa_first_mask(int32_t n)
{
    return (__mmask16)(n >= 16 ? 0xFFFFu : n <= 0 ? 0u : (1u << n) - 1u);
}
/* Lane i is all ones when i < n. */
static inline vi vi_first(int32_t n)
{
    return _mm512_maskz_set1_epi32(isa_first_mask(n), -1);
}
static inline vf vf_load_first(const float *p, int32_t n)
{
    return _mm512_maskz_loadu_ps(isa_first_mask(n), p);
}
static inline void vf_store_first(float *p, vf x, int32_t n)
{
    _mm512_mask_storeu_ps(p, isa_first_mask(n), x);
}
static inline vf vf_select(vi mask, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(mask), no, yes);
}
static inline float vf_sum(vf x)
{
    __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
static inline float vf_largest(vf x)
{
    __m256 s8 = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
static inline vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline vf vf_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
/* 32 e4m3 numbers divided by 256, exactly: their bits make such half floats. No NaN. */
static inline void vf_load_e4m3(const uint8_t *p, vf ret[2])
{
    __m512i wide = _mm512_slli_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p)), 7);
    __m512i half = _mm512_and_si512(wide, _mm512_set1_epi16((int16_t)0xBF80));
    ret[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(half));
    ret[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1));
}
static inline void vf_store_f16(uint16_t *p, vf x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vi vi_zero(void)
{
    return _mm512_setzero_si512();
}
static inline vi vi_set32(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline vi vi_set16(int16_t x)
{
    return _mm512_set1_epi16(x);
}
static inline vi vi_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
static inline void vi_store(void *p, vi x)
{
    _mm512_storeu_si512(p, x);
}
static inline vi vi_load_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline vi vi_load_s8(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline vi vi_and(vi x, vi y)
{
    return _mm512_and_si512(x, y);
}
static inline vi vi_or(vi x, vi y)
{
    return _mm512_or_si512(x, y);
}
static inline vi vi_xor(vi x, vi y)
{
    return _mm512_xor_si512(x, y);
}
/* A table of 16 bytes for vi_lookup. */
static inline vi vi_repeat16(const uint8_t *p)
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)p));
}
/* Byte i is table[index[i]], index below 16. */
static inline vi vi_lookup(vi table, vi index)
{
    return _mm512_shuffle_epi8(table, index);
}
static inline vi vi_add32(vi x, vi y)
{
    return _mm512_add_epi32(x, y);
}
static inline vi vi_mul32(vi x, vi y)
{
    return _mm512_mullo_epi32(x, y);
}
static inline vi vi_sub16(vi x, vi y)
{
    return _mm512_sub_epi16(x, y);
}
#define vi_right16(x, n) _mm512_srli_epi16((x), (n))
#define vi_left16(x, n)  _mm512_slli_epi16((x), (n))
#define vi_left32(x, n)  _mm512_slli_epi32((x), (n))
/* Per 32-bit lane: sum + w.low * x.low + w.high * x.high, of signed 16-bit halves. */
static inline vi vi_dot(vi sum, vi w, vi x)
{
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(sum, w, x);
#else
    return _mm512_add_epi32(sum, _mm512_madd_epi16(w, x));
#endif
}
static inline vf vf_from_vi(vi x)
{
    return _mm512_cvtepi32_ps(x);
}
/* To nearest, ties to even; out of range and NaN give INT32_MIN. */
static inline vi vi_round(vf x)
{
    return _mm512_cvtps_epi32(x);
}
static inline vf vf_bits(vi x)
{
    return _mm512_castsi512_ps(x);
}
static inline void vi_store_s16(int16_t *p, vi x)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtsepi32_epi16(x));
}
static inline int32_t vi_sum(vi x)
{
    return _mm512_reduce_add_epi32(x);
}
/* Bit i is set where x[i] < y[i] or either is NaN. */
static inline uint32_t vf_not_ge(vf x, vf y)
{
    return _mm512_cmp_ps_mask(x, y, _CMP_NGE_UQ);
}
/* Assembly, because GCC 12 takes a function that only prefetches for one without effect, and drops its calls. */
static inline void isa_prefetch(const void *p)
{
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p));
}

#endif
