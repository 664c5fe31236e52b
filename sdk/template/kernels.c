/* kernels.c: the nodes that the device runs itself. What an op means is written in tenon/graph.h.
 *
 * Both kernels keep the order of their additions independent of how many rows share the step, so that an answer does
 * not change with its neighbours: keep that when you replace them. Each makes its sums in 16 float32 lanes, which
 * compilers turn into vector instructions; the reference sums in float64, so results differ in the last digits, and are
 * meant to.
 */
#include "device.h"

#include <math.h>

enum { LANES = 16 };

static float dot(const float *restrict a, const float *restrict b, uint64_t count)
{
    float lane[LANES] = {0};
    float sum = 0;
    uint64_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (uint64_t j = 0; j < LANES; j++)
            lane[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum += a[i] * b[i];
    for (uint64_t j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

/* y [R, N] = x [R, K] w^T, w [N, K], plus bias [1, N] if there is a third input. Four rows of x per visit of a weight
 * row. */
static void linear(const tn_dev *dev, const tn_ops_args *args)
{
    const float *x = device_floats(dev, args->in[0]), *w = device_floats(dev, args->in[1]);
    const float *bias = args->node->in_count > 2 ? device_floats(dev, args->in[2]) : NULL;
    uint64_t n_count = (uint64_t)args->value_in[1].dim[0], k_count = (uint64_t)args->value_in[1].dim[1];
    float *y = device_floats(dev, args->out[0]);

    for (uint64_t row0 = 0; row0 < args->rows; row0 += 4) {
        uint64_t end = row0 + 4 < args->rows ? row0 + 4 : args->rows;
        for (uint64_t n = 0; n < n_count; n++)
            for (uint64_t row = row0; row < end; row++)
                y[row * n_count + n] = dot(x + row * k_count, w + n * k_count, k_count) + (bias ? bias[n] : 0.0f);
    }
}

/* Over runs of A elements: y = x / sqrt(mean(x^2) + eps) * (gain + gain_offset). */
static void rms_norm(const tn_dev *dev, const tn_ops_args *args)
{
    const float *x = device_floats(dev, args->in[0]), *gain = device_floats(dev, args->in[1]);
    uint64_t run = (uint64_t)args->node->attr[TN_RMS_NORM_A_WIDTH];
    uint64_t count = args->rows * (uint64_t)args->value_out[0].dim[1];
    float eps = (float)args->node->fattr[TN_RMS_NORM_F_EPS];
    float gain_offset = (float)args->node->fattr[TN_RMS_NORM_F_GAIN_OFFSET];
    float *y = device_floats(dev, args->out[0]);

    for (uint64_t start = 0; start < count; start += run) {
        float factor = 1.0f / sqrtf(dot(x + start, x + start, run) / (float)run + eps);
        for (uint64_t i = 0; i < run; i++)
            y[start + i] = x[start + i] * factor * (gain[i] + gain_offset);
    }
}

tn_status kernels_run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    switch (args->node->op) {
    case TN_OP_LINEAR:
        linear(dev, args);
        return TN_OK;
    case TN_OP_RMS_NORM:
        rms_norm(dev, args);
        return TN_OK;
    default:
        return tn_fail(err, TN_E_UNSUPPORTED, "template: op %u is left to the reference", args->node->op);
    }
}
