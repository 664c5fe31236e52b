/* test_quantized_families.c: the tiny models of the families with their matrices in every canonical encoding, through
 * the CPU backend against the interpreter: the same logits, the same bits in pieces and beside others, and codes that
 * stay codes in memory.
 *
 * A quantizer of this test's own stands between the checkpoint and the core; its scales are merely the largest of a
 * group. Tolerance: 2e-3 of the largest logit; most of what is measured, below 5e-4, comes from the 16 bits
 * of the rows.
 */
#include "family_case.h"
#include "unit/canonical.h"
#include "unit/cmocka_test.h"

#include "backend.h"
#include "options.h"
#include "tenon/interp.h"

#include <stdlib.h>
#include <string.h>

static const tn_quant_table *plain; /* quant_none */
static tn_enc encoding;             /* of every matrix that can have it */
static float expected[FAMILY_PROMPT * FAMILY_VOCAB], whole[FAMILY_PROMPT * FAMILY_VOCAB];
static float pieces[FAMILY_PROMPT * FAMILY_VOCAB];

/* ---- the quantizer ---- */

static const float uneven_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    return plain->open(source, ret_qmodel, err);
}

static void quant_close(tn_qmodel *qmodel)
{
    plain->close(qmodel);
}

static tn_status quant_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    return plain->shape(qmodel, name, ret_n, ret_k, err);
}

/* The columns of one expert in each layer are in order by chance, the first's or another's. */
static bool is_permuted(const char *name)
{
    return encoding.flags & TN_ENC_PERM_K && !strstr(name, "layers.0.block_sparse_moe.experts.1.") &&
           !strstr(name, "layers.1.block_sparse_moe.experts.0.");
}

static tn_status quant_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    const uint32_t own = encoding.group_n > 1 ? 2 : 1; /* with the scales that rows share, and by rows */
    uint64_t n, k;
    tn_status status = plain->shape(qmodel, name, &n, &k, err);

    if (status != TN_OK || n == 1)
        return status != TN_OK ? status : plain->produces(qmodel, name, index, ret_enc, err);
    if (index >= own)
        return plain->produces(qmodel, name, index - own, ret_enc, err);
    *ret_enc = encoding;
    ret_enc->flags = is_permuted(name) ? TN_ENC_PERM_K : 0;
    ret_enc->group_n = index == 0 ? encoding.group_n : 1;
    return TN_OK;
}

/* 3 is prime to every width here; every matrix gets a permutation of its own. */
static uint32_t input_of(const char *name, uint32_t column, uint64_t columns)
{
    uint32_t shift = 0;

    for (const char *at = name; *at; at++)
        shift += (unsigned char)*at;
    return is_permuted(name) ? (uint32_t)((column * 3 + shift) % columns) : column;
}

static void scalar_store(uint32_t type, uint8_t *plane, uint64_t index, float value)
{
    uint16_t half = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);
    int power;

    if (type == TN_E8M0)
        plane[index] = frexpf(value, &power) > 0 ? (uint8_t)(power + 127) : 0;
    else if (type == TN_F32)
        memcpy(plane + 4 * index, &value, sizeof value);
    else
        memcpy(plane + 2 * index, &half, sizeof half);
}

static uint32_t nearest_code(void *const *plane, float value)
{
    uint32_t best = 0;
    float least = INFINITY;

    for (uint32_t code = 0; code < 1u << encoding.bits; code++) {
        bool nan = encoding.qtype == TN_Q_E4M3 && (code & 0x7f) == 0x7f;
        float distance = nan ? INFINITY : fabsf(canonical_number(&encoding, plane, code) - value);
        best = distance < least ? code : best;
        least = distance < least ? distance : least;
    }
    return best;
}

static float largest_number(void *const *plane)
{
    float most = 0;
    for (uint32_t code = 0; code < 1u << encoding.bits; code++)
        if (encoding.qtype != TN_Q_E4M3 || (code & 0x7f) != 0x7f)
            most = fmaxf(most, fabsf(canonical_number(&encoding, plane, code)));
    return most;
}

