/* runtime/plan/roi.h: what a month costs in a pool and elsewhere, by volume: a staircase of pools against a price per
 * token. Volumes are millions of tokens a month, prompts and answers together in the mix that was given.
 */
#ifndef PLAN_ROI_H
#define PLAN_ROI_H

#include "plan/throughput.h"

/* A replica is loaded to this share of its throughput, so that queues stay short. */
#define ROI_LOAD 0.7

/* Prices given over those of the settings; negative or NAN: none. */
typedef struct roi_prices {
    double input, cached, output;
} roi_prices;

typedef struct roi {
    char pool[POOL_NAME_BYTES];
    const char *currency; /* borrowed from the settings */
    double pool_cost;     /* of a month */
    throughput throughput;
    roi_prices prices;         /* elsewhere, of a million tokens */
    roi_prices share;          /* of each kind in a token of the mix; they add up to 1 */
    double price;              /* elsewhere, of a million tokens of the mix */
    uint32_t replicas_in_pool; /* that fit beside each other */
    double capacity;           /* volume that one pool serves */
    double break_even;         /* volume at which the pool costs what elsewhere does; infinity: at none */
    bool reachable;            /* within the capacity */
    double volume;             /* 0: none was given */
    double peak_tokens_per_second;
    double replicas, pools; /* that the volume and its peak take */
} roi;

/* From the settings' [roi], [price NAME] and the pool's costs. TN_E_ARGUMENT: something is not given; the message says
 * what to set. placement must fit. [any] */
tn_status roi_make(const settings *settings, const placement *placement, const model_config *config, const pool *pool,
                   const roi_prices *prices, roi *ret_roi, tn_error *err);
/* Cost of a month at a volume, in as many pools as that takes, and elsewhere. [any] */
double roi_pools(const roi *roi, double volume);
double roi_cost_here(const roi *roi, double volume);
double roi_cost_elsewhere(const roi *roi, double volume);

#endif
