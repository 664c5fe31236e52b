/* nccl_library.c: see nccl_library.h. */
#include "nccl_library.h"

#include "host_log.h"
#include "options.h"
#include "symbols.h"

#include <pthread.h>

enum { OLDEST = 21400 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under lock: */
static void *library;
static nccl_library functions; /* all there once library is set */

static const symbol symbols[] = {
    {"ncclGetVersion", offsetof(nccl_library, get_version)},
    {"ncclGetErrorString", offsetof(nccl_library, error_string)},
    {"ncclGetUniqueId", offsetof(nccl_library, get_unique_id)},
    {"ncclGroupStart", offsetof(nccl_library, group_start)},
    {"ncclGroupEnd", offsetof(nccl_library, group_end)},
    {"ncclCommInitRankConfig", offsetof(nccl_library, comm_init_rank_config)},
    {"ncclCommGetAsyncError", offsetof(nccl_library, comm_get_async_error)},
    {"ncclCommFinalize", offsetof(nccl_library, comm_finalize)},
    {"ncclCommDestroy", offsetof(nccl_library, comm_destroy)},
    {"ncclCommAbort", offsetof(nccl_library, comm_abort)},
    {"ncclAllReduce", offsetof(nccl_library, all_reduce)},
    {"ncclAllGather", offsetof(nccl_library, all_gather)},
};

static tn_status check_version(tn_error *err)
{
    Dl_info where;
    int version = 0;

    if (functions.get_version(&version) != NCCL_SUCCESS || version < OLDEST)
        return tn_fail(err, TN_E_NOT_FOUND, "%.200s is NCCL %d.%d, 2.14 or newer is needed; install a newer one",
                       options_nccl_library(), version / 10000, version % 10000 / 100);
    const char *path = dladdr(*(void **)&functions.get_version, &where) ? where.dli_fname : options_nccl_library();
    host_log(TN_LOG_INFO, "NCCL %d.%d.%d from %s", version / 10000, version % 10000 / 100, version % 100, path);
    return TN_OK;
}

static tn_status open_library(tn_error *err)
{
    void *opened = dlopen(options_nccl_library(), RTLD_NOW | RTLD_LOCAL);

    if (!opened)
        return tn_fail(err, TN_E_NOT_FOUND,
                       "tensor parallelism over several GPUs needs NCCL: %.300s; install it (libnccl2) or name it in "
                       "[cuda_tp] nccl_library",
                       dlerror());
    const char *missing = symbols_find(opened, symbols, sizeof symbols / sizeof *symbols, &functions);
    tn_status status =
        missing ? tn_fail(err, TN_E_NOT_FOUND, "%.200s has no %s: it is no NCCL of 2.14 or newer; install a newer one",
                          options_nccl_library(), missing)
                : check_version(err);
    if (status == TN_OK)
        library = opened;
    else
        dlclose(opened);
    return status;
}

tn_status nccl_library_get(const nccl_library **ret, tn_error *err)
{
    pthread_mutex_lock(&lock);
    tn_status status = library ? TN_OK : open_library(err);
    pthread_mutex_unlock(&lock);
    *ret = &functions;
    return status;
}
