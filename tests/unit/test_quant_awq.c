/* test_quant_awq.c: AWQ tensors packed here nibble by nibble in both layouts. Genuine checkpoints:
 * tests/reference/test_quant_checkpoints.c.
 */
#include "cmocka_test.h"
#include "quant_config_test.h"
#include "quant_rig.h"

enum { ROWS = 24, COLUMNS = 96, GROUPS_MAX = 12, PADDED_MAX = 16 };

typedef struct sample {
    quant_fake q;
    uint32_t group, groups, padded; /* padded: scales of a gemv row */
    uint32_t code[ROWS][COLUMNS], zero[GROUPS_MAX][ROWS];
    uint16_t scale[GROUPS_MAX][ROWS];
    uint32_t qweight[ROWS * COLUMNS / 8], qzeros[GROUPS_MAX * ROWS];
    uint16_t scales[PADDED_MAX * ROWS];
} sample;

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void fill(sample *s, uint32_t group)
{
    memset(s, 0, sizeof *s);
    s->group = group;
    s->groups = (COLUMNS + group - 1) / group;
    s->padded = (s->groups + 7) / 8 * 8;
    for (uint32_t n = 0; n < ROWS; n++) {
        for (uint32_t k = 0; k < COLUMNS; k++)
            s->code[n][k] = random_below(16);
        for (uint32_t g = 0; g < s->groups; g++) {
            s->zero[g][n] = g == 0 && n < 3 ? n % 2 * 15 : random_below(16); /* 0 and 15 among them */
            s->scale[g][n] = (uint16_t)(0x2000 + random_below(0x1000));
        }
    }
}

static void add(sample *s, const int64_t weight[2], const int64_t zeros[2], const int64_t scales[2])
{
    quant_fake_tensor(&s->q, "m.qweight", TN_DTYPE_I32, 2, weight, s->qweight, (uint64_t)(weight[0] * weight[1] * 4));
    quant_fake_tensor(&s->q, "m.qzeros", TN_DTYPE_I32, 2, zeros, s->qzeros, (uint64_t)(zeros[0] * zeros[1] * 4));
    quant_fake_tensor(&s->q, "m.scales", TN_DTYPE_F16, 2, scales, s->scales, (uint64_t)(scales[0] * scales[1] * 2));
}

static void pack_gemm(sample *s)
{
    static const uint32_t order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (uint32_t c = 0; c < ROWS / 8; c++) {
        for (uint32_t i = 0; i < 8; i++) {
            for (uint32_t k = 0; k < COLUMNS; k++)
                s->qweight[k * ROWS / 8 + c] |= s->code[8 * c + order[i]][k] << (4 * i);
            for (uint32_t g = 0; g < s->groups; g++)
                s->qzeros[g * ROWS / 8 + c] |= s->zero[g][8 * c + order[i]] << (4 * i);
        }
    }
    for (uint32_t g = 0; g < s->groups; g++)
        memcpy(s->scales + (size_t)g * ROWS, s->scale[g], sizeof s->scale[g]);
    add(s, (int64_t[]){COLUMNS, ROWS / 8}, (int64_t[]){s->groups, ROWS / 8}, (int64_t[]){s->groups, ROWS});
}

static void pack_gemv(sample *s)
{
    for (uint32_t n = 0; n < ROWS; n++) {
        for (uint32_t k = 0; k < COLUMNS; k++)
            s->qweight[n * COLUMNS / 8 + k / 8] |= s->code[n][k] << (4 * (k % 8));
        for (uint32_t g = 0; g < s->groups; g++) {
            s->qzeros[n * s->padded / 8 + g / 8] |= s->zero[g][n] << (4 * (g % 8));
            s->scales[n * s->padded + g] = s->scale[g][n];
        }
    }
    add(s, (int64_t[]){ROWS, COLUMNS / 8}, (int64_t[]){ROWS, s->padded / 8}, (int64_t[]){ROWS, s->padded});
}

static const char *config_text(int group, const char *version)
{
    static char text[256];
    snprintf(text, sizeof text,
             "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":%d,\"version\":\"%s\",\"zero_point\":true,"
             "\"modules_to_not_convert\":[\"lm_head\"]}",
             group, version);
    return text;
}

static void check(sample *s, const char *config)
{
    static float row[COLUMNS];
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};
    uint64_t rows, columns;

    if (quant_fake_open(&s->q, config, &qmodel, &err) != TN_OK ||
        quant_table()->produces(qmodel, "m.weight", 0, &enc, &err) != TN_OK)
        fail_msg("%s: %s", config, err.msg);
    assert_int_equal(quant_table()->shape(qmodel, "m.weight", &rows, &columns, &err), TN_OK);
    assert_int_equal(rows, ROWS);
    assert_int_equal(columns, COLUMNS);
    assert_int_equal(enc.zero_type, TN_ZERO_POINT);
    assert_int_equal(enc.group_k, s->group);
    for (uint32_t n = 0; n < ROWS; n++) {
        assert_int_equal(quant_table()->reference(qmodel, "m.weight", n, 1, row, &err), TN_OK);
        for (uint32_t k = 0; k < COLUMNS; k++) {
            uint32_t g = k / s->group;
            float expected = float_from_f16(s->scale[g][n]) * (float)((int)s->code[n][k] - (int)s->zero[g][n]);
            if (row[k] != expected)
                fail_msg("%s: [%u, %u] is %a, not %a", config, n, k, (double)row[k], (double)expected);
        }
    }
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
    quant_table()->close(qmodel);
}

