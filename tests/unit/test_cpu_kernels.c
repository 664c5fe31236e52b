/* test_cpu_kernels.c: the matrix products of every kernel family that this machine has, against plain loops at odd
 * sizes, against each other to the bit, and row by row: a row's bits do not depend on the rows beside it.
 */
#include "canonical.h"
#include "cmocka_test.h"
#include "family_choice.h"
#include "program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 43, K = 1379, ROWS = 37, PANELS = (N + LANES - 1) / LANES, STRIDE = PANELS * LANES };
enum { TILE = (ROWS + TILE_ROWS) * STRIDE };

static const char *const family_names[] = {"portable", "avx2", "avx512", "amx"};
enum { FAMILIES = sizeof family_names / sizeof *family_names };

static uint64_t random_state;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((random_state >> 33) % below);
}

static float draw_float(float range)
{
    return ((float)draw(1 << 20) / (float)(1 << 19) - 1.0f) * range;
}

static const kernels *family(int index)
{
    const kernels *k;
    return family_choose(family_names[index], &k, NULL) == TN_OK ? k : NULL;
}

/* ---- one weight and its decoded values ---- */

typedef struct subject {
    weight w;
    float *value; /* [N, K] */
} subject;

static void *aligned(uint64_t bytes)
{
    uint64_t size = (bytes + 63) / 64 * 64;
    void *p = aligned_alloc(64, size);
    assert_non_null(p);
    return memset(p, 0, size);
}

static void fill_scalars(uint8_t *plane, uint64_t bytes, uint32_t type)
{
    for (uint64_t i = 0; i < bytes; i += tn_scalar_bytes(type)) {
        uint16_t half = f16_from_float(0.002f + (float)draw(1000) * 1e-5f);
        uint16_t brain = bf16_from_float(draw_float(0.05f));
        float wide = draw_float(0.05f);
        if (type == TN_F16)
            memcpy(plane + i, &half, 2);
        else if (type == TN_BF16)
            memcpy(plane + i, &brain, 2);
        else if (type == TN_F32)
            memcpy(plane + i, &wide, 4);
        else if (type == TN_E8M0)
            plane[i] = (uint8_t)(draw(8) ? 110 + draw(20) : draw(3)); /* the last make subnormal weights */
        else
            plane[i] = (uint8_t)draw(type == TN_S8 ? 256 : 64);
    }
}

/* Inputs in another order, group by group and within them. */
static void fill_permutation(uint32_t *perm)
{
    for (uint32_t k = 0; k < K; k++)
        perm[k] = k * 640 % K; /* has no factor in common with K */
}

/* The values of the planes, element by element, which weight_row gives too. */
static void decode(subject *s, const tn_enc *enc, uint8_t *const *plane)
{
    static float row[K];
    void *planes[TN_PLANE_LIMIT];

    memcpy(planes, plane, sizeof planes);
    s->value = aligned((uint64_t)N * K * sizeof *s->value);
    for (uint32_t n = 0; n < N; n++) {
        for (uint32_t k = 0; k < K; k++) {
            uint32_t input = enc->flags & TN_ENC_PERM_K ? s->w.perm[k] : k;
            s->value[n * K + input] = canonical_stored(enc, planes, K, n, k);
        }
        weight_row(&s->w, n, row);
        for (uint32_t k = 0; k < K; k++)
            assert_true(row[k] == s->value[n * K + k]);
    }
}

