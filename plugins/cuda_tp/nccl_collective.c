/* nccl_collective.c: see nccl_collective.h. The few functions and numbers used have been stable since NCCL 2.10; they
 * are declared here so that its header is not needed to build. A communicator is used by its rank's thread alone,
 * except that any thread may abort.
 */
#include "nccl_collective.h"

#include "host_log.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct ncclComm *nccl_comm;
enum { NCCL_SUCCESS = 0, NCCL_INT8 = 0, NCCL_FLOAT32 = 7, NCCL_BFLOAT16 = 9, NCCL_SUM = 0 };

static struct {
    pthread_mutex_t lock;
    /* under lock: */
    void *library; /* never closed */
    int (*get_version)(int *version);
    int (*comm_init_all)(nccl_comm *comms, int count, const int *devices);
    int (*comm_destroy)(nccl_comm comm);
    int (*comm_abort)(nccl_comm comm);
    int (*all_reduce)(const void *in, void *out, size_t count, int type, int op, nccl_comm comm, cuda_stream stream);
    int (*all_gather)(const void *in, void *out, size_t count, int type, nccl_comm comm, cuda_stream stream);
    const char *(*error_string)(int code);
} nccl = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct nccl_collective {
    collective base;
    uint32_t world;
    nccl_comm *comms; /* [world] */
    pthread_mutex_t lock;
    /* under lock: */
    bool aborted;
} nccl_collective;

/* ---- the library ---- */

static tn_status find(const char *name, void *ret_function, tn_error *err)
{
    void *symbol = dlsym(nccl.library, name);
    if (!symbol)
        return tn_fail(err, TN_E_NOT_FOUND, "libnccl.so.2 has no %s: it is too old", name);
    *(void **)ret_function = symbol;
    return TN_OK;
}

static void log_library(void)
{
    Dl_info where;
    int version = 0;

    nccl.get_version(&version);
    const char *path = dladdr(*(void **)&nccl.get_version, &where) ? where.dli_fname : "libnccl.so.2";
    host_log(TN_LOG_INFO, "NCCL %d.%d.%d from %s", version / 10000, version % 10000 / 100, version % 100, path);
}

static tn_status open_library(tn_error *err)
{
    tn_status status;

    if (nccl.library)
        return TN_OK;
    nccl.library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!nccl.library)
        return tn_fail(
            err, TN_E_NOT_FOUND,
            "tensor parallelism over several GPUs needs NCCL: %.300s; install it (libnccl2) or name its folder to "
            "the loader",
            dlerror());
    if ((status = find("ncclGetVersion", &nccl.get_version, err)) != TN_OK ||
        (status = find("ncclCommInitAll", &nccl.comm_init_all, err)) != TN_OK ||
        (status = find("ncclCommDestroy", &nccl.comm_destroy, err)) != TN_OK ||
        (status = find("ncclCommAbort", &nccl.comm_abort, err)) != TN_OK ||
        (status = find("ncclAllReduce", &nccl.all_reduce, err)) != TN_OK ||
        (status = find("ncclAllGather", &nccl.all_gather, err)) != TN_OK ||
        (status = find("ncclGetErrorString", &nccl.error_string, err)) != TN_OK) {
        dlclose(nccl.library);
        nccl.library = NULL;
        return status;
    }
    log_library();
    return TN_OK;
}

/* ---- operations ---- */

static nccl_collective *nccl_of(collective *c)
{
    return (nccl_collective *)c;
}

static tn_status fail(int code, const char *what, tn_error *err)
{
    tn_fail(err, TN_E_DEVICE_LOST, "NCCL %s: %s", what, nccl.error_string(code));
    if (err)
        err->native_code = code;
    return TN_E_DEVICE_LOST;
}

static tn_status check_alive(nccl_collective *n, tn_error *err)
{
    pthread_mutex_lock(&n->lock);
    bool aborted = n->aborted;
    pthread_mutex_unlock(&n->lock);
    return aborted ? tn_fail(err, TN_E_CANCELLED, "the ranks' work was aborted") : TN_OK;
}

static tn_status nccl_all_reduce(collective *c, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                                 cuda_stream stream, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    tn_status status = check_alive(n, err);
    if (status != TN_OK)
        return status;
    int code = nccl.all_reduce(in, out, count, type == TN_F32 ? NCCL_FLOAT32 : NCCL_BFLOAT16, NCCL_SUM, n->comms[rank],
                               stream);
    return code == NCCL_SUCCESS ? TN_OK : fail(code, "all-reduce", err);
}

static tn_status nccl_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                 cuda_stream stream, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    tn_status status = check_alive(n, err);
    if (status != TN_OK)
        return status;
    int code = nccl.all_gather(in, out, bytes, NCCL_INT8, n->comms[rank], stream);
    return code == NCCL_SUCCESS ? TN_OK : fail(code, "all-gather", err);
}

/* Kernels that wait for other ranks end; the communicators are gone afterwards. */
static void nccl_abort(collective *c)
{
    nccl_collective *n = nccl_of(c);

    pthread_mutex_lock(&n->lock);
    bool first = !n->aborted;
    n->aborted = true;
    pthread_mutex_unlock(&n->lock);
    for (uint32_t r = 0; r < n->world && first; r++)
        nccl.comm_abort(n->comms[r]);
}

static void nccl_destroy(collective *c)
{
    nccl_collective *n = nccl_of(c);

    for (uint32_t r = 0; r < n->world && !n->aborted; r++)
        if (n->comms[r])
            nccl.comm_destroy(n->comms[r]);
    pthread_mutex_destroy(&n->lock);
    free(n->comms);
    free(n);
}

static const collective_api nccl_api = {
    .all_reduce = nccl_all_reduce,
    .all_gather = nccl_all_gather,
    .abort = nccl_abort,
    .destroy = nccl_destroy,
};

tn_status nccl_collective_create(uint32_t world, const uint32_t *ordinal, collective **ret, tn_error *err)
{
    pthread_mutex_lock(&nccl.lock);
    tn_status status = open_library(err);
    pthread_mutex_unlock(&nccl.lock);
    if (status != TN_OK)
        return status;
    nccl_collective *n = calloc(1, sizeof *n);
    int *devices = calloc(world, sizeof *devices);
    if (n) {
        *n = (nccl_collective){.base.api = &nccl_api, .world = world, .lock = PTHREAD_MUTEX_INITIALIZER};
        n->comms = calloc(world, sizeof *n->comms);
    }
    if (!n || !n->comms || !devices)
        status = tn_fail(err, TN_E_MEMORY, "a group of %u ranks", world);
    for (uint32_t r = 0; r < world && status == TN_OK; r++)
        devices[r] = (int)ordinal[r];
    int code = status == TN_OK ? nccl.comm_init_all(n->comms, (int)world, devices) : NCCL_SUCCESS;
    if (code != NCCL_SUCCESS)
        status = fail(code, "start", err);
    free(devices);
    if (status != TN_OK) {
        if (n)
            nccl_destroy(&n->base);
        return status;
    }
    *ret = &n->base;
    return TN_OK;
}
