/* runtime/pool/pool.h: pools: named sets of equal devices, here or only described, and what they cost.
 *
 * Three are predefined; a section [pool NAME] makes another, or changes the keys it names of a predefined one. A pool
 * without a device is what is found on this machine.
 */
#ifndef POOL_POOL_H
#define POOL_POOL_H

#include "pool/device_catalog.h"
#include "settings/settings.h"
#include "tenon/backend.h"

enum { POOL_NAME_BYTES = 40 };

typedef struct pool {
    char name[POOL_NAME_BYTES]; /* empty: what is here, and no pool was asked for */
    bool described;             /* device is set by the description below; else it is found */
    tn_devinfo device;          /* described: TN_DEVICE_DESCRIBED, as backends are asked about it */
    const char *backend;        /* plugin; borrowed from the settings; NULL: [backend] plugin */
    uint32_t count;             /* devices in a node; 0: all that are here */
    uint32_t nodes;
    double memory_bandwidth, bf16_flops; /* of one device, a second; 0: unknown */
    device_link link;
    double link_bandwidth;                                  /* bytes a second, one way; 0: unknown */
    bool priced;                                            /* any cost was given */
    double rate_per_hour, hours_per_month, other_per_month; /* other: power, depreciation, operations */
    const char *currency;                                   /* borrowed from the settings */
} pool;

/* The pool of that name, predefined or from the settings. TN_E_NOT_FOUND names the nearest, or all. [any] */
tn_status pool_find(const settings *settings, const char *name, pool *ret_pool, tn_error *err);
/* The index-th of all, predefined ones first; TN_E_NOT_FOUND past the last, without a message. [any] */
tn_status pool_at(const settings *settings, uint32_t index, pool *ret_pool, tn_error *err);
/* What is on this machine, unnamed. [any] */
pool pool_here(void);
/* Cost of a month. [any] */
double pool_month_cost(const pool *pool);

#endif
