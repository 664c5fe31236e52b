/* plugins/cpu/kernels/isa.h: vectors of 16 lanes, chosen at compile time by CPU_FAMILY_*.
 *
 * vf: 16 float32. vi: 16 int32, or 32 int16 seen as pairs (low, high) within each 32-bit lane. A kernel written over
 * them gives the same bits in every family: each wrapper is one IEEE operation per lane, sums run in a stated tree,
 * and contraction is off (-ffp-contract=off), so that a fused multiply-add is fused exactly where vf_fma says so.
 * vf_max(x, y) and vf_min return y when either is NaN, as x86 does.
 */
#ifndef CPU_ISA_H
#define CPU_ISA_H

#if defined(CPU_FAMILY_AVX512)
#include "isa_avx512.h"
#define FAMILY(name) name##_avx512
#elif defined(CPU_FAMILY_AVX2)
#include "isa_avx2.h"
#define FAMILY(name) name##_avx2
#else
#include "isa_portable.h"
#define FAMILY(name) name##_portable
#endif

#define INLINE static inline __attribute__((always_inline))

/* e^x within 2 ulp for -87.3 <= x <= 88.3; beyond, the value at the nearer end. NaN is kept. Reduction by ln 2 in two
 * parts, then the minimax polynomial of Cephes expf. */
INLINE vf vf_exp(vf x)
{
    vf clamped = vf_min(vf_set(88.3f), vf_max(vf_set(-87.3f), x));
    vi power = vi_round(vf_mul(clamped, vf_set(0x1.715476p+0f)));
    vf n = vf_from_vi(power);
    vf r = vf_fma(n, vf_set(-0x1.62e430p-1f), clamped);
    r = vf_fma(n, vf_set(0x1.05c610p-29f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    vf e = vf_add(vf_fma(vf_mul(r, r), p, r), vf_set(1.0f));
    return vf_mul(e, vf_bits(vi_left32(vi_add32(power, vi_set32(127)), 23)));
}

/* 1 / (1 + e^-x) times x. */
INLINE vf vf_silu(vf x)
{
    return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_sub(vf_zero(), x))));
}

/* tanh x = 1 - 2 / (e^2x + 1): absolute error below 2^-22. */
INLINE vf vf_tanh(vf x)
{
    vf e = vf_exp(vf_add(x, x));
    return vf_sub(vf_set(1.0f), vf_div(vf_set(2.0f), vf_add(e, vf_set(1.0f))));
}

#endif
