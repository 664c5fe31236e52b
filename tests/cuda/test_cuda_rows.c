/* test_cuda_rows.c: kernels that treat rows, against plain loops in double. */
#include "cuda_rig.h"

static const uint32_t types[] = {TN_F32, TN_BF16};

static size_t width_of(uint32_t type)
{
    return type == TN_F32 ? 4 : 2;
}

/* A [rows, stride] matrix of `type`. */
static void *matrix(uint32_t type, uint32_t rows, uint32_t stride, uint32_t *state)
{
    return type == TN_F32 ? (void *)rig_floats((size_t)rows * stride, 1, state)
                          : (void *)rig_bf16((size_t)rows * stride, 1, state);
}

static void check_norm(uint32_t type, uint32_t rows, uint32_t columns, uint32_t run, uint32_t stride, bool residual)
{
    uint32_t state = columns + run;
    void *x = matrix(type, rows, stride, &state), *delta = matrix(TN_BF16, rows, stride, &state);
    void *sum = rig_alloc((size_t)rows * stride * width_of(type)), *out = rig_alloc((size_t)rows * stride * 2);
    float *gain = rig_floats(run, 1, &state);
    cuda_rms_norm_args args = {.x = x,
                               .delta = residual ? delta : NULL,
                               .sum = residual ? sum : NULL,
                               .out = out,
                               .gain = gain,
                               .x_type = type,
                               .delta_type = TN_BF16,
                               .out_type = TN_BF16,
                               .rows = rows,
                               .columns = columns,
                               .run = run,
                               .x_stride = stride,
                               .delta_stride = stride,
                               .sum_stride = stride,
                               .out_stride = stride,
                               .delta_scale = 0.5f,
                               .eps = 1e-5f,
                               .gain_offset = 1};

    assert_int_equal(cuda_rms_norm(&args, NULL), TN_OK);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t begin = 0; begin < columns; begin += run) {
            double squares = 0;
            for (uint32_t i = 0; i < run; i++) {
                size_t at = (size_t)r * stride + begin + i;
                double s = (double)rig_at(x, type, at) + (residual ? 0.5 * (double)rig_at(delta, TN_BF16, at) : 0);
                squares += s * s;
                if (residual)
                    rig_near(rig_at(sum, type, at), s, rig_rounding(type), 1e-7);
            }
            for (uint32_t i = 0; i < run; i++) {
                size_t at = (size_t)r * stride + begin + i;
                double s = (double)rig_at(x, type, at) + (residual ? 0.5 * (double)rig_at(delta, TN_BF16, at) : 0);
                rig_near(rig_at(out, TN_BF16, at), s / sqrt(squares / run + 1e-5) * ((double)gain[i] + 1), 0x1p-8,
                         1e-6);
            }
        }
    rig_free(x), rig_free(delta), rig_free(sum), rig_free(out), rig_free(gain);
}

static void test_norm_equals_the_definition(void **unused)
{
    (void)unused;
    for (uint32_t seed = 0; seed < RIG_SEEDS; seed++) {
        shim_seed(seed);
        for (size_t t = 0; t < 2; t++) {
            check_norm(types[t], 3, 2304, 2304, 2304, true);
            check_norm(types[t], 2, 8200, 8200, 8200, true); /* too long to hold */
            check_norm(types[t], 2, 77, 77, 81, true);       /* no multiple of eight */
            check_norm(types[t], 5, 3 * 64, 64, 200, false); /* heads */
            check_norm(types[t], 3, 2 * 20, 20, 40, true);
        }
    }
}

static double reference_gate(double gate, double up, uint32_t activation)
{
    switch (activation) {
    case TN_ACT_SILU:
        return gate / (1 + exp(-gate)) * up;
    case TN_ACT_GELU_TANH:
        return 0.5 * gate * (1 + tanh(sqrt(2 / M_PI) * (gate + 0.044715 * gate * gate * gate))) * up;
    case TN_ACT_GELU:
        return 0.5 * gate * (1 + erf(gate / sqrt(2))) * up;
    default: {
        double g = fmin(gate, 0.5), u = fmax(fmin(up, 0.5), -0.5);
        return g / (1 + exp(-1.702 * g)) * (u + 1);
    }
    }
}

