/* test_cuda_all_reduce.c: sums of buffers side by side, and the one-shot all-reduce with one OS thread per rank. */
#include "cuda_rig.h"

#include <pthread.h>

enum { ROUNDS = 3, COUNT = 100 };

typedef struct rig_rank {
    cuda_all_reduce_args args;
    void *buffer; /* its own */
    uint32_t sequence, type;
    uint16_t bits[ROUNDS][COUNT * 2]; /* results */
} rig_rank;

static float input_of(uint32_t rank, uint32_t round, uint32_t i)
{
    return (float)((int)(rank * 37 + round * 11 + i * 7) % 100 - 50) / 16.0f;
}

static void *run_rank(void *context)
{
    rig_rank *r = context;
    const size_t width = r->type == TN_F32 ? 4 : 2;

    shim_seed(r->args.rank);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            float value = input_of(r->args.rank, round, i);
            if (r->type == TN_F32)
                ((float *)r->buffer)[i] = value;
            else
                ((uint16_t *)r->buffer)[i] = bf16_from_float(value);
        }
        if (cuda_all_reduce(&r->args, NULL) != TN_OK)
            abort();
        memcpy(r->bits[round], r->args.out, COUNT / 8 * 8 * width);
    }
    return NULL;
}

static void check_world(uint32_t world, uint32_t type)
{
    rig_rank *rank = calloc(world, sizeof *rank);
    uint32_t *flag[CUDA_RANKS_MAX];
    const size_t flags = CUDA_RANKS_MAX * CUDA_REDUCE_BLOCKS * 2;
    pthread_t thread[CUDA_RANKS_MAX];

    assert_non_null(rank);
    for (uint32_t r = 0; r < world; r++) {
        flag[r] = calloc(flags, sizeof *flag[r]);
        rank[r].buffer = rig_alloc(COUNT * 4);
        rank[r].type = type;
    }
    for (uint32_t r = 0; r < world; r++) {
        rank[r].args = (cuda_all_reduce_args){.sequence = &rank[r].sequence,
                                              .out = rig_alloc(COUNT * 4),
                                              .count = type == TN_F32 ? COUNT : COUNT / 8 * 8,
                                              .type = type,
                                              .rank = r,
                                              .world = world};
        for (uint32_t peer = 0; peer < world; peer++) {
            rank[r].args.buffer[peer] = rank[peer].buffer;
            rank[r].args.flag[peer] = flag[peer];
        }
        assert_int_equal(pthread_create(&thread[r], NULL, run_rank, &rank[r]), 0);
    }
    for (uint32_t r = 0; r < world; r++)
        assert_int_equal(pthread_join(thread[r], NULL), 0);
    for (uint32_t r = 0; r < world; r++) {
        for (uint32_t round = 0; round < ROUNDS; round++)
            for (uint32_t i = 0; i < COUNT / 8 * 8; i++) {
                float sum = 0;
                for (uint32_t peer = 0; peer < world; peer++)
                    sum += input_of(peer, round, i);
                assert_true(rig_at(rank[r].bits[round], type, i) ==
                            (type == TN_F32 ? sum : float_from_bf16(bf16_from_float(sum))));
            }
        assert_int_equal(rank[r].sequence, ROUNDS);
        free(rank[r].buffer), free(rank[r].args.out), free(flag[r]);
    }
    free(rank);
}

static void test_all_ranks_get_the_sum(void **unused)
{
    (void)unused;
    check_world(2, TN_F32);
    check_world(4, TN_BF16);
}

static void test_cancel_frees_a_waiting_rank(void **unused)
{
    (void)unused;
    uint32_t state = 1, sequence = 0, cancel = 1, flags[2][CUDA_RANKS_MAX * CUDA_REDUCE_BLOCKS * 2] = {{0}};
    float *mine = rig_floats(8, 1, &state), *theirs = rig_floats(8, 1, &state), *out = rig_alloc(32);
    cuda_all_reduce_args args = {.buffer = {mine, theirs},
                                 .flag = {flags[0], flags[1]},
                                 .sequence = &sequence,
                                 .cancel = &cancel,
                                 .out = out,
                                 .count = 8,
                                 .type = TN_F32,
                                 .world = 2};
    assert_int_equal(cuda_all_reduce(&args, NULL), TN_OK); /* the other rank never comes */
    args.count = 7;
    assert_int_equal(cuda_all_reduce(&args, NULL), TN_E_ARGUMENT);
    free(mine), free(theirs), free(out);
}

/* In f32 and in the order of the buffers: the small parts are lost beside the first, and would not be if they came
 * first. */
static void test_buffers_add_up_in_order(void **unused)
{
    (void)unused;
    enum { WORLD = 5, ELEMENTS = 8 * 1024 + 4 };
    for (uint32_t type = 0; type < 2; type++) {
        cuda_sum_ranks_args args = {.type = type ? TN_F32 : TN_BF16, .world = WORLD, .out = rig_alloc(ELEMENTS * 4)};
        uint32_t state = 5;

        args.count = type ? ELEMENTS : ELEMENTS / 8 * 8;
        for (uint32_t r = 0; r < WORLD; r++) {
            float scale = r ? 1 : 1e7f;
            args.buffer[r] = type ? (void *)rig_floats(ELEMENTS, scale, &state) : rig_bf16(ELEMENTS, scale, &state);
        }
        assert_int_equal(cuda_sum_ranks(&args, NULL), TN_OK);
        for (uint32_t i = 0; i < args.count; i++) {
            float sum = rig_at(args.buffer[0], args.type, i);
            for (uint32_t r = 1; r < WORLD; r++)
                sum += rig_at(args.buffer[r], args.type, i);
            assert_true(rig_at(args.out, args.type, i) == (type ? sum : float_from_bf16(bf16_from_float(sum))));
        }
        args.count -= 1;
        assert_int_equal(cuda_sum_ranks(&args, NULL), TN_E_ARGUMENT);
        args.count = 0;
        assert_int_equal(cuda_sum_ranks(&args, NULL), TN_OK);
        args.count = 8;
        args.world = CUDA_SUM_MAX + 1;
        assert_int_equal(cuda_sum_ranks(&args, NULL), TN_E_ARGUMENT);
        for (uint32_t r = 0; r < WORLD; r++)
            free((void *)(uintptr_t)args.buffer[r]);
        free(args.out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffers_add_up_in_order),
        cmocka_unit_test(test_all_ranks_get_the_sum),
        cmocka_unit_test(test_cancel_frees_a_waiting_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
