/* runtime/quantize/pack.h: one weight [N, K] in compressed-tensors' layouts. */
#ifndef QUANTIZE_PACK_H
#define QUANTIZE_PACK_H

#include "base/weight_block.h"
#include "quantize/quantize.h"

enum { PACK_PARTS_MAX = 3 };

/* A tensor of the quantized checkpoint. */
typedef struct pack_part {
    const char *suffix; /* "weight_scale", in place of "weight" */
    const char *dtype;  /* as safetensors spells it */
    uint32_t rank;
    uint64_t dim[2], bytes;
} pack_part;

/* Methods but QUANTIZE_AWQ, which pack_awq.h has. The tensors that a weight of scale type `type` (TN_F32, TN_F16, TN_BF16) becomes; returns their number. */
uint32_t pack_parts(quantize_method method, uint32_t group_size, uint32_t type, uint64_t n, uint64_t k,
                    pack_part ret_parts[PACK_PARTS_MAX]);
/* Fills them from the float matrix: data[i] has parts[i].bytes, zeroed. Rounds to nearest. False: a value is not a
 * finite number. row: scratch of k floats. */
bool pack_weight(quantize_method method, uint32_t group_size, uint32_t type, const void *matrix, uint64_t n, uint64_t k,
                 float *row, void *const data[PACK_PARTS_MAX]);

#endif
