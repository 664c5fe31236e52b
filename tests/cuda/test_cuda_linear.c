/* test_cuda_linear.c: repacking and matrix products of every encoding, against the definitions of tenon/encoding.h. */
#include "canonical.h"
#include "cuda_rig.h"

typedef struct rig_weight {
    tn_enc enc;
    uint32_t rows, columns;
    void *plane[TN_PLANE_LIMIT]; /* canonical */
    cuda_weight weight;          /* of more rows where it is padded */
    void *memory;
} rig_weight;

static void fill_scales(void *plane, uint64_t bytes, uint32_t type, uint32_t *state)
{
    uint64_t count = bytes / tn_scalar_bytes(type);
    for (uint64_t i = 0; i < count; i++) {
        float value = 0.02f * (1.1f + rig_uniform(state));
        uint16_t half = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);
        if (type == TN_F32)
            memcpy((char *)plane + 4 * i, &value, 4);
        else if (type == TN_F16 || type == TN_BF16)
            memcpy((char *)plane + 2 * i, &half, 2);
        else if (type == TN_E8M0)
            ((uint8_t *)plane)[i] = (uint8_t)(118 + rig_random(state) % 4);
        else
            ((uint8_t *)plane)[i] = (uint8_t)(type == TN_S8 ? rig_random(state) % 127 - 63 : rig_random(state) % 64);
    }
}

static void fill_codes(rig_weight *w, uint64_t bytes, uint32_t *state)
{
    uint8_t *codes = w->plane[TN_PLANE_CODES];

    if (w->enc.family == TN_ENC_FLOAT) {
        for (uint64_t i = 0; i < bytes / 2; i++) {
            uint16_t half = bf16_from_float(rig_uniform(state));
            memcpy(codes + 2 * i, &half, 2);
        }
        return;
    }
    for (uint64_t i = 0; i < bytes; i++) {
        codes[i] = (uint8_t)rig_random(state);
        if (w->enc.qtype == TN_Q_E4M3 && (codes[i] & 0x7f) == 0x7f)
            codes[i] = 0x7e;
    }
}

/* Repacks in two blocks of rows and, where groups allow, two of columns. */
static void repack(rig_weight *w)
{
    const uint32_t n_unit = w->enc.group_n > CUDA_PANEL ? w->enc.group_n : CUDA_PANEL;
    uint32_t cut = n_unit < w->rows ? n_unit : w->rows;

    for (uint32_t row0 = 0; row0 < w->rows; row0 += cut, cut = w->rows - cut) {
        cuda_repack_args args = {.weight = &w->weight, .row0 = row0, .n_rows = cut, .k0 = 0, .n_k = w->columns};
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
            uint64_t before = p < TN_PLANE_COUNT ? tn_plane_bytes(&w->enc, p, row0, w->columns) : 0;
            args.plane[p] = w->plane[p] ? (char *)w->plane[p] + before : NULL;
        }
        assert_int_equal(cuda_repack(&args, NULL), TN_OK);
    }
}

static rig_weight make_padded(tn_enc enc, uint32_t rows, uint32_t padded, uint32_t columns, uint32_t *state)
{
    rig_weight w = {.rows = rows, .columns = columns};
    cuda_weight_size size;

    enc.struct_size = sizeof enc;
    w.enc = enc;
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        uint64_t bytes = tn_plane_bytes(&enc, p, rows, columns);
        if (!bytes)
            continue;
        w.plane[p] = rig_alloc(bytes);
        if (p == TN_PLANE_CODES)
            fill_codes(&w, bytes, state);
        else if (p == TN_PLANE_SCALE || (p == TN_PLANE_MIN && enc.zero_type == TN_ZERO_FLOAT))
            fill_scales(w.plane[p], bytes, enc.scale_type, state);
        else if (p == TN_PLANE_SCALE2)
            fill_scales(w.plane[p], bytes, enc.scale2_type, state);
        for (uint64_t i = 0; p == TN_PLANE_MIN && enc.zero_type == TN_ZERO_POINT && i < bytes; i++)
            ((uint8_t *)w.plane[p])[i] = (uint8_t)(rig_random(state) % ((1u << enc.bits) + 1) & 0xff);
        for (uint64_t i = 0; p == TN_PLANE_LUT && i < bytes / 4; i++)
            ((float *)w.plane[p])[i] = (float)(int)(rig_random(state) % 255) - 127.0f;
    }
    assert_int_equal(cuda_weight_layout(&enc, padded, columns, &w.weight, &size), TN_OK);
    w.memory = rig_alloc(size.total);
    if (padded > rows)
        memset(w.memory, 0, size.total);
    cuda_weight_place(&w.weight, &size, w.memory);
    repack(&w);
    return w;
}

