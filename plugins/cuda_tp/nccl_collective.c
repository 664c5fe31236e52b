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
#include <string.h>

typedef struct ncclComm *nccl_comm;
typedef struct nccl_id {
    char bytes[COLLECTIVE_ID_BYTES];
} nccl_id; /* ncclUniqueId */
enum { NCCL_SUCCESS = 0, NCCL_INTERNAL = 3, NCCL_INT8 = 0, NCCL_FLOAT32 = 7, NCCL_BFLOAT16 = 9, NCCL_SUM = 0 };
enum { PLACE_MAX = 64 }; /* ranks of a process */

static struct {
    pthread_mutex_t lock;
    /* under lock: */
    void *library; /* never closed */
    int (*get_version)(int *version);
    int (*get_unique_id)(nccl_id *id);
    int (*comm_init_all)(nccl_comm *comms, int count, const int *devices);
    int (*comm_init_rank)(nccl_comm *comm, int world, nccl_id id, int rank);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*comm_destroy)(nccl_comm comm);
    int (*comm_abort)(nccl_comm comm);
    int (*all_reduce)(const void *in, void *out, size_t count, int type, int op, nccl_comm comm, cuda_stream stream);
    int (*all_gather)(const void *in, void *out, size_t count, int type, nccl_comm comm, cuda_stream stream);
    const char *(*error_string)(int code);
} nccl = {.lock = PTHREAD_MUTEX_INITIALIZER};

typedef struct nccl_collective {
    collective base;
    uint32_t first, count;
    nccl_comm *comms; /* [count] of ranks first to first + count - 1 */
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
        (status = find("ncclGetUniqueId", &nccl.get_unique_id, err)) != TN_OK ||
        (status = find("ncclCommInitAll", &nccl.comm_init_all, err)) != TN_OK ||
        (status = find("ncclCommInitRank", &nccl.comm_init_rank, err)) != TN_OK ||
        (status = find("ncclGroupStart", &nccl.group_start, err)) != TN_OK ||
        (status = find("ncclGroupEnd", &nccl.group_end, err)) != TN_OK ||
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
    int code = nccl.all_reduce(in, out, count, type == TN_F32 ? NCCL_FLOAT32 : NCCL_BFLOAT16, NCCL_SUM,
                               n->comms[rank - n->first], stream);
    return code == NCCL_SUCCESS ? TN_OK : fail(code, "all-reduce", err);
}

static tn_status nccl_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                 cuda_stream stream, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    tn_status status = check_alive(n, err);
    if (status != TN_OK)
        return status;
    int code = nccl.all_gather(in, out, bytes, NCCL_INT8, n->comms[rank - n->first], stream);
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
    for (uint32_t r = 0; r < n->count && first; r++)
        nccl.comm_abort(n->comms[r]);
}

static void nccl_destroy(collective *c)
{
    nccl_collective *n = nccl_of(c);

    for (uint32_t r = 0; r < n->count && !n->aborted; r++)
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

/* Every process of the group is in here at the same time. */
static int init_ranks(nccl_collective *n, const collective_place *place, tn_error *err)
{
    nccl_id id;
    int code = nccl.group_start();

    memcpy(&id, place->id, sizeof id);
    for (uint32_t i = 0; i < n->count && code == NCCL_SUCCESS; i++) {
        tn_status status = device_api_get()->use(place->ordinal[i], err);
        code = status == TN_OK ? nccl.comm_init_rank(&n->comms[i], (int)place->world, id, (int)(place->first + i))
                               : NCCL_INTERNAL;
    }
    int ended = nccl.group_end();
    return code == NCCL_SUCCESS ? ended : code;
}

static int init_all(nccl_collective *n, const collective_place *place)
{
    int devices[PLACE_MAX];

    TN_ASSERT(place->count <= PLACE_MAX);
    for (uint32_t i = 0; i < place->count; i++)
        devices[i] = (int)place->ordinal[i];
    return nccl.comm_init_all(n->comms, (int)place->count, devices);
}

static tn_status use_library(tn_error *err)
{
    pthread_mutex_lock(&nccl.lock);
    tn_status status = open_library(err);
    pthread_mutex_unlock(&nccl.lock);
    return status;
}

tn_status nccl_collective_id(uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err)
{
    nccl_id id = {{0}};
    tn_status status = use_library(err);
    if (status != TN_OK)
        return status;
    int code = nccl.get_unique_id(&id);
    if (code != NCCL_SUCCESS)
        return fail(code, "id", err);
    memcpy(ret_id, &id, sizeof id);
    return TN_OK;
}

tn_status nccl_collective_create(const collective_place *place, collective **ret, tn_error *err)
{
    tn_status status = use_library(err);
    if (status != TN_OK)
        return status;
    nccl_collective *n = calloc(1, sizeof *n);
    if (!n)
        return tn_fail(err, TN_E_MEMORY, "a group of %u ranks", place->world);
    *n = (nccl_collective){
        .base.api = &nccl_api, .first = place->first, .count = place->count, .lock = PTHREAD_MUTEX_INITIALIZER};
    n->comms = calloc(place->count, sizeof *n->comms);
    if (!n->comms)
        status = tn_fail(err, TN_E_MEMORY, "a group of %u ranks", place->world);
    int code = status != TN_OK ? NCCL_SUCCESS : place->id ? init_ranks(n, place, err) : init_all(n, place);
    if (code != NCCL_SUCCESS)
        status = fail(code, "start", err);
    if (status != TN_OK) {
        nccl_destroy(&n->base);
        return status;
    }
    *ret = &n->base;
    return TN_OK;
}
