/* test_cuda_formats.c: plugins/cuda_tp with matrices in every canonical encoding that the CPU backend takes: codes stay
 * codes, and logits are the interpreter's, on one rank, two and four, whole and in pieces. On devices, in host memory
 * with plain loops, or with the kernels under the shim.
 *
 * Tolerance: weights are used as they are, so what is off is what test_cuda_families.c says about bfloat16: the median
 * row must be within 2e-2, and the worst of N ranks may be twice as far from the interpreter as one rank's.
 */
#include "cuda/built_plugins.h"
#include "family_quantizer.h"
#include "model/dummy_weights.h"
#include "unit/cmocka_test.h"

#include "tenon/interp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef TOKENS /* of the prompt that are run */
#define TOKENS 60
#endif
#ifndef WORLD_MAX
#define WORLD_MAX 4
#endif
enum { VALUES = FAMILY_PROMPT * FAMILY_VOCAB };
static const double bound = 2e-2;
static float exact[VALUES], found[VALUES], pieces[VALUES];
static double one_rank; /* how far its worst row was off */

/* What four ranks can have an equal part of, and mixtures that choose all experts: a router torn between two makes of a
 * rounding a jump. */
static const char edit[] = "{\"num_attention_heads\": 8, \"num_key_value_heads\": 4, \"head_dim\": 16,"
                           " \"intermediate_size\": 256, \"num_local_experts\": 4, \"num_experts_per_tok\": 4}";

static rig_limits limits_of(uint32_t world, uint32_t kv_dtype)
{
    return (rig_limits){.max_tokens = TOKENS,
                        .max_seqs = 4,
                        .max_outputs = TOKENS,
                        .max_model_len = FAMILY_PROMPT,
                        .world = world,
                        .kv_dtype = kv_dtype,
                        .float_type = TN_BF16,
#ifdef ON_DEVICE
                        .one_device = true,
#endif
                        .dummy = true,
                        .over_dummy = &family_quantizer};
}

static void run_prompt(model_rig *rig, float *logits)
{
    rig_step(rig, &(rig_run){.slot = 0, .count = TOKENS, .token = family_prompt()}, 1, logits);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

typedef struct row_errors {
    double median, worst; /* shares of the largest logit */
} row_errors;

static row_errors compare_rows(void)
{
    double error[TOKENS] = {0}, largest = 0;

    for (int i = 0; i < TOKENS * FAMILY_VOCAB; i++) {
        double difference = fabs((double)found[i] - (double)exact[i]);
        largest = fmax(largest, fabs((double)exact[i]));
        error[i / FAMILY_VOCAB] = isnan(difference) ? INFINITY : fmax(error[i / FAMILY_VOCAB], difference);
    }
    qsort(error, TOKENS, sizeof *error, by_size);
    return (row_errors){error[TOKENS / 2] / largest, error[TOKENS - 1] / largest};
}

static void check_pieces(model_rig *rig)
{
    for (uint32_t at = 0, count; at < TOKENS; at += count) {
        count = at < TOKENS / 8 ? 1 : TOKENS / 3 + 1;
        count = count < TOKENS - at ? count : TOKENS - at;
        rig_step(rig, &(rig_run){2, at, count, family_prompt() + at}, 1, pieces + (size_t)at * FAMILY_VOCAB);
    }
    assert_memory_equal(pieces, found, (size_t)TOKENS * FAMILY_VOCAB * sizeof *pieces);
}

/* Every matrix is in codes of `enc`. */
static void check_codes(const model_rig *rig, const tn_enc *enc)
{
    for (uint32_t id = 0; id < rig->api->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(rig->graph, id, &n, &k);
        if (n > 1 && (rig->enc[id].family != enc->family || rig->enc[id].bits != enc->bits))
            fail_msg("%s became family %u of %u bits", model_graph_weight_name(rig->graph, id), rig->enc[id].family,
                     rig->enc[id].bits);
    }
}

static void check_ranks(const char *name, const char *path, const tn_enc *enc, uint32_t world, uint32_t kv_dtype)
{
    model_rig rig;

    rig_open(&rig, path, NULL, cuda_tp_backend(), limits_of(world, kv_dtype));
    check_codes(&rig, enc);
    run_prompt(&rig, found);
    row_errors rows = compare_rows();
    one_rank = world == 1 ? rows.worst : one_rank;
    print_message("%-8s family %u, %u bits, flags %u, %u ranks: median row %.2g, worst %.2g\n", name, enc->family,
                  enc->bits, enc->flags, world, rows.median, rows.worst);
    if (!(rows.median <= bound && rows.worst <= 2 * fmax(bound, one_rank)))
        fail_msg("%s: the median row is off by %.2g, the worst by %.2g", name, rows.median, rows.worst);
    check_pieces(&rig);
    rig_close(&rig);
}

static void check(tn_enc enc, uint32_t world_max, uint32_t kv_dtype)
{
    static const char *const names[] = {"llama", "phi3", "mixtral"};
    const tn_backend *interp = NULL;
    rig_limits limits = limits_of(1, TN_F32);

    limits.one_device = false;
    family_quantizer_choose(enc);
    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &interp, NULL), TN_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        model_rig rig;

        family_directory_make(names[i], edit, path);
        rig_open(&rig, path, NULL, interp, limits);
        run_prompt(&rig, exact);
        rig_close(&rig);
        for (uint32_t world = 1; world <= world_max && world <= WORLD_MAX; world *= 2)
            check_ranks(names[i], path, &enc, world, kv_dtype);
        family_directory_remove(path);
    }
}