static void check_gated(uint32_t in, uint32_t out_type, uint32_t columns, uint32_t activation)
{
    uint32_t rows = 3, state = columns, stride = 2 * columns;
    void *both = matrix(in, rows, stride, &state), *out = rig_alloc((size_t)rows * columns * width_of(out_type));
    cuda_gated_args args = {.gate = both,
                            .up = (char *)both + columns * width_of(in),
                            .out = out,
                            .in_type = in,
                            .out_type = out_type,
                            .rows = rows,
                            .columns = columns,
                            .gate_stride = stride,
                            .up_stride = stride,
                            .out_stride = columns,
                            .activation = activation,
                            .limit = 0.5f,
                            .alpha = 1.702f};

    assert_int_equal(cuda_gated(&args, NULL), TN_OK);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < columns; i++)
            rig_near(rig_at(out, out_type, (size_t)r * columns + i),
                     reference_gate((double)rig_at(both, in, (size_t)r * stride + i),
                                    (double)rig_at(both, in, (size_t)r * stride + columns + i), activation),
                     rig_rounding(out_type), 1e-6);
    rig_free(both), rig_free(out);
}

static void test_gated_equals_the_definition(void **unused)
{
    (void)unused;
    for (uint32_t activation = TN_ACT_SILU; activation <= TN_ACT_SWIGLU_CLAMPED; activation++)
        for (size_t t = 0; t < 4; t++) {
            check_gated(types[t / 2], types[t % 2], 264, activation);
            check_gated(types[t / 2], types[t % 2], 13, activation);
        }
}

static void check_add(uint32_t a_type, uint32_t b_type, uint32_t out_type, uint32_t columns, uint32_t b_rows,
                      bool has_b)
{
    uint32_t rows = 3, state = columns + b_rows;
    void *a = matrix(a_type, rows, columns, &state), *b = matrix(b_type, rows, columns, &state);
    void *out = rig_alloc((size_t)rows * columns * width_of(out_type));
    cuda_add_args args = {a,       has_b ? b : NULL, out,     a_type,  b_type,  out_type, rows,
                          columns, b_rows,           columns, columns, columns, 0.75f};

    assert_int_equal(cuda_add(&args, NULL), TN_OK);
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t i = 0; i < columns; i++) {
            double x = (double)rig_at(a, a_type, (size_t)r * columns + i);
            double y = (double)rig_at(b, b_type, (b_rows == 1 ? 0 : (size_t)r * columns) + i);
            rig_near(rig_at(out, out_type, (size_t)r * columns + i), has_b ? x + 0.75 * y : 0.75 * x,
                     rig_rounding(out_type), 1e-6);
        }
    rig_free(a), rig_free(b), rig_free(out);
}

static void test_add_scales_and_converts(void **unused)
{
    (void)unused;
    for (size_t t = 0; t < 8; t++)
        for (uint32_t columns = 7; columns < 300; columns += 257) {
            check_add(types[t / 4], types[t / 2 % 2], types[t % 2], columns, 0, true);
            check_add(types[t / 4], types[t / 2 % 2], types[t % 2], columns, 1, true);
            check_add(types[t / 4], types[t / 2 % 2], types[t % 2], columns, 0, false);
        }
}

