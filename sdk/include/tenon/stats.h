/* tenon/stats.h: "tn.stats", counters, gauges and histograms of an engine, and its heartbeat. */
#ifndef TENON_STATS_H
#define TENON_STATS_H

#include "tenon/engine.h"

TN_BEGIN_DECLS

#define TN_STATS_ID "tn.stats/1"

enum { TN_STAT_COUNTER = 1, TN_STAT_GAUGE = 2, TN_STAT_HISTOGRAM = 3 };

/* One time series. Names follow vLLM's, without prefix: "num_requests_running". */
typedef struct tn_stat {
    uint32_t struct_size, kind;
    const char *name, *help;
    const char *label, *label_value; /* one extra label, NULL: none. ("finished_reason", "stop") */
    double value;                    /* counter or gauge; sum of a histogram */
    uint64_t count;                  /* histogram: observations */
    const double *bound;             /* histogram: bucket_count upper bounds, ascending, without +Inf */
    const uint64_t *bucket;          /* histogram: observations <= bound, cumulative */
    uint32_t bucket_count, reserved0;
} tn_stat;
TN_SEALED(tn_stat, reserved0);

typedef struct tn_health {
    uint32_t struct_size, ready; /* 1: the loop has beaten recently and the device answers */
    uint64_t heartbeat_age_ms;   /* since the step loop last came round; parked loops answer too */
    uint32_t draining, failed;   /* failed: the engine has stopped; reason below */
    char reason[256];
} tn_health;
TN_SEALED(tn_health, reason);

typedef struct tn_stats_table {
    uint32_t struct_size, flags;
    /* The index-th series; TN_E_NOT_FOUND past the last. Borrowed until the same thread's next call. [any] */
    tn_status (*stat)(tn_engine *engine, uint32_t index, tn_stat *ret_stat);
    tn_status (*health)(tn_engine *engine, tn_health *ret_health); /* never blocks on the loop. [any] */
} tn_stats_table;
TN_SEALED(tn_stats_table, health);

TN_END_DECLS
#endif
