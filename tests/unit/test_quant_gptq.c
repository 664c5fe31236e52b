/* test_quant_gptq.c: GPTQ tensors packed here, field by field, in every width, order and zero convention. Genuine
 * checkpoints: tests/reference/test_quant_checkpoints.c.
 */
#include "cmocka_test.h"
#include "quant_config_test.h"
#include "quant_rig.h"

enum { ROWS = 32, COLUMNS_MAX = 96, GROUPS_MAX = 8 };

/* A weight in the clear, and packed. */
typedef struct sample {
    quant_fake q;
    uint32_t bits, columns, group, groups;
    uint32_t code[ROWS][COLUMNS_MAX], zero[GROUPS_MAX][ROWS];
    uint16_t scale[GROUPS_MAX][ROWS];
    int32_t g_idx[COLUMNS_MAX];
    uint32_t qweight[COLUMNS_MAX / 4 * ROWS], qzeros[GROUPS_MAX * ROWS / 4];
} sample;

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void put_field(uint32_t *words, uint64_t stride, uint64_t index, uint32_t bits, uint32_t value)
{
    for (uint32_t i = 0; i < bits; i++) {
        uint64_t bit = index * bits + i;
        words[bit / 32 * stride] |= ((value >> i) & 1u) << (bit % 32);
    }
}

/* Columns in the order 0 7 14 ... (mod K), cut into groups: act-order, as a writer would leave it. */
static void fill_g_idx(sample *s, bool act_order)
{
    for (uint32_t at = 0; at < s->columns; at++) {
        uint32_t k = act_order ? at * 7 % s->columns : at;
        s->g_idx[k] = (int32_t)(at / s->group);
    }
}

static void fill(sample *s, uint32_t bits, uint32_t columns, uint32_t group, bool act_order, bool symmetric)
{
    memset(s, 0, sizeof *s);
    s->bits = bits;
    s->columns = columns;
    s->group = group;
    s->groups = (columns + group - 1) / group;
    assert_true(s->groups <= GROUPS_MAX && columns % 7 != 0);
    for (uint32_t n = 0; n < ROWS; n++) {
        for (uint32_t k = 0; k < columns; k++)
            put_field(s->qweight + n, ROWS, k, bits, s->code[n][k] = random_below(1u << bits));
        for (uint32_t g = 0; g < s->groups; g++) {
            s->zero[g][n] = symmetric ? 1u << (bits - 1) : random_below(1u << bits);
            s->scale[g][n] = (uint16_t)(0x2000 + random_below(0x1000));
        }
    }
    fill_g_idx(s, act_order);
}

/* v1 minus one as gptqmodel does it: whole words, but fields for 3 bits. */
static void pack_zeros(sample *s, bool v1)
{
    uint64_t width = ROWS * s->bits / 32;

    memset(s->qzeros, 0, sizeof s->qzeros);
    for (uint32_t g = 0; g < s->groups; g++)
        for (uint32_t n = 0; n < ROWS; n++)
            put_field(s->qzeros + g * width, 1, n, s->bits,
                      v1 && s->bits == 3 ? (s->zero[g][n] + 7) % 8 : s->zero[g][n]);
    if (v1 && s->bits != 3)
        for (uint64_t i = 0; i < s->groups * width; i++)
            s->qzeros[i] -= s->bits == 2 ? 0x55555555u : s->bits == 4 ? 0x11111111u : 0x01010101u;
}

static void add_tensors(sample *s)
{
    int64_t words = (s->columns * s->bits + 31) / 32, zero_words = ROWS * s->bits / 32, groups = s->groups;
    quant_fake_tensor(&s->q, "m.qweight", TN_DTYPE_I32, 2, (int64_t[]){words, ROWS}, s->qweight,
                      (uint64_t)words * ROWS * 4);
    quant_fake_tensor(&s->q, "m.qzeros", TN_DTYPE_I32, 2, (int64_t[]){groups, zero_words}, s->qzeros,
                      (uint64_t)(groups * zero_words * 4));
    quant_fake_tensor(&s->q, "m.scales", TN_DTYPE_F16, 2, (int64_t[]){groups, ROWS}, s->scale,
                      (uint64_t)groups * ROWS * 2);
    quant_fake_tensor(&s->q, "m.g_idx", TN_DTYPE_I32, 1, (int64_t[]){s->columns}, s->g_idx, s->columns * 4);
}

