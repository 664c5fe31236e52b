/* runtime/engine/stats.h: what operators watch: counters, gauges, histograms under vLLM's names, and the heartbeat.
 *
 * The loop thread writes, any thread reads; every element is an atomic of its own, so a reader may see a histogram in
 * the middle of an observation but never waits for the loop.
 */
#ifndef ENGINE_STATS_H
#define ENGINE_STATS_H

#include "tenon/stats.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { HISTOGRAM_BUCKETS_MAX = 24, STATS_STEP_CLASSES = 20 };

typedef struct histogram {
    atomic_ullong bucket[HISTOGRAM_BUCKETS_MAX + 1]; /* not cumulative; the last one is behind all bounds */
    atomic_ullong sum;                               /* microseconds, or tokens */
} histogram;

typedef enum stats_histogram {
    STATS_TIME_TO_FIRST_TOKEN,
    STATS_INTER_TOKEN_LATENCY,
    STATS_E2E_LATENCY,
    STATS_QUEUE_TIME,
    STATS_PREFILL_TIME,
    STATS_DECODE_TIME,
    STATS_INFERENCE_TIME,
    STATS_ITERATION_TOKENS,
    STATS_PROMPT_TOKENS,
    STATS_GENERATION_TOKENS,
    STATS_HISTOGRAM_COUNT
} stats_histogram;

typedef enum stats_counter {
    STATS_RUNNING, /* the first ones are gauges */
    STATS_WAITING,
    STATS_KV_USED_PPM,
    STATS_CACHE_QUERIES,
    STATS_CACHE_HITS,
    STATS_PROMPT_TOTAL,
    STATS_GENERATION_TOTAL,
    STATS_PREEMPTIONS,
    STATS_FINISHED_STOP,
    STATS_FINISHED_LENGTH,
    STATS_FINISHED_ABORT,
    STATS_FINISHED_ERROR,
    STATS_COUNTER_COUNT
} stats_counter;

typedef struct stats {
    atomic_ullong counter[STATS_COUNTER_COUNT];
    histogram histogram[STATS_HISTOGRAM_COUNT];
    atomic_llong beat_ns;                /* when the loop last came round */
    atomic_llong allowance_ns;           /* how long the step under way may take before the loop counts as stuck */
    double class_ns[STATS_STEP_CLASSES]; /* smoothed length of steps of 2^i rows and more, 0: none yet; loop only */
    atomic_ullong request_ms;            /* smoothed length of a request, for retry hints */
    char block_size[16], page_count[24]; /* label values of cache_config_info; constant */
    bool prefix_caching;
} stats;

int64_t stats_now_ns(void); /* monotonic */
void stats_init(stats *stats, uint32_t block_size, uint64_t page_count, bool prefix_caching);
void stats_add(stats *stats, stats_counter counter, uint64_t n);
void stats_set(stats *stats, stats_counter counter, uint64_t value);
void stats_observe_ns(stats *stats, stats_histogram which, int64_t ns);
void stats_observe_count(stats *stats, stats_histogram which, uint64_t count);
/* Counts a finished sequence by TN_FINISH_*. */
void stats_finished(stats *stats, uint32_t finish);

/* The loop is alive, and idle or between steps. */
void stats_beat(stats *stats);
/* A step of `tokens` rows begins, took `ns`. The allowance follows measured steps of like size. */
void stats_step_begins(stats *stats, uint32_t tokens);
void stats_step_ended(stats *stats, uint32_t tokens, int64_t ns);
/* Milliseconds since the last beat; *ret_alive: within the allowance. [any] */
uint64_t stats_beat_age_ms(stats *stats, bool *ret_alive);

/* Series number `index`; TN_E_NOT_FOUND past the last. Buckets live until the thread's next call. [any] */
tn_status stats_series(stats *stats, uint32_t index, tn_stat *ret_stat);

#endif