static const float uneven_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static subject subject_make(tn_enc enc)
{
    subject s;
    uint8_t *plane[TN_PLANE_LIMIT] = {0};
    uint64_t bytes[TN_PLANE_LIMIT];
    tn_error err = TN_ERROR_INIT;

    enc.struct_size = sizeof enc;
    if (weight_init(&s.w, &enc, N, K, false, "subject", &err) != TN_OK)
        fail_msg("%s", err.msg);
    weight_place(&s.w, aligned(s.w.bytes));
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(&enc, p, N, K);
        plane[p] = bytes[p] ? aligned(bytes[p]) : NULL;
        uint32_t type = p == TN_PLANE_SCALE2                                  ? enc.scale2_type
                        : p == TN_PLANE_MIN && enc.zero_type == TN_ZERO_POINT ? TN_U8
                        : p == TN_PLANE_CODES && enc.family == TN_ENC_FLOAT   ? enc.qtype
                        : p == TN_PLANE_CODES                                 ? TN_S8
                                                                              : enc.scale_type;
        if (p < TN_PLANE_COUNT)
            fill_scalars(plane[p], bytes[p], type);
    }
    for (uint64_t i = 0; enc.qtype == TN_Q_E4M3 && i < bytes[TN_PLANE_CODES]; i++)
        plane[TN_PLANE_CODES][i] = (uint8_t)(plane[TN_PLANE_CODES][i] % 128 == 127 ? 1 : plane[TN_PLANE_CODES][i]);
    if (enc.family == TN_ENC_LUT)
        memcpy(plane[TN_PLANE_LUT], uneven_table, sizeof uneven_table);
    if (enc.flags & TN_ENC_PERM_K)
        fill_permutation((uint32_t *)(void *)plane[TN_PLANE_PERM]);
    for (uint64_t i = 0; enc.zero_type == TN_ZERO_POINT && i < bytes[TN_PLANE_MIN]; i++)
        plane[TN_PLANE_MIN][i] = (uint8_t)(plane[TN_PLANE_MIN][i] & ((1u << enc.bits) - 1));
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .n_rows = N,
                              .n_k = K,
                              .plane = (const void *const *)plane,
                              .plane_bytes = bytes};
    if (weight_store(&s.w, &planes, "subject", &err) != TN_OK)
        fail_msg("%s", err.msg);
    decode(&s, &enc, plane);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(plane[p]);
    return s;
}

static void subject_free(subject *s)
{
    free(s->w.data);
    free(s->value);
}

/* ---- a product as step_linear.c asks for it ---- */

/* Prepared rows as a buffer of the program holds them. */
static quant_rows prepare(const kernels *k, const weight *w, const float *x, uint32_t rows, uint8_t **ret_memory)
{
    const uint32_t k_pad = (K + K_BLOCK - 1) / K_BLOCK * K_BLOCK;
    buffer b = {.form = w->kind == WEIGHT_FLOAT ? FORM_SPLIT
                        : w->affine.block == 16 ? FORM_16
                                                : FORM_32,
                .columns = K,
                .stride = k_pad,
                .rows = (rows + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS};
    if (k->tiles)
        b.tile_stride = (k_pad * (b.form == FORM_SPLIT ? 4 : 2) / 64 | 1) * 64;
    *ret_memory = aligned((uint64_t)b.rows * (k_pad * 2 + k_pad / 16 * 12 + b.tile_stride) + 1024);
    quant_rows q = buffer_rows(&b, *ret_memory);
    for (uint32_t r = 0; r < rows; r++) {
        float *row = aligned(k_pad * sizeof *row);
        memcpy(row, x + (uint64_t)r * K, K * sizeof *row);
        k->quantize_part(row, 0, k_pad, &q, r);
        free(row);
    }
    return q;
}

/* Rows in the order of the weight's columns, as STEP_PERMUTE makes them. */
static float *rows_permuted(const weight *w, const float *x, uint32_t rows)
{
    float *permuted = aligned((uint64_t)rows * K * sizeof *permuted);

    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < K; k++)
            permuted[r * K + k] = x[r * K + (w->perm ? w->perm[k] : k)];
    return permuted;
}

static void multiply(const kernels *k, const weight *w, const float *rows_in, uint32_t rows, float *tile)
{
    kernel_scratch *scratch = aligned(sizeof *scratch);
    float *x = rows_permuted(w, rows_in, rows);

    if (w->kind == WEIGHT_AFFINE || (k->tiles && w->matrix.store >= STORE_BF16)) {
        uint8_t *memory;
        quant_rows q = prepare(k, w, x, rows, &memory);
        if (w->kind == WEIGHT_AFFINE)
            k->linear_affine(&w->affine, 0, PANELS, &q, 0, rows, tile, STRIDE, scratch);
        else
            k->linear_split(&w->matrix, 0, PANELS, &q, 0, rows, tile, STRIDE, scratch);
        free(memory);
    } else {
        k->linear_float(&w->matrix, 0, PANELS, x, K, rows, tile, STRIDE, scratch);
    }
    free(x);
    free(scratch);
}

