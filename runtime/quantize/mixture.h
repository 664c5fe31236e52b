/* runtime/quantize/mixture.h: a mixture of experts (TN_OP_MOE without biases) over many rows, expert by expert, in
 * float32 on all processors.
 */
#ifndef QUANTIZE_MIXTURE_H
#define QUANTIZE_MIXTURE_H

#include "tenon/error.h"

#include <stdbool.h>

/* Shapes as in tenon/graph.h; everything borrowed. */
typedef struct mixture {
    const float *x, *router, *gate, *up, *down;
    uint64_t rows, width, hidden;
    uint32_t experts, chosen, activation;
    bool normalised;
    /* Sees what enters an expert's down, [rows][hidden], in the order of the rows; experts that none chose are left
     * out. */
    tn_status (*see_hidden)(void *ctx, uint32_t expert, const float *hidden, uint64_t rows, tn_error *err);
    void *ctx;
} mixture;

/* ret_y: [rows][width], no alias. Scratch of 2 (width + hidden) + experts floats a row. */
tn_status mixture_run(const mixture *mixture, float *ret_y, tn_error *err);

#endif
