/* runtime/plan/placement_search.h: what placement.c and placement_fixes.c share. */
#ifndef PLAN_PLACEMENT_SEARCH_H
#define PLAN_PLACEMENT_SEARCH_H

#include "plan/placement.h"

enum { PLACEMENT_CONTEXT_STEP = 256, PLACEMENT_SEQUENCES_MAX = 32768, PLACEMENT_NODES_MAX = 16 };

/* An attempt: what differs from the request. */
typedef struct placement_try_of {
    plan_wishes wishes;
    uint32_t concurrency;
    const tn_devinfo *device; /* NULL: the request's, */
    const tn_enc *weight_enc; /* likewise */
} placement_try_of;

/* TN_OK, TN_E_MEMORY (ret_plan is filled) or the error of plan_make. [any] */
tn_status placement_try(const placement_request *request, const placement_try_of *what, memory_plan *ret_plan,
                        tn_error *err);
/* Whether the strategy may lead to so many ranks in this pool. [any] */
bool placement_is_candidate(const pool *pool, placement_strategy strategy, uint32_t world);
/* The longest context up to limit, in steps of PLACEMENT_CONTEXT_STEP, that fits; 0: none. [any] */
uint32_t placement_largest_context(const placement_request *request, placement_try_of what, uint32_t limit);
/* The most sequences of the context that fit at once; 0: not one. [any] */
uint32_t placement_largest_concurrency(const placement_request *request, placement_try_of what);
/* Fills placement->fixes. [any] */
void placement_find_fixes(const placement_request *request, placement *placement);

#endif
