/* fake_nccl.c: see fake_nccl.h. An operation is done by the last rank that asks for it. */
#include "fake_nccl.h"
#include "ring_sum.h"

#include "nccl_library.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORLD_MAX = 8, INVALID_ARGUMENT = 4 };

typedef struct group {
    struct group *next;
    nccl_id id;
    int world, joined, arrived;
    bool broken; /* a communicator was aborted */
    size_t count;
    int type;
    bool gather;
    const void *in[WORLD_MAX];
    void *out[WORLD_MAX];
    struct ncclComm *comm[WORLD_MAX];
} group;

struct ncclComm {
    group *group;
    int rank;
    int code; /* what comm_get_async_error answers */
    bool finalized;
    atomic_bool busy, dead; /* dead ones stay, so that their use is seen */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* under lock: */
static group *groups;
static int hanging[WORLD_MAX], refused[WORLD_MAX], reported[WORLD_MAX];
static uint32_t ids, live, operations, aborted;

#define EXPORT __attribute__((visibility("default")))

#define REQUIRE(condition)                                                \
    do {                                                                  \
        if (!(condition)) {                                               \
            fprintf(stderr, "fake NCCL: not true that %s\n", #condition); \
            abort();                                                      \
        }                                                                 \
    } while (0)

/* One thread at a time, and none after the end. */
static void begin_use(nccl_comm comm)
{
    REQUIRE(comm && !atomic_load(&comm->dead));
    REQUIRE(!atomic_exchange(&comm->busy, true));
    sched_yield(); /* a second one would come now */
    REQUIRE(!atomic_load(&comm->dead));
    pthread_mutex_lock(&lock);
}

static void end_use(nccl_comm comm)
{
    pthread_mutex_unlock(&lock);
    atomic_store(&comm->busy, false);
}

static size_t bytes_of(int type)
{
    return type == NCCL_FLOAT32 ? 4 : type == NCCL_BFLOAT16 ? 2 : 1;
}

/* ---- groups ---- */

EXPORT int ncclGetVersion(int *version)
{
    *version = 22809;
    return NCCL_SUCCESS;
}

EXPORT const char *ncclGetErrorString(int code)
{
    return code == FAKE_NCCL_REMOTE_ERROR ? "remote process exited or there was a network error" : "an error";
}

EXPORT int ncclGetUniqueId(nccl_id *id)
{
    pthread_mutex_lock(&lock);
    *id = (nccl_id){{0}};
    snprintf(id->bytes, sizeof id->bytes, "group %u", ++ids);
    pthread_mutex_unlock(&lock);
    return NCCL_SUCCESS;
}

EXPORT int ncclGroupStart(void)
{
    return NCCL_SUCCESS;
}

EXPORT int ncclGroupEnd(void)
{
    return NCCL_IN_PROGRESS;
}

/* Under lock. */
static group *group_named(const nccl_id *id, int world)
{
    for (group *g = groups; g; g = g->next)
        if (memcmp(&g->id, id, sizeof *id) == 0) {
            REQUIRE(g->world == world);
            return g;
        }
    group *made = calloc(1, sizeof *made);
    REQUIRE(made);
    *made = (group){.next = groups, .id = *id, .world = world};
    groups = made;
    return made;
}

static void settle_all(group *g)
{
    for (int r = 0; r < g->world; r++)
        g->comm[r]->code = NCCL_SUCCESS;
}

EXPORT int ncclCommInitRankConfig(nccl_comm *comm, int world, nccl_id id, int rank, nccl_config *config)
{
    REQUIRE(config->size == sizeof *config && config->magic == 0xcafebeef && config->version == 21400);
    REQUIRE(config->blocking == 0 && world <= WORLD_MAX && rank >= 0 && rank < world);
    nccl_comm made = calloc(1, sizeof *made);
    REQUIRE(made);
    pthread_mutex_lock(&lock);
    int code = refused[rank];
    if (code == NCCL_SUCCESS) {
        group *g = group_named(&id, world);
        REQUIRE(!g->comm[rank]);
        made->group = g;
        made->rank = rank;
        made->code = NCCL_IN_PROGRESS;
        g->comm[rank] = made;
        live++;
        if (++g->joined == world)
            settle_all(g);
        *comm = made;
    }
    pthread_mutex_unlock(&lock);
    if (code != NCCL_SUCCESS)
        free(made);
    return code == NCCL_SUCCESS ? NCCL_IN_PROGRESS : code;
}

EXPORT int ncclCommGetAsyncError(nccl_comm comm, int *code)
{
    begin_use(comm);
    *code = reported[comm->rank] ? reported[comm->rank] : comm->code;
    end_use(comm);
    return NCCL_SUCCESS;
}

EXPORT int ncclCommFinalize(nccl_comm comm)
{
    begin_use(comm);
    REQUIRE(comm->code == NCCL_SUCCESS);
    comm->finalized = true;
    end_use(comm);
    return NCCL_IN_PROGRESS;
}

/* Under lock. */
static void end_communicator(nccl_comm comm)
{
    atomic_store(&comm->dead, true);
    live--;
}

EXPORT int ncclCommDestroy(nccl_comm comm)
{
    begin_use(comm);
    REQUIRE(comm->finalized);
    end_communicator(comm);
    end_use(comm);
    return NCCL_SUCCESS;
}

EXPORT int ncclCommAbort(nccl_comm comm)
{
    begin_use(comm);
    comm->group->broken = true; /* what others have shown may be gone now */
    end_communicator(comm);
    aborted++;
    end_use(comm);
    return NCCL_SUCCESS;
}

/* ---- operations ---- */

static void run(group *g)
{
    void *sums[WORLD_MAX];
    const size_t bytes = g->count * bytes_of(g->type);

    for (int r = 0; r < g->world && !g->gather; r++) {
        sums[r] = malloc(bytes);
        REQUIRE(sums[r]);
        ring_sum(g->in, (uint32_t)g->world, sums[r], g->count, g->type == NCCL_FLOAT32 ? TN_F32 : TN_BF16);
    }
    for (int r = 0; r < g->world; r++) {
        for (int from = 0; from < g->world && g->gather; from++)
            memcpy((char *)g->out[r] + (size_t)from * bytes, g->in[from], bytes);
        if (!g->gather) {
            memcpy(g->out[r], sums[r], bytes);
            free(sums[r]);
        }
    }
}

static int enqueue(nccl_comm comm, const void *in, void *out, size_t count, int type, bool gather)
{
    group *g = comm->group;

    begin_use(comm);
    REQUIRE(comm->code == NCCL_SUCCESS && !comm->finalized);
    int code = refused[comm->rank];
    if (code == NCCL_SUCCESS) {
        comm->code = NCCL_IN_PROGRESS;
        g->in[comm->rank] = in;
        g->out[comm->rank] = out;
        REQUIRE(g->arrived == 0 || (g->count == count && g->type == type && g->gather == gather));
        g->count = count;
        g->type = type;
        g->gather = gather;
        g->arrived += !hanging[comm->rank];
    }
    if (g->arrived == g->world && !g->broken) {
        run(g);
        operations++;
        g->arrived = 0;
        settle_all(g);
    }
    end_use(comm);
    return code == NCCL_SUCCESS ? NCCL_IN_PROGRESS : code;
}

EXPORT int ncclAllReduce(const void *in, void *out, size_t count, int type, int op, nccl_comm comm, cuda_stream stream)
{
    (void)stream;
    if (op != NCCL_SUM || (type != NCCL_FLOAT32 && type != NCCL_BFLOAT16) || in == out)
        return INVALID_ARGUMENT;
    return enqueue(comm, in, out, count, type, false);
}

EXPORT int ncclAllGather(const void *in, void *out, size_t count, int type, nccl_comm comm, cuda_stream stream)
{
    (void)stream;
    return enqueue(comm, in, out, count, type, true);
}

/* ---- for the tests ---- */

static void set(int *what, int rank, int value)
{
    pthread_mutex_lock(&lock);
    what[rank] = value;
    pthread_mutex_unlock(&lock);
}

static void hang(int rank, int value)
{
    set(hanging, rank, value);
}

static void refuse(int rank, int code)
{
    set(refused, rank, code);
}

static void report(int rank, int code)
{
    set(reported, rank, code);
}

static uint32_t get(const uint32_t *what)
{
    pthread_mutex_lock(&lock);
    uint32_t value = *what;
    pthread_mutex_unlock(&lock);
    return value;
}

static uint32_t count_live(void)
{
    return get(&live);
}

static uint32_t count_operations(void)
{
    return get(&operations);
}

static uint32_t count_aborted(void)
{
    return get(&aborted);
}

EXPORT const fake_nccl_control fake_nccl_controls = {hang, refuse, report, count_live, count_operations, count_aborted};
