/* plugins/cuda_tp/nccl_collective.h: ranks on different GPUs, over NCCL, which is found when it is first needed. */
#ifndef CUDA_TP_NCCL_COLLECTIVE_H
#define CUDA_TP_NCCL_COLLECTIVE_H

#include "collective.h"

/* One communicator per rank of this process. TN_E_NOT_FOUND: libnccl.so.2 is not here. Moved to the caller. [ctl] */
tn_status nccl_collective_create(uint32_t world, const uint32_t *ordinal, collective **ret, tn_error *err);

#endif
