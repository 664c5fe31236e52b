/* placement.c: see placement.h. A plan takes about a millisecond, so that searches by halving are cheap; larger
 * contexts, more sequences and fewer ranks never need less memory of a rank.
 */
#include "plan/placement.h"

#include "plan/placement_search.h"

#include <string.h>

const char *placement_strategy_name(placement_strategy strategy)
{
    static const char *const names[] = {"auto", "one device", "tensor parallel", "several nodes"};
    return names[strategy];
}

/* ---- which numbers of ranks ---- */

static placement_strategy strategy_of(const pool *pool, uint32_t world)
{
    return world == 1 ? PLACEMENT_ONE : world <= pool->count ? PLACEMENT_TENSOR_PARALLEL : PLACEMENT_NODES;
}

bool placement_is_candidate(const pool *pool, placement_strategy strategy, uint32_t world)
{
    placement_strategy its = strategy_of(pool, world);
    if (its == PLACEMENT_NODES && world % pool->count)
        return false; /* nodes are filled */
    return world <= pool->count * pool->nodes && (strategy == PLACEMENT_AUTO || strategy == its);
}

static uint32_t nodes_of(const pool *pool, uint32_t world)
{
    return (world + pool->count - 1) / pool->count;
}

bool placement_launch(const placement *p, const pool *pool, char text[PLACEMENT_LAUNCH_MAX])
{
    if (!p->fits || p->nodes < 2 || p->plan.world % p->nodes)
        return false;
    int n = snprintf(text, PLACEMENT_LAUNCH_MAX,
                     "srun --nodes=%u --ntasks-per-node=1 tenon serve FILE.ini --set group.launcher=slurm%s%s --set "
                     "backend.tensor_parallel_size=%u",
                     p->nodes, pool->backend ? " --set backend.plugin=" : "", pool->backend ? pool->backend : "",
                     p->plan.world);
    return n < PLACEMENT_LAUNCH_MAX;
}

/* ---- one attempt ---- */

tn_status placement_try(const placement_request *request, const placement_try_of *what, memory_plan *ret_plan,
                        tn_error *err)
{
    plan_input input = request->input;

    input.wishes = what->wishes;
    if (what->device)
        input.device = what->device;
    if (what->weight_enc)
        input.weight_enc = what->weight_enc;
    tn_status status = plan_make(&input, ret_plan, err);
    if (status == TN_OK && ret_plan->full_sequences < what->concurrency)
        return tn_fail(err, TN_E_MEMORY,
                       "%u sequences of %u tokens do not fit at once: the KV cache holds %llu (%llu tokens)",
                       what->concurrency, ret_plan->max_model_len, (unsigned long long)ret_plan->full_sequences,
                       (unsigned long long)ret_plan->kv_tokens);
    return status;
}

static placement_try_of as_asked(const placement_request *request, uint32_t world)
{
    return (placement_try_of){.wishes = {.world = world}, .concurrency = request->concurrency};
}

/* Keeps the attempt; returns whether the search is over. */
static bool attempt(const placement_request *request, uint32_t world, placement *p, tn_status *ret_status)
{
    placement_try_of what = as_asked(request, world);
    memory_plan plan = {0};
    tn_error reason = TN_ERROR_INIT;

    *ret_status = placement_try(request, &what, &plan, &reason);
    if (*ret_status != TN_OK && *ret_status != TN_E_MEMORY && *ret_status != TN_E_UNSUPPORTED) {
        p->reason = reason;
        return true;
    }
    /* A degree that does not divide the model says less than one that lacks memory. */
    if (*ret_status != TN_E_UNSUPPORTED || p->plan.world == 0)
        p->reason = reason;
    if (*ret_status != TN_E_UNSUPPORTED) {
        p->plan = plan;
        p->strategy = strategy_of(request->pool, world);
        p->nodes = nodes_of(request->pool, world);
    }
    p->fits = *ret_status == TN_OK;
    return p->fits;
}

static const char *name_of(const pool *pool)
{
    return pool->name[0] ? pool->name : "of this machine";
}

/* The ranks that were asked for are planned all the same, for the numbers. */
static tn_status refuse_ranks(const placement_request *request, placement *p)
{
    const pool *pool = request->pool;
    tn_status status;

    attempt(request, request->world, p, &status);
    p->fits = false;
    if (status == TN_OK || status == TN_E_MEMORY)
        tn_fail(&p->reason, TN_E_MEMORY, "%u ranks need as many devices, but pool %s has %u", request->world,
                name_of(pool), pool->count * pool->nodes);
    return status;
}

/* Strategies that this pool has too little for. Several nodes are planned as if there were enough of them. */
static tn_status refuse_strategy(const placement_request *request, placement *p)
{
    const pool *pool = request->pool;
    tn_status status = TN_E_MEMORY;

    for (uint32_t nodes = 2; request->strategy == PLACEMENT_NODES && nodes <= PLACEMENT_NODES_MAX; nodes++)
        if (attempt(request, nodes * pool->count, p, &status))
            break;
    bool needs_more = p->fits;
    p->fits = false;
    if (needs_more)
        tn_fail(&p->reason, TN_E_MEMORY, "pool %s has one node, but it takes %u", name_of(pool), p->nodes);
    else if (p->plan.world == 0)
        tn_fail(&p->reason, TN_E_MEMORY, "pool %s has %u %s of %u, too few for strategy \"%s\"", name_of(pool),
                pool->nodes, pool->nodes == 1 ? "node" : "nodes", pool->count,
                placement_strategy_name(request->strategy));
    return status;
}