static float largest(const float *x, uint32_t count)
{
    float most = 0;
    for (uint32_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* Largest difference from a sum in double, over what it may be: half a step of every int16 block (block = 0: none), and
 * a rounding of float32 in 2^-19 of the products' magnitudes. */
static double worst_error(const subject *s, const float *rows, uint32_t block, const float *tile)
{
    float *x = rows_permuted(&s->w, rows, ROWS);
    double worst = 0;

    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t n = 0; n < N; n++) {
            double sum = 0, may = 0, most = (double)largest(s->value + n * K, K), step = 0;
            for (uint32_t i = 0; i < K; i++) {
                uint32_t input = s->w.perm ? s->w.perm[i] : i;
                double w = (double)s->value[n * K + input], v = (double)x[r * K + i];
                if (block && i % block == 0)
                    step = (double)largest(x + r * K + i, K - i < block ? K - i : block) / 32767;
                sum += v * w;
                may += fabs(w) * step * 0.501 + fabs(v) * (fabs(w) + most) * 0x1p-19;
            }
            double error = fabs((double)tile[r * STRIDE + n] - sum) / may;
            worst = error > worst ? error : worst;
        }
    }
    free(x);
    return worst;
}

static void check_row_counts(const kernels *k, const subject *s, const float *x, const float *whole)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15, 16, 17, 31, 33};
    static float tile[TILE];

    for (uint32_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        uint32_t first = ROWS - counts[c];
        multiply(k, &s->w, x + (uint64_t)first * K, counts[c], tile);
        for (uint32_t r = 0; r < counts[c]; r++)
            if (memcmp(tile + r * STRIDE, whole + (first + r) * STRIDE, N * sizeof *tile) != 0)
                fail_msg("%s: row %u of %u differs from the same row among %d", k->name, r, counts[c], ROWS);
    }
}

/* An n x k weight of byte codes and one scale, in memory of its own; the status of storing them. */
static tn_status store_bytes(const tn_enc *enc, uint32_t n, uint32_t k, const uint8_t *codes, float scale,
                             weight *ret_w, tn_error *err)
{
    const void *plane[TN_PLANE_LIMIT] = {codes, &scale};
    const uint64_t bytes[TN_PLANE_LIMIT] = {(uint64_t)n * k, sizeof scale};
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .n_rows = n,
                              .n_k = k,
                              .plane = plane,
                              .plane_bytes = bytes};

    assert_int_equal(weight_init(ret_w, enc, n, k, false, "numbers", NULL), TN_OK);
    weight_place(ret_w, aligned(ret_w->bytes));
    return weight_store(ret_w, &planes, "numbers", err);
}

/* own_bits: a family whose sums may round on their own. */
static void check_encoding(tn_enc enc, const char *own_bits)
{
    static float tile[FAMILIES][TILE], x[ROWS * K];
    subject s = subject_make(enc);
    const float *first = NULL;

    for (int i = 0; i < ROWS * K; i++)
        x[i] = draw_float(draw(50) ? 1.0f : 30.0f);
    for (int f = 0; f < FAMILIES; f++) {
        const kernels *k = family(f);
        if (!k)
            continue;
        multiply(k, &s.w, x, ROWS, tile[f]);
        double error = worst_error(&s, x, s.w.kind == WEIGHT_AFFINE ? s.w.affine.block : 0, tile[f]);
        if (!(error <= 1))
            fail_msg("%s: %u bits, groups of %u: error %.3g of what it may be", k->name, enc.bits, enc.group_k, error);
        check_row_counts(k, &s, x, tile[f]);
        if (own_bits && strcmp(k->name, own_bits) == 0)
            continue;
        for (uint32_t r = 0; first && r < ROWS; r++)
            if (memcmp(first + r * STRIDE, tile[f] + r * STRIDE, N * sizeof *first) != 0)
                fail_msg("%s: %u bits, groups of %u: row %u differs from the portable family's", k->name, enc.bits,
                         enc.group_k, r);
        first = first ? first : tile[f];
    }
    subject_free(&s);
}

static void test_affine_products_of_every_width(void **state)
{
    (void)state;
    for (uint32_t bits = 2; bits <= 8; bits++) {
        for (uint32_t zero = TN_ZERO_NONE; zero <= TN_ZERO_FLOAT; zero++) {
            tn_enc enc = {.family = TN_ENC_AFFINE,
                          .qtype = TN_Q_UNSIGNED,
                          .bits = bits,
                          .group_k = 32,
                          .scale_type = TN_F16,
                          .zero_type = zero};
            check_encoding(enc, NULL);
            enc.qtype = TN_Q_SIGNED;
            check_encoding(enc, NULL);
            enc.group_k = 16;
            check_encoding(enc, NULL);
            enc.group_k = 128;
            enc.scale_type = TN_BF16;
            check_encoding(enc, NULL);
        }
    }
}

