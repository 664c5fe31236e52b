/* test_cuda_moe.c: routing, sorting, experts' products and their sum, against the host's router and plain loops. */
#include "base/expert_route.h"
#include "cuda_rig.h"

static void check_route(uint32_t experts, uint32_t chosen, bool normalised)
{
    enum { ROWS = 7 };
    uint32_t state = experts + chosen, stride = experts + 3;
    float *logits = rig_floats(ROWS * stride, 4, &state), *weight = rig_alloc(ROWS * chosen * sizeof *weight);
    uint32_t *expert = rig_alloc(ROWS * chosen * sizeof *expert);
    uint32_t *real = rig_copy((uint32_t[]){ROWS - 2}, sizeof *real); /* rows, the rest is padding, where it is given */
    cuda_moe_route_args args = {.logits = logits,
                                .expert = expert,
                                .weight = weight,
                                .row_count = normalised ? real : NULL,
                                .rows = ROWS,
                                .experts = experts,
                                .chosen = chosen,
                                .normalised = normalised,
                                .logits_stride = stride};

    for (uint32_t i = 0; i < 2 * stride; i++)
        logits[i] = roundf(logits[i]); /* ties */
    assert_int_equal(cuda_moe_route(&args, NULL), TN_OK);
    for (uint32_t r = 0; r < ROWS; r++) {
        uint32_t expected[CUDA_CHOSEN_MAX];
        double share[CUDA_CHOSEN_MAX];
        for (uint32_t i = 0; i < chosen && normalised && r >= *real; i++)
            assert_int_equal(expert[r * chosen + i], CUDA_NO_ROW);
        if (normalised && r >= *real)
            continue;
        expert_route(logits + r * stride, experts, chosen, normalised, expected, share);
        for (uint32_t i = 0; i < chosen; i++) {
            assert_int_equal(expert[r * chosen + i], expected[i]);
            rig_near(weight[r * chosen + i], share[i], 1e-6, 0);
        }
    }
    rig_free(logits), rig_free(weight), rig_free(expert), rig_free(real);
}

static void test_routes_are_those_of_the_host(void **unused)
{
    (void)unused;
    for (uint32_t i = 0; i < 2; i++) {
        shim_seed(i);
        check_route(8, 2, i);
        check_route(5, 5, i);
        check_route(130, 8, i);
    }
}

static void check_sort(uint32_t rows, uint32_t chosen, uint32_t first, uint32_t experts, uint32_t tile_rows)
{
    const uint32_t choices = rows * chosen, limit = cuda_moe_task_limit(choices, experts, tile_rows);
    uint32_t state = choices, *expert = rig_alloc(choices * 4), *start = rig_alloc((experts + 1) * 4);
    uint32_t *place = rig_alloc(choices * 4), *place_row = rig_alloc(choices * 4);
    uint32_t *count = rig_alloc(sizeof *count), at = 0, tasks = 0;
    cuda_expert_task *task = rig_alloc((limit ? limit : 1) * sizeof *task);
    cuda_moe_sort_args args = {expert,  start,  place, place_row, task,      count,
                               choices, chosen, first, experts,   tile_rows, 0};

    for (uint32_t c = 0; c < choices; c++)
        expert[c] = rig_random(&state) % (first + experts + 2);
    assert_int_equal(cuda_moe_sort(&args, NULL), TN_OK);
    for (uint32_t e = 0; e < experts; e++) {
        assert_int_equal(start[e], at);
        uint32_t begin = at;
        for (uint32_t c = 0; c < choices; c++)
            if (expert[c] == first + e) {
                assert_int_equal(place[c], at);
                assert_int_equal(place_row[at++], c / chosen);
            }
        for (; begin < at; tasks++) {
            uint32_t n = at - begin < tile_rows ? at - begin : tile_rows;
            assert_int_equal(task[tasks].expert, e);
            assert_int_equal(task[tasks].place, begin);
            assert_int_equal(task[tasks].rows, n);
            begin += n;
        }
    }
    assert_int_equal(start[experts], at);
    assert_int_equal(*count, tasks);
    assert_true(tasks <= limit);
    for (uint32_t c = 0; c < choices; c++)
        if (expert[c] - first >= experts)
            assert_int_equal(place[c], CUDA_NO_ROW);
    rig_free(expert), rig_free(start), rig_free(place), rig_free(place_row), rig_free(task), rig_free(count);
}

static void test_choices_are_sorted_stably(void **unused)
{
    (void)unused;
    for (uint32_t seed = 0; seed < RIG_SEEDS; seed++) {
        shim_seed(seed);
        check_sort(1, 2, 0, 8, 8);
        check_sort(150, 4, 0, 37, 16);
        check_sort(90, 3, 6, 4, 8);
    }
}

