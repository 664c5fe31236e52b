/* test_cuda_nccl.c: nccl_collective.c over a library with NCCL's names (fake_nccl.c), one thread per rank: sums and
 * gathers, ranks of two processes, and what ends when a rank fails, hangs, or the group is aborted from outside at any
 * moment. The library itself watches that no communicator is used by two threads, or after its end.
 */
#include "cuda_rig.h"

#include "fake_nccl.h"
#include "nccl_collective.h"
#include "plugin_options.h"
#include "ring_sum.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>

enum { WORLD_MAX = 4, COUNT = 96, ROUNDS = 5 };

static const fake_nccl_control *fake;

static const uint32_t ordinals[WORLD_MAX] = {0, 1, 2, 3};

#define ASSERT_OK(call)                         \
    do {                                        \
        tn_error err = TN_ERROR_INIT;           \
        if ((call) != TN_OK)                    \
            fail_msg("%s: %s", #call, err.msg); \
    } while (0)

static collective *create(uint32_t world)
{
    const collective_place place = {.world = world, .count = world, .ordinal = ordinals};
    collective *c = NULL;

    ASSERT_OK(nccl_collective_create(&place, &c, &err));
    return c;
}

/* ---- a rank ---- */

typedef struct seat {
    collective *ranks;
    uint32_t rank, world, type;
    uint32_t rounds;  /* 0: until something fails */
    bool aborts;      /* as group.c does when a rank fails */
    tn_status status; /* of the last round */
    tn_error err;
    void *in, *out, *all; /* all: what all ranks put in, of the last gather */
} seat;

static void fill(const seat *s, uint32_t rank, uint32_t round, void *to)
{
    uint32_t state = rank * 977 + round * 31 + 1;

    for (uint32_t i = 0; i < COUNT; i++) {
        float value = rig_uniform(&state);
        if (s->type == TN_F32)
            ((float *)to)[i] = value;
        else
            ((uint16_t *)to)[i] = bf16_from_float(value);
    }
}

static bool is_sum(const seat *s, uint32_t round)
{
    static _Thread_local float part[WORLD_MAX][COUNT], sum[COUNT];
    const void *parts[WORLD_MAX];

    for (uint32_t r = 0; r < s->world; r++) {
        fill(s, r, round, part[r]);
        parts[r] = part[r];
    }
    ring_sum(parts, s->world, sum, COUNT, s->type);
    return memcmp(sum, s->out, COUNT * tn_scalar_bytes(s->type)) == 0;
}

static bool are_all(const seat *s, uint32_t round)
{
    static _Thread_local float part[COUNT];
    const size_t bytes = COUNT * tn_scalar_bytes(s->type);

    for (uint32_t r = 0; r < s->world; r++) {
        fill(s, r, round, part);
        if (memcmp((const char *)s->all + r * bytes, part, bytes) != 0)
            return false;
    }
    return true;
}

static void *run_rank(void *context)
{
    seat *s = context;
    const collective_api *api = s->ranks->api;
    const uint64_t bytes = COUNT * tn_scalar_bytes(s->type);

    s->err = (tn_error)TN_ERROR_INIT;
    s->status = TN_OK;
    for (uint32_t round = 0; s->status == TN_OK && (!s->rounds || round < s->rounds); round++) {
        fill(s, s->rank, round, s->in);
        s->status = api->all_reduce(s->ranks, s->rank, s->in, s->out, COUNT, s->type, NULL, &s->err);
        if (s->status == TN_OK && !is_sum(s, round))
            s->status = TN_E_INTERNAL;
        if (s->status == TN_OK)
            s->status = api->all_gather(s->ranks, s->rank, s->in, s->all, bytes, NULL, &s->err);
        if (s->status == TN_OK && !are_all(s, round))
            s->status = TN_E_INTERNAL;
    }
    if (s->status != TN_OK && s->aborts)
        api->abort(s->ranks);
    return NULL;
}

typedef struct table {
    seat seats[WORLD_MAX];
    pthread_t threads[WORLD_MAX];
    uint32_t world;
} table;

static void sit(table *t, collective *ranks, uint32_t first, uint32_t count, const seat *like)
{
    for (uint32_t r = first; r < first + count; r++) {
        t->seats[r] = *like;
        t->seats[r].ranks = ranks;
        t->seats[r].rank = r;
        t->seats[r].world = t->world;
        t->seats[r].in = rig_alloc(COUNT * 4);
        t->seats[r].out = rig_alloc(COUNT * 4);
        t->seats[r].all = rig_alloc(COUNT * 4 * WORLD_MAX);
        assert_int_equal(pthread_create(&t->threads[r], NULL, run_rank, &t->seats[r]), 0);
    }
}

static void rise(table *t)
{
    for (uint32_t r = 0; r < t->world; r++) {
        pthread_join(t->threads[r], NULL);
        free(t->seats[r].in), free(t->seats[r].out), free(t->seats[r].all);
    }
}

/* ---- what works ---- */

static void test_ranks_add_and_gather(void **state)
{
    (void)state;
    for (uint32_t world = 2; world <= 4; world *= 2) {
        collective *ranks = create(world);
        for (uint32_t type = 0; type < 2; type++) {
            table t = {.world = world};
            sit(&t, ranks, 0, world, &(seat){.type = type ? TN_F32 : TN_BF16, .rounds = ROUNDS});
            rise(&t);
            for (uint32_t r = 0; r < world; r++)
                assert_int_equal(t.seats[r].status, TN_OK);
        }
        assert_true(ranks->api->captured);
        assert_int_equal(fake->live(), world);
        ranks->api->destroy(ranks);
        assert_int_equal(fake->live(), 0);
    }
    assert_int_equal(fake->aborted(), 0);
}

typedef struct process {
    collective_place place;
    collective *ranks;
} process;

static void *open_process(void *context)
{
    process *p = context;
    ASSERT_OK(nccl_collective_create(&p->place, &p->ranks, &err));
    return NULL;
}

static void test_two_processes_make_one_group(void **state)
{
    (void)state;
    process p[2];
    uint8_t id[COLLECTIVE_ID_BYTES];
    pthread_t thread;
    table t = {.world = 4};

    ASSERT_OK(nccl_collective_id(id, &err));
    for (uint32_t i = 0; i < 2; i++)
        p[i] = (process){.place = {.world = 4, .first = 2 * i, .count = 2, .ordinal = ordinals + 2 * i, .id = id}};
    assert_int_equal(pthread_create(&thread, NULL, open_process, &p[0]), 0);
    open_process(&p[1]); /* each waits for the other */
    pthread_join(thread, NULL);
    for (uint32_t i = 0; i < 2; i++)
        sit(&t, p[i].ranks, 2 * i, 2, &(seat){.type = TN_BF16, .rounds = ROUNDS});
    rise(&t);
    for (uint32_t r = 0; r < 4; r++)
        assert_int_equal(t.seats[r].status, TN_OK);
    for (uint32_t i = 0; i < 2; i++)
        p[i].ranks->api->destroy(p[i].ranks);
    assert_int_equal(fake->live(), 0);
}

/* ---- what fails ---- */

/* The first failure is the one rank's, and the others' are its consequence. */
static void test_a_refused_call_ends_all_ranks(void **state)
{
    (void)state;
    uint32_t before = fake->aborted();
    collective *ranks = create(4);
    table t = {.world = 4};

    fake->refuse(2, FAKE_NCCL_REMOTE_ERROR);
    sit(&t, ranks, 0, 4, &(seat){.type = TN_BF16, .rounds = ROUNDS, .aborts = true});
    rise(&t);
    for (uint32_t r = 0; r < 4; r++)
        assert_int_equal(t.seats[r].status, r == 2 ? TN_E_DEVICE_LOST : TN_E_CANCELLED);
    assert_string_equal(t.seats[2].err.msg, "NCCL all-reduce: remote process exited or there was a network error");
    assert_int_equal(t.seats[2].err.native_code, FAKE_NCCL_REMOTE_ERROR);
    assert_int_equal(fake->live(), 0);
    assert_int_equal(fake->aborted(), before + 4);
    fake->refuse(2, 0);
    ranks->api->destroy(ranks);
}

static void test_an_abort_ends_a_rank_that_waits_for_one_that_hangs(void **state)
{
    (void)state;
    collective *ranks = create(2);
    table t = {.world = 2};
    tn_error err = TN_ERROR_INIT;
    float in[COUNT] = {0}, out[COUNT];

    fake->hang(1, 1);
    sit(&t, ranks, 0, 2, &(seat){.type = TN_F32, .rounds = 1});
    for (uint32_t i = 0; i < 1000; i++)
        sched_yield();
    ranks->api->abort(ranks);
    rise(&t);
    fake->hang(1, 0);
    assert_int_equal(t.seats[0].status, TN_E_CANCELLED);
    assert_int_equal(t.seats[1].status, TN_E_CANCELLED);
    assert_int_equal(fake->live(), 0);
    assert_int_equal(ranks->api->all_reduce(ranks, 0, in, out, COUNT, TN_F32, NULL, &err), TN_E_CANCELLED);
    assert_int_equal(ranks->api->check(ranks, 0, &err), TN_E_CANCELLED);
    ranks->api->abort(ranks);
    ranks->api->destroy(ranks);
}

static void test_a_check_tells_of_what_failed_later(void **state)
{
    (void)state;
    collective *ranks = create(2);
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(ranks->api->check(ranks, 0, &err), TN_OK);
    fake->report(1, FAKE_NCCL_REMOTE_ERROR);
    assert_int_equal(ranks->api->check(ranks, 0, &err), TN_OK);
    assert_int_equal(ranks->api->check(ranks, 1, &err), TN_E_DEVICE_LOST);
    assert_non_null(strstr(err.msg, "remote process exited"));
    ranks->api->abort(ranks);
    fake->report(1, 0);
    ranks->api->destroy(ranks);
    assert_int_equal(fake->live(), 0);
}

/* Between any two instructions of four ranks that go on adding up, with two who ask after them. */
static void test_an_abort_may_come_at_any_moment(void **state)
{
    (void)state;
    for (uint32_t turn = 0; turn < 40; turn++) {
        collective *ranks = create(4);
        table t = {.world = 4};
        tn_error err = TN_ERROR_INIT;

        sit(&t, ranks, 0, 4, &(seat){.type = TN_BF16});
        for (uint32_t i = 0; i < turn * 7; i++)
            assert_int_equal(ranks->api->check(ranks, i % 4, &err), TN_OK);
        ranks->api->abort(ranks);
        rise(&t);
        for (uint32_t r = 0; r < 4; r++)
            assert_int_equal(t.seats[r].status, TN_E_CANCELLED);
        assert_int_equal(fake->live(), 0);
        ranks->api->destroy(ranks);
    }
}

static void test_a_group_that_does_not_begin_leaves_nothing(void **state)
{
    (void)state;
    const collective_place place = {.world = 2, .count = 2, .ordinal = ordinals};
    collective *ranks = NULL;
    tn_error err = TN_ERROR_INIT;

    fake->refuse(1, FAKE_NCCL_REMOTE_ERROR);
    assert_int_equal(nccl_collective_create(&place, &ranks, &err), TN_E_DEVICE_LOST);
    assert_non_null(strstr(err.msg, "NCCL start: remote process exited"));
    fake->refuse(1, 0);
    assert_int_equal(fake->live(), 0);
    assert_null(ranks);
}

/* ---- the library ---- */

static int open_fake(void **state)
{
    (void)state;
    uint8_t id[COLLECTIVE_ID_BYTES];
    tn_error err = TN_ERROR_INIT;

    /* What is not NCCL is refused with its name, and asked for again the next time. */
    assert_int_equal(plugin_option_set("nccl_library", "", &err), TN_E_ARGUMENT);
    assert_int_equal(plugin_option_set("nccl_library", "/nowhere/libnccl.so.2", &err), TN_OK);
    assert_int_equal(nccl_collective_id(id, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "/nowhere/libnccl.so.2"));
    assert_non_null(strstr(err.msg, "[cuda_tp] nccl_library"));
    assert_int_equal(plugin_option_set("nccl_library", NOT_NCCL, &err), TN_OK);
    assert_int_equal(nccl_collective_id(id, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "has no ncclGetVersion"));
    assert_int_equal(plugin_option_set("nccl_library", FAKE_NCCL, &err), TN_OK);
    void *library = dlopen(FAKE_NCCL, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(library);
    fake = dlsym(library, "fake_nccl_controls");
    assert_non_null(fake);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_add_and_gather),
        cmocka_unit_test(test_two_processes_make_one_group),
        cmocka_unit_test(test_a_refused_call_ends_all_ranks),
        cmocka_unit_test(test_an_abort_ends_a_rank_that_waits_for_one_that_hangs),
        cmocka_unit_test(test_a_check_tells_of_what_failed_later),
        cmocka_unit_test(test_an_abort_may_come_at_any_moment),
        cmocka_unit_test(test_a_group_that_does_not_begin_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, open_fake, NULL);
}
