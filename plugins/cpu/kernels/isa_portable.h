/* plugins/cpu/kernels/isa_portable.h: the 16-lane vectors of isa.h as plain arrays, for any CPU. The loops are written
 * so that compilers turn them into whatever vectors the target has. Same bits as the other families: a fused
 * multiply-add is computed exactly even where the CPU has none.
 */
#ifndef CPU_ISA_PORTABLE_H
#define CPU_ISA_PORTABLE_H

#include "base/half.h"
#include "base/small_float.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t isa_words __attribute__((vector_size(64)));

#define ISA_ROWS_MAX      2
#define ISA_UNPACK_ALWAYS 1 /* wide shifts of packed codes gain nothing here and take long to compile */

#define ISA_EACH for (int lane = 0; lane < 16; lane++)
#define ISA_MAP(type, expression)      \
    type ret;                          \
    ISA_EACH ret[lane] = (expression); \
    return ret

/* x * y + z, rounded once. The product of two floats is exact in double; the sum is rounded to odd there, after which
 * rounding to float cannot err (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums"). */
static inline float isa_fma(float x, float y, float z)
{
#ifdef __FP_FAST_FMAF
    return __builtin_fmaf(x, y, z);
#else
    double product = (double)x * y, sum = product + z;
    double z_part = sum - product;
    double error = (product - (sum - z_part)) + (z - z_part);
    uint64_t bits;

    memcpy(&bits, &sum, sizeof bits);
    if (error != 0 && !(bits & 1)) { /* false for NaN sums and errors: error is NaN then, sum is inf or NaN */
        if (!(fabs(sum) <= 0x1p1000))
            return (float)sum;
        bits += (error > 0) == (sum > 0) ? 1 : (uint64_t)-1;
        memcpy(&sum, &bits, sizeof sum);
    }
    return (float)sum;
#endif
}

