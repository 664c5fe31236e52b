/* kernels.c: see kernels.h. Plain loops; the only concession to speed is eight independent partial sums in the dot
 * product, which lets a compiler vectorise it without reordering, and blocks of rows that reuse a weight row while it
 * is in cache.
 */
#include "interp/kernels.h"

#include <math.h>

enum { LANES = 8, ROW_BLOCK = 16 };

static double dot(const float *restrict a, const float *restrict b, uint64_t count)
{
    double lane[LANES] = {0};
    uint64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)a[i + (uint64_t)j] * (double)b[i + (uint64_t)j];
    for (; i < count; i++)
        lane[0] += (double)a[i] * (double)b[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

void interp_linear(const float *x, uint32_t rows, uint64_t k, const float *w, const float *bias, uint64_t n_rows,
                   float *y, uint64_t y_stride)
{
    for (uint32_t row0 = 0; row0 < rows; row0 += ROW_BLOCK) {
        uint32_t end = rows - row0 < ROW_BLOCK ? rows : row0 + ROW_BLOCK;
        for (uint64_t n = 0; n < n_rows; n++)
            for (uint32_t r = row0; r < end; r++) {
                double sum = dot(x + r * k, w + n * k, k);
                y[r * y_stride + n] = (float)(bias ? sum + (double)bias[n] : sum);
            }
    }
}

void interp_rms_norm(const float *x, uint32_t rows, uint64_t width, const float *gain, uint64_t run, double eps,
                     double gain_offset, float *y)
{
    for (uint64_t start = 0; start < rows * width; start += run) {
        double factor = 1.0 / sqrt(dot(x + start, x + start, run) / (double)run + eps);
        for (uint64_t i = 0; i < run; i++)
            y[start + i] = (float)((double)x[start + i] * factor * ((double)gain[i] + gain_offset));
    }
}

void interp_rope_row(const float *x, const interp_rope_spec *spec, int32_t position, float *y)
{
    uint32_t half = spec->rotated / 2;

    for (uint32_t i = 0; i < half; i++) {
        float angle = (float)position * spec->inv_freq[i];
        double c = cos((double)angle) * spec->magnitude, s = sin((double)angle) * spec->magnitude;
        uint32_t first = spec->style == TN_ROPE_HALVES ? i : 2 * i;
        uint32_t second = spec->style == TN_ROPE_HALVES ? i + half : 2 * i + 1;
        for (uint32_t head = 0; head < spec->heads; head++) {
            const float *in = x + (uint64_t)head * spec->head_dim;
            float *out = y + (uint64_t)head * spec->head_dim;
            double a = (double)in[first], b = (double)in[second];
            out[first] = (float)(a * c - b * s);
            out[second] = (float)(b * c + a * s);
        }
    }
    for (uint32_t head = 0; head < spec->heads; head++)
        for (uint64_t i = spec->rotated; i < spec->head_dim; i++)
            y[(uint64_t)head * spec->head_dim + i] = x[(uint64_t)head * spec->head_dim + i];
}

static double activate(double x, uint32_t activation)
{
    switch (activation) {
    case TN_ACT_SILU:
        return x / (1.0 + exp(-x));
    case TN_ACT_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(M_2_SQRTPI * M_SQRT1_2 * (x + 0.044715 * x * x * x)));
    case TN_ACT_GELU:
        return 0.5 * x * (1.0 + erf(x * M_SQRT1_2));
    default:
        return NAN; /* refused when the model was compiled */
    }
}

void interp_gated(const float *gate, const float *up, uint64_t count, uint32_t activation, float *y)
{
    for (uint64_t i = 0; i < count; i++)
        y[i] = (float)(activate((double)gate[i], activation) * (double)up[i]);
}

void interp_gated_clamped(const float *gate, const float *up, uint64_t count, double limit, double alpha, float *y)
{
    for (uint64_t i = 0; i < count; i++) {
        double g = fmin((double)gate[i], limit), u = fmax(fmin((double)up[i], limit), -limit);
        y[i] = (float)(g / (1.0 + exp(-alpha * g)) * (u + 1.0));
    }
}

void interp_add(const float *a, const float *b, uint64_t count, float *y)
{
    for (uint64_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}

void interp_add_scaled(const float *a, const float *b, double scale, uint64_t count, float *y)
{
    for (uint64_t i = 0; i < count; i++)
        y[i] = (float)((double)a[i] + scale * (double)b[i]);
}

void interp_softcap(float *x, uint64_t count, double scale, double cap)
{
    if (scale == 1.0 && cap == 0.0)
        return;
    for (uint64_t i = 0; i < count; i++) {
        double scaled = (double)x[i] * scale;
        x[i] = (float)(cap != 0.0 ? cap * tanh(scaled / cap) : scaled);
    }
}

void interp_attention_init(interp_attention_state *state, uint32_t v_dim)
{
    state->max = -INFINITY;
    state->sum = 0.0;
    for (uint32_t i = 0; i < v_dim; i++)
        state->acc[i] = 0.0;
}

void interp_attention_add(interp_attention_state *state, const float *q, const float *k, uint64_t k_stride,
                          const float *v, uint64_t v_stride, uint32_t count, uint32_t head_dim, uint32_t v_dim,
                          double scale, double softcap)
{
    for (uint32_t j = 0; j < count; j++) {
        double score = dot(q, k + j * k_stride, head_dim) * scale;
        if (softcap != 0.0)
            score = softcap * tanh(score / softcap);
        if (score > state->max) {
            double shrink = exp(state->max - score);
            state->max = score;
            state->sum *= shrink;
            for (uint32_t i = 0; i < v_dim; i++)
                state->acc[i] *= shrink;
        }
        double weight = exp(score - state->max);
        state->sum += weight;
        for (uint32_t i = 0; i < v_dim; i++)
            state->acc[i] += weight * (double)v[j * v_stride + i];
    }
}

void interp_attention_finish(const interp_attention_state *state, const float *sink, uint32_t v_dim, float *out)
{
    double sum = state->sum, shrink = 1.0;

    if (sink && (double)*sink > state->max) {
        shrink = exp(state->max - (double)*sink);
        sum = sum * shrink + 1.0;
    } else if (sink) {
        sum += exp((double)*sink - state->max);
    }
    for (uint32_t i = 0; i < v_dim; i++)
        out[i] = (float)(state->acc[i] * shrink / sum);
}
