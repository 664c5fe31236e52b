/* nccl_collective.c: see nccl_collective.h. Communicators do not block: whatever they have not done at once is asked
 * for until it is done or the group is aborted, so that no thread stays within NCCL. A communicator is used by its
 * rank's thread alone, and an abort frees it. So a rank marks when it is inside, and who aborts leaves it alone then:
 * the rank does it on its way out. Others look at a communicator under the lock, and only while its rank is outside.
 */
#include "nccl_collective.h"

#include "nccl_library.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NCCL_MAGIC 0xcafebeefu
enum {
    NCCL_UNSET = -2147483647 - 1,
    CONFIG_VERSION = 21400,
    SPIN_TURNS = 2000, /* about a millisecond: most is done within microseconds, and a step has many operations */
    POLL_NS = 20000,
    START_SECONDS = 300, /* other processes load their libraries, networks are probed */
    END_SECONDS = 10     /* nothing is in progress any more */
};

typedef struct member {
    nccl_comm comm; /* NULL: aborted, or never there */
    bool inside;    /* its rank's thread uses it */
} member;

typedef struct nccl_collective {
    collective base;
    const nccl_library *nccl;
    uint32_t first, count;
    pthread_mutex_t lock;
    /* under lock: */
    bool aborted;
    member *members; /* [count] */
} nccl_collective;

static nccl_collective *nccl_of(collective *c)
{
    return (nccl_collective *)c;
}

static tn_status fail(const nccl_library *nccl, int code, const char *what, tn_error *err)
{
    tn_fail(err, TN_E_DEVICE_LOST, "NCCL %s: %s", what, nccl->error_string(code));
    if (err)
        err->native_code = code;
    return TN_E_DEVICE_LOST;
}

static tn_status fail_aborted(tn_error *err)
{
    return tn_fail(err, TN_E_CANCELLED, "the ranks' work was aborted");
}

/* ---- waiting for what does not block ---- */

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
}

static bool is_aborted(nccl_collective *n)
{
    pthread_mutex_lock(&n->lock);
    bool aborted = n->aborted;
    pthread_mutex_unlock(&n->lock);
    return aborted;
}

static time_t seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Until `comm` is done with what it answered `code` to; *code is then its own answer. seconds: 0 for no limit. False:
 * aborted, or out of time. */
static bool settle(nccl_collective *n, nccl_comm comm, time_t seconds, int *code)
{
    const time_t end = seconds ? seconds_now() + seconds : 0;

    for (uint32_t turn = 0; *code == NCCL_IN_PROGRESS; turn++) {
        int asked = n->nccl->comm_get_async_error(comm, code);
        if (asked != NCCL_SUCCESS)
            *code = asked;
        if (*code != NCCL_IN_PROGRESS)
            break;
        if (turn < SPIN_TURNS) {
            sched_yield();
            continue;
        }
        if (is_aborted(n) || (end && seconds_now() > end))
            return false;
        pause_briefly();
    }
    return true;
}

/* ---- operations ---- */

/* The rank's communicator, which is its thread's until `leave`; NULL: aborted. */
static nccl_comm enter(nccl_collective *n, uint32_t rank)
{
    member *m = &n->members[rank - n->first];

    pthread_mutex_lock(&n->lock);
    TN_ASSERT(!m->inside);
    m->inside = !n->aborted;
    nccl_comm comm = n->aborted ? NULL : m->comm;
    pthread_mutex_unlock(&n->lock);
    return comm;
}

static void leave(nccl_collective *n, uint32_t rank)
{
    member *m = &n->members[rank - n->first];
    nccl_comm left = NULL;

    pthread_mutex_lock(&n->lock);
    m->inside = false;
    if (n->aborted) {
        left = m->comm;
        m->comm = NULL;
    }
    pthread_mutex_unlock(&n->lock);
    if (left)
        n->nccl->comm_abort(left);
}

static tn_status finish(nccl_collective *n, uint32_t rank, nccl_comm comm, int code, const char *what, tn_error *err)
{
    tn_status status = TN_OK;

    if (!settle(n, comm, 0, &code))
        status = fail_aborted(err);
    else if (code != NCCL_SUCCESS)
        status = fail(n->nccl, code, what, err);
    leave(n, rank);
    return status;
}

static tn_status nccl_all_reduce(collective *c, uint32_t rank, const void *in, void *out, uint64_t count, uint32_t type,
                                 cuda_stream stream, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    nccl_comm comm = enter(n, rank);

    if (!comm)
        return fail_aborted(err);
    int code =
        n->nccl->all_reduce(in, out, count, type == TN_F32 ? NCCL_FLOAT32 : NCCL_BFLOAT16, NCCL_SUM, comm, stream);
    return finish(n, rank, comm, code, "all-reduce", err);
}

static tn_status nccl_all_gather(collective *c, uint32_t rank, const void *in, void *out, uint64_t bytes,
                                 cuda_stream stream, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    nccl_comm comm = enter(n, rank);

    if (!comm)
        return fail_aborted(err);
    int code = n->nccl->all_gather(in, out, bytes, NCCL_INT8, comm, stream);
    return finish(n, rank, comm, code, "all-gather", err);
}

static tn_status nccl_check(collective *c, uint32_t rank, tn_error *err)
{
    nccl_collective *n = nccl_of(c);
    const member *m = &n->members[rank - n->first];
    int code = NCCL_SUCCESS, asked = NCCL_SUCCESS;

    pthread_mutex_lock(&n->lock);
    bool aborted = n->aborted;
    if (!aborted && !m->inside)
        asked = n->nccl->comm_get_async_error(m->comm, &code);
    pthread_mutex_unlock(&n->lock);
    if (aborted)
        return fail_aborted(err);
    code = asked == NCCL_SUCCESS ? code : asked;
    return code == NCCL_SUCCESS || code == NCCL_IN_PROGRESS ? TN_OK : fail(n->nccl, code, "in the background", err);
}

