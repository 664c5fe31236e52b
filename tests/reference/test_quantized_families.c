/* test_quantized_families.c: the tiny models of the families with their matrices in every canonical encoding, through
 * the CPU backend against the interpreter: the same logits, the same bits in pieces and beside others, and codes that
 * stay codes in memory.
 *
 * Tolerance: 2e-3 of the largest logit; most of what is measured, below 5e-4, comes from the 16 bits
 * of the rows.
 */
#include "family_quantizer.h"
#include "unit/cmocka_test.h"

#include "backend.h"
#include "options.h"
#include "tenon/interp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float expected[FAMILY_PROMPT * FAMILY_VOCAB], whole[FAMILY_PROMPT * FAMILY_VOCAB];
static float pieces[FAMILY_PROMPT * FAMILY_VOCAB];

/* ---- one encoding ---- */

static const char *isa;

static const char *isa_setting(const tn_host *host, const char *key)
{
    (void)host;
    return strcmp(key, "isa") == 0 ? isa : NULL;
}

/* False if this machine lacks the family. */
static bool choose_isa(const char *name)
{
    static const tn_host host = {.struct_size = sizeof host, .config = isa_setting};
    isa = name;
    return options_read(&host, NULL) == TN_OK;
}

static void open_model(model_rig *rig, const char *path, const tn_backend *backend)
{
    rig_limits limits = {.max_tokens = FAMILY_PROMPT,
                         .max_seqs = 4,
                         .max_outputs = FAMILY_PROMPT,
                         .max_model_len = FAMILY_PROMPT,
                         .kv_dtype = TN_F32};
    rig_open(rig, path, &family_quantizer, backend, limits);
}

/* Every matrix keeps the encoding, though the graph takes some apart and stacks others, and the memory plan counts
 * their codes as such. */
static void check_plan(const model_rig *rig)
{
    uint32_t matrices = 0, quantized;

    for (uint32_t id = 0; id < rig->api->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(rig->graph, id, &n, &k);
        matrices += n > 1;
    }
    assert_true(rig->plan.weights <= rig_weight_bytes_max(rig, &quantized));
    assert_int_equal(quantized, matrices);
}

static double difference(const float *a, const float *b)
{
    double worst = 0, largest = 0;

    for (int i = 0; i < FAMILY_PROMPT * FAMILY_VOCAB; i++) {
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        largest = fmax(largest, fabs((double)b[i]));
        if (isnan(a[i]))
            return NAN;
    }
    return worst / largest;
}

/* Single tokens, a chunk that no kernel's height divides, and three sequences at once give the bits of one batch. */
static void check_pieces(model_rig *rig)
{
    const int32_t *prompt = family_prompt();
    const rig_run runs[] = {{1, 0, 60, prompt}, {2, 0, 50, prompt + 200}, {3, 0, 90, prompt}};

    for (uint32_t at = 0, count; at < FAMILY_PROMPT; at += count) {
        count = at < 11 ? 1 : at < 40 ? 5 : FAMILY_PROMPT - at < 71 ? FAMILY_PROMPT - at : 71;
        rig_step(rig, &(rig_run){2, at, count, prompt + at}, 1, pieces + (size_t)at * FAMILY_VOCAB);
    }
    assert_memory_equal(whole, pieces, sizeof whole);
    rig_step(rig, runs, 3, pieces);
    assert_memory_equal(whole, pieces, 60 * FAMILY_VOCAB * sizeof *whole);
    assert_memory_equal(whole, pieces + 110 * FAMILY_VOCAB, 90 * FAMILY_VOCAB * sizeof *whole);
}

static void check_family(const char *name)
{
    static const char *const sets[] = {"portable", "avx2", "avx512", "amx"};
    const tn_backend *interp = NULL;
    char path[256];
    model_rig rig;

    family_directory_make(name, NULL, path);
    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &interp, NULL), TN_OK);
    open_model(&rig, path, interp);
    family_run(&rig, expected);
    rig_close(&rig);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!choose_isa(sets[i]))
            continue;
        open_model(&rig, path, cpu_backend());
        check_plan(&rig);
        family_run(&rig, whole);
        double error = difference(whole, expected);
        print_message("%-10s %-8s %.2g\n", name, isa, error);
        if (!(error <= 2e-3))
            fail_msg("%s on %s: logits differ by %.2g", name, isa, error);
        check_pieces(&rig);
        rig_close(&rig);
    }
    family_directory_remove(path);
}

static void check(tn_enc enc)
{
    static const char *const names[] = {"llama", "phi3", "gemma2", "mixtral"};

    family_quantizer_choose(enc);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_family(names[i]);
}

static void test_permuted_columns(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE,
                  .qtype = TN_Q_SIGNED,
                  .bits = 4,
                  .group_k = 16,
                  .scale_type = TN_F16,
                  .flags = TN_ENC_PERM_K};
    check(enc);
    enc.bits = 8;
    enc.group_k = 32;
    check(enc);
}

/* By a code, as AWQ and GPTQ have it, and by a float, as Q4_1 has it. */
static void test_zeros(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE,
                  .qtype = TN_Q_UNSIGNED,
                  .bits = 4,
                  .group_k = 32,
                  .scale_type = TN_F16,
                  .zero_type = TN_ZERO_POINT};
    check(enc);
    enc.zero_type = TN_ZERO_FLOAT;
    enc.bits = 7;
    check(enc);
}

static void test_codes_that_are_looked_up(void **state)
{
    (void)state;
    check((tn_enc){.family = TN_ENC_LUT, .qtype = TN_F32, .bits = 4, .group_k = 32, .scale_type = TN_F16});
    check((tn_enc){.family = TN_ENC_MX, .qtype = TN_Q_E2M1, .bits = 4, .group_k = 32, .scale_type = TN_E8M0});
}

static void test_e4m3(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE, .qtype = TN_Q_E4M3, .bits = 8, .group_k = 64, .scale_type = TN_F32};
    check(enc);
    enc.group_k = 32;
    enc.group_n = 16;
    enc.flags = TN_ENC_PERM_K;
    check(enc);
}

/* By blocks of rows, and one for a tensor: parts of it have rows of their own, and inputs are scaled by the part. */
static void test_scales_that_rows_share(void **state)
{
    (void)state;
    tn_enc enc = {.family = TN_ENC_AFFINE,
                  .qtype = TN_Q_SIGNED,
                  .bits = 8,
                  .group_k = 64,
                  .group_n = 8,
                  .scale_type = TN_F32,
                  .act_scheme = TN_INPUT_TOKEN,
                  .act_type = TN_S8};
    check(enc);
    enc.group_n = 1 << 20;
    enc.act_scheme = TN_INPUT_STATIC;
    check(enc);
}

static int load(void **state)
{
    family_quantizer_begin(tn_plugin_entry()->get_interface(TN_QUANT_ID));
    return family_golden_load(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permuted_columns),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_codes_that_are_looked_up),
        cmocka_unit_test(test_e4m3),
        cmocka_unit_test(test_scales_that_rows_share),
    };
    return cmocka_run_group_tests(tests, load, family_golden_drop);
}
