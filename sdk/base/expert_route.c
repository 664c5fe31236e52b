/* expert_route.c: `count` passes over the logits: both are small, and ties are broken by the order of the passes. */
#include "base/expert_route.h"

#include <math.h>

static bool is_chosen(const uint32_t *chosen, uint32_t count, uint32_t expert)
{
    for (uint32_t i = 0; i < count; i++) {
        if (chosen[i] == expert)
            return true;
    }
    return false;
}

void expert_route(const float *logits, uint32_t experts, uint32_t count, bool normalised, uint32_t *ret_chosen,
                  double *ret_weight)
{
    double sum = 0.0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t best = UINT32_MAX;
        for (uint32_t e = 0; e < experts; e++) {
            if (!is_chosen(ret_chosen, i, e) && (best == UINT32_MAX || logits[e] > logits[best]))
                best = e;
        }
        ret_chosen[i] = best;
        ret_weight[i] = exp((double)logits[best] - (double)logits[ret_chosen[0]]);
        sum += ret_weight[i];
    }
    if (!normalised) {
        sum = 0.0;
        for (uint32_t e = 0; e < experts; e++)
            sum += exp((double)logits[e] - (double)logits[ret_chosen[0]]);
    }
    for (uint32_t i = 0; i < count; i++)
        ret_weight[i] /= sum;
}