/* Kernels that wait for other ranks end; the communicators are gone afterwards, but for those of ranks that are inside.
 * Ranks that are in progress there see it and follow. */
static void nccl_abort(collective *c)
{
    nccl_collective *n = nccl_of(c);

    pthread_mutex_lock(&n->lock);
    n->aborted = true;
    pthread_mutex_unlock(&n->lock);
    for (uint32_t i = 0; i < n->count; i++) {
        pthread_mutex_lock(&n->lock);
        nccl_comm left = n->members[i].inside ? NULL : n->members[i].comm;
        if (left)
            n->members[i].comm = NULL;
        pthread_mutex_unlock(&n->lock);
        if (left)
            n->nccl->comm_abort(left);
    }
}

/* ---- begin and end ---- */

/* All at once, since they wait for each other. What does not end in time is aborted. */
static void end_communicators(nccl_collective *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->members[i].comm)
            n->nccl->comm_finalize(n->members[i].comm);
    for (uint32_t i = 0; i < n->count; i++) {
        int code = NCCL_IN_PROGRESS;
        nccl_comm comm = n->members[i].comm;
        if (comm && settle(n, comm, END_SECONDS, &code) && code == NCCL_SUCCESS)
            n->nccl->comm_destroy(comm);
        else if (comm)
            n->nccl->comm_abort(comm);
    }
}

static void nccl_destroy(collective *c)
{
    nccl_collective *n = nccl_of(c);

    end_communicators(n);
    pthread_mutex_destroy(&n->lock);
    free(n->members);
    free(n);
}

static const collective_api nccl_api = {
    .captured = true,
    .all_reduce = nccl_all_reduce,
    .all_gather = nccl_all_gather,
    .check = nccl_check,
    .abort = nccl_abort,
    .destroy = nccl_destroy,
};

static tn_status begin_communicators(nccl_collective *n, const collective_place *place, nccl_id id, tn_error *err)
{
    nccl_config config = {sizeof config, NCCL_MAGIC, CONFIG_VERSION, 0, NCCL_UNSET};
    tn_status status = TN_OK;
    int code = n->nccl->group_start();

    for (uint32_t i = 0; i < n->count && status == TN_OK && code == NCCL_SUCCESS; i++) {
        status = device_api_get()->use(place->ordinal[i], err);
        if (status == TN_OK)
            code = n->nccl->comm_init_rank_config(&n->members[i].comm, (int)place->world, id, (int)(place->first + i),
                                                  &config);
        code = code == NCCL_IN_PROGRESS ? NCCL_SUCCESS : code;
    }
    int ended = n->nccl->group_end();
    code = code == NCCL_SUCCESS ? ended : code;
    for (uint32_t i = 0; i < n->count && status == TN_OK; i++) {
        int own = code == NCCL_SUCCESS ? NCCL_IN_PROGRESS : code;
        if (!settle(n, n->members[i].comm, START_SECONDS, &own))
            return tn_fail(err, TN_E_DEVICE_LOST, "NCCL start: not all of %u ranks came within %d seconds",
                           place->world, START_SECONDS);
        if (own != NCCL_SUCCESS)
            status = fail(n->nccl, own, "start", err);
    }
    return status;
}

/* Half-made groups are aborted: there is nobody to finish with. */
static void drop(nccl_collective *n)
{
    nccl_abort(&n->base);
    nccl_destroy(&n->base);
}

tn_status nccl_collective_id(uint8_t ret_id[COLLECTIVE_ID_BYTES], tn_error *err)
{
    const nccl_library *nccl;
    nccl_id id = {{0}};
    tn_status status = nccl_library_get(&nccl, err);
    if (status != TN_OK)
        return status;
    int code = nccl->get_unique_id(&id);
    if (code != NCCL_SUCCESS)
        return fail(nccl, code, "id", err);
    memcpy(ret_id, &id, sizeof id);
    return TN_OK;
}

static tn_status create(const nccl_library *nccl, const collective_place *place, nccl_id id, collective **ret,
                        tn_error *err)
{
    nccl_collective *n = calloc(1, sizeof *n);
    if (!n)
        return tn_fail(err, TN_E_MEMORY, "a group of %u ranks", place->world);
    *n = (nccl_collective){
        .base.api = &nccl_api, .nccl = nccl, .first = place->first, .lock = PTHREAD_MUTEX_INITIALIZER};
    n->members = calloc(place->count, sizeof *n->members);
    n->count = n->members ? place->count : 0;
    tn_status status = n->members ? begin_communicators(n, place, id, err)
                                  : tn_fail(err, TN_E_MEMORY, "a group of %u ranks", place->world);
    if (status != TN_OK) {
        drop(n);
        return status;
    }
    *ret = &n->base;
    return TN_OK;
}

tn_status nccl_collective_create(const collective_place *place, collective **ret, tn_error *err)
{
    const nccl_library *nccl;
    uint8_t own[COLLECTIVE_ID_BYTES];
    nccl_id id;
    tn_status status = nccl_library_get(&nccl, err);

    if (status == TN_OK && !place->id)
        status = nccl_collective_id(own, err);
    if (status != TN_OK)
        return status;
    memcpy(&id, place->id ? place->id : own, sizeof id);
    return create(nccl, place, id, ret, err);
}
