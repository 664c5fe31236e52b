/* throughput.c: see throughput.h. A roofline: Williams, Waterman, Patterson 2009. */
#include "plan/throughput.h"

#include <math.h>

/* Seconds in which all ranks add up a vector of `bytes` each, as a ring does. */
static double sum_seconds(const pool *pool, uint32_t world, double bytes)
{
    return world > 1 ? 2.0 * (world - 1) / world * bytes / pool->link_bandwidth : 0;
}

/* Two sums of a residual row in bf16 per layer and token. */
static double sums_seconds(const pool *pool, uint32_t world, const model_config *config, double tokens)
{
    return 2.0 * config->layers * sum_seconds(pool, world, tokens * config->model_width * 2);
}

static double flops_seconds(const memory_plan *plan, const pool *pool, double tokens)
{
    double operations = 2.0 * (double)plan->multiply_adds * tokens / plan->world;
    return operations / (pool->bf16_flops * THROUGHPUT_FLOPS_SHARE);
}

static uint32_t batch_of(const memory_plan *plan, const throughput_request *request)
{
    uint64_t fit = plan_sequences(plan, (uint64_t)ceil(request->prompt_tokens + request->answer_tokens));
    return fit < 1 ? 1 : fit > plan->max_num_seqs ? plan->max_num_seqs : (uint32_t)fit;
}

static double step_seconds(const memory_plan *plan, const model_config *config, const pool *pool, uint32_t batch,
                           const throughput_request *request)
{
    double context = request->prompt_tokens + request->answer_tokens / 2; /* the mean while answering */
    double bytes = (double)plan->weights + batch * context * (double)plan->kv_token_bytes;
    double reading = bytes / (pool->memory_bandwidth * THROUGHPUT_BANDWIDTH_SHARE);
    return fmax(reading, flops_seconds(plan, pool, batch)) + sums_seconds(pool, plan->world, config, batch);
}

tn_status throughput_estimate(const placement *placement, const model_config *config, const pool *pool,
                              const throughput_request *request, throughput *ret_throughput, tn_error *err)
{
    const memory_plan *plan = &placement->plan;
    const char *lacks = pool->memory_bandwidth <= 0                    ? "memory_bandwidth"
                        : pool->bf16_flops <= 0                        ? "bf16_teraflops"
                        : plan->world > 1 && pool->link_bandwidth <= 0 ? "link"
                                                                       : NULL;
    throughput t = {0};

    if (lacks)
        return tn_fail(err, TN_E_ARGUMENT,
                       "the throughput of pool %s cannot be estimated without %s in [pool %s]; set it, or "
                       "roi.tokens_per_second to what was measured",
                       pool->name, lacks, pool->name);
    double fresh = request->prompt_tokens * (1 - request->cached_share);
    t.batch = batch_of(plan, request);
    t.step_seconds = step_seconds(plan, config, pool, t.batch, request);
    t.prefill_seconds = flops_seconds(plan, pool, fresh) + sums_seconds(pool, plan->world, config, fresh);
    double round = t.batch * t.prefill_seconds + request->answer_tokens * t.step_seconds;
    t.answer_tokens_per_second = t.batch * request->answer_tokens / round;
    *ret_throughput = t;
    return TN_OK;
}