static rig_weight make_weight(tn_enc enc, uint32_t rows, uint32_t columns, uint32_t *state)
{
    return make_padded(enc, rows, rows, columns, state);
}

static void free_weight(rig_weight *w)
{
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        rig_free(w->plane[p]);
    rig_free(w->memory);
}

/* clang-format off */
#define INT(type, width, group, scale, zero) {.family = TN_ENC_AFFINE, .qtype = type, .bits = width, .group_k = group, \
    .scale_type = scale, .zero_type = zero}
#define SUPER(type, width, group, scale, zero) {.family = TN_ENC_AFFINE, .qtype = type, .bits = width, \
    .group_k = group, .scale_type = scale, .zero_type = zero, .group2_k = 256, .scale2_type = TN_F16}
static const tn_enc encodings[] = {
    {.family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16},
    INT(TN_Q_SIGNED, 4, 32, TN_F16, TN_ZERO_NONE),      /* Q4_0 */
    INT(TN_Q_UNSIGNED, 4, 32, TN_F16, TN_ZERO_FLOAT),   /* Q4_1 */
    INT(TN_Q_SIGNED, 5, 32, TN_F16, TN_ZERO_NONE),      /* Q5_0 */
    INT(TN_Q_UNSIGNED, 5, 32, TN_F16, TN_ZERO_FLOAT),   /* Q5_1 */
    INT(TN_Q_SIGNED, 8, 32, TN_F16, TN_ZERO_NONE),      /* Q8_0 */
    INT(TN_Q_UNSIGNED, 4, 128, TN_F16, TN_ZERO_POINT),  /* AWQ */
    INT(TN_Q_UNSIGNED, 8, 64, TN_BF16, TN_ZERO_POINT),
    INT(TN_Q_UNSIGNED, 7, 32, TN_F16, TN_ZERO_POINT),
    INT(TN_Q_UNSIGNED, 3, 64, TN_F16, TN_ZERO_FLOAT),
    INT(TN_Q_UNSIGNED, 6, 32, TN_BF16, TN_ZERO_FLOAT),
    INT(TN_Q_SIGNED, 7, 64, TN_F32, TN_ZERO_FLOAT),
    INT(TN_Q_UNSIGNED, 8, 32, TN_F16, TN_ZERO_FLOAT),
    INT(TN_Q_UNSIGNED, 3, 128, TN_F16, TN_ZERO_POINT),
    INT(TN_Q_UNSIGNED, 2, 64, TN_F32, TN_ZERO_POINT),
    INT(TN_Q_SIGNED, 8, 100000, TN_F32, TN_ZERO_NONE),  /* one scale per output */
    SUPER(TN_Q_UNSIGNED, 2, 16, TN_U8, TN_ZERO_FLOAT),  /* Q2_K */
    SUPER(TN_Q_SIGNED, 3, 16, TN_S8, TN_ZERO_NONE),     /* Q3_K */
    SUPER(TN_Q_UNSIGNED, 4, 32, TN_U8, TN_ZERO_FLOAT),  /* Q4_K */
    SUPER(TN_Q_UNSIGNED, 5, 32, TN_U8, TN_ZERO_FLOAT),  /* Q5_K */
    SUPER(TN_Q_SIGNED, 6, 16, TN_S8, TN_ZERO_NONE),     /* Q6_K */
    {.family = TN_ENC_AFFINE, .qtype = TN_Q_E4M3, .bits = 8, .group_k = 128, .group_n = 128, .scale_type = TN_F32},
    {.family = TN_ENC_AFFINE, .qtype = TN_Q_E4M3, .bits = 8, .group_k = 100000, .scale_type = TN_BF16},
    {.family = TN_ENC_MX, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_E8M0},
    {.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 4, .group_k = 32, .scale_type = TN_F16},
    {.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 4, .group_k = 32, .scale_type = TN_S8, .group2_k = 256,
     .scale2_type = TN_F16},
};
/* clang-format on */
#ifdef FEW_SHAPES /* both kernels, whole tiles and cut ones, with and without a split over K, for every encoding */
enum { FEW = 1 };
#else
enum { FEW = 0 };
#endif
enum { Q4_K = 18, ENCODINGS = sizeof encodings / sizeof encodings[0] };

