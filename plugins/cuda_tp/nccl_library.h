/* plugins/cuda_tp/nccl_library.h: the few functions of NCCL that are used, found when they are first needed. They and
 * the numbers below have been stable since NCCL 2.14, the first whose communicators need not block; they are declared
 * here so that NCCL's header is not needed to build.
 */
#ifndef CUDA_TP_NCCL_LIBRARY_H
#define CUDA_TP_NCCL_LIBRARY_H

#include "device_api.h"

#include <stddef.h>

typedef struct ncclComm *nccl_comm;

enum { NCCL_SUCCESS = 0, NCCL_IN_PROGRESS = 7, NCCL_INT8 = 0, NCCL_FLOAT32 = 7, NCCL_BFLOAT16 = 9, NCCL_SUM = 0 };

/* ncclUniqueId */
typedef struct nccl_id {
    char bytes[COLLECTIVE_ID_BYTES];
} nccl_id;

/* ncclConfig_t as it was in 2.14: NCCL goes by size and version, and fills in what came later. */
typedef struct nccl_config {
    size_t size;
    uint32_t magic, version;
    int blocking, unset;
} nccl_config;

typedef struct nccl_library {
    int (*get_version)(int *version);
    const char *(*error_string)(int code);
    int (*get_unique_id)(nccl_id *id);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*comm_init_rank_config)(nccl_comm *comm, int world, nccl_id id, int rank, nccl_config *config);
    int (*comm_get_async_error)(nccl_comm comm, int *code);
    int (*comm_finalize)(nccl_comm comm);
    int (*comm_destroy)(nccl_comm comm);
    int (*comm_abort)(nccl_comm comm);
    int (*all_reduce)(const void *in, void *out, size_t count, int type, int op, nccl_comm comm, cuda_stream stream);
    int (*all_gather)(const void *in, void *out, size_t count, int type, nccl_comm comm, cuda_stream stream);
} nccl_library;

/* Loads what [cuda_tp] nccl_library names, once, and logs its version and path. It is never closed. TN_E_NOT_FOUND:
 * it is not here, or too old. [any] */
tn_status nccl_library_get(const nccl_library **ret, tn_error *err);

#endif
