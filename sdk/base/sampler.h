/* sdk/base/sampler.h: the host sampler of the specification in tenon/sampling.h. Used by plugins/cpu and sdk/interp.
 *
 * Pure: state in, token out. The scratch is the caller's, so that a step allocates nothing.
 */
#ifndef BASE_SAMPLER_H
#define BASE_SAMPLER_H

#include "tenon/backend.h"

/* Bytes of scratch for one row of V logits; 16-byte aligned. */
uint64_t sampler_scratch_bytes(uint32_t vocab);
/* Samples output row `row` of sample (NULL: greedy) for the position of the new token, and fills what `want`
 * (TN_WANT_*) asks for in element `row` of result. logits: [vocab], overwritten. Never fails: NaN or an empty mask
 * give id -1. */
void sampler_row(const tn_sample *sample, uint32_t row, uint32_t position, uint32_t want, float *logits, uint32_t vocab,
                 void *scratch, tn_result *result);
/* u in [0, 1) of the specification. */
double sampler_uniform(uint64_t seed, uint32_t choice, uint32_t position);

#endif
