/* plugins/cuda_tp/matmul.h: dense products of many rows through cuBLASLt, for a rank of a model that need not give the
 * same bits in every batch. An algorithm is chosen, and run once, for each shape and each class of row counts when the
 * model is compiled; a step only looks it up.
 */
#ifndef CUDA_TP_MATMUL_H
#define CUDA_TP_MATMUL_H

#include "cublaslt_library.h"

#include <stdbool.h>

enum {
    MATMUL_WORKSPACE_BYTES = 32 << 20, /* what NVIDIA asks for on Hopper, and enough elsewhere */
    MATMUL_CLASSES = 16                /* of row counts: beyond CUDA_FEW_ROWS, up to twice as many each; */
};
#define MATMUL_ROWS_MAX ((uint32_t)CUDA_FEW_ROWS << MATMUL_CLASSES)

/* y [rows, n] = x [rows, k] * w [n, k], sums in f32; w and x bf16, y TN_F32 or TN_BF16. Strides count elements. */
typedef struct matmul_shape {
    uint32_t n, k;
    uint32_t w_stride, x_stride, y_stride, y_type;
    uint32_t rows_max;
} matmul_shape;

/* Device memory: w on 256 bytes, x and y on 16. */
typedef struct matmul_place {
    const void *w, *x;
    void *y;
} matmul_place;

typedef struct matmul matmul;

/* For the device in use. places[i]: where shape i may be tried, y is overwritten. workspace: MATMUL_WORKSPACE_BYTES,
 * borrowed until destroy. Enqueues on `stream`. Moved to the caller. [ctl] */
tn_status matmul_create(const cublaslt_library *library, const matmul_shape *shapes, const matmul_place *places,
                        uint32_t count, void *workspace, cuda_stream stream, matmul **ret, tn_error *err);
void matmul_destroy(matmul *m); /* NULL is fine */

/* Whether there is an algorithm; m may be NULL. [device thread] */
bool matmul_takes(const matmul *m, uint32_t shape, uint32_t rows);
/* Enqueued; allocates nothing. One thread at a time. [device thread] */
tn_status matmul_run(matmul *m, uint32_t shape, const matmul_place *place, uint32_t rows, cuda_stream stream,
                     tn_error *err);

#endif
