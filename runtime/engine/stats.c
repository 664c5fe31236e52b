/* stats.c: one table row per series; a histogram keeps plain counts and is made cumulative when read.
 *
 * Names and bucket bounds are vLLM's, so that its dashboards fit.
 */
#include "engine/stats.h"

#include <string.h>
#include <time.h>

/* A step, or a parked loop, that is silent for longer than this counts as stuck... */
static const int64_t allowance_min_ns = 1500 * 1000000LL;
/* ...unless steps of its size are known to take so long that this multiple of it is more. */
enum { ALLOWANCE_FACTOR = 4 };
/* Cost of a row before any step has been measured. */
static const double first_ns_per_token = 20e6;

static const double seconds_first_token[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,  0.25,  0.5,   0.75,
                                             1.0,   2.5,   5.0,  7.5,  10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0};
static const double seconds_token[] = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                       0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
static const double seconds_request[] = {0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,   5.0,   10.0,   15.0,  20.0,
                                         30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0};
static const double tokens_step[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
static const double tokens_request[] = {1,    2,    5,    10,    20,    50,    100,    200,   500,
                                        1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000};

#define BOUNDS(array) (array), sizeof(array) / sizeof((array)[0])

static const struct histogram_row {
    const char *name, *help;
    const double *bound;
    uint32_t bound_count;
    double scale; /* from the stored unit to the bounds' */
} histogram_rows[STATS_HISTOGRAM_COUNT] = {
    [STATS_TIME_TO_FIRST_TOKEN] = {"time_to_first_token_seconds", "From submission to the first token.",
                                   BOUNDS(seconds_first_token), 1e-6},
    [STATS_INTER_TOKEN_LATENCY] = {"inter_token_latency_seconds", "Between two tokens of one sequence.",
                                   BOUNDS(seconds_token), 1e-6},
    [STATS_E2E_LATENCY] = {"e2e_request_latency_seconds", "From submission to the end of a request.",
                           BOUNDS(seconds_request), 1e-6},
    [STATS_QUEUE_TIME] = {"request_queue_time_seconds", "From submission until first scheduled.",
                          BOUNDS(seconds_request), 1e-6},
    [STATS_PREFILL_TIME] = {"request_prefill_time_seconds", "From first scheduled to the first token.",
                            BOUNDS(seconds_request), 1e-6},
    [STATS_DECODE_TIME] = {"request_decode_time_seconds", "From the first token to the last.", BOUNDS(seconds_request),
                           1e-6},
    [STATS_INFERENCE_TIME] = {"request_inference_time_seconds", "From first scheduled to the last token.",
                              BOUNDS(seconds_request), 1e-6},
    [STATS_ITERATION_TOKENS] = {"iteration_tokens_total", "Token rows of one step.", BOUNDS(tokens_step), 1},
    [STATS_PROMPT_TOKENS] = {"request_prompt_tokens", "Prompt tokens of a request.", BOUNDS(tokens_request), 1},
    [STATS_GENERATION_TOKENS] = {"request_generation_tokens", "Generated tokens of a request, over its choices.",
                                 BOUNDS(tokens_request), 1},
};

static const struct counter_row {
    uint32_t kind, counter;
    const char *name, *help, *label, *label_value;
    double scale;
} counter_rows[] = {
    {TN_STAT_GAUGE, STATS_RUNNING, "num_requests_running", "Sequences in the running batch.", NULL, NULL, 1},
    {TN_STAT_GAUGE, STATS_WAITING, "num_requests_waiting", "Sequences waiting for a place.", NULL, NULL, 1},
    {TN_STAT_GAUGE, STATS_KV_USED_PPM, "kv_cache_usage_perc", "Share of the KV pages in use, 1 is all.", NULL, NULL,
     1e-6},
    {TN_STAT_COUNTER, STATS_CACHE_QUERIES, "prefix_cache_queries", "Prompt tokens looked up in the prefix cache.", NULL,
     NULL, 1},
    {TN_STAT_COUNTER, STATS_CACHE_HITS, "prefix_cache_hits", "Prompt tokens found in the prefix cache.", NULL, NULL, 1},
    {TN_STAT_COUNTER, STATS_PROMPT_TOTAL, "prompt_tokens_total", "Prompt tokens of requests taken up.", NULL, NULL, 1},
    {TN_STAT_COUNTER, STATS_GENERATION_TOTAL, "generation_tokens_total", "Tokens generated.", NULL, NULL, 1},
    {TN_STAT_COUNTER, STATS_PREEMPTIONS, "num_preemptions_total", "Sequences that lost their KV pages to another.",
     NULL, NULL, 1},
    {TN_STAT_COUNTER, STATS_FINISHED_STOP, "request_success_total", "Finished sequences by reason.", "finished_reason",
     "stop", 1},
    {TN_STAT_COUNTER, STATS_FINISHED_LENGTH, "request_success_total", "Finished sequences by reason.",
     "finished_reason", "length", 1},
    {TN_STAT_COUNTER, STATS_FINISHED_ABORT, "request_success_total", "Finished sequences by reason.", "finished_reason",
     "abort", 1},
    {TN_STAT_COUNTER, STATS_FINISHED_ERROR, "request_success_total", "Finished sequences by reason.", "finished_reason",
     "error", 1},
};

enum { COUNTER_ROWS = sizeof counter_rows / sizeof counter_rows[0], INFO_ROWS = 3 };

#define FITS(array) _Static_assert(sizeof(array) / sizeof((array)[0]) <= HISTOGRAM_BUCKETS_MAX, "too many buckets")
FITS(seconds_first_token);
FITS(seconds_token);
FITS(seconds_request);
FITS(tokens_step);
FITS(tokens_request);

int64_t stats_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void stats_init(stats *stats, uint32_t block_size, uint64_t page_count, bool prefix_caching)
{
    memset(stats, 0, sizeof *stats);
    snprintf(stats->block_size, sizeof stats->block_size, "%u", block_size);
    snprintf(stats->page_count, sizeof stats->page_count, "%llu", (unsigned long long)page_count);
    stats->prefix_caching = prefix_caching;
    atomic_store(&stats->allowance_ns, allowance_min_ns);
    stats_beat(stats);
}

void stats_add(stats *stats, stats_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&stats->counter[counter], n, memory_order_relaxed);
}

