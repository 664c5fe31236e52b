/* plan.c: bytes of a rank, by the lines of a plan, from the functions that allocate. */
#include "plan.h"

#include "model.h"
#include "planes.h"

/* What a process takes of a card that we do not allocate: context, code of the kernels, and NCCL's own buffers. */
#define RESERVE_CONTEXT (640ull << 20)
#define RESERVE_RANKS   (512ull << 20)
#define RESERVE_MATMUL  (256ull << 20) /* code of cuBLASLt's kernels, which are loaded as they are chosen */
/* A graph: one kernel or more for each step of the program, each with its arguments, and what the driver keeps of the
 * whole. */
#define RESERVE_GRAPH (1ull << 20)
#define RESERVE_STEP  (8ull << 10)

uint64_t plan_staging_bytes(const program *p)
{
    uint64_t most = STAGING_BYTES;
    for (uint32_t id = 0; id < p->view.api->weight_count; id++) {
        const program_weight *w = &p->weights[id];
        uint64_t bytes =
            w->roles & ROLE_VECTOR ? w->bytes : planes_packed_bytes(&w->own, plane_row_unit(&w->own), w->cut.columns);
        most = bytes > most ? bytes : most;
    }
    return align_up(most);
}

static void fill(const program *p, tn_memplan *plan)
{
    const step_sizes sizes = step_sizes_of(p);
    rank_memory memory;

    rank_memory_carve(p, &sizes, NULL, &memory);
    plan->weights = p->weight_bytes;
    plan->load_peak = plan_staging_bytes(p);
    plan->activations = memory.activation_total;
    plan->logits = memory.logits_total;
    plan->comms = memory.comms_total;
    plan->reserve = RESERVE_CONTEXT + (p->world > 1 ? RESERVE_RANKS : 0) + (p->shape_count ? RESERVE_MATMUL : 0) +
                    p->bucket_count * (RESERVE_GRAPH + p->step_count * RESERVE_STEP);
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++) {
        plan->page_tokens[g] = KV_PAGE_TOKENS;
        plan->page_bytes[g] = p->kv[g].page_bytes;
    }
}

tn_status plan_backend(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                       tn_error *err)
{
    program *p;

    (void)info;
    tn_status status = program_build(compile, world, NULL, NULL, &p, err);
    if (status != TN_OK)
        return status;
    if (plan->group_count < compile->api->kv_group_count)
        status = tn_fail(err, TN_E_ARGUMENT, "plan: room for %u KV groups, the model has %u", plan->group_count,
                         compile->api->kv_group_count);
    else
        fill(p, plan);
    program_free(p);
    return status;
}

tn_status plan_check(const tn_devinfo *info, const tn_compile *compile, uint32_t *bad, uint32_t *bad_count,
                     tn_error *err)
{
    program *p;

    (void)info;
    tn_status status = program_build(compile, 1, bad, bad_count, &p, err);
    if (status == TN_OK)
        program_free(p);
    return status;
}
