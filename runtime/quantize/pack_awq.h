/* runtime/quantize/pack_awq.h: one weight [N, K] in AutoAWQ's gemm layout, its grids chosen by what its inputs are. */
#ifndef QUANTIZE_PACK_AWQ_H
#define QUANTIZE_PACK_AWQ_H

#include "quantize/scale_fold.h"

enum { AWQ_QWEIGHT, AWQ_QZEROS, AWQ_SCALES, AWQ_PARTS };

/* The tensors that a weight becomes: qweight [K, N/8], qzeros [K/g, N/8], scales [K/g, N]. Returns AWQ_PARTS. */
uint32_t pack_awq_parts(uint32_t group_size, uint64_t n, uint64_t k, pack_part ret_parts[PACK_PARTS_MAX]);
/* Fills them from the float matrix of scale type `type`: data[i] has parts[i].bytes, zeroed. Each group of each row gets
 * the grid, of several narrower than its values, whose error on the calibration's rows is least. TN_E_CORRUPT: a value is
 * not a finite number. */
tn_status pack_awq_weight(const calibration *calibration, const folded_tensor *fold, uint32_t group_size,
                          const tn_tensor_src *tensor, void *const data[PACK_PARTS_MAX], tn_error *err);

#endif