static tn_enc affine(uint32_t qtype, uint32_t bits, uint32_t group_k, uint32_t zero_type)
{
    return (tn_enc){.family = TN_ENC_AFFINE,
                    .qtype = qtype,
                    .bits = bits,
                    .group_k = group_k,
                    .scale_type = TN_F16,
                    .zero_type = zero_type};
}

static void test_permuted_columns(void **state)
{
    (void)state;
    tn_enc enc = affine(TN_Q_SIGNED, 4, 32, TN_ZERO_NONE);
    enc.flags = TN_ENC_PERM_K;
    check(enc, 4, 0);
    enc.bits = 8;
    check(enc, 2, 0);
}

static void test_zeros(void **state)
{
    (void)state;
    check(affine(TN_Q_UNSIGNED, 4, 32, TN_ZERO_POINT), 4, 0); /* AWQ */
    check(affine(TN_Q_UNSIGNED, 3, 32, TN_ZERO_POINT), 2, 0);
    check(affine(TN_Q_UNSIGNED, 7, 32, TN_ZERO_FLOAT), 2, 0);
}

static void test_codes_that_are_looked_up(void **state)
{
    (void)state;
    check((tn_enc){.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 4, .group_k = 32, .scale_type = TN_F16}, 2, 0);
    check((tn_enc){.family = TN_ENC_MX, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_E8M0}, 4, 0);
}

/* One scale a row or a tensor, which ranks cut through; 16 rows that share one; static scales of inputs. */
static void test_e4m3_and_scales_that_rows_share(void **state)
{
    (void)state;
    tn_enc enc = affine(TN_Q_E4M3, 8, 1 << 20, TN_ZERO_NONE);
    enc.scale_type = TN_F32;
    check(enc, 4, 0);
    enc.group_k = 64;
    enc.group_n = 16;
    check(enc, 4, 0);
    enc.qtype = TN_Q_SIGNED;
    enc.act_scheme = TN_INPUT_STATIC;
    enc.act_type = TN_S8;
    check(enc, 2, 0);
}

static void test_a_cache_that_rounds_nothing(void **state)
{
    (void)state;
    check(affine(TN_Q_SIGNED, 8, 32, TN_ZERO_NONE), 2, TN_F32);
}

/* A block of the first matrix: codes and scales of zeros, columns in order. */
static tn_status store(model_rig *rig, tn_model *model, const char *fault, uint32_t *perm, tn_error *err)
{
    static uint8_t codes[1 << 16], scales[1 << 16];
    const void *plane[TN_PLANE_LIMIT] = {codes, scales, NULL, NULL, perm};
    uint64_t bytes[TN_PLANE_LIMIT], n, k;
    uint32_t id = 0;

    for (model_graph_weight_shape(rig->graph, id, &n, &k); n == 1; model_graph_weight_shape(rig->graph, id, &n, &k))
        id++;
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(&rig->enc[id], p, n, k);
        plane[p] = bytes[p] ? plane[p] : NULL;
    }
    assert_true(bytes[TN_PLANE_CODES] <= sizeof codes && bytes[TN_PLANE_SCALE] <= sizeof scales);
    for (uint32_t i = 0; i < k; i++)
        perm[i] = i;
    memset(codes, 0, sizeof codes);
    if (strcmp(fault, "nan") == 0)
        codes[k + 3] = 0xff;
    if (strcmp(fault, "perm") == 0)
        perm[5] = (uint32_t)k;
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .n_rows = n,
                              .n_k = k,
                              .plane = plane,
                              .plane_bytes = bytes};
    return rig->backend->weight(model, id, &planes, err);
}

/* A NaN would be 480 in a product; an order that leads outside the row would be followed. */
static void test_contents_that_kernels_cannot_take_are_refused(void **state)
{
    (void)state;
    tn_enc enc = affine(TN_Q_E4M3, 8, 32, TN_ZERO_NONE);
    uint32_t perm[1024];
    char path[256];
    model_rig rig;
    tn_model *model;
    tn_error err = TN_ERROR_INIT;

    enc.flags = TN_ENC_PERM_K;
    family_quantizer_choose(enc);
    family_directory_make("llama", edit, path);
    rig_open(&rig, path, NULL, cuda_tp_backend(), limits_of(1, 0));
    const tn_compile compile = {.struct_size = sizeof compile,
                                .graph = rig.graph,
                                .api = rig.api,
                                .weight_enc = rig.enc,
                                .weight_enc_stride = sizeof *rig.enc,
                                .max_tokens = 1,
                                .max_seqs = 1,
                                .max_outputs = 1,
                                .max_model_len = FAMILY_PROMPT};
    assert_int_equal(rig.backend->compile(rig.dev, &compile, &model, &err), TN_OK);
    assert_int_equal(store(&rig, model, "nan", perm, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "row 1, column 3 is NaN"));
    assert_int_equal(store(&rig, model, "perm", perm, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "column 5 multiplies input"));
    assert_int_equal(store(&rig, model, "", perm, &err), TN_OK);
    rig.backend->model_free(model);
    rig_close(&rig);
    family_directory_remove(path);
}

static int load(void **state)
{
    family_quantizer_begin(&dummy_weights_table);
    return family_golden_load(state);
}

int main(void)
{
#ifdef ON_DEVICE
    if (!built_device_count())
        return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permuted_columns),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_codes_that_are_looked_up),
        cmocka_unit_test(test_e4m3_and_scales_that_rows_share),
        cmocka_unit_test(test_a_cache_that_rounds_nothing),
        cmocka_unit_test(test_contents_that_kernels_cannot_take_are_refused),
    };
    return cmocka_run_group_tests(tests, load, family_golden_drop);
}
