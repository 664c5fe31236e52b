/* plugins/cuda_tp/nccl_collective.h: ranks on different GPUs, over NCCL, which is found when it is first needed. */
#ifndef CUDA_TP_NCCL_COLLECTIVE_H
#define CUDA_TP_NCCL_COLLECTIVE_H

#include "collective.h"
#include "nccl_library.h"

/* The ranks of a group that this process drives. */
typedef struct nccl_members {
    uint32_t world, first_rank, local_count;
    const uint32_t *ordinal; /* [local_count] */
    nccl_id id;              /* the group's, of nccl_id_create in one of its processes */
} nccl_members;

/* TN_E_NOT_FOUND: there is no NCCL. [ctl] */
tn_status nccl_id_create(nccl_id *ret, tn_error *err);

/* One communicator per rank of this process; waits for the group's other processes, and fails with TN_E_DEVICE_LOST
 * when they do not come. TN_E_NOT_FOUND: there is no NCCL. Moved to the caller. [ctl] */
tn_status nccl_collective_create(const device_api *device, const nccl_members *members, collective **ret,
                                 tn_error *err);

#endif