static void test_repacked_weights_keep_every_value(void **unused)
{
    (void)unused;
    uint32_t state = 1;
    for (uint32_t e = 0; e < ENCODINGS; e++)
        for (uint32_t shape = 0; shape < 2; shape++) {
            uint32_t rows = shape ? 150 : 19, columns = shape ? 512 : 83;
            rig_weight w = make_weight(encodings[e], rows, columns, &state);
            float *out = rig_alloc((size_t)rows * columns * sizeof *out);
            cuda_dequantize_args args = {&w.weight, out, TN_F32, columns, 0, rows};
            assert_int_equal(cuda_dequantize(&args, NULL), TN_OK);
            for (uint32_t n = 0; n < rows; n++)
                for (uint32_t k = 0; k < columns; k++)
                    assert_true(out[n * columns + k] == canonical_stored(&w.enc, w.plane, columns, n, k));
            rig_free(out);
            free_weight(&w);
        }
}

/* The sum that cuda_linear approximates, and the sum of magnitudes that bounds its float32 error. */
static double reference_dot(const rig_weight *w, const uint16_t *x, uint64_t n, double *ret_magnitude)
{
    double sum = 0, magnitude = 0;
    for (uint32_t k = 0; k < w->columns; k++) {
        double product = (double)canonical_stored(&w->enc, (void *const *)w->plane, w->columns, n, k) *
                         (double)float_from_bf16(x[k]);
        sum += product;
        magnitude += fabs(product);
    }
    *ret_magnitude = magnitude;
    return sum;
}

static void check_linear(const tn_enc *enc, uint32_t rows, uint32_t n_rows, uint32_t columns, bool split)
{
    uint32_t state = rows * 31 + columns, stride = (columns + 7) / 8 * 8 + 8;
    rig_weight w = make_weight(*enc, n_rows, columns, &state);
    uint16_t *x = rig_alloc((size_t)rows * stride * 2); /* NaN beyond the columns */
    float *bias = rig_floats(n_rows, 1, &state), *y = rig_alloc((size_t)rows * n_rows * sizeof *y);
    uint64_t partial_floats = split ? (uint64_t)CUDA_K_SLICES * rows * n_rows : 0;
    float *partial = rig_alloc(partial_floats * sizeof *partial);
    cuda_linear_args args = {&w.weight,     x, bias, y, TN_F32, rows, stride, n_rows, split ? partial : NULL,
                             partial_floats};

    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < columns; k++)
            x[r * stride + k] = bf16_from_float(rig_uniform(&state));
    assert_int_equal(cuda_linear(&args, NULL), TN_OK);
    for (uint32_t r = 0; r<rows; r += rows> 20 ? 9 : 1)
        for (uint32_t n = 0; n < n_rows; n++) {
            double magnitude, sum = reference_dot(&w, x + r * stride, n, &magnitude);
            rig_near(y[r * n_rows + n], sum + (double)bias[n], 0, 2e-6 * magnitude + 1e-6);
        }
    rig_free(x), rig_free(bias), rig_free(y), rig_free(partial);
    free_weight(&w);
}

static void test_products_equal_the_reference(void **unused)
{
    (void)unused;
    for (uint32_t e = 0; e < ENCODINGS; e++) {
        shim_seed(e);
        check_linear(&encodings[e], 13, 21, 320, false);
        check_linear(&encodings[e], 17, 53, 147, e % 2);
        if (FEW)
            continue;
        check_linear(&encodings[e], 1, 37, 75, false);
        check_linear(&encodings[e], 5, 16, 832, false);
        check_linear(&encodings[e], 70, 21, 576, e % 2);
    }
}

