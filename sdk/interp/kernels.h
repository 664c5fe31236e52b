/* sdk/interp/kernels.h: portable reference kernels of the op registry (tenon/graph.h) on host memory.
 *
 * Activations and weights are dense row-major float32 and never alias unless said. Sums and transcendental functions
 * run in float64 and are rounded once, in an order that depends on nothing but the row's own data: results are the same
 * whatever shares the batch. Dimension letters as in tenon/graph.h.
 */
#ifndef INTERP_KERNELS_H
#define INTERP_KERNELS_H

#include "tenon/graph.h"

/* y[r, n] = x[r] . w[n] + bias[n] for `n_rows` rows of the weight; x: [rows, k]; y's rows are y_stride apart. bias:
 * NULL or [n_rows]. */
void interp_linear(const float *x, uint32_t rows, uint64_t k, const float *w, const float *bias, uint64_t n_rows,
                   float *y, uint64_t y_stride);
/* x, y: [rows, width], gain: [run]; run divides width. */
void interp_rms_norm(const float *x, uint32_t rows, uint64_t width, const float *gain, uint64_t run, double eps,
                     double gain_offset, float *y);
typedef struct interp_rope_spec {
    uint32_t heads, head_dim, rotated, style; /* style: TN_ROPE_* */
    double magnitude;
    const float *inv_freq; /* [rotated / 2] */
} interp_rope_spec;
/* One row [heads * head_dim] at one position. */
void interp_rope_row(const float *x, const interp_rope_spec *spec, int32_t position, float *y);
void interp_gated(const float *gate, const float *up, uint64_t count, uint32_t activation, float *y);
/* A gate of TN_ACT_SWIGLU_CLAMPED, in tenon/graph.h. */
void interp_gated_clamped(const float *gate, const float *up, uint64_t count, double limit, double alpha, float *y);
void interp_add(const float *a, const float *b, uint64_t count, float *y);
void interp_add_scaled(const float *a, const float *b, double scale, uint64_t count, float *y);
/* In place: x = cap * tanh(scale * x / cap); cap 0: scale only. */
void interp_softcap(float *x, uint64_t count, double scale, double cap);

/* Attention of one query head over a run of positions, accumulated as a running softmax: start with
 * interp_attention_init, add runs in ascending position order, then finish. */
typedef struct interp_attention_state {
    double max, sum;
    double *acc; /* [v_dim], the caller's */
} interp_attention_state;
void interp_attention_init(interp_attention_state *state, uint32_t v_dim);
/* q: [head_dim]; k, v: rows k_stride, v_stride floats apart, `count` of them. */
void interp_attention_add(interp_attention_state *state, const float *q, const float *k, uint64_t k_stride,
                          const float *v, uint64_t v_stride, uint32_t count, uint32_t head_dim, uint32_t v_dim,
                          double scale, double softcap);
/* sink: a logit that takes its share of the softmax and has no value; NULL: none. out: [v_dim]. */
void interp_attention_finish(const interp_attention_state *state, const float *sink, uint32_t v_dim, float *out);

#endif