static void test_both_layouts_in_several_group_sizes(void **state)
{
    (void)state;
    static sample s;
    static const int groups[][2] = {{8, 8}, {32, 32}, {96, -1}, {96, 128}, {40, 40}};
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        fill(&s, (uint32_t)groups[i][0]);
        pack_gemm(&s);
        check(&s, config_text(groups[i][1], i % 2 ? "GEMM" : "gemm"));
        fill(&s, (uint32_t)groups[i][0]);
        pack_gemv(&s);
        check(&s, config_text(groups[i][1], i % 2 ? "GEMV" : "gemv"));
    }
}

static void test_the_writers_own_names_are_read(void **state)
{
    (void)state;
    static sample s;
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};
    fill(&s, 32);
    pack_gemm(&s);
    check(&s, "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":32}");
    fake_set(&s.q.fake, "config.json", fake_string("{}"));
    fake_set(&s.q.fake, "quant_config.json", fake_string("{\"w_bit\":4,\"q_group_size\":32,\"version\":\"GEMM\"}"));
    assert_int_equal(quant_table()->open(fake_source_view(&s.q.fake, "safetensors"), &qmodel, NULL), TN_OK);
    assert_int_equal(quant_table()->produces(qmodel, "m.weight", 0, &enc, NULL), TN_OK);
    assert_int_equal(enc.group_k, 32);
    quant_table()->close(qmodel);
}

static void test_the_layout_is_read_in_every_spelling(void **state)
{
    (void)state;
    static sample s;
    fill(&s, 32);
    pack_gemv(&s);
    check(&s, "{\"quant_method\":\"awq\",\"group_size\":32,\"format\":\"gemv\"}");
    check(&s, "{\"quant_method\":\"awq\",\"group_size\":32,\"checkpoint_format\":\"gemv\"}");
    check(&s, "{\"quant_method\":\"awq\",\"group_size\":32,\"format\":\"gemm\",\"version\":\"gemv\"}");
}

static void test_hostile_tensors_are_refused(void **state)
{
    (void)state;
    static sample s;
    static const char *const names[] = {"m.qweight", "m.qzeros", "m.scales"};
    for (uint32_t layout = 0; layout < 2; layout++) {
        fill(&s, 32);
        (layout ? pack_gemv : pack_gemm)(&s);
        const char *version = layout ? "gemv" : "gemm";
        for (size_t i = 1; i < 3; i++) {
            quant_fake_find(&s.q, names[i])->name = "other";
            assert_weight_refused(&s.q, config_text(32, version), "m.weight", "is missing");
            quant_fake_find(&s.q, "other")->name = names[i];
        }
        assert_weight_refused(&s.q, config_text(8, version), "m.weight", "96 inputs in groups of 8");
        for (size_t i = 0; i < 3; i++) {
            tn_tensor_src *tensor = quant_fake_find(&s.q, names[i]), kept = *tensor;
            tensor->dtype = TN_DTYPE_I64;
            assert_weight_refused(&s.q, config_text(32, version), "m.weight", names[i]);
            *tensor = kept;
            tensor->dim[0] -= i || layout ? 1 : 32; /* 95 inputs fill as many groups as 96 */
            assert_weight_refused(&s.q, config_text(32, version), "m.weight", i || layout ? "must be" : "m.qzeros");
            *tensor = kept;
            tensor->rank = 1;
            assert_weight_refused(&s.q, config_text(32, version), "m.weight", names[i]);
            *tensor = kept;
            tensor->dim[0] = tensor->dim[1] = INT64_MAX;
            assert_weight_refused(&s.q, config_text(32, version), "m.weight", "tensor 'm.");
            *tensor = kept;
        }
    }
}

static void test_configs_that_cannot_be_honoured_are_refused(void **state)
{
    (void)state;
    static quant_fake q;
    memset(&q, 0, sizeof q);
    assert_open_refused(&q, "{\"quant_method\":\"gptq\"}", TN_E_NOT_FOUND, "gptq");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"bits\":8}", TN_E_UNSUPPORTED, "8 bits");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"version\":\"gemv_fast\"}", TN_E_UNSUPPORTED, "gemv_fast");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"format\":\"llm-awq\"}", TN_E_UNSUPPORTED, "llm-awq");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"version\":7}", TN_E_CORRUPT, "version is not a string");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"group_size\":0}", TN_E_CORRUPT, "group_size is 0");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"group_size\":-3}", TN_E_CORRUPT, "group_size is -3");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"zero_point\":\"yes\"}", TN_E_CORRUPT, "zero_point");
    assert_open_refused(&q, "{\"quant_method\":\"awq\",\"modules_to_not_convert\":{}}", TN_E_CORRUPT, "not a list");
    fake_set(&q.fake, "quant_config.json", fake_string("[]"));
    assert_open_refused(&q, "{\"quant_method\":\"awq\"}", TN_E_CORRUPT, "quant_config.json is not a JSON object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_layouts_in_several_group_sizes),
        cmocka_unit_test(test_the_writers_own_names_are_read),
        cmocka_unit_test(test_the_layout_is_read_in_every_spelling),
        cmocka_unit_test(test_hostile_tensors_are_refused),
        cmocka_unit_test(test_configs_that_cannot_be_honoured_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