static void test_affine_products_with_two_levels_of_scales(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 4,
                  .group_k = 32,
                  .scale_type = TN_U8,
                  .zero_type = TN_ZERO_FLOAT,
                  .group2_k = 256,
                  .scale2_type = TN_F16};
    check_encoding(enc, NULL);
    enc.bits = 6;
    enc.qtype = TN_Q_SIGNED;
    enc.group_k = 16;
    enc.scale_type = TN_S8;
    enc.zero_type = TN_ZERO_NONE;
    check_encoding(enc, NULL);
}

static void test_products_of_codes_that_are_looked_up(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 4, .group_k = 32, .scale_type = TN_F16}; /* IQ4_NL */
    check_encoding(enc, NULL);
    enc.group_k = 16;
    check_encoding(enc, NULL);
    enc.group_k = 32;
    enc.scale_type = TN_S8; /* IQ4_XS */
    enc.group2_k = 256;
    enc.scale2_type = TN_F16;
    check_encoding(enc, NULL);
    enc = (tn_enc){.family = TN_ENC_MX, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_E8M0};
    check_encoding(enc, NULL);
}

static void test_a_table_of_fractions_is_refused(void **state)
{
    (void)state;
    const tn_enc enc = {.struct_size = sizeof enc,
                        .family = TN_ENC_LUT,
                        .qtype = TN_F32,
                        .bits = 4,
                        .group_k = 32,
                        .scale_type = TN_F16};
    static const float fractions[16] = {0, 1, 2, 3.5f};
    static const uint8_t zeros[64];
    const void *plane[TN_PLANE_LIMIT] = {zeros, zeros, [TN_PLANE_LUT] = fractions};
    uint64_t bytes[TN_PLANE_LIMIT];
    weight w;

    assert_int_equal(weight_init(&w, &enc, 1, 32, false, "fractions", NULL), TN_OK);
    weight_place(&w, aligned(w.bytes));
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        bytes[p] = tn_plane_bytes(&enc, p, 1, 32);
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .n_rows = 1,
                              .n_k = 32,
                              .plane = plane,
                              .plane_bytes = bytes};
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(weight_store(&w, &planes, "fractions", &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "3.5"));
    free(w.data);
}

static void test_products_of_scales_that_rows_share(void **state)
{
    (void)state;
    static const uint32_t rows[] = {16, 20, N};
    for (uint32_t i = 0; i < 3; i++) {
        tn_enc enc = {.family = TN_ENC_AFFINE,
                      .qtype = TN_Q_SIGNED,
                      .bits = 8,
                      .group_k = 128,
                      .group_n = rows[i],
                      .scale_type = TN_F32};
        check_encoding(enc, NULL);
        enc.group_k = K;
        enc.zero_type = TN_ZERO_POINT;
        enc.scale_type = TN_BF16;
        check_encoding(enc, NULL);
    }
}

static void test_products_of_e4m3(void **state)
{
    (void)state;
    static const uint32_t groups[] = {K, 2048, 128, 96, 32}, rows[] = {1, 128, 20};
    for (uint32_t i = 0; i < 5; i++) {
        for (uint32_t j = 0; j < 3; j++) {
            tn_enc enc = {.family = TN_ENC_AFFINE,
                          .qtype = TN_Q_E4M3,
                          .bits = 8,
                          .group_k = groups[i],
                          .group_n = rows[j],
                          .scale_type = j ? TN_F32 : TN_BF16};
            check_encoding(enc, "amx");
        }
    }
}

static void test_every_e4m3_number_is_exact(void **state)
{
    (void)state;
    static float x[K] = {[5] = 1}, tile[TILE];
    const tn_enc enc = {.struct_size = sizeof enc,
                        .family = TN_ENC_AFFINE,
                        .qtype = TN_Q_E4M3,
                        .bits = 8,
                        .group_k = K,
                        .group_n = N,
                        .scale_type = TN_F32};
    static uint8_t codes[N * K];

    for (uint32_t first = 0; first < 256; first += N) {
        weight w;
        for (uint32_t n = 0; n < N; n++)
            codes[n * K + 5] = (uint8_t)(first + n) % 128 == 127 ? 0 : (uint8_t)(first + n);
        assert_int_equal(store_bytes(&enc, N, K, codes, 3.0f, &w, NULL), TN_OK);
        for (int f = 0; f < FAMILIES; f++) {
            if (!family(f))
                continue;
            multiply(family(f), &w, x, 1, tile);
            for (uint32_t n = 0; n < N; n++)
                assert_true(tile[n] == 3 * canonical_small_float(codes[n * K + 5], 4, 3));
        }
        free(w.data);
    }
}