static tn_status find_world(const placement_request *request, placement *p, tn_error *err)
{
    const pool *pool = request->pool;
    uint32_t devices = pool->count * pool->nodes, tried = 0;
    tn_status status = TN_E_UNSUPPORTED;
    bool over = false;

    for (uint32_t world = 1; world <= devices && !over; world++) {
        if (request->world ? world != request->world : !placement_is_candidate(pool, request->strategy, world))
            continue;
        over = attempt(request, world, p, &status);
        tried++;
    }
    if (!tried)
        status = request->world ? refuse_ranks(request, p) : refuse_strategy(request, p);
    bool answered = status == TN_OK || status == TN_E_MEMORY || status == TN_E_UNSUPPORTED;
    return answered ? TN_OK : tn_fail(err, status, "%s", p->reason.msg);
}

/* ---- the most that fits ---- */

uint32_t placement_largest_context(const placement_request *request, placement_try_of what, uint32_t limit)
{
    uint32_t low = 0, high = (limit + PLACEMENT_CONTEXT_STEP - 1) / PLACEMENT_CONTEXT_STEP;
    memory_plan plan;

    while (low < high) {
        uint32_t middle = (low + high + 1) / 2, context = middle * PLACEMENT_CONTEXT_STEP;
        what.wishes.max_model_len = context < limit ? context : limit;
        if (placement_try(request, &what, &plan, NULL) == TN_OK)
            low = middle;
        else
            high = middle - 1;
    }
    return low * PLACEMENT_CONTEXT_STEP < limit ? low * PLACEMENT_CONTEXT_STEP : limit;
}

uint32_t placement_largest_concurrency(const placement_request *request, placement_try_of what)
{
    uint32_t low = 0, high = 1;
    memory_plan plan;

    for (bool doubling = true; low < high;) {
        uint32_t middle = doubling ? high : (low + high + 1) / 2;
        what.wishes.max_num_seqs = what.concurrency = middle;
        bool fits = placement_try(request, &what, &plan, NULL) == TN_OK;
        low = fits ? middle : low;
        if (doubling && fits && middle < PLACEMENT_SEQUENCES_MAX)
            high = 2 * middle;
        else
            high = fits ? high : middle - 1;
        doubling = doubling && fits && middle < PLACEMENT_SEQUENCES_MAX;
    }
    return low;
}

/* ---- what to know ---- */

static char *warn(placement *p)
{
    TN_ASSERT(p->warning_count < PLACEMENT_WARNINGS);
    return p->warnings[p->warning_count++];
}

static void collect_warnings(const placement_request *request, placement *p)
{
    const pool *pool = request->pool;
    const uint32_t world = p->plan.world, kv_heads = request->input.config->kv_heads;

    if (world > 1 && pool->link == DEVICE_LINK_PCIE)
        snprintf(warn(p), sizeof p->warnings[0],
                 "tensor parallel over PCIe: every layer waits for two sums over it; NVLink is many times faster");
    if (world > 1 && pool->link == DEVICE_LINK_UNKNOWN)
        snprintf(warn(p), sizeof p->warnings[0], "the link between the devices is unknown; set link in [pool %s]%s",
                 pool->name[0] ? pool->name : "NAME", pool->name[0] ? "" : " and name it with --pool");
    if (p->nodes > 1)
        snprintf(warn(p), sizeof p->warnings[0],
                 "%u ranks on %u nodes: it takes a launcher that starts them all, and a network as fast as the "
                 "devices' link",
                 world, p->nodes);
    if (world > kv_heads)
        snprintf(warn(p), sizeof p->warnings[0],
                 "%u ranks share %u key/value heads, so that each holds a copy: more ranks save no KV cache", world,
                 kv_heads);
}

tn_status placement_find(const placement_request *request, placement *ret_placement, tn_error *err)
{
    placement p = {.reason = TN_ERROR_INIT};

    if (request->world && request->strategy != PLACEMENT_AUTO &&
        strategy_of(request->pool, request->world) != request->strategy)
        return tn_fail(err, TN_E_ARGUMENT, "%u ranks are strategy \"%s\" in this pool, not \"%s\"", request->world,
                       placement_strategy_name(strategy_of(request->pool, request->world)),
                       placement_strategy_name(request->strategy));
    tn_status status = find_world(request, &p, err);
    if (status != TN_OK)
        return status;
    if (p.plan.world > 0) {
        placement_try_of what = as_asked(request, p.plan.world);
        p.largest_context = placement_largest_context(request, what, request->input.config->context);
        p.largest_concurrency = placement_largest_concurrency(request, what);
        collect_warnings(request, &p);
    }
    if (!p.fits)
        placement_find_fixes(request, &p);
    *ret_placement = p;
    return TN_OK;
}
