/* plugins/cpu/kernels/isa_avx2.h: the 16-lane vectors of isa.h in pairs of AVX2 registers (AVX2, FMA, F16C). */
#ifndef CPU_ISA_AVX2_H
#define CPU_ISA_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct vf {
    __m256 a, b; /* lanes 0..7, 8..15 */
} vf;
typedef struct vi {
    __m256i a, b;
} vi;

#define ISA_ROWS_MAX 6 /* rows x 2 accumulators leave 4 of 16 registers for operands */

#define VF_BOTH2(op, x, y) ((vf){op((x).a, (y).a), op((x).b, (y).b)})
#define VI_BOTH2(op, x, y) ((vi){op((x).a, (y).a), op((x).b, (y).b)})

static inline vf vf_zero(void)
{
    return (vf){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
static inline vf vf_set(float x)
{
    __m256 v = _mm256_set1_ps(x);
    return (vf){v, v};
}
static inline vf vf_load(const float *p)
{
    return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline vf vf_add(vf x, vf y)
{
    return VF_BOTH2(_mm256_add_ps, x, y);
}
static inline vf vf_sub(vf x, vf y)
{
    return VF_BOTH2(_mm256_sub_ps, x, y);
}
static inline vf vf_mul(vf x, vf y)
{
    return VF_BOTH2(_mm256_mul_ps, x, y);
}
static inline vf vf_div(vf x, vf y)
{
    return VF_BOTH2(_mm256_div_ps, x, y);
}
static inline vf vf_max(vf x, vf y)
{
    return VF_BOTH2(_mm256_max_ps, x, y);
}
static inline vf vf_min(vf x, vf y)
{
    return VF_BOTH2(_mm256_min_ps, x, y);
}
static inline vf vf_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline vf vf_abs(vf x)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
/* Lane i is all ones when i < n. */
static inline vi vi_first(int32_t n)
{
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), count = _mm256_set1_epi32(n);
    return (vi){_mm256_cmpgt_epi32(count, lane),
                _mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)))};
}
static inline vf vf_load_first(const float *p, int32_t n)
{
    vi mask = vi_first(n);
    return (vf){_mm256_maskload_ps(p, mask.a), _mm256_maskload_ps(p + 8, mask.b)};
}
static inline void vf_store_first(float *p, vf x, int32_t n)
{
    vi mask = vi_first(n);
    _mm256_maskstore_ps(p, mask.a, x.a);
    _mm256_maskstore_ps(p + 8, mask.b, x.b);
}
static inline vf vf_select(vi mask, vf yes, vf no)
{
    return (vf){_mm256_blendv_ps(no.a, yes.a, _mm256_castsi256_ps(mask.a)),
                _mm256_blendv_ps(no.b, yes.b, _mm256_castsi256_ps(mask.b))};
}
static inline float vf_sum(vf x)
{
    __m256 s8 = _mm256_add_ps(x.a, x.b);
    __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}
