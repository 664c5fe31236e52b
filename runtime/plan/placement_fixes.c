/* placement_fixes.c: changes that make a model fit, each tried before it is advised, the least first: settings of the
 * engine, more of the pool's devices, fewer bits, another pool, more nodes.
 */
#include "plan/placement_search.h"

#include <string.h>

enum { UTILIZATION_PERCENT_MAX = 98 };

static bool full(const placement *p)
{
    return p->fix_count == PLACEMENT_FIXES;
}

static bool fits(const placement_request *request, const placement_try_of *what)
{
    memory_plan plan;
    return placement_try(request, what, &plan, NULL) == TN_OK;
}

static void add(placement *p, const char *flags, const char *effect)
{
    placement_fix *fix = &p->fixes[p->fix_count++];
    snprintf(fix->flags, sizeof fix->flags, "%s", flags);
    snprintf(fix->effect, sizeof fix->effect, "%s", effect);
}

static placement_try_of base_of(const placement_request *request, const placement *p)
{
    return (placement_try_of){.wishes = {.world = p->plan.world}, .concurrency = request->concurrency};
}

/* The settings below keep the number of ranks, which must be there. */
static bool ranks_are_there(const placement_request *request, const placement *p)
{
    return p->plan.world > 0 && p->plan.world <= request->pool->count * request->pool->nodes;
}

/* ---- settings of the engine ---- */

static void try_utilization(const placement_request *request, placement *p)
{
    placement_try_of what = base_of(request, p);
    char flags[sizeof p->fixes[0].flags];

    for (int percent = (int)(p->plan.gpu_memory_utilization * 100) + 1; percent <= UTILIZATION_PERCENT_MAX; percent++) {
        what.wishes.gpu_memory_utilization = percent / 100.0;
        if (!fits(request, &what))
            continue;
        snprintf(flags, sizeof flags, "--util %.2f", percent / 100.0);
        add(p, flags, "let it take more of each device");
        return;
    }
}

static void try_context(const placement_request *request, placement *p)
{
    char flags[sizeof p->fixes[0].flags];
    uint32_t context = placement_largest_context(request, base_of(request, p), p->plan.max_model_len);

    if (context == 0 || context >= p->plan.max_model_len)
        return;
    snprintf(flags, sizeof flags, "--max-model-len %u", context);
    add(p, flags, "shorter sequences");
}

static void try_concurrency(const placement_request *request, placement *p)
{
    placement_try_of what = base_of(request, p);
    char flags[sizeof p->fixes[0].flags];
    uint32_t most = placement_largest_concurrency(request, what);

    if (most == 0 || most >= p->plan.max_num_seqs)
        return;
    snprintf(flags, sizeof flags, "--concurrency %u", most);
    add(p, flags, "fewer sequences at once");
}

/* Whether it fits over any number of ranks that the request may lead to. */
static bool fits_as_asked(const placement_request *request, placement_try_of what)
{
    const pool *pool = request->pool;
    for (uint32_t world = 1; world <= pool->count * pool->nodes; world++) {
        what.wishes.world = world;
        bool asked = request->world ? world == request->world : placement_is_candidate(pool, request->strategy, world);
        if (asked && fits(request, &what))
            return true;
    }
    return false;
}

static void try_kv_dtype(const placement_request *request, placement *p)
{
    const placement_try_of what = {.wishes = {.kv_dtype = TN_BF16}, .concurrency = request->concurrency};
    const char *dtype = settings_string(request->input.settings, "engine", "kv_cache_dtype");

    if (strcmp(dtype, "float32") == 0 && fits_as_asked(request, what))
        add(p, "--kv-dtype bfloat16", "half the bytes of KV cache");
}

/* ---- devices ---- */

/* The smallest number of ranks in a pool over which it fits; 0: none. */
static uint32_t ranks_that_fit(const placement_request *request, const pool *pool, uint32_t other_than)
{
    placement_try_of what = {.concurrency = request->concurrency, .device = &pool->device};
    for (uint32_t world = 1; world <= pool->count * pool->nodes; world++) {
        what.wishes.world = world;
        if (world != other_than && placement_is_candidate(pool, PLACEMENT_AUTO, world) && fits(request, &what))
            return world;
    }
    return 0;
}

