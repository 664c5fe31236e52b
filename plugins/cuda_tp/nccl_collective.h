/* plugins/cuda_tp/nccl_collective.h: ranks on different GPUs, over NCCL, which is found when it is first needed. */
#ifndef CUDA_TP_NCCL_COLLECTIVE_H
#define CUDA_TP_NCCL_COLLECTIVE_H

#include "collective.h"

/* device_api.collective_id. TN_E_NOT_FOUND: there is no NCCL. [ctl] */
tn_status nccl_collective_id(uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err);
/* One communicator per rank of this process. With an id, waits for the group's other processes, and fails with
 * TN_E_DEVICE_LOST when they do not come. TN_E_NOT_FOUND: there is no NCCL. Moved to the caller. [ctl] */
tn_status nccl_collective_create(const collective_place *place, collective **ret, tn_error *err);

#endif