static void test_a_weight_that_is_not_a_number_is_refused(void **state)
{
    (void)state;
    const tn_enc enc = {.struct_size = sizeof enc,
                        .family = TN_ENC_AFFINE,
                        .qtype = TN_Q_E4M3,
                        .bits = 8,
                        .group_k = 32,
                        .scale_type = TN_F32};
    static const uint8_t codes[32] = {[7] = 0xff};
    tn_error err = TN_ERROR_INIT;
    weight w;

    assert_int_equal(store_bytes(&enc, 1, 32, codes, 1, &w, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "input 7"));
    free(w.data);
}

static void test_products_with_permuted_columns(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 4,
                  .group_k = 128,
                  .scale_type = TN_F16,
                  .zero_type = TN_ZERO_POINT,
                  .flags = TN_ENC_PERM_K};
    check_encoding(enc, NULL);
    enc.bits = 3;
    check_encoding(enc, NULL);
}

/* Some rows of the planes of a whole weight, with a permutation. */
static tn_status store_part(weight *w, const void *const *whole, const uint32_t *perm, uint64_t row0, uint64_t n_rows)
{
    const void *plane[TN_PLANE_LIMIT] = {[TN_PLANE_PERM] = perm};
    uint64_t bytes[TN_PLANE_LIMIT];

    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(&w->enc, p, n_rows, K);
        if (p < TN_PLANE_COUNT && bytes[p])
            plane[p] = (const uint8_t *)whole[p] + tn_plane_bytes(&w->enc, p, row0, K);
    }
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .row0 = row0,
                              .n_rows = n_rows,
                              .n_k = K,
                              .plane = plane,
                              .plane_bytes = bytes};
    return weight_store(w, &planes, "parts", NULL);
}

static void test_parts_have_their_columns_in_orders_of_their_own(void **state)
{
    (void)state;
    tn_enc enc = {.struct_size = sizeof enc,
                  .family = TN_ENC_AFFINE,
                  .qtype = TN_Q_SIGNED,
                  .bits = 4,
                  .group_k = 32,
                  .scale_type = TN_F16,
                  .flags = TN_ENC_PERM_K | TN_ENC_PARTS,
                  .part_n = 16};
    static uint32_t perm[PANELS][K];
    static float row[K];
    void *plane[TN_PLANE_LIMIT] = {0};
    weight w;

    assert_int_equal(weight_init(&w, &enc, N, K, false, "parts", NULL), TN_OK);
    weight_place(&w, aligned(w.bytes));
    for (uint32_t p = 0; p < 2; p++) {
        plane[p] = aligned(tn_plane_bytes(&enc, p, N, K));
        fill_scalars(plane[p], tn_plane_bytes(&enc, p, N, K), p == TN_PLANE_SCALE ? TN_F16 : TN_S8);
    }
    for (uint32_t k = 0; k < PANELS * K; k++)
        perm[k / K][k % K] = (k % K * 640 + k / K * 11) % K;
    for (uint32_t n = 0; n < N; n += 8) /* two blocks of each part, the last one short */
        assert_int_equal(store_part(&w, (const void *const *)plane, perm[n / 16], n, N - n < 8 ? N - n : 8), TN_OK);
    for (uint32_t n = 0; n < N; n++) {
        assert_memory_equal(weight_perm(&w, n), perm[n / 16], sizeof perm[0]);
        weight_row(&w, n, row);
        for (uint32_t k = 0; k < K; k++)
            assert_true(row[perm[n / 16][k]] == canonical_stored(&enc, plane, K, n, k));
    }
    assert_int_equal(store_part(&w, (const void *const *)plane, perm[0], 8, 16), TN_E_ARGUMENT);
    enc.flags = TN_ENC_PERM_K;
    assert_int_equal(weight_init(&w, &enc, N, K, false, "parts", NULL), TN_E_UNSUPPORTED);
    free(w.data);
    free(plane[TN_PLANE_CODES]);
    free(plane[TN_PLANE_SCALE]);
}

static void test_float_products(void **state)
{
    (void)state;
    static const uint32_t types[] = {TN_F32, TN_F16, TN_BF16};
    for (int i = 0; i < 3; i++)
        check_encoding((tn_enc){.family = TN_ENC_FLOAT, .qtype = types[i], .bits = types[i] == TN_F32 ? 32 : 16},
                       types[i] == TN_BF16 ? "amx" : NULL);
}