void stats_set(stats *stats, stats_counter counter, uint64_t value)
{
    atomic_store_explicit(&stats->counter[counter], value, memory_order_relaxed);
}

static void observe(stats *stats, stats_histogram which, uint64_t stored)
{
    const struct histogram_row *row = &histogram_rows[which];
    histogram *histogram = &stats->histogram[which];
    double value = (double)stored * row->scale;
    uint32_t i = 0;

    while (i < row->bound_count && value > row->bound[i])
        i++;
    atomic_fetch_add_explicit(&histogram->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, stored, memory_order_relaxed);
}

void stats_observe_ns(stats *stats, stats_histogram which, int64_t ns)
{
    observe(stats, which, ns > 0 ? (uint64_t)ns / 1000 : 0);
}

void stats_observe_count(stats *stats, stats_histogram which, uint64_t count)
{
    observe(stats, which, count);
}

void stats_finished(stats *stats, uint32_t finish)
{
    static const stats_counter counter[] = {
        [TN_FINISH_NONE] = STATS_FINISHED_ERROR,    [TN_FINISH_STOP] = STATS_FINISHED_STOP,
        [TN_FINISH_LENGTH] = STATS_FINISHED_LENGTH, [TN_FINISH_CANCELLED] = STATS_FINISHED_ABORT,
        [TN_FINISH_ERROR] = STATS_FINISHED_ERROR,
    };
    TN_ASSERT(finish < sizeof counter / sizeof counter[0]);
    stats_add(stats, counter[finish], 1);
}

void stats_beat(stats *stats)
{
    atomic_store(&stats->beat_ns, stats_now_ns());
}

static uint32_t step_class(uint32_t tokens)
{
    uint32_t class = 0;
    while (tokens > 1 && class + 1 < STATS_STEP_CLASSES) {
        tokens /= 2;
        class ++;
    }
    return class;
}