static void test_softcap_equals_the_definition(void **unused)
{
    (void)unused;
    uint32_t state = 5;
    float *x = rig_floats(3 * 40, 50, &state), *before = rig_alloc(120 * sizeof *before);
    memcpy(before, x, 120 * sizeof *x);
    cuda_softcap_args args = {x, 3, 37, 40, 0.5f, 30};
    assert_int_equal(cuda_softcap(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < 120; i++)
        rig_near(x[i], i % 40 < 37 ? 30 * tanh(0.5 * (double)before[i] / 30) : (double)before[i], 1e-5, 0);
    rig_free(x), rig_free(before);
}

static void test_select_permute_and_interleave_move(void **unused)
{
    (void)unused;
    uint32_t state = 9, *row = rig_copy((uint32_t[]){4, 0, 3}, 12), *perm = rig_alloc(24 * sizeof *perm);
    uint16_t *x = rig_bf16(5 * 24, 1, &state), *out = rig_alloc(3 * 24 * 2), *turned = rig_alloc(5 * 24 * 2);

    for (uint32_t columns = 23; columns <= 24; columns++) {
        cuda_select_args select = {x, row, out, TN_BF16, 3, columns, 24, 24, 0};
        assert_int_equal(cuda_select(&select, NULL), TN_OK);
        for (uint32_t i = 0; i < 3; i++)
            assert_memory_equal(out + i * 24, x + row[i] * 24, columns * 2);
    }
    for (uint32_t i = 0; i < 24; i++)
        perm[i] = (i * 7 + 3) % 24;
    cuda_permute_columns_args permute = {
        .x = x, .perm = perm, .out = turned, .rows = 5, .columns = 24, .x_stride = 24, .out_stride = 24};
    assert_int_equal(cuda_permute_columns(&permute, NULL), TN_OK);
    for (uint32_t i = 0; i < 5 * 24; i++)
        assert_int_equal(turned[i], x[i / 24 * 24 + perm[i % 24]]);

    float *parts = rig_floats(2 * 3 * 5, 1, &state), *whole = rig_alloc(3 * 9 * sizeof *whole);
    cuda_interleave_args interleave = {parts, whole, 3, 5, 2, 9, 9, 0};
    assert_int_equal(cuda_interleave(&interleave, NULL), TN_OK);
    for (uint32_t i = 0; i < 27; i++)
        assert_true(whole[i] == parts[(i % 9 / 5 * 3 + i / 9) * 5 + i % 9 % 5]);
    rig_free(x), rig_free(out), rig_free(turned), rig_free(parts), rig_free(whole), rig_free(row), rig_free(perm);
}

/* Choices of experts with an order of columns each, of which one has no choice; and a rank's half of columns that two
 * ranks hold the halves of. */
static void test_permute_follows_experts_and_ranks(void **unused)
{
    (void)unused;
    enum { ROWS = 4, CHOICES = 7, E = 3, K = 40, HALF = K / 2, STRIDE = 24 };
    uint32_t state = 2, *perm = rig_alloc(E * K * sizeof *perm);
    uint32_t *start = rig_copy((uint32_t[]){0, 3, 3, CHOICES}, 4 * sizeof *start);
    uint32_t *place_row = rig_copy((uint32_t[]){3, 0, 1, 2, 3, 0, 1}, CHOICES * sizeof *place_row);
    uint16_t *x = rig_bf16(ROWS * K, 1, &state), *out = rig_alloc(CHOICES * K * 2);
    uint16_t *gathered = rig_bf16(2 * ROWS * STRIDE, 1, &state);
    cuda_permute_columns_args args = {.x = x,
                                      .perm = perm,
                                      .expert_start = start,
                                      .place_row = place_row,
                                      .out = out,
                                      .rows = CHOICES,
                                      .columns = K,
                                      .x_stride = K,
                                      .out_stride = K,
                                      .experts = E};

    for (uint32_t i = 0; i < E * K; i++)
        perm[i] = (i % K * 7 + i / K) % K;
    assert_int_equal(cuda_permute_columns(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < CHOICES * K; i++)
        assert_int_equal(out[i], x[place_row[i / K] * K + perm[(i / K < 3 ? 0 : 2) * K + i % K]]);

    /* Places of padding are nobody's, and what is said of them is not looked at. */
    start[E] = CHOICES - 2;
    place_row[CHOICES - 2] = place_row[CHOICES - 1] = UINT32_MAX;
    memset(out, 0xff, CHOICES * K * sizeof *out);
    args.row_count = start + E;
    assert_int_equal(cuda_permute_columns(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < CHOICES * K; i++)
        assert_int_equal(out[i], i / K < CHOICES - 2 ? x[place_row[i / K] * K + perm[(i / K < 3 ? 0 : 2) * K + i % K]]
                                                     : 0xffff);

    args = (cuda_permute_columns_args){.x = gathered,
                                       .perm = perm + HALF,
                                       .out = out,
                                       .rows = ROWS,
                                       .columns = HALF,
                                       .x_stride = STRIDE,
                                       .out_stride = HALF,
                                       .part_columns = HALF,
                                       .part_rows = ROWS};
    assert_int_equal(cuda_permute_columns(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < ROWS * HALF; i++) {
        uint32_t column = perm[HALF + i % HALF];
        assert_int_equal(out[i], gathered[(column / HALF * ROWS + i / HALF) * STRIDE + column % HALF]);
    }
    rig_free(perm), rig_free(start), rig_free(place_row), rig_free(x), rig_free(out), rig_free(gathered);
}

static void test_kv_copy_moves_pages_of_all_layers(void **unused)
{
    (void)unused;
    enum { PAGES = 4, LAYERS = 2, STRIDE = 80, USED = 64 };
    unsigned char *pages = rig_alloc(LAYERS * PAGES * STRIDE), before[LAYERS * PAGES * STRIDE];
    tn_kvmove *moves = rig_copy((tn_kvmove[]){{0, 3}, {2, 1}}, 2 * sizeof *moves);

    for (uint32_t i = 0; i < sizeof before; i++)
        pages[i] = before[i] = (unsigned char)(i * 37 + i / 256);
    cuda_kv_copy_args args = {pages, PAGES * STRIDE, STRIDE, USED, moves, 2, LAYERS};
    assert_int_equal(cuda_kv_copy(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < sizeof before; i++) {
        uint32_t page = i / STRIDE % PAGES, from = page == 3 ? 0 : page == 1 ? 2 : page;
        uint32_t at = i % STRIDE < USED ? i - page * STRIDE + from * STRIDE : i;
        assert_int_equal(pages[i], before[at]);
    }
    rig_free(pages), rig_free(moves);
}

static void test_page_tables_change_as_far_as_counted(void **unused)
{
    (void)unused;
    enum { ENTRIES = 9001, CHANGES = 5000 };
    uint32_t *table = rig_alloc(ENTRIES * sizeof *table), *count = rig_copy((uint32_t[]){CHANGES - 3}, sizeof *count);
    cuda_page_change *change = rig_alloc(CHANGES * sizeof *change);

    for (uint32_t i = 0; i < ENTRIES; i++)
        table[i] = i;
    for (uint32_t i = 0; i < CHANGES; i++)
        change[i] = (cuda_page_change){.at = i * 7 % ENTRIES, .page = 100000 + i}; /* 7 does not divide ENTRIES */
    const cuda_page_table_args args = {.table = table, .change = change, .count = count};
    assert_int_equal(cuda_page_table(&args, NULL), TN_OK);
    for (uint32_t i = 0; i < CHANGES; i++)
        assert_int_equal(table[i * 7 % ENTRIES], i < *count ? 100000 + i : i * 7 % ENTRIES);
    *count = 0;
    table[0] = 5;
    assert_int_equal(cuda_page_table(&args, NULL), TN_OK);
    assert_int_equal(table[0], 5);
    rig_free(table), rig_free(change), rig_free(count);
}

static void test_embed_takes_this_ranks_rows(void **unused)
{
    (void)unused;
    uint32_t state = 3;
    const tn_enc enc = {.struct_size = sizeof enc, .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};
    int32_t *token = rig_copy((int32_t[]){10, 19, 9, 20, -2, TN_TOKEN_EMBED}, 6 * sizeof *token);
    int32_t *prev = rig_copy((int32_t[]){0, 12}, 2 * sizeof *prev);

    for (uint32_t columns = 40; columns <= 44; columns += 4)
        for (uint32_t first = 0; first <= 10; first += 10) {
            cuda_weight table;
            cuda_weight_size size;
            assert_int_equal(cuda_weight_layout(&enc, 10, columns, &table, &size), TN_OK);
            uint16_t *rows = rig_bf16(10 * table.stride, 1, &state);
            float *embed = rig_floats(6 * columns, 1, &state), *out = rig_alloc(6 * columns * sizeof *out);
            table.codes = rows;
            cuda_embed_args args = {&table, token, prev, embed, NULL, out, TN_F32, columns, 6, first, 3, 0};
            assert_int_equal(cuda_embed(&args, NULL), TN_OK);
            for (uint32_t t = 0; t < 6; t++)
                for (uint32_t k = 0; k < columns; k++) {
                    uint32_t id = t == 4 ? 12 : (uint32_t)token[t];
                    float expected =
                        id >= first && id < first + 10 ? 3 * float_from_bf16(rows[(id - first) * table.stride + k]) : 0;
                    if (t == 5)
                        expected = first ? 0 : embed[5 * columns + k];
                    assert_true(out[t * columns + k] == expected);
                }
            rig_free(rows), rig_free(embed), rig_free(out);
        }
    rig_free(token), rig_free(prev);
}

static void test_shapes_are_refused(void **unused)
{
    (void)unused;
    float x[8] = {0};
    cuda_rms_norm_args norm = {
        .x = x, .out = x, .gain = x, .x_type = TN_F32, .out_type = TN_F32, .rows = 1, .columns = 8, .run = 3};
    assert_int_equal(cuda_rms_norm(&norm, NULL), TN_E_ARGUMENT);
    norm.run = 8, norm.out_type = TN_F16;
    assert_int_equal(cuda_rms_norm(&norm, NULL), TN_E_UNSUPPORTED);
    norm.rows = 0;
    assert_int_equal(cuda_rms_norm(&norm, NULL), TN_OK);
    cuda_gated_args gated = {
        .gate = x, .up = x, .out = x, .in_type = TN_F32, .out_type = TN_F32, .rows = 1, .columns = 8};
    assert_int_equal(cuda_gated(&gated, NULL), TN_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm_equals_the_definition),
        cmocka_unit_test(test_gated_equals_the_definition),
        cmocka_unit_test(test_add_scales_and_converts),
        cmocka_unit_test(test_softcap_equals_the_definition),
        cmocka_unit_test(test_select_permute_and_interleave_move),
        cmocka_unit_test(test_permute_follows_experts_and_ranks),
        cmocka_unit_test(test_kv_copy_moves_pages_of_all_layers),
        cmocka_unit_test(test_page_tables_change_as_far_as_counted),
        cmocka_unit_test(test_embed_takes_this_ranks_rows),
        cmocka_unit_test(test_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
