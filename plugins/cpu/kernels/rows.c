/* plugins/cpu/kernels/rows.c: what happens to one row between matrix products: quantise, normalise, rotate, gate.
 *
 * Cost: a few passes over rows that sit in L1 or L2; together under 2 % of a step.
 */
#include "family.h"

#include "tenon/graph.h"

#include <math.h>

/* ---- int16 quantisation ---- */

/* Two vectors of a block of 16 or 32: scale = max|x| / 32767, q = round(x / scale). A block of zeros, or of values too
 * small to divide by, becomes zeros. x * 0 turns Inf and NaN into NaN, which then reaches the block's scale. */
static void quantize_block(vf low, vf high, bool wide, int16_t *q, float *scale, float *sum, int32_t *isum)
{
    vf taint = vf_add(vf_mul(low, vf_zero()), vf_mul(high, vf_zero()));
    float largest = vf_largest(vf_max(vf_abs(low), vf_abs(high)));
    float poison = vf_sum(taint);
    bool usable = largest >= 0x1p-100f;
    float inverse = usable ? 32767.0f / largest : 0.0f;

    *scale = (usable ? largest / 32767.0f : 0.0f) + poison;
    vi rounded = vi_round(vf_mul(low, vf_set(inverse)));
    vi_store_s16(q, rounded);
    if (wide) {
        vi more = vi_round(vf_mul(high, vf_set(inverse)));
        vi_store_s16(q + LANES, more);
        rounded = vi_add32(rounded, more);
    }
    *isum = poison == 0 ? vi_sum(rounded) : 0; /* rounding a NaN gives INT32_MIN, and sums of it overflow */
    *sum = *scale * (float)*isum;
}

void FAMILY(quantize_part)(const float *x, uint32_t first, uint32_t n, const quant_rows *ret, uint32_t row)
{
    const bool wide = ret->block == 32;
    int16_t *q = ret->q + (uint64_t)row * ret->k_pad + first;
    uint64_t b = (uint64_t)row * ret->blocks + first / ret->block;

    for (uint32_t k = 0; k < n; k += ret->block, b++)
        quantize_block(vf_load(x + k), wide ? vf_load(x + k + LANES) : vf_zero(), wide, q + k, ret->scale + b,
                       ret->sum + b, ret->isum + b);
}

/* ---- elementwise ---- */

void FAMILY(rms_norm)(const float *x, const float *gain, uint32_t n, float eps, float gain_offset, float *out)
{
    vf squares = vf_zero(), offset = vf_set(gain_offset);
    uint32_t whole = n / LANES * LANES;
    int32_t rest = (int32_t)(n - whole);

    for (uint32_t i = 0; i < whole; i += LANES) {
        vf v = vf_load(x + i);
        squares = vf_fma(v, v, squares);
    }
    if (rest) {
        vf v = vf_load_first(x + whole, rest);
        squares = vf_fma(v, v, squares);
    }
    vf scale = vf_set(1.0f / sqrtf(vf_sum(squares) / (float)n + eps));
    for (uint32_t i = 0; i < whole; i += LANES)
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_add(vf_load(gain + i), offset)));
    if (rest) {
        vf g = vf_add(vf_load_first(gain + whole, rest), offset);
        vf_store_first(out + whole, vf_mul(vf_mul(vf_load_first(x + whole, rest), scale), g), rest);
    }
}

void FAMILY(add)(const float *a, const float *b, uint32_t n, float *out)
{
    uint32_t whole = n / LANES * LANES;
    int32_t rest = (int32_t)(n - whole);

    for (uint32_t i = 0; i < whole; i += LANES)
        vf_store(out + i, vf_add(vf_load(a + i), vf_load(b + i)));
    if (rest)
        vf_store_first(out + whole, vf_add(vf_load_first(a + whole, rest), vf_load_first(b + whole, rest)), rest);
}