static void test_floats_of_another_width_than_their_type_are_refused(void **state)
{
    (void)state;
    static const uint32_t wrong[][2] = {{TN_F32, 16}, {TN_BF16, 0}, {TN_F16, 32}, {TN_Q_E4M3, 8}, {TN_U8, 8}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const tn_enc enc = {.family = TN_ENC_FLOAT, .qtype = wrong[i][0], .bits = wrong[i][1]};
        tn_error err = TN_ERROR_INIT;
        weight w;
        for (int vector = 0; vector < 2; vector++)
            assert_int_equal(weight_init(&w, &enc, 1, 32, vector, "narrow", &err), TN_E_UNSUPPORTED);
        assert_non_null(strstr(err.msg, "narrow: float weights of type"));
    }
}

static void test_a_row_that_is_not_finite_taints_itself_alone(void **state)
{
    (void)state;
    static float x[ROWS * K], clean[TILE], tile[TILE];
    const tn_enc encodings[] = {{.family = TN_ENC_AFFINE,
                                 .qtype = TN_Q_UNSIGNED,
                                 .bits = 4,
                                 .group_k = 32,
                                 .scale_type = TN_F16,
                                 .zero_type = TN_ZERO_FLOAT},
                                {.family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16}};

    for (int e = 0; e < 2; e++) {
        subject s = subject_make(encodings[e]);
        for (int f = 0; f < FAMILIES; f++) {
            const kernels *k = family(f);
            if (!k)
                continue;
            for (int i = 0; i < ROWS * K; i++)
                x[i] = draw_float(1);
            multiply(k, &s.w, x, ROWS, clean);
            x[20 * K + 700] = INFINITY;
            multiply(k, &s.w, x, ROWS, tile);
            for (uint32_t r = 0; r < ROWS; r++) {
                if (r == 20)
                    assert_false(isfinite(tile[r * STRIDE + 5]));
                else
                    assert_memory_equal(tile + r * STRIDE, clean + r * STRIDE, N * sizeof *tile);
            }
        }
        subject_free(&s);
    }
}

/* Of -1 throughout but for the elements at 3 and 9 of its first block. */
static void check_sums(const kernels *k, uint32_t form, float at3, float at9)
{
    float x[2 * K_BLOCK];
    buffer b = {.form = form, .columns = 2 * K_BLOCK, .stride = 2 * K_BLOCK, .rows = TILE_ROWS};
    b.tile_stride = k->tiles ? 3 * 64 : 0;
    uint8_t *memory = aligned(16384);
    quant_rows q = buffer_rows(&b, memory);

    for (int i = 0; i < 2 * K_BLOCK; i++)
        x[i] = -1;
    x[3] = at3;
    x[9] = at9;
    k->quantize_part(x, 0, 2 * K_BLOCK, &q, 0);
    assert_true(isnan(q.scale[0]) && isnan(q.sum[0]) && isfinite(q.scale[q.blocks - 1]));
    for (uint32_t i = 0; i < q.blocks; i++)
        if (q.isum[i] > 0 || q.isum[i] < -(int32_t)q.block * 32767)
            fail_msg("%s: a sum of %d in block %u of %u", k->name, q.isum[i], i, q.block);
    free(memory);
}

static void test_sums_of_codes_stay_in_their_range_where_a_row_is_not_finite(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILIES; f++) {
        for (uint32_t form = FORM_16; family(f) && form <= FORM_32; form++) {
            check_sums(family(f), form, NAN, -1);
            check_sums(family(f), form, INFINITY, -INFINITY);
            check_sums(family(f), form, NAN, INFINITY);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_affine_products_of_every_width),
        cmocka_unit_test(test_affine_products_with_two_levels_of_scales),
        cmocka_unit_test(test_products_of_codes_that_are_looked_up),
        cmocka_unit_test(test_a_table_of_fractions_is_refused),
        cmocka_unit_test(test_products_of_scales_that_rows_share),
        cmocka_unit_test(test_products_of_e4m3),
        cmocka_unit_test(test_every_e4m3_number_is_exact),
        cmocka_unit_test(test_a_weight_that_is_not_a_number_is_refused),
        cmocka_unit_test(test_products_with_permuted_columns),
        cmocka_unit_test(test_parts_have_their_columns_in_orders_of_their_own),
        cmocka_unit_test(test_float_products),
        cmocka_unit_test(test_floats_of_another_width_than_their_type_are_refused),
        cmocka_unit_test(test_a_row_that_is_not_finite_taints_itself_alone),
        cmocka_unit_test(test_sums_of_codes_stay_in_their_range_where_a_row_is_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
