/* tests/cuda/plain_weight.h: weights for plain_launch.c: in the memory that cuda_weight_layout counts, but as they came,
 * row by row, so that their values are read as tenon/encoding.h words them.
 */
#ifndef TESTS_PLAIN_WEIGHT_H
#define TESTS_PLAIN_WEIGHT_H

#include "kernels/launch.h"

/* Row `row` as stored: before any permutation. out: [columns] */
void plain_weight_row(const cuda_weight *w, uint64_t row, float *out);

#endif