INLINE vf activate(vf x, const uint32_t activation)
{
    if (activation == TN_ACT_SILU)
        return vf_silu(x);
    if (activation == TN_ACT_GELU_TANH) {
        vf cube = vf_mul(vf_mul(x, x), vf_mul(x, vf_set(0.044715f)));
        vf t = vf_tanh(vf_mul(vf_set(0.7978845608f), vf_add(x, cube)));
        return vf_mul(vf_mul(vf_set(0.5f), x), vf_add(vf_set(1.0f), t));
    }
    float lane[LANES]; /* exact GELU: rare, and libm has erf */
    vf_store(lane, x);
    for (int i = 0; i < LANES; i++)
        lane[i] = 0.5f * lane[i] * (1.0f + erff(lane[i] * 0.70710678f));
    return vf_load(lane);
}

INLINE void gate_row(const float *gate, const float *up, uint32_t n, const uint32_t activation, float *out)
{
    uint32_t whole = n / LANES * LANES;
    int32_t rest = (int32_t)(n - whole);

    for (uint32_t i = 0; i < whole; i += LANES)
        vf_store(out + i, vf_mul(activate(vf_load(gate + i), activation), vf_load(up + i)));
    if (rest) {
        vf g = activate(vf_load_first(gate + whole, rest), activation);
        vf_store_first(out + whole, vf_mul(g, vf_load_first(up + whole, rest)), rest);
    }
}

void FAMILY(gated)(const float *gate, const float *up, uint32_t n, uint32_t activation, float *out)
{
    if (activation == TN_ACT_SILU)
        gate_row(gate, up, n, TN_ACT_SILU, out);
    else if (activation == TN_ACT_GELU_TANH)
        gate_row(gate, up, n, TN_ACT_GELU_TANH, out);
    else
        gate_row(gate, up, n, TN_ACT_GELU, out);
}

void FAMILY(scale_cap)(float *x, uint32_t n, float scale, float cap)
{
    for (uint32_t i = 0; i < n; i += LANES) {
        int32_t count = n - i < LANES ? (int32_t)(n - i) : LANES;
        vf v = vf_mul(vf_load_first(x + i, count), vf_set(scale));
        if (cap != 0)
            v = vf_mul(vf_tanh(vf_div(v, vf_set(cap))), vf_set(cap));
        vf_store_first(x + i, v, count);
    }
}

void FAMILY(rope_head)(float *x, const float *cos, const float *sin, uint32_t rotated, uint32_t style)
{
    const uint32_t half = rotated / 2;

    if (style == TN_ROPE_HALVES) {
        for (uint32_t i = 0; i < half; i += LANES) {
            int32_t count = half - i < LANES ? (int32_t)(half - i) : LANES;
            vf c = vf_load_first(cos + i, count), s = vf_load_first(sin + i, count);
            vf low = vf_load_first(x + i, count), high = vf_load_first(x + half + i, count);
            vf_store_first(x + i, vf_sub(vf_mul(low, c), vf_mul(high, s)), count);
            vf_store_first(x + half + i, vf_add(vf_mul(high, c), vf_mul(low, s)), count);
        }
        return;
    }
    for (uint32_t i = 0; i < half; i++) {
        float low = x[2 * i], high = x[2 * i + 1];
        x[2 * i] = low * cos[i] - high * sin[i];
        x[2 * i + 1] = high * cos[i] + low * sin[i];
    }
}

/* ---- argmax ---- */

int32_t FAMILY(argmax)(const float *x, uint32_t n)
{
    uint32_t best = 0;
    float largest = x[0];

    for (uint32_t i = 0; i < n; i += LANES) {
        uint32_t count = n - i < LANES ? n - i : LANES;
        vf v = count == LANES ? vf_load(x + i) : vf_load_first(x + i, (int32_t)count);
        uint32_t not_less = vf_not_ge(vf_set(largest), v) & ((1u << count) - 1); /* larger than the best, or NaN */
        for (; not_less; not_less &= not_less - 1) {
            uint32_t at = i + (uint32_t)__builtin_ctz(not_less);
            if (x[at] != x[at])
                return -1;
            if (x[at] > largest) {
                largest = x[at];
                best = at;
            }
        }
    }
    return largest == largest ? (int32_t)best : -1;
}
