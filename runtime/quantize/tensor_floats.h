/* runtime/quantize/tensor_floats.h: elements of a float tensor of the checkpoint as float32. */
#ifndef QUANTIZE_TENSOR_FLOATS_H
#define QUANTIZE_TENSOR_FLOATS_H

#include "tenon/error.h"
#include "tenon/source.h"

/* Elements [first, first + count). Errors name the tensor: missing, not a float tensor, or shorter. */
tn_status tensor_floats(const tn_source *source, const char *name, uint64_t first, uint64_t count, float *ret_values,
                        tn_error *err);

#endif