/* A whole mixture of bf16 experts, in every tile size: the tile must not show. */
static void check_mixture(uint32_t tile_rows, float *out)
{
    enum { ROWS = 40, E = 3, CHOSEN = 2, K = 72, N = 33, CHOICES = ROWS * CHOSEN };
    uint32_t state = 4, *expert = rig_alloc(CHOICES * 4), *start = rig_alloc((E + 1) * 4), *count = rig_alloc(4);
    uint32_t *place = rig_alloc(CHOICES * 4), *place_row = rig_alloc(CHOICES * 4);
    const tn_enc enc = {.struct_size = sizeof enc, .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};
    cuda_weight weight;
    cuda_weight_size size;
    cuda_expert_task *task = rig_alloc(CHOICES * sizeof *task);
    float *share = rig_floats(CHOICES, 1, &state), *bias = rig_floats(E * N, 1, &state);
    float *y = rig_alloc(CHOICES * N * sizeof *y);
    uint16_t *x = rig_bf16(ROWS * K, 1, &state), *w = rig_bf16(E * N * K, 1, &state);

    assert_int_equal(cuda_weight_layout(&enc, E * N, K, &weight, &size), TN_OK);
    weight.codes = w;
    for (uint32_t c = 0; c < CHOICES; c++)
        expert[c] = c % 2 ? 0 : 1 + c / 2 % 3 / 2;
    cuda_moe_sort_args sort = {expert, start, place, place_row, task, count, CHOICES, CHOSEN, 0, E, tile_rows, 0};
    cuda_expert_linear_args linear = {
        &weight,   x, bias, y,      start, place_row, task, count, cuda_moe_task_limit(CHOICES, E, tile_rows),
        tile_rows, E, 0,    TN_F32, K,     N,         N};
    cuda_moe_combine_args combine = {y, place, share, out, TN_F32, TN_F32, ROWS, N, CHOSEN, N, N, 0};
    assert_int_equal(cuda_moe_sort(&sort, NULL), TN_OK);
    assert_int_equal(cuda_expert_linear(&linear, NULL), TN_OK);
    assert_int_equal(cuda_moe_combine(&combine, NULL), TN_OK);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t n = 0; n < N; n++) {
            double sum = 0;
            for (uint32_t i = 0; i < CHOSEN; i++) {
                uint32_t e = expert[r * CHOSEN + i];
                double dot = (double)bias[e * N + n];
                for (uint32_t k = 0; k < K; k++)
                    dot += (double)float_from_bf16(w[(e * N + n) * K + k]) * (double)float_from_bf16(x[r * K + k]);
                sum += (double)share[r * CHOSEN + i] * dot;
            }
            rig_near(out[r * N + n], sum, 1e-5, 1e-4);
        }
    rig_free(share), rig_free(bias), rig_free(y), rig_free(x), rig_free(w);
    rig_free(expert), rig_free(start), rig_free(count), rig_free(place), rig_free(place_row), rig_free(task);
}

static void test_mixture_equals_the_definition(void **unused)
{
    (void)unused;
    const size_t bytes = 40 * 33 * sizeof(float);
    float *small = rig_alloc(bytes), *other = rig_alloc(bytes);
    check_mixture(8, small);
    check_mixture(16, other);
    assert_memory_equal(small, other, bytes);
    check_mixture(64, other);
    assert_memory_equal(small, other, bytes);
    rig_free(small), rig_free(other);
}

static void test_places_of_other_ranks_are_skipped(void **unused)
{
    (void)unused;
    uint32_t state = 6, *place = rig_copy((uint32_t[]){CUDA_NO_ROW, 1, 0, CUDA_NO_ROW}, 4 * sizeof *place);
    float *share = rig_copy((float[]){0.5f, 0.25f, 2, 1}, 4 * sizeof *share);
    uint16_t *y = rig_bf16(2 * 16, 1, &state), *out = rig_alloc(2 * 16 * 2);
    cuda_moe_combine_args args = {y, place, share, out, TN_BF16, TN_BF16, 2, 16, 2, 16, 16, 0};
    assert_int_equal(cuda_moe_combine(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(out[i], bf16_from_float(0.25f * float_from_bf16(y[16 + i])));
        assert_int_equal(out[16 + i], bf16_from_float(2 * float_from_bf16(y[i])));
    }
    rig_free(y), rig_free(out), rig_free(place), rig_free(share);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_are_those_of_the_host),
        cmocka_unit_test(test_choices_are_sorted_stably),
        cmocka_unit_test(test_mixture_equals_the_definition),
        cmocka_unit_test(test_places_of_other_ranks_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
