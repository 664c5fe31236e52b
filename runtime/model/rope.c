/* rope.c: rotary frequencies and their scalings.
 *
 * Computed in float32, in the order that transformers computes them (modeling_rope_utils.py), so that the constants
 * agree to the last bit or two. Scalings that depend on the length of a sequence (dynamic, LongRoPE) are fixed for the
 * longest one that will be served, as in vLLM: a rotation that changed while a sequence grows would not fit the keys
 * already cached. Sources: Chen et al. 2023 (arXiv:2306.15595) linear; Peng et al. 2023 (arXiv:2309.00071) dynamic and
 * YaRN; Dubey et al. 2024 (arXiv:2407.21783) llama3; Ding et al. 2024 (arXiv:2402.13753) LongRoPE.
 */
#include "model/decoder.h"

#include <math.h>

/* Llama 3.1's scaling: long wavelengths are slowed by the factor, short ones kept, those between interpolated. */
static float llama3_frequency(const model_config *c, float inv_freq)
{
    float context = (float)c->rope_original_context;
    float wavelength = (float)(2.0 * M_PI) / inv_freq;

    if (wavelength < context / c->rope_high_freq_factor)
        return inv_freq;
    if (wavelength > context / c->rope_low_freq_factor)
        return inv_freq / c->rope_factor;
    float smooth =
        (context / wavelength - c->rope_low_freq_factor) / (c->rope_high_freq_factor - c->rope_low_freq_factor);
    return (1.0f - smooth) * inv_freq / c->rope_factor + smooth * inv_freq;
}

/* YaRN: the dimension that turns `turns` times within the original context. */
static double yarn_dimension(const model_config *c, double turns)
{
    return c->rope_dim * log(c->rope_original_context / (turns * 2.0 * M_PI)) / (2.0 * log((double)c->rope_theta));
}

typedef struct yarn_ramp {
    double low, high; /* pairs below low keep their frequency, those above high are slowed by the factor */
} yarn_ramp;

static yarn_ramp yarn_ramp_of(const model_config *c)
{
    yarn_ramp ramp = {yarn_dimension(c, (double)c->rope_beta_fast), yarn_dimension(c, (double)c->rope_beta_slow)};

    if (!c->rope_untruncated) {
        ramp.low = floor(ramp.low);
        ramp.high = ceil(ramp.high);
    }
    ramp.low = fmax(ramp.low, 0.0);
    ramp.high = fmin(ramp.high, (double)c->rope_dim - 1.0);
    if (ramp.low == ramp.high)
        ramp.high += 0.001;
    return ramp;
}

static float yarn_frequency(const model_config *c, const yarn_ramp *ramp, uint32_t i, float wavelength)
{
    float slowed = ((float)i - (float)ramp->low) / (float)(ramp->high - ramp->low);

    slowed = fminf(fmaxf(slowed, 0.0f), 1.0f);
    return 1.0f / (c->rope_factor * wavelength) * slowed + 1.0f / wavelength * (1.0f - slowed);
}

/* What YaRN and LongRoPE make up for the flatter softmax of long contexts with. */
static float implied_attention_factor(const model_config *c)
{
    double factor = (double)c->rope_factor, mscale = (double)c->rope_mscale, all = (double)c->rope_mscale_all;

    if (factor <= 1.0)
        return 1.0f;
    if (c->rope_scaling == ROPE_SCALING_LONGROPE)
        return (float)sqrt(1.0 + log(factor) / log((double)c->rope_original_context));
    if (c->rope_scaling != ROPE_SCALING_YARN)
        return 1.0f;
    if (mscale != 0.0 && all != 0.0)
        return (float)((0.1 * mscale * log(factor) + 1.0) / (0.1 * all * log(factor) + 1.0));
    return (float)(0.1 * log(factor) + 1.0);
}

/* The base that stretches the slowest pair to sequence_max and leaves the fastest alone. */
static double dynamic_base(const model_config *c)
{
    double dim = c->rope_dim, factor = (double)c->rope_factor, original = c->rope_original_context;
    double length = c->sequence_max > c->rope_original_context ? c->sequence_max : original;

    return (double)c->rope_theta * pow(factor * length / original - (factor - 1.0), dim / (dim - 2.0));
}

static const float *divisors(const model_config *c)
{
    if (c->rope_scaling != ROPE_SCALING_LONGROPE)
        return c->rope_factors;
    return c->sequence_max > c->rope_original_context ? c->rope_long : c->rope_short;
}

float rope_frequencies(const model_config *c, bool local, float *ret_inv_freq)
{
    rope_scaling scaling = local ? ROPE_SCALING_NONE : c->rope_scaling;
    double theta = local                             ? (double)c->rope_theta_local
                   : scaling == ROPE_SCALING_DYNAMIC ? dynamic_base(c)
                                                     : (double)c->rope_theta;
    const float *divisor = local ? NULL : divisors(c);
    yarn_ramp ramp = {0, 0};

    if (scaling == ROPE_SCALING_YARN)
        ramp = yarn_ramp_of(c);
    for (uint32_t i = 0; i < c->rope_dim / 2; i++) {
        float wavelength = (float)pow(theta, (double)((float)(2 * i) / (float)c->rope_dim));
        float inv_freq = 1.0f / wavelength;
        if (scaling == ROPE_SCALING_LINEAR)
            inv_freq /= c->rope_factor;
        else if (scaling == ROPE_SCALING_LLAMA3)
            inv_freq = llama3_frequency(c, inv_freq);
        else if (scaling == ROPE_SCALING_YARN)
            inv_freq = yarn_frequency(c, &ramp, i, wavelength);
        if (divisor && scaling == ROPE_SCALING_LONGROPE)
            inv_freq = 1.0f / (divisor[i] * wavelength);
        else if (divisor)
            inv_freq /= divisor[i];
        ret_inv_freq[i] = inv_freq;
    }
    if (local)
        return 1.0f;
    return c->rope_attention_factor != 0.0f ? c->rope_attention_factor : implied_attention_factor(c);
}
