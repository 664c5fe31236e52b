/* plugins/cuda_tp/collective.h: what ranks do together. Every rank calls the same operations in the same order, each
 * from its own thread and on its own stream. Ranks are numbered over all processes.
 */
#ifndef CUDA_TP_COLLECTIVE_H
#define CUDA_TP_COLLECTIVE_H

#include "device_api.h"

typedef struct collective_api {
    bool ordered;  /* all_reduce adds as ordered_sum.h does */
    bool captured; /* operations may become part of a graph: they only enqueue */
    /* out = sum over ranks of in, count elements of `type` (TN_F32, TN_BF16); the same bits on every rank. in and out
     * differ. */
    tn_status (*all_reduce)(collective *c, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                            cuda_stream stream, tn_error *err);
    /* out[r] = in of rank r, `bytes` each. */
    tn_status (*all_gather)(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes, cuda_stream stream,
                            tn_error *err);
    /* What has failed since it was enqueued, as far as the rank's end of the group knows. Never waits. [any] */
    tn_status (*check)(collective *c, uint32_t rank, tn_error *err);
    /* Everything in progress or begun later fails with TN_E_CANCELLED. [any] */
    void (*abort)(collective *c);
    void (*destroy)(collective *c);
} collective_api;

struct collective {
    const collective_api *api;
};

/* Ranks that are threads of this process and reach each other's memory: waits on the host, adds with kernels in rank
 * order. For tests, and for several ranks on one device. Moved to the caller. */
tn_status local_collective_create(const device_api *device, uint32_t world, collective **ret, tn_error *err);

#endif
