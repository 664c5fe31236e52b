/* roi.c: see roi.h. */
#include "plan/roi.h"

#include <math.h>
#include <string.h>

enum { SECONDS_PER_HOUR = 3600 };
#define MILLION 1e6

/* ---- what was given ---- */

static tn_status read_prices(const settings *settings, const roi_prices *given, roi *roi, tn_error *err)
{
    const char *name = settings_string(settings, "roi", "price");
    char section[64];
    snprintf(section, sizeof section, "price %.40s", name);
    const struct {
        const char *key;
        double given, *ret;
    } all[] = {{"input", given->input, &roi->prices.input},
               {"output", given->output, &roi->prices.output},
               {"cached", given->cached, &roi->prices.cached}};

    for (int i = 0; i < 3; i++) {
        bool set = settings_string(settings, section, all[i].key);
        *all[i].ret = all[i].given >= 0 ? all[i].given : set ? settings_number(settings, section, all[i].key) : -1;
        if (*all[i].ret < 0 && i < 2)
            return tn_fail(err, TN_E_ARGUMENT,
                           "there is no price of %s tokens elsewhere: set %s in [price %.40s], or --price-%s",
                           all[i].key, all[i].key, name, i == 0 ? "in" : "out");
    }
    if (roi->prices.cached < 0)
        roi->prices.cached = roi->prices.input;
    return TN_OK;
}

/* The mix: that of the volumes, or of a usual request. A request that would be longer than `context`, which the model
 * does not take, is as long as that, in the same mix. */
static tn_status read_mix(const settings *settings, double context, roi *roi, throughput_request *request,
                          tn_error *err)
{
    double input = settings_number(settings, "roi", "input"), cached = settings_number(settings, "roi", "cached");
    double output = settings_number(settings, "roi", "output");

    request->prompt_tokens = (double)settings_integer(settings, "roi", "prompt_tokens");
    request->answer_tokens = (double)settings_integer(settings, "roi", "answer_tokens");
    roi->volume = input + cached + output;
    if (roi->volume > 0 && output <= 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "prompts without answers: set roi.output (--out), millions of answer tokens a month");
    if (roi->volume <= 0) {
        input = request->prompt_tokens;
        output = request->answer_tokens;
    } else {
        request->prompt_tokens = request->answer_tokens * (input + cached) / output;
    }
    double total = input + cached + output;
    roi->share = (roi_prices){input / total, cached / total, output / total};
    request->cached_share = input + cached > 0 ? cached / (input + cached) : 0;
    if (request->prompt_tokens + request->answer_tokens > context) {
        request->prompt_tokens = context * (roi->share.input + roi->share.cached);
        request->answer_tokens = context * roi->share.output;
    }
    return TN_OK;
}

static tn_status read_throughput(const settings *settings, const placement *placement, const model_config *config,
                                 const pool *pool, const throughput_request *request, roi *roi, tn_error *err)
{
    if (settings_is_auto(settings, "roi", "tokens_per_second"))
        return throughput_estimate(placement, config, pool, request, &roi->throughput, err);
    roi->throughput = (throughput){.measured = true,
                                   .answer_tokens_per_second = settings_number(settings, "roi", "tokens_per_second")};
    return TN_OK;
}

/* ---- what follows ---- */

static uint32_t replicas_in(const pool *pool, const placement *placement)
{
    if (placement->nodes > 1)
        return pool->nodes / placement->nodes;
    return pool->count / placement->plan.world * pool->nodes;
}

static void count_replicas(const settings *settings, const pool *pool, roi *roi)
{
    double seconds = pool->hours_per_month * SECONDS_PER_HOUR;
    double mean = roi->volume * roi->share.output * MILLION / seconds;

    roi->peak_tokens_per_second = settings_is_auto(settings, "roi", "peak_tokens_per_second")
                                      ? mean
                                      : settings_number(settings, "roi", "peak_tokens_per_second");
    double busiest = fmax(mean, roi->peak_tokens_per_second);
    roi->replicas = fmax(1, ceil(busiest / (roi->throughput.answer_tokens_per_second * ROI_LOAD)));
    roi->pools = ceil(roi->replicas / roi->replicas_in_pool);
}

tn_status roi_make(const settings *settings, const placement *placement, const model_config *config, const pool *pool,
                   const roi_prices *prices, roi *ret_roi, tn_error *err)
{
    roi roi = {.currency = pool->currency, .pool_cost = pool_month_cost(pool)};
    throughput_request request;

    TN_ASSERT(placement->fits);
    if (!pool->name[0])
        return tn_fail(err, TN_E_ARGUMENT, "--roi needs a pool with costs: name one with --pool");
    if (!pool->priced)
        return tn_fail(err, TN_E_ARGUMENT, "pool %s has no costs: set rate_per_hour in [pool %s]", pool->name,
                       pool->name);
    memcpy(roi.pool, pool->name, sizeof roi.pool);
    tn_status status = read_prices(settings, prices, &roi, err);
    if (status == TN_OK)
        status = read_mix(settings, placement->plan.max_model_len, &roi, &request, err);
    if (status == TN_OK)
        status = read_throughput(settings, placement, config, pool, &request, &roi, err);
    if (status != TN_OK)
        return status;
    roi.price = roi.share.input * roi.prices.input + roi.share.cached * roi.prices.cached +
                roi.share.output * roi.prices.output;
    roi.replicas_in_pool = replicas_in(pool, placement);
    double answers = roi.throughput.answer_tokens_per_second * ROI_LOAD * roi.replicas_in_pool;
    roi.capacity = answers / roi.share.output * pool->hours_per_month * SECONDS_PER_HOUR / MILLION;
    roi.break_even = roi.price > 0 ? roi.pool_cost / roi.price : INFINITY;
    roi.reachable = roi.break_even <= roi.capacity;
    count_replicas(settings, pool, &roi);
    *ret_roi = roi;
    return TN_OK;
}

double roi_pools(const roi *roi, double volume)
{
    return fmax(1, ceil(volume / roi->capacity));
}

double roi_cost_here(const roi *roi, double volume)
{
    return roi_pools(roi, volume) * roi->pool_cost;
}

double roi_cost_elsewhere(const roi *roi, double volume)
{
    return volume * roi->price;
}