typedef struct block {
    const char *name;
    const float *value; /* [rows, columns] */
    uint64_t rows, columns;
    void *const *plane;
} block;

/* Codes and scale of rows [row, row_end) and stored columns [k, k_end), which share scale `group`. */
static void group_encode(const block *b, uint64_t row, uint64_t row_end, uint64_t k, uint64_t k_end, uint64_t group)
{
    uint8_t *codes = b->plane[TN_PLANE_CODES], *scales = b->plane[TN_PLANE_SCALE];
    const uint64_t row_bytes = (b->columns * encoding.bits + 7) / 8;
    float most = 0;

    for (uint64_t r = row; r < row_end; r++)
        for (uint64_t c = k; c < k_end; c++)
            most = fmaxf(most, fabsf(b->value[r * b->columns + input_of(b->name, (uint32_t)c, b->columns)]));
    scalar_store(encoding.scale_type, scales, group, most > 0 ? most / largest_number(b->plane) : 1);
    float scale = canonical_scalar(encoding.scale_type, scales, group);
    for (uint64_t r = row; r < row_end; r++) {
        for (uint64_t c = k; c < k_end; c++) {
            float value = b->value[r * b->columns + input_of(b->name, (uint32_t)c, b->columns)];
            uint32_t code = nearest_code(b->plane, value / scale);
            for (uint64_t bit = c * encoding.bits; code; bit++, code >>= 1)
                codes[r * row_bytes + bit / 8] |= (uint8_t)((code & 1) << bit % 8);
        }
    }
}

static tn_status quant_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    if (enc->family == TN_ENC_FLOAT)
        return plain->transcode(qmodel, name, enc, row0, n_rows, k0, n_k, plane, plane_bytes, err);

    const uint64_t group_n = enc->group_n ? enc->group_n : 1, groups = tn_group_count(n_k, enc->group_k);
    float *value = malloc(n_rows * n_k * sizeof *value);
    const block b = {name, value, n_rows, n_k, plane};
    tn_status status = plain->reference(qmodel, name, row0, n_rows, value, err);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        if (plane_bytes[p])
            memset(plane[p], 0, plane_bytes[p]);
    if (enc->family == TN_ENC_LUT)
        memcpy(plane[TN_PLANE_LUT], uneven_table, sizeof uneven_table);
    for (uint32_t k = 0; enc->flags && k < n_k; k++)
        ((uint32_t *)plane[TN_PLANE_PERM])[k] = input_of(name, k, n_k);
    for (uint64_t row = 0, g = 0; row < n_rows && status == TN_OK; row += group_n, g += groups)
        for (uint64_t k = 0; k < n_k; k += enc->group_k)
            group_encode(&b, row, row + group_n < n_rows ? row + group_n : n_rows, k,
                         k + enc->group_k < n_k ? k + enc->group_k : n_k, g + k / enc->group_k);
    free(value);
    return status;
}

static tn_status quant_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    return plain->reference(qmodel, name, row0, n_rows, ret_rows, err);
}

static const tn_quant_table quantizer = {.struct_size = sizeof quantizer,
                                         .open = quant_open,
                                         .close = quant_close,
                                         .shape = quant_shape,
                                         .produces = quant_produces,
                                         .transcode = quant_transcode,
                                         .reference = quant_reference};

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
    rig_open(rig, path, &quantizer, backend, limits);
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

    encoding = enc;
    encoding.struct_size = sizeof enc;
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
    plain = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    return family_golden_load(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permuted_columns),
        cmocka_unit_test(test_codes_that_are_looked_up),
        cmocka_unit_test(test_e4m3),
        cmocka_unit_test(test_scales_that_rows_share),
    };
    return cmocka_run_group_tests(tests, load, family_golden_drop);
}