/* A row's bits must not depend on how many rows stand beside it, nor on the kernel that its batch chooses. */
static void test_products_do_not_depend_on_the_batch(void **unused)
{
    (void)unused;
    enum { ROWS = 66, N = FEW ? 21 : 40, K = FEW ? 320 : 704 };
    for (uint32_t e = 0; e < ENCODINGS; e++) {
        uint32_t state = e;
        rig_weight w = make_weight(encodings[e], N, K, &state);
        uint16_t *x = rig_bf16(ROWS * K, 1, &state);
        float *all = rig_alloc(ROWS * N * sizeof *all), *some = rig_alloc(ROWS * N * sizeof *some);
        float *partial = rig_alloc(CUDA_K_SLICES * ROWS * N * sizeof *partial);
        cuda_linear_args args = {&w.weight, x, NULL, all, TN_F32, ROWS, K, N, NULL, 0};
        const uint32_t counts[] = {17, 8, 1, 9, 16, 64};

        assert_int_equal(cuda_linear(&args, NULL), TN_OK);
        args.y = some;
        for (uint32_t i = 0; i < (FEW ? 2 : sizeof counts / sizeof counts[0]); i++) {
            shim_seed(i);
            args.rows = counts[i];
            args.partial = i % 2 ? NULL : partial;
            args.partial_floats = (uint64_t)CUDA_K_SLICES * ROWS * N;
            args.x = x + (ROWS - counts[i]) * K;
            assert_int_equal(cuda_linear(&args, NULL), TN_OK);
            assert_memory_equal(some, all + (ROWS - counts[i]) * N, counts[i] * N * sizeof *some);
        }
        rig_free(x), rig_free(all), rig_free(some), rig_free(partial);
        free_weight(&w);
    }
}

/* The last rank's part of a vocabulary: fewer rows than its matrix has, which end within a panel. */
static void test_rows_that_pad_a_matrix_are_zero(void **unused)
{
    (void)unused;
    enum { N = 34, PADDED = 64, K = 512 };
    for (uint32_t e = 0; e < ENCODINGS; e++) {
        uint32_t state = e;
        rig_weight w = make_padded(encodings[e], N, PADDED, K, &state);
        uint16_t *x = rig_bf16(K, 1, &state);
        float *y = rig_alloc(PADDED * sizeof *y);
        cuda_linear_args args = {&w.weight, x, NULL, y, TN_F32, 1, K, PADDED, NULL, 0};

        assert_int_equal(cuda_linear(&args, NULL), TN_OK);
        for (uint32_t n = 0; n < PADDED; n++) {
            double magnitude = 0, sum = n < N ? reference_dot(&w, x, n, &magnitude) : 0;
            rig_near(y[n], sum, 0, 2e-6 * magnitude);
        }
        rig_free(x), rig_free(y);
        free_weight(&w);
    }
}

static void test_embedding_reads_quantized_rows(void **unused)
{
    (void)unused;
    uint32_t state = 8;
    int32_t *token = rig_copy((int32_t[]){4, 40, 31}, 3 * sizeof *token);
    rig_weight w = make_weight(encodings[Q4_K], 33, 512, &state);
    float *out = rig_alloc(3 * 512 * sizeof *out);
    cuda_embed_args args = {&w.weight, token, NULL, NULL, NULL, out, TN_F32, 512, 3, 0, 2, 0};
    assert_int_equal(cuda_embed(&args, NULL), TN_OK);
    for (uint32_t t = 0; t < 3; t++)
        for (uint32_t k = 0; k < 512; k++)
            assert_true(out[t * 512 + k] ==
                        (token[t] == 40 ? 0 : 2 * canonical_stored(&w.enc, w.plane, 512, (uint64_t)token[t], k)));
    rig_free(out), rig_free(token);
    free_weight(&w);
}

static void test_encodings_without_a_kernel_are_refused(void **unused)
{
    (void)unused;
    cuda_weight weight;
    cuda_weight_size size;
    const tn_enc refused[] = {
        INT(TN_Q_UNSIGNED, 9, 32, TN_F16, TN_ZERO_NONE),       INT(TN_Q_UNSIGNED, 4, 24, TN_F16, TN_ZERO_NONE),
        INT(TN_Q_UNSIGNED, 1, 32, TN_F16, TN_ZERO_FLOAT),      INT(TN_Q_UNSIGNED, 4, 32, TN_U8, TN_ZERO_NONE),
        {.family = TN_ENC_FLOAT, .qtype = TN_F16, .bits = 16}, {.family = 99, .bits = 4, .group_k = 32},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        assert_int_equal(cuda_weight_layout(&refused[i], 64, 512, &weight, &size), TN_E_UNSUPPORTED);
    assert_int_equal(cuda_weight_layout(&encodings[0], 0, 512, &weight, &size), TN_E_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repacked_weights_keep_every_value),
        cmocka_unit_test(test_products_equal_the_reference),
        cmocka_unit_test(test_products_do_not_depend_on_the_batch),
        cmocka_unit_test(test_rows_that_pad_a_matrix_are_zero),
        cmocka_unit_test(test_embedding_reads_quantized_rows),
        cmocka_unit_test(test_encodings_without_a_kernel_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