static const char *config_text(const sample *s, int group, const char *format, bool symmetric, bool desc_act)
{
    static char text[256];
    snprintf(text, sizeof text,
             "{\"quant_method\":\"gptq\",\"bits\":%u,\"group_size\":%d,\"checkpoint_format\":\"%s\",\"sym\":%s,"
             "\"desc_act\":%s}",
             s->bits, group, format, symmetric ? "true" : "false", desc_act ? "true" : "false");
    return text;
}

static void check(sample *s, const char *config, bool permuted)
{
    static float row[COLUMNS_MAX];
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};

    if (quant_fake_open(&s->q, config, &qmodel, &err) != TN_OK)
        fail_msg("%s", err.msg);
    if (quant_table()->produces(qmodel, "m.weight", 0, &enc, &err) != TN_OK)
        fail_msg("%s: %s", config, err.msg);
    assert_int_equal(enc.family, TN_ENC_AFFINE);
    assert_int_equal(enc.bits, s->bits);
    assert_int_equal(enc.flags, permuted ? TN_ENC_PERM_K : 0);
    for (uint32_t n = 0; n < ROWS; n++) {
        assert_int_equal(quant_table()->reference(qmodel, "m.weight", n, 1, row, &err), TN_OK);
        for (uint32_t k = 0; k < s->columns; k++) {
            int g = s->g_idx[k];
            float expected = float_from_f16(s->scale[g][n]) * (float)((int)s->code[n][k] - (int)s->zero[g][n]);
            if (row[k] != expected)
                fail_msg("%s: [%u, %u] is %a, not %a", config, n, k, (double)row[k], (double)expected);
        }
    }
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
    quant_table()->close(qmodel);
}

static void test_every_width_order_and_zero_convention(void **state)
{
    (void)state;
    static const uint32_t widths[] = {2, 3, 4, 8};
    static sample s;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t variant = 0; variant < 4; variant++) {
            bool v1 = variant & 1, act_order = variant & 2;
            fill(&s, widths[i], 96, 16, act_order, false);
            pack_zeros(&s, v1);
            add_tensors(&s);
            check(&s, config_text(&s, 16, v1 ? "gptq" : "gptq_v2", false, act_order), act_order);
        }
    }
}

static void test_group_sizes(void **state)
{
    (void)state;
    static sample s;
    static const struct {
        uint32_t columns, group;
        int stated;
    } cases[] = {{64, 64, -1}, {64, 64, 128}, {64, 24, 24}, {88, 32, 32}, {96, 64, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t act_order = 0; act_order < 2; act_order++) {
            fill(&s, 4, cases[i].columns, cases[i].group, act_order, false);
            pack_zeros(&s, true);
            add_tensors(&s);
            check(&s, config_text(&s, cases[i].stated, "gptq", false, act_order), act_order && s.groups > 1);
        }
    }
}

static void test_symmetric_zeros_tell_the_convention_whatever_the_label(void **state)
{
    (void)state;
    static const uint32_t widths[] = {2, 3, 4, 8};
    static sample s;
    for (uint32_t i = 0; i < 4; i++) {
        for (uint32_t v1 = 0; v1 < 2; v1++) {
            fill(&s, widths[i], 64, 32, false, true);
            pack_zeros(&s, v1);
            add_tensors(&s);
            check(&s, config_text(&s, 32, "gptq", true, false), false);
            check(&s, config_text(&s, 32, "gptq_v2", true, false), false);
        }
    }
}

static void test_zero_points_of_zero_in_v1(void **state)
{
    (void)state;
    static sample s;
    fill(&s, 4, 64, 32, false, false);
    for (uint32_t n = 0; n < ROWS; n++)
        s.zero[0][n] = n % 3 ? 0 : 15;
    pack_zeros(&s, true);
    add_tensors(&s);
    check(&s, config_text(&s, 32, "gptq", false, false), false);
}

