/* runtime/plan/placement.h: how a model can lie in a pool: on one device, over the devices of a node, over nodes; what
 * is the most that fits; and, where it does not fit, the nearest changes that make it fit.
 *
 * Every answer is a plan that plan_make() made: nothing is estimated beside it.
 */
#ifndef PLAN_PLACEMENT_H
#define PLAN_PLACEMENT_H

#include "plan/plan.h"
#include "pool/pool.h"

typedef enum placement_strategy {
    PLACEMENT_AUTO, /* the first of these that fits: */
    PLACEMENT_ONE,
    PLACEMENT_TENSOR_PARALLEL,
    PLACEMENT_NODES
} placement_strategy;

enum { PLACEMENT_FIXES = 3, PLACEMENT_WARNINGS = 4, PLACEMENT_LAUNCH_MAX = 8192 };

/* Weights as they would be after quantization. */
typedef struct placement_encoding {
    const char *method;
    const tn_enc *weight_enc;
} placement_encoding;

typedef struct placement_request {
    plan_input input; /* device: the pool's; wishes: none */
    const pool *pool; /* count: resolved */
    placement_strategy strategy;
    uint32_t world;                      /* ranks asked for; 0: as many as it takes */
    uint32_t concurrency;                /* sequences of max_model_len that must fit at once; 0: one */
    const placement_encoding *encodings; /* that may be advised */
    uint32_t encoding_count;
    const pool *pools; /* that may be advised, and that the same backend runs */
    uint32_t pool_count;
} placement_request;

/* A change that makes it fit, by flags of `tenon plan`. */
typedef struct placement_fix {
    char flags[160], effect[120];
} placement_fix;

typedef struct placement {
    memory_plan plan; /* of each rank; where nothing fits, of the attempt that came nearest; world 0: there is none */
    bool fits;
    tn_error reason; /* why not */
    placement_strategy strategy;
    uint32_t nodes;                       /* that it takes */
    uint32_t largest_context;             /* for as many sequences as asked; 0: not even the shortest */
    uint32_t largest_concurrency;         /* sequences of max_model_len at once */
    placement_fix fixes[PLACEMENT_FIXES]; /* nearest first */
    char warnings[PLACEMENT_WARNINGS][160];
    uint32_t fix_count, warning_count;
} placement;

/* TN_OK whether it fits or not. Other errors: the request contradicts itself or the model. [any] */
tn_status placement_find(const placement_request *request, placement *ret_placement, tn_error *err);
/* The command that serves such a plan on several nodes, by Slurm, a process on each; false: it is on one node, or does
 * not divide into equal processes. [any] */
bool placement_launch(const placement *placement, const pool *pool, char text[PLACEMENT_LAUNCH_MAX]);
/* "one device", "tensor parallel", "several nodes". [any] */
const char *placement_strategy_name(placement_strategy strategy);

#endif