/* Flags that ask for a number of ranks, whatever strategy was asked for before. */
static int ask_for_ranks(const placement_request *request, uint32_t world, char *flags, size_t bytes)
{
    return snprintf(flags, bytes, "%s--tp %u", request->strategy == PLACEMENT_AUTO ? "" : "--strategy auto ", world);
}

static pool as_planned(const placement_request *request)
{
    pool pool = *request->pool;
    pool.device = *request->input.device;
    return pool;
}

static void try_ranks(const placement_request *request, placement *p)
{
    const pool pool = as_planned(request);
    char flags[sizeof p->fixes[0].flags], effect[sizeof p->fixes[0].effect];
    uint32_t world = ranks_that_fit(request, &pool, p->plan.world);

    if (world == 0)
        return;
    ask_for_ranks(request, world, flags, sizeof flags);
    snprintf(effect, sizeof effect, "%u of the pool's %u devices", world, pool.count * pool.nodes);
    add(p, flags, effect);
}

static void try_nodes(const placement_request *request, placement *p)
{
    char flags[sizeof p->fixes[0].flags], effect[sizeof p->fixes[0].effect];
    pool pool = as_planned(request);

    if (!pool.described)
        return;
    for (uint32_t nodes = pool.nodes + 1; nodes <= PLACEMENT_NODES_MAX; nodes++) {
        pool.nodes = nodes;
        uint32_t world = nodes * pool.count;
        placement_try_of what = {.wishes = {.world = world}, .concurrency = request->concurrency};
        if (!fits(request, &what))
            continue;
        int used = ask_for_ranks(request, world, flags, sizeof flags);
        snprintf(flags + used, sizeof flags - (size_t)used, " --set \"pool %.32s.nodes=%u\"", pool.name, nodes);
        snprintf(effect, sizeof effect, "%u nodes of that kind, %u ranks", nodes, world);
        add(p, flags, effect);
        return;
    }
}

/* ---- another checkpoint, another pool ---- */

static void try_encodings(const placement_request *request, placement *p)
{
    placement_try_of what = {.concurrency = request->concurrency};
    char flags[sizeof p->fixes[0].flags];

    for (uint32_t i = 0; i < request->encoding_count; i++) {
        what.weight_enc = request->encodings[i].weight_enc;
        if (!fits_as_asked(request, what))
            continue;
        snprintf(flags, sizeof flags, "--quant %s", request->encodings[i].method);
        add(p, flags, "a quantized checkpoint (`tenon quantize` makes one)");
        return;
    }
}

/* The first that there is: predefined pools come in order of size. */
static void try_pools(const placement_request *request, placement *p)
{
    char flags[sizeof p->fixes[0].flags], effect[sizeof p->fixes[0].effect];

    for (uint32_t i = 0; i < request->pool_count; i++) {
        const pool *pool = &request->pools[i];
        uint32_t world = strcmp(pool->name, request->pool->name) == 0 ? 0 : ranks_that_fit(request, pool, 0);
        if (world == 0)
            continue;
        int used = ask_for_ranks(request, world, flags, sizeof flags);
        snprintf(flags + used, sizeof flags - (size_t)used, " --pool %.32s", pool->name);
        snprintf(effect, sizeof effect, "%u of its %u %s", world, pool->count * pool->nodes, pool->device.name);
        add(p, flags, effect);
        return;
    }
}

void placement_find_fixes(const placement_request *request, placement *p)
{
    static const struct {
        void (*find)(const placement_request *, placement *);
        bool keeps_ranks;
    } all[] = {
        {try_utilization, true}, {try_context, true},    {try_concurrency, true}, {try_kv_dtype, false},
        {try_ranks, false},      {try_encodings, false}, {try_pools, false},      {try_nodes, false},
    };
    if (request->strategy == PLACEMENT_NODES)
        try_nodes(request, p);
    for (size_t i = 0; i < sizeof all / sizeof *all && !full(p); i++) {
        bool twice = request->strategy == PLACEMENT_NODES && all[i].find == try_nodes;
        if (!twice && (ranks_are_there(request, p) || !all[i].keeps_ranks))
            all[i].find(request, p);
    }
}