static inline vf vf_set(float x)
{
    ISA_MAP(vf, x);
}
static inline vf vf_zero(void)
{
    return vf_set(0);
}
static inline vf vf_load(const float *p)
{
    ISA_MAP(vf, p[lane]);
}
static inline void vf_store(float *p, vf x)
{
    memcpy(p, &x, sizeof x);
}
static inline vf vf_add(vf x, vf y)
{
    return x + y;
}
static inline vf vf_sub(vf x, vf y)
{
    return x - y;
}
static inline vf vf_mul(vf x, vf y)
{
    return x * y;
}
static inline vf vf_div(vf x, vf y)
{
    return x / y;
}
static inline vf vf_max(vf x, vf y)
{
    ISA_MAP(vf, x[lane] > y[lane] ? x[lane] : y[lane]);
}
static inline vf vf_min(vf x, vf y)
{
    ISA_MAP(vf, x[lane] < y[lane] ? x[lane] : y[lane]);
}
static inline vf vf_fma(vf x, vf y, vf z)
{
    ISA_MAP(vf, isa_fma(x[lane], y[lane], z[lane]));
}
static inline vf vf_abs(vf x)
{
    ISA_MAP(vf, fabsf(x[lane]));
}
/* Lane i is all ones when i < n. */
static inline vi vi_first(int32_t n)
{
    ISA_MAP(vi, lane < n ? -1 : 0);
}
static inline vf vf_load_first(const float *p, int32_t n)
{
    ISA_MAP(vf, lane < n ? p[lane] : 0);
}
static inline void vf_store_first(float *p, vf x, int32_t n)
{
    for (int lane = 0; lane < 16 && lane < n; lane++)
        p[lane] = x[lane];
}
static inline vf vf_select(vi mask, vf yes, vf no)
{
    ISA_MAP(vf, mask[lane] ? yes[lane] : no[lane]);
}
static inline float vf_sum(vf x)
{
    for (int half = 8; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            x[lane] += x[lane + half];
    return x[0];
}
static inline float vf_largest(vf x)
{
    for (int half = 8; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            x[lane] = x[lane] > x[lane + half] ? x[lane] : x[lane + half];
    return x[0];
}
static inline vf vf_load_f16(const uint16_t *p)
{
    ISA_MAP(vf, float_from_f16(p[lane]));
}
static inline vf vf_load_bf16(const uint16_t *p)
{
    ISA_MAP(vf, float_from_bf16(p[lane]));
}
/* 32 e4m3 numbers divided by 256, exactly. No NaN. */
static inline void vf_load_e4m3(const uint8_t *p, vf ret[2])
{
    ISA_EACH ret[0][lane] = float_from_e4m3(p[lane]) * 0x1p-8f;
    ISA_EACH ret[1][lane] = float_from_e4m3(p[16 + lane]) * 0x1p-8f;
}
static inline void vf_store_f16(uint16_t *p, vf x)
{
    ISA_EACH p[lane] = f16_from_float(x[lane]);
}

static inline vi vi_set32(int32_t x)
{
    ISA_MAP(vi, x);
}
static inline vi vi_zero(void)
{
    return vi_set32(0);
}
static inline vi vi_set16(int16_t x)
{
    return vi_set32((int32_t)((uint32_t)(uint16_t)x * 0x10001u));
}
static inline vi vi_load(const void *p)
{
    vi ret;
    memcpy(&ret, p, sizeof ret);
    return ret;
}
static inline void vi_store(void *p, vi x)
{
    memcpy(p, &x, sizeof x);
}
static inline vi vi_load_u8(const uint8_t *p)
{
    ISA_MAP(vi, p[lane]);
}
static inline vi vi_load_s8(const uint8_t *p)
{
    ISA_MAP(vi, (int8_t)p[lane]);
}
static inline vi vi_and(vi x, vi y)
{
    return x & y;
}
static inline vi vi_or(vi x, vi y)
{
    return x | y;
}
static inline vi vi_xor(vi x, vi y)
{
    return x ^ y;
}
/* A table of 16 bytes for vi_lookup. */
static inline vi vi_repeat16(const uint8_t *p)
{
    vi ret;
    for (size_t at = 0; at < sizeof ret; at += 16)
        memcpy((uint8_t *)&ret + at, p, 16);
    return ret;
}
/* Byte i is table[index[i]], index below 16. */
static inline vi vi_lookup(vi table, vi index)
{
    uint8_t from[64], to[64];
    memcpy(to, &index, sizeof to);
    memcpy(from, &table, sizeof from);
    for (size_t i = 0; i < sizeof to; i++)
        to[i] = from[to[i]];
    return vi_load(to);
}
static inline vi vi_add32(vi x, vi y)
{
    return (vi)((isa_words)x + (isa_words)y);
}
static inline vi vi_mul32(vi x, vi y)
{
    return (vi)((isa_words)x * (isa_words)y);
}
/* The low 16 bits of each lane from `low`, the high 16 from `high`. */
static inline vi isa_halves(isa_words low, isa_words high)
{
    return (vi)((low & 0xFFFFu) | (high & 0xFFFF0000u));
}
static inline vi vi_sub16(vi x, vi y)
{
    isa_words a = (isa_words)x, b = (isa_words)y;
    return isa_halves(a - b, a - (b & 0xFFFF0000u));
}
static inline vi vi_right16(vi x, int n)
{
    isa_words w = (isa_words)x;
    return isa_halves((w & 0xFFFFu) >> (uint32_t)n, (w >> 16 >> (uint32_t)n) << 16);
}
static inline vi vi_left16(vi x, int n)
{
    isa_words w = (isa_words)x;
    return isa_halves(w << (uint32_t)n, (w & 0xFFFF0000u) << (uint32_t)n);
}
static inline vi vi_left32(vi x, int n)
{
    return (vi)((isa_words)x << (uint32_t)n);
}
/* Per 32-bit lane: sum + w.low * x.low + w.high * x.high, of signed 16-bit halves. */
static inline vi vi_dot(vi sum, vi w, vi x)
{
    return sum + ((vi)((isa_words)w << 16) >> 16) * ((vi)((isa_words)x << 16) >> 16) + (w >> 16) * (x >> 16);
}
static inline vf vf_from_vi(vi x)
{
    return __builtin_convertvector(x, vf);
}
/* To nearest, ties to even; out of range and NaN give INT32_MIN. */
static inline vi vi_round(vf x)
{
    ISA_MAP(vi, fabsf(x[lane]) < 0x1p31f ? (int32_t)rintf(x[lane]) : INT32_MIN);
}
static inline vf vf_bits(vi x)
{
    return (vf)x;
}
static inline void vi_store_s16(int16_t *p, vi x)
{
    ISA_EACH p[lane] = (int16_t)(x[lane] > 32767 ? 32767 : x[lane] < -32768 ? -32768 : x[lane]);
}
static inline int32_t vi_sum(vi x)
{
    int32_t sum = 0;
    ISA_EACH sum += x[lane];
    return sum;
}
/* Bit i is set where x[i] < y[i] or either is NaN. */
static inline uint32_t vf_not_ge(vf x, vf y)
{
    uint32_t bits = 0;
    ISA_EACH bits |= (uint32_t) !(x[lane] >= y[lane]) << lane;
    return bits;
}
static inline void isa_prefetch(const void *p)
{
    (void)p;
}

#endif
