/* plugins/cuda_tp/kernels/attention_join.cuh: how results of spans join. One text for the kernel that folds its own
 * spans and for the one that merges those of others, without contraction, so that both give the same bits.
 */
#ifndef CUDA_ATTENTION_JOIN_CUH
#define CUDA_ATTENTION_JOIN_CUH

#include "kernels/mma.cuh"

#define LOG2_E 1.44269504f

/* attention_f32.cu: cuda_attention with keys and values in f32; arguments are checked. */
tn_status attention_f32(const cuda_attention_args *args, cuda_stream stream);

/* Factors that bring a total and a span to their common maximum (base-2 logarithms; -inf: nothing seen yet). */
static __device__ __forceinline__ void join_factors(float *total_max, float *total_sum, float max, float sum,
                                                    float *ret_total, float *ret_span)
{
    const float common = fmaxf(*total_max, max);
    const bool none = common == -INFINITY;

    *ret_total = none ? 0.0f : exp_two(*total_max - common);
    *ret_span = none ? 0.0f : exp_two(max - common);
    *total_sum = __fadd_rn(__fmul_rn(*total_sum, *ret_total), __fmul_rn(sum, *ret_span));
    *total_max = common;
}

static __device__ __forceinline__ float join(float total, float total_factor, float span, float span_factor)
{
    return __fadd_rn(__fmul_rn(total, total_factor), __fmul_rn(span, span_factor));
}

/* What the accumulators are multiplied with at the end. sink: of the head, or NULL. */
static __device__ __forceinline__ float finish_factor(float total_max, float total_sum, const float *sink)
{
    if (!sink)
        return __fdiv_rn(1.0f, total_sum);
    const float other = __fmul_rn(*sink, LOG2_E), common = fmaxf(total_max, other);
    const float shrink = exp_two(total_max - common);
    return __fdiv_rn(shrink, __fadd_rn(__fmul_rn(total_sum, shrink), exp_two(other - common)));
}

#endif