/* What a step may be expected to take: the last of its class; else in proportion to the next smaller class. */
static double expected_ns(const stats *stats, uint32_t tokens)
{
    uint32_t class = step_class(tokens);
    for (uint32_t below = 0; below <= class; below++)
        if (stats->class_ns[class - below] > 0)
            return stats->class_ns[class - below] * (double)(1u << below);
    return first_ns_per_token * tokens;
}

void stats_step_begins(stats *stats, uint32_t tokens)
{
    int64_t allowance = (int64_t)expected_ns(stats, tokens) * ALLOWANCE_FACTOR;
    atomic_store(&stats->allowance_ns, allowance > allowance_min_ns ? allowance : allowance_min_ns);
    stats_beat(stats);
}

void stats_step_ended(stats *stats, uint32_t tokens, int64_t ns)
{
    double *known = &stats->class_ns[step_class(tokens)];
    *known = (double)ns > *known ? (double)ns : *known * 0.9 + (double)ns * 0.1;
    atomic_store(&stats->allowance_ns, allowance_min_ns);
    stats_beat(stats);
}

uint64_t stats_beat_age_ms(stats *stats, bool *ret_alive)
{
    int64_t age = stats_now_ns() - atomic_load(&stats->beat_ns);
    *ret_alive = age <= atomic_load(&stats->allowance_ns);
    return age > 0 ? (uint64_t)age / 1000000 : 0;
}

static tn_stat counter_series(stats *stats, const struct counter_row *row)
{
    return (tn_stat){
        .kind = row->kind,
        .name = row->name,
        .help = row->help,
        .label = row->label,
        .label_value = row->label_value,
        .value = (double)atomic_load_explicit(&stats->counter[row->counter], memory_order_relaxed) * row->scale,
    };
}

/* vLLM puts these into one series of several labels; a series here has one label, so there is one each. */
static tn_stat info_series(const stats *stats, uint32_t index)
{
    static const char *const label[INFO_ROWS] = {"block_size", "num_gpu_blocks", "enable_prefix_caching"};
    const char *const value[INFO_ROWS] = {stats->block_size, stats->page_count,
                                          stats->prefix_caching ? "True" : "False"};
    return (tn_stat){
        .kind = TN_STAT_GAUGE,
        .name = "cache_config_info",
        .help = "Sizes of the KV cache, as labels.",
        .label = label[index],
        .label_value = value[index],
        .value = 1,
    };
}

static tn_stat histogram_series(stats *stats, uint32_t index)
{
    static _Thread_local uint64_t cumulative[HISTOGRAM_BUCKETS_MAX];
    const struct histogram_row *row = &histogram_rows[index];
    const histogram *histogram = &stats->histogram[index];
    uint64_t count = 0;

    for (uint32_t i = 0; i <= row->bound_count; i++) {
        count += atomic_load_explicit(&histogram->bucket[i], memory_order_relaxed);
        if (i < row->bound_count)
            cumulative[i] = count;
    }
    return (tn_stat){
        .kind = TN_STAT_HISTOGRAM,
        .name = row->name,
        .help = row->help,
        .value = (double)atomic_load_explicit(&histogram->sum, memory_order_relaxed) * row->scale,
        .count = count,
        .bound = row->bound,
        .bucket = cumulative,
        .bucket_count = row->bound_count,
    };
}

tn_status stats_series(stats *stats, uint32_t index, tn_stat *ret_stat)
{
    uint32_t size = ret_stat->struct_size < sizeof *ret_stat ? ret_stat->struct_size : (uint32_t)sizeof *ret_stat;
    tn_stat series;

    if (index < COUNTER_ROWS)
        series = counter_series(stats, &counter_rows[index]);
    else if (index < COUNTER_ROWS + INFO_ROWS)
        series = info_series(stats, index - COUNTER_ROWS);
    else if (index < COUNTER_ROWS + INFO_ROWS + STATS_HISTOGRAM_COUNT)
        series = histogram_series(stats, index - COUNTER_ROWS - INFO_ROWS);
    else
        return TN_E_NOT_FOUND;
    series.struct_size = size;
    memcpy(ret_stat, &series, size);
    return TN_OK;
}