static inline float vf_largest(vf x)
{
    __m256 s8 = _mm256_max_ps(x.a, x.b);
    __m128 s4 = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    __m128 s2 = _mm_max_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_max_ss(s2, _mm_movehdup_ps(s2)));
}
static inline vf vf_load_f16(const uint16_t *p)
{
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)))};
}
static inline vf vf_load_bf16(const uint16_t *p)
{
    __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + 8)));
    return (vf){_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
}
static inline vf isa_load16_e4m3(const uint8_t *p)
{
    __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p)), 7);
    __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16((int16_t)0xBF80));
    return (vf){_mm256_cvtph_ps(_mm256_castsi256_si128(half)), _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1))};
}
/* 32 e4m3 numbers divided by 256, exactly: their bits make such half floats. No NaN. */
static inline void vf_load_e4m3(const uint8_t *p, vf ret[2])
{
    ret[0] = isa_load16_e4m3(p);
    ret[1] = isa_load16_e4m3(p + 16);
}
static inline void vf_store_f16(uint16_t *p, vf x)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline vi vi_zero(void)
{
    return (vi){_mm256_setzero_si256(), _mm256_setzero_si256()};
}
static inline vi vi_set32(int32_t x)
{
    __m256i v = _mm256_set1_epi32(x);
    return (vi){v, v};
}
static inline vi vi_set16(int16_t x)
{
    __m256i v = _mm256_set1_epi16(x);
    return (vi){v, v};
}
static inline vi vi_load(const void *p)
{
    const __m256i *v = p;
    return (vi){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}
static inline void vi_store(void *p, vi x)
{
    __m256i *v = p;
    _mm256_storeu_si256(v, x.a);
    _mm256_storeu_si256(v + 1, x.b);
}
static inline vi vi_load_u8(const uint8_t *p)
{
    return (vi){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)),
                _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8)))};
}
static inline vi vi_load_s8(const uint8_t *p)
{
    return (vi){_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)),
                _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8)))};
}
static inline vi vi_and(vi x, vi y)
{
    return VI_BOTH2(_mm256_and_si256, x, y);
}
static inline vi vi_or(vi x, vi y)
{
    return VI_BOTH2(_mm256_or_si256, x, y);
}
static inline vi vi_xor(vi x, vi y)
{
    return VI_BOTH2(_mm256_xor_si256, x, y);
}
/* A table of 16 bytes for vi_lookup. */
static inline vi vi_repeat16(const uint8_t *p)
{
    __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p));
    return (vi){v, v};
}
/* Byte i is table[index[i]], index below 16. */
static inline vi vi_lookup(vi table, vi index)
{
    return VI_BOTH2(_mm256_shuffle_epi8, table, index);
}
static inline vi vi_add32(vi x, vi y)
{
    return VI_BOTH2(_mm256_add_epi32, x, y);
}
static inline vi vi_mul32(vi x, vi y)
{
    return VI_BOTH2(_mm256_mullo_epi32, x, y);
}
static inline vi vi_sub16(vi x, vi y)
{
    return VI_BOTH2(_mm256_sub_epi16, x, y);
}
#define vi_right16(x, n) ((vi){_mm256_srli_epi16((x).a, (n)), _mm256_srli_epi16((x).b, (n))})
#define vi_left16(x, n)  ((vi){_mm256_slli_epi16((x).a, (n)), _mm256_slli_epi16((x).b, (n))})
#define vi_left32(x, n)  ((vi){_mm256_slli_epi32((x).a, (n)), _mm256_slli_epi32((x).b, (n))})
/* Per 32-bit lane: sum + w.low * x.low + w.high * x.high, of signed 16-bit halves. The additions are assembly, because
 * GCC 12 otherwise reorders unrolled rows until accumulators spill, and copies each sum. */
static inline vi vi_dot(vi sum, vi w, vi x)
{
    __m256i a = _mm256_madd_epi16(w.a, x.a), b = _mm256_madd_epi16(w.b, x.b);
    __asm__ volatile("vpaddd %2, %0, %0\n\tvpaddd %3, %1, %1" : "+x"(sum.a), "+x"(sum.b) : "x"(a), "x"(b));
    return sum;
}
static inline vf vf_from_vi(vi x)
{
    return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
/* To nearest, ties to even; out of range and NaN give INT32_MIN. */
static inline vi vi_round(vf x)
{
    return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}
static inline vf vf_bits(vi x)
{
    return (vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
static inline void vi_store_s16(int16_t *p, vi x)
{
    __m256i packed = _mm256_packs_epi32(x.a, x.b);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(packed, 0xD8));
}
static inline int32_t vi_sum(vi x)
{
    __m256i s8 = _mm256_add_epi32(x.a, x.b);
    __m128i s4 = _mm_add_epi32(_mm256_castsi256_si128(s8), _mm256_extracti128_si256(s8, 1));
    __m128i s2 = _mm_add_epi32(s4, _mm_shuffle_epi32(s4, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s2, _mm_shuffle_epi32(s2, 0xB1)));
}
/* Bit i is set where x[i] < y[i] or either is NaN. */
static inline uint32_t vf_not_ge(vf x, vf y)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x.a, y.a, _CMP_NGE_UQ)) |
           (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x.b, y.b, _CMP_NGE_UQ)) << 8;
}
/* Assembly, because GCC 12 takes a function that only prefetches for one without effect, and drops its calls. */
static inline void isa_prefetch(const void *p)
{
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p));
}

#endif
