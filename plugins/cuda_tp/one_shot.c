/* one_shot.c: see one_shot.h. */
#include "one_shot.h"

#include "host_log.h"
#include "links.h"
#include "options.h"

/* Every rank reads world - 1 parts, where a ring moves 2 (world - 1) / world of one in 2 (world - 1) steps: with links
 * of bandwidth B and steps of latency L that is even at about 2 L B of message for 4 ranks, some 1 MiB over NVLink (300
 * GB/s, 2 us), less the more ranks there are. vLLM's one-stage kernel ends at 512 KiB for up to 4 ranks and at 256 KiB
 * for 8, which is taken here. Over PCIe reads are slow, and beyond two ranks they share the host's bridges; 64 KiB is
 * cautious. None of it is measured here. */
static uint64_t limit_of(uint32_t world, bool fast)
{
    if (!fast)
        return world == 2 ? 64 << 10 : 0;
    return world <= 4 ? 512 << 10 : 256 << 10;
}

/* *ret_a and *ret_b: the first pair that does not reach each other, if false. */
static tn_status connect_all(const device_api *device, uint32_t world, const uint32_t *ordinal, bool *ret_all,
                             uint32_t *ret_a, uint32_t *ret_b, tn_error *err)
{
    *ret_all = true;
    for (uint32_t i = 0; i < world; i++) {
        tn_status status = device->use(ordinal[i], err);
        for (uint32_t j = 0; j < world && status == TN_OK && *ret_all; j++) {
            bool reached = i == j;
            if (i != j && ordinal[i] != ordinal[j]) /* on one device kernels that wait for each other may never meet */
                status = device->peer_enable(ordinal[i], ordinal[j], &reached, err);
            *ret_all = reached;
            *ret_a = ordinal[i];
            *ret_b = ordinal[j];
        }
        if (status != TN_OK || !*ret_all)
            return status;
    }
    return TN_OK;
}

static tn_status begin(one_shot *o, uint32_t world, uint8_t *const *base, uint64_t area_offset, tn_error *err)
{
    void *cancel;
    tn_status status = o->device->alloc_host(sizeof *o->cancel, &cancel, err);
    if (status != TN_OK)
        return status;
    o->cancel = cancel;
    atomic_store(o->cancel, 0);
    for (uint32_t r = 0; r < world; r++) {
        o->base[r] = base[r];
        o->flag[r] = (uint32_t *)(void *)(base[r] + area_offset);
        o->sequence[r] = (uint32_t *)(void *)(base[r] + area_offset + ONE_SHOT_FLAG_BYTES);
    }
    o->world = world;
    return TN_OK;
}

tn_status one_shot_open(one_shot *o, const device_api *device, uint32_t world, const uint32_t *ordinal,
                        uint8_t *const *base, uint64_t area_offset, tn_error *err)
{
    bool all;
    uint32_t a, b;

    *o = (one_shot){.device = device};
    if (!one_shot_bytes(world))
        return TN_OK;
    const bool fast = links_are_fast(device, world, ordinal);
    o->bytes_max = options_one_shot_bytes(limit_of(world, fast));
    if (!o->bytes_max)
        return TN_OK;
    tn_status status = connect_all(device, world, ordinal, &all, &a, &b, err);
    if (status != TN_OK)
        return status;
    if (!all) {
        host_log(TN_LOG_INFO, "device %u does not reach the memory of device %u: all sums over ranks go the long way",
                 a, b);
        return TN_OK;
    }
    host_log(TN_LOG_INFO, "sums over ranks of up to %llu bytes are taken from the other devices' memory in one step",
             (unsigned long long)o->bytes_max);
    return begin(o, world, base, area_offset, err);
}

void one_shot_close(one_shot *o)
{
    if (o->world)
        o->device->release_host((void *)o->cancel);
    *o = (one_shot){0};
}

bool one_shot_takes(const one_shot *o, uint64_t bytes)
{
    return o->world && bytes <= o->bytes_max;
}

tn_status one_shot_sum(const one_shot *o, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                       cuda_stream stream)
{
    const uint64_t offset = (uint64_t)((const uint8_t *)in - o->base[rank]);
    cuda_all_reduce_args args = {.sequence = o->sequence[rank],
                                 .cancel = (const volatile uint32_t *)o->cancel,
                                 .out = out,
                                 .count = count,
                                 .type = type,
                                 .rank = rank,
                                 .world = o->world};
    for (uint32_t r = 0; r < o->world; r++) {
        args.buffer[r] = o->base[r] + offset;
        args.flag[r] = o->flag[r];
    }
    return cuda_all_reduce(&args, stream);
}

void one_shot_abort(const one_shot *o)
{
    if (o->world)
        atomic_store(o->cancel, 1);
}