static void test_g_idx_may_be_absent_when_inputs_are_in_order(void **state)
{
    (void)state;
    static sample s;
    fill(&s, 3, 96, 32, false, false);
    pack_zeros(&s, false);
    add_tensors(&s);
    quant_fake_find(&s.q, "m.g_idx")->name = "other";
    check(&s, config_text(&s, 32, "gptq_v2", false, false), false);
    assert_weight_refused(&s.q, config_text(&s, 32, "gptq_v2", false, true), "m.weight", "'g_idx' is missing");
}

static void test_hostile_tensors_are_refused(void **state)
{
    (void)state;
    static sample s;
    fill(&s, 4, 64, 32, false, false);
    pack_zeros(&s, false);
    add_tensors(&s);
    const char *config = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"sym\":false}";
    quant_fake_find(&s.q, "m.qzeros")->name = "other";
    assert_weight_refused(&s.q, config, "m.weight", "'qzeros' is missing");
    quant_fake_find(&s.q, "other")->name = "m.qzeros";
    quant_fake_find(&s.q, "m.scales")->name = "other";
    assert_weight_refused(&s.q, config, "m.weight", "'scales' is missing");
    quant_fake_find(&s.q, "other")->name = "m.scales";

    assert_weight_refused(&s.q, "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":16}", "m.weight",
                          "64 inputs in groups of 16");
    assert_weight_refused(&s.q, "{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":32}", "m.weight", "bits");
    static const int32_t bad[] = {2, -1, INT32_MIN, 1};
    for (size_t i = 0; i < 4; i++) {
        s.g_idx[5] = bad[i];
        assert_weight_refused(&s.q, config, "m.weight", i < 3 ? "there are 2 groups" : "into group 0");
    }
    s.g_idx[5] = 0;

    static const char *const names[] = {"m.qweight", "m.qzeros", "m.scales", "m.g_idx"};
    for (size_t i = 0; i < 4; i++) {
        tn_tensor_src *tensor = quant_fake_find(&s.q, names[i]), kept = *tensor;
        tensor->dtype = TN_DTYPE_I64;
        assert_weight_refused(&s.q, config, "m.weight", names[i]);
        *tensor = kept;
        tensor->dim[0] -= i == 3 ? 8 : 1; /* seven bits of a word may go unused */
        assert_weight_refused(&s.q, config, "m.weight", i == 3 ? "m.qweight" : i == 0 ? "m.qweight" : names[i]);
        *tensor = kept;
        tensor->rank = 3;
        assert_weight_refused(&s.q, config, "m.weight", names[i]);
        *tensor = kept;
    }
    quant_fake_find(&s.q, "m.qweight")->dim[0] = INT64_MAX;
    assert_weight_refused(&s.q, config, "m.weight", "m.qweight");
}

static void test_configs_that_cannot_be_honoured_are_refused(void **state)
{
    (void)state;
    static quant_fake q;
    memset(&q, 0, sizeof q);
    assert_open_refused(&q, "{\"quant_method\":\"awq\"}", TN_E_NOT_FOUND, "awq");
    assert_open_refused(&q, "{}", TN_E_NOT_FOUND, "quantization_config has no quant_method");
    assert_open_refused(&q, "7", TN_E_NOT_FOUND, "quantization_config has no quant_method");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"bits\":5}", TN_E_UNSUPPORTED, "5 bits");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"bits\":\"4\"}", TN_E_CORRUPT, "bits is not an integer");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"group_size\":0}", TN_E_CORRUPT, "group_size is 0");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"group_size\":-2}", TN_E_CORRUPT, "group_size is -2");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"group_size\":99999999999}", TN_E_CORRUPT, "group_size");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"sym\":1}", TN_E_CORRUPT, "neither true nor false");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"checkpoint_format\":\"marlin\"}", TN_E_UNSUPPORTED, "marlin");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"pack_dtype\":\"int8\"}", TN_E_UNSUPPORTED, "int8");
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"modules_to_not_convert\":[1]}", TN_E_CORRUPT, "[0]");
    assert_open_refused(&q, "{\"quant_method\":", TN_E_CORRUPT, "bad JSON");
    fake_set(&q.fake, "quantize_config.json", fake_string("{\"bits\":4,\"group_size\":64}"));
    assert_open_refused(&q, "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":128}", TN_E_CORRUPT,
                        "contradict each other on 'group_size'");
}

