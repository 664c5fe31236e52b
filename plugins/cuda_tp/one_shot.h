/* plugins/cuda_tp/one_shot.h: sums over the ranks of one process whose devices read each other's memory, for messages
 * so small that a ring's many steps cost more than reading all parts (kernels/all_reduce.cu). The bits are those of
 * ordered_sum.h, and of any order for two ranks, so that a step may take either way by its size.
 *
 * Ranks lay out their memory alike, so what one rank sums lies in the others at the same offset: nothing is copied.
 * Each rank has flags that the others write, and a counter that its kernels advance, so that a captured graph may be
 * replayed. One word in the host's memory makes kernels that wait for a rank give up.
 */
#ifndef CUDA_TP_ONE_SHOT_H
#define CUDA_TP_ONE_SHOT_H

#include "device_api.h"

#include <stdatomic.h>

enum {
    ONE_SHOT_FLAG_BYTES = CUDA_RANKS_MAX * CUDA_REDUCE_BLOCKS * 2 * 4,
    ONE_SHOT_BYTES = ONE_SHOT_FLAG_BYTES + 256 /* of a rank: flags and counter */
};

typedef struct one_shot {
    uint32_t world;     /* 0: not used */
    uint64_t bytes_max; /* of a message */
    const device_api *device;
    _Atomic uint32_t *cancel; /* owned, of alloc_host */
    const uint8_t *base[CUDA_RANKS_MAX];
    uint32_t *flag[CUDA_RANKS_MAX], *sequence[CUDA_RANKS_MAX];
} one_shot;

/* Bytes of a rank's own that sums of `world` ranks need. */
static inline uint64_t one_shot_bytes(uint32_t world)
{
    return world > 1 && world <= CUDA_RANKS_MAX ? ONE_SHOT_BYTES : 0;
}

/* base[r]: rank r's memory; area_offset: of ONE_SHOT_BYTES zeroed bytes in each. Leaves it unused, and logs why, where
 * the devices do not reach each other or are too many; fails only as the device does. [ctl] */
tn_status one_shot_open(one_shot *o, const device_api *device, uint32_t world, const uint32_t *ordinal,
                        uint8_t *const *base, uint64_t area_offset, tn_error *err);
/* What was never opened is fine. */
void one_shot_close(one_shot *o);

bool one_shot_takes(const one_shot *o, uint64_t bytes);
/* As collective_api.all_reduce. in, out: in the rank's memory, of a message that it takes. [device thread] */
tn_status one_shot_sum(const one_shot *o, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                       cuda_stream stream);
/* Ends all waiting, for good. [any] */
void one_shot_abort(const one_shot *o);

#endif
