/* runtime/plan/throughput.h: how many requests a second one replica could answer, from a device's rates alone. */
#ifndef PLAN_THROUGHPUT_H
#define PLAN_THROUGHPUT_H

#include "plan/placement.h"

/* Shares of the data sheet's rates that kernels reach: what is asked of ours, not measured. */
#define THROUGHPUT_BANDWIDTH_SHARE 0.8
#define THROUGHPUT_FLOPS_SHARE     0.6

/* A usual request. */
typedef struct throughput_request {
    double prompt_tokens, answer_tokens;
    double cached_share; /* of the prompt, 0 to 1 */
} throughput_request;

typedef struct throughput {
    bool measured;
    double answer_tokens_per_second; /* of one replica */
    uint32_t batch;                  /* estimated: sequences at once */
    double step_seconds;             /* estimated: one token of each */
    double prefill_seconds;          /* estimated: one prompt */
} throughput;

/* The larger of bytes over bandwidth and operations over rate, per decode step at the largest batch whose KV fits, plus
 * the prefill of each request and the sums over ranks. All weights are read in each step, of every expert.
 * TN_E_ARGUMENT names the rate that the pool does not state. [any] */
tn_status throughput_estimate(const placement *placement, const model_config *config, const pool *pool,
                              const throughput_request *request, throughput *ret_throughput, tn_error *err);

#endif