static void test_older_writers_have_a_file_of_their_own(void **state)
{
    (void)state;
    static sample s;
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};
    fill(&s, 8, 64, 16, false, false);
    pack_zeros(&s, true);
    add_tensors(&s);
    fake_set(&s.q.fake, "config.json", fake_string("{\"model_type\":\"llama\"}"));
    fake_set(&s.q.fake, "quantize_config.json", fake_string("{\"bits\":8,\"group_size\":16,\"sym\":false}"));
    assert_int_equal(quant_table()->open(fake_source_view(&s.q.fake, "safetensors"), &qmodel, NULL), TN_OK);
    assert_int_equal(quant_table()->produces(qmodel, "m.weight", 0, &enc, NULL), TN_OK);
    assert_int_equal(enc.group_k, 16);
    quant_table()->close(qmodel);
}

static void test_plain_weights_pass_and_absent_ones_are_named(void **state)
{
    (void)state;
    static sample s;
    static const uint16_t halves[8] = {0x3c00};
    tn_qmodel *qmodel = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_enc enc = {.struct_size = sizeof enc};
    fill(&s, 4, 64, 32, false, false);
    add_tensors(&s);
    quant_fake_tensor(&s.q, "norm.weight", TN_DTYPE_F16, 1, (int64_t[]){8}, halves, 16);
    assert_int_equal(quant_fake_open(&s.q, config_text(&s, 32, "gptq", false, false), &qmodel, &err), TN_OK);
    assert_int_equal(quant_table()->produces(qmodel, "norm.weight", 1, &enc, &err), TN_OK);
    assert_int_equal(enc.qtype, TN_F32);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "norm.weight"), 3);
    assert_int_equal(quant_table()->produces(qmodel, "absent.weight", 0, &enc, &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "absent.weight"));
    assert_string_equal(quant_table()->formats(), "gptq");
    quant_table()->close(qmodel);
}

static void test_bad_blocks_are_refused(void **state)
{
    (void)state;
    static sample s;
    tn_qmodel *qmodel = NULL;
    tn_error err = TN_ERROR_INIT;
    tn_enc enc = {.struct_size = sizeof enc};
    rig_planes planes;
    float row[COLUMNS_MAX];
    static const uint64_t blocks[][4] = {{ROWS, 1, 0, 96}, {0, ROWS + 1, 0, 96}, {0, 1, 0, 64}, {0, 1, 32, 64}};

    fill(&s, 4, 96, 32, true, false);
    pack_zeros(&s, false);
    add_tensors(&s);
    assert_int_equal(quant_fake_open(&s.q, config_text(&s, 32, "gptq_v2", false, true), &qmodel, &err), TN_OK);
    assert_int_equal(quant_table()->produces(qmodel, "m.weight", 0, &enc, &err), TN_OK);
    for (size_t i = 0; i < 4; i++) { /* the last two cut the row of a permuted weight */
        const uint64_t *b = blocks[i];
        assert_int_equal(rig_transcode(quant_table(), qmodel, "m.weight", &enc, b[0], b[1], b[2], b[3], &planes, &err),
                         TN_E_ARGUMENT);
        rig_planes_free(&planes);
    }
    enc.bits = 3;
    assert_int_equal(rig_transcode(quant_table(), qmodel, "m.weight", &enc, 0, 1, 0, 96, &planes, &err), TN_E_ARGUMENT);
    rig_planes_free(&planes);
    assert_int_equal(quant_table()->reference(qmodel, "m.weight", ROWS, 1, row, &err), TN_E_ARGUMENT);
    quant_table()->close(qmodel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_width_order_and_zero_convention),
        cmocka_unit_test(test_group_sizes),
        cmocka_unit_test(test_symmetric_zeros_tell_the_convention_whatever_the_label),
        cmocka_unit_test(test_zero_points_of_zero_in_v1),
        cmocka_unit_test(test_g_idx_may_be_absent_when_inputs_are_in_order),
        cmocka_unit_test(test_hostile_tensors_are_refused),
        cmocka_unit_test(test_configs_that_cannot_be_honoured_are_refused),
        cmocka_unit_test(test_older_writers_have_a_file_of_their_own),
        cmocka_unit_test(test_plain_weights_pass_and_absent_ones_are_named),
        cmocka_unit_test(test_bad_blocks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
