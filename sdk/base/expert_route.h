/* sdk/base/expert_route.h: which experts of a mixture a row goes to (TN_OP_MOE), the same for every backend on the
 * host. */
#ifndef BASE_EXPERT_ROUTE_H
#define BASE_EXPERT_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

/* chosen: the `count` experts of largest logit, the lower number among equals, in descending order; weight: their share
 * of the softmax over all, or over the chosen if `normalised`. logits: [experts], count <= experts. */
void expert_route(const float *logits, uint32_t experts, uint32_t count, bool normalised, uint32_t *ret_chosen,
                  double *ret_weight);

#endif
