/* test_quant_compressed.c: act-order, static inputs, several schemes in one checkpoint, and what is refused. Values of
 * every format as its library writes it: tests/reference/test_quant_checkpoints.c.
 */
#include "cmocka_test.h"
#include "quant_config_test.h"
#include "quant_rig.h"

enum { ROWS = 8, COLUMNS = 64 };

#define INT4          "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"group\",\"group_size\":16}"
#define INT8          "\"weights\":{\"num_bits\":8,\"type\":\"int\",\"symmetric\":true,\"strategy\":\"channel\"}"
#define UINT8         "\"weights\":{\"num_bits\":8,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"channel\"}"
#define FP8           "\"weights\":{\"num_bits\":8,\"type\":\"float\",\"symmetric\":true,\"strategy\":\"tensor\"}"
#define GROUP(text)   "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"group_0\":{" text "}}}"
#define WEIGHTS(text) GROUP("\"weights\":{" text "}")

static quant_fake q;
static uint8_t bytes[ROWS * COLUMNS];
static uint16_t scales[ROWS * 4];
static int32_t g_idx[COLUMNS];
static int64_t shape[2];

static void start(void)
{
    uint32_t state = 3;
    memset(&q, 0, sizeof q);
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(state >> 24) & 0xbf; /* no NaN among fp8 codes */
    }
    for (size_t i = 0; i < ROWS * 4; i++)
        scales[i] = (uint16_t)(0x2000 + 37 * i);
    for (int k = 0; k < COLUMNS; k++)
        g_idx[k] = k % 4;
    shape[0] = ROWS;
    shape[1] = COLUMNS;
}

static void add(const char *name, uint32_t dtype, int64_t rows, int64_t columns, const void *data)
{
    uint64_t width = dtype == TN_DTYPE_I64 ? 8 : dtype == TN_DTYPE_I32 ? 4 : dtype == TN_DTYPE_F16 ? 2 : 1;
    quant_fake_tensor(&q, name, dtype, columns ? 2 : 1, (int64_t[]){rows, columns}, data,
                      (uint64_t)rows * (columns ? (uint64_t)columns : 1) * width);
}

static void start_int4(void)
{
    start();
    add("m.weight_packed", TN_DTYPE_I32, ROWS, COLUMNS / 8, bytes);
    add("m.weight_scale", TN_DTYPE_F16, ROWS, 4, scales);
    add("m.weight_shape", TN_DTYPE_I64, 2, 0, shape);
}

static void start_bytes(uint32_t dtype, int64_t scale_rows)
{
    start();
    add("m.weight", dtype, ROWS, COLUMNS, bytes);
    add("m.weight_scale", TN_DTYPE_F16, scale_rows, 1, scales);
}

static tn_qmodel *open_fake(const char *config)
{
    tn_qmodel *qmodel = NULL;
    tn_error err = TN_ERROR_INIT;
    if (quant_fake_open(&q, config, &qmodel, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return qmodel;
}

static tn_enc first_encoding(const tn_qmodel *qmodel)
{
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    if (quant_table()->produces(qmodel, "m.weight", 0, &enc, &err) != TN_OK)
        fail_msg("%s", err.msg);
    return enc;
}

static void test_act_order_becomes_a_permutation(void **state)
{
    (void)state;
    float row[COLUMNS];
    start_int4();
    add("m.weight_g_idx", TN_DTYPE_I32, COLUMNS, 0, g_idx);
    tn_qmodel *qmodel = open_fake(GROUP(INT4));
    assert_int_equal(first_encoding(qmodel).flags, TN_ENC_PERM_K);
    assert_int_equal(quant_table()->reference(qmodel, "m.weight", 1, 1, row, NULL), TN_OK);
    for (int k = 0; k < COLUMNS; k++) { /* row 1: 32 bytes of nibbles, four scales */
        int code = bytes[32 + k / 2] >> (4 * (k % 2)) & 15;
        assert_true(row[k] == (float)(code - 8) * float_from_f16(scales[4 + k % 4]));
    }
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
    quant_table()->close(qmodel);

    for (int k = 0; k < COLUMNS; k++)
        g_idx[k] = -1; /* not used */
    qmodel = open_fake(GROUP(INT4));
    assert_int_equal(first_encoding(qmodel).flags, 0);
    quant_table()->close(qmodel);
    g_idx[0] = 0;
    assert_weight_refused(&q, GROUP(INT4), "m.weight", "into group -1");
    g_idx[0] = 4;
    assert_weight_refused(&q, GROUP(INT4), "m.weight", "there are 4 groups");
}

static void test_static_inputs_bring_their_scale(void **state)
{
    (void)state;
    const char *config = GROUP(FP8 ",\"input_activations\":{\"num_bits\":8,\"type\":\"float\",\"dynamic\":false}");
    static const uint16_t half = 0x3800;
    rig_planes planes;
    start_bytes(TN_DTYPE_F8_E4M3, 1);
    assert_weight_refused(&q, config, "m.weight", "'input_scale' is missing");
    add("m.input_scale", TN_DTYPE_F16, 1, 0, &half);
    tn_qmodel *qmodel = open_fake(config);
    tn_enc enc = first_encoding(qmodel);
    assert_int_equal(enc.act_scheme, TN_INPUT_STATIC);
    assert_int_equal(enc.act_type, TN_Q_E4M3);
    assert_int_equal(rig_transcode(quant_table(), qmodel, "m.weight", &enc, 0, 2, 0, COLUMNS, &planes, NULL), TN_OK);
    assert_true(*(const float *)planes.plane[TN_PLANE_INPUT_SCALE] == 0.5f);
    rig_planes_free(&planes);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
    quant_table()->close(qmodel);
    quant_fake_find(&q, "m.input_scale")->dim[0] = 2;
    assert_weight_refused(&q, config, "m.weight", "must hold one number");
}

/* For weights that a graph cuts through the blocks. */
static void test_scales_of_blocks_come_by_rows_too(void **state)
{
    (void)state;
    static const float blocks[3 * 2] = {0.5f, 2, 0.25f, 3, 1, 0.125f};
    tn_enc enc = {.struct_size = sizeof enc};
    start();
    add("m.weight", TN_DTYPE_F8_E4M3, ROWS, COLUMNS, bytes);
    quant_fake_tensor(&q, "m.weight_scale_inv", TN_DTYPE_F32, 2, (int64_t[]){3, 2}, blocks, sizeof blocks);
    tn_qmodel *qmodel = open_fake("{\"quant_method\":\"fp8\",\"weight_block_size\":[3,32]}");
    assert_int_equal(first_encoding(qmodel).group_n, 3);
    assert_int_equal(quant_table()->produces(qmodel, "m.weight", 1, &enc, NULL), TN_OK);
    assert_int_equal(enc.group_n, 1);
    assert_int_equal(enc.qtype, TN_Q_E4M3);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 3);
    quant_table()->close(qmodel);
}

static void test_the_tensors_choose_among_schemes(void **state)
{
    (void)state;
    const char *config =
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"mixed-precision\",\"config_groups\":{\"a\":{" INT4
        ",\"format\":\"pack-quantized\"},\"b\":{" INT8 ",\"format\":\"int-quantized\"},\"c\":{" FP8 "}}}";
    start_int4();
    tn_qmodel *qmodel = open_fake(config);
    assert_int_equal(first_encoding(qmodel).bits, 4);
    quant_table()->close(qmodel);
    start_bytes(TN_DTYPE_I8, ROWS);
    qmodel = open_fake(config);
    assert_int_equal(first_encoding(qmodel).qtype, TN_Q_SIGNED);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
    quant_table()->close(qmodel);
    start_bytes(TN_DTYPE_F8_E4M3, 1);
    qmodel = open_fake(config);
    assert_int_equal(first_encoding(qmodel).qtype, TN_Q_E4M3);
    quant_table()->close(qmodel);
}

/* Two groups differ in nothing but zero points: a weight is of that which is as its tensors are, in either order. */
static void test_zero_points_choose_among_schemes(void **state)
{
    (void)state;
    static const char *const configs[] = {
        "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{" INT8 "},\"b\":{" UINT8 "}}}",
        "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{" UINT8 "},\"b\":{" INT8 "}}}"};
    for (size_t i = 0; i < 2; i++) {
        start_bytes(TN_DTYPE_I8, ROWS);
        tn_qmodel *qmodel = open_fake(configs[i]);
        assert_int_equal(first_encoding(qmodel).zero_type, TN_ZERO_NONE);
        quant_table()->close(qmodel);
        add("m.weight_zero_point", TN_DTYPE_I8, ROWS, 1, bytes);
        qmodel = open_fake(configs[i]);
        assert_int_equal(first_encoding(qmodel).zero_type, TN_ZERO_POINT);
        assert_int_equal(rig_check_weight(quant_table(), qmodel, "m.weight"), 2);
        quant_table()->close(qmodel);
    }
}

static void test_hostile_tensors_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"m.weight_packed", "m.weight_scale", "m.weight_shape"};
    start_int4();
    for (int i = 1; i < 3; i++) {
        quant_fake_find(&q, names[i])->name = "other";
        assert_weight_refused(&q, GROUP(INT4), "m.weight", "is missing");
        quant_fake_find(&q, "other")->name = names[i];
    }
    for (int i = 0; i < 3; i++) {
        tn_tensor_src *tensor = quant_fake_find(&q, names[i]), kept = *tensor;
        tensor->dtype = TN_DTYPE_F64;
        assert_weight_refused(&q, GROUP(INT4), "m.weight", names[i]);
        *tensor = kept;
        tensor->dim[0]--;
        assert_weight_refused(&q, GROUP(INT4), "m.weight", i ? names[i] : "m.weight_shape");
        *tensor = kept;
        tensor->rank = 3;
        assert_weight_refused(&q, GROUP(INT4), "m.weight", i ? names[i] : "m.weight_shape");
        *tensor = kept;
    }
    static const int64_t bad[][2] = {{ROWS, 0}, {ROWS, -8}, {ROWS, 65}, {INT64_MIN, 64}, {ROWS, INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memcpy(shape, bad[i], sizeof shape);
        assert_weight_refused(&q, GROUP(INT4), "m.weight", i == 2 ? "words per row" : "m.weight_shape");
    }
    start_bytes(TN_DTYPE_I8, ROWS);
    assert_weight_refused(&q, GROUP(INT4), "m.weight", "which no group of quantization_config describes");
    start_bytes(TN_DTYPE_F8_E4M3, 3);
    assert_weight_refused(&q, GROUP(FP8), "m.weight", "is [3, 1]");
    assert_weight_refused(&q, "{\"quant_method\":\"fp8\",\"weight_block_size\":[4,4]}", "m.weight",
                          "'weight_scale_inv' is missing");
    start_bytes(TN_DTYPE_I8, ROWS);
    assert_weight_refused(&q, WEIGHTS("\"num_bits\":8,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"channel\""),
                          "m.weight", "'weight_zero_point' is missing");
    add("m.weight_zero_point", TN_DTYPE_I8, ROWS - 1, 1, bytes);
    assert_weight_refused(&q, WEIGHTS("\"num_bits\":8,\"type\":\"int\",\"symmetric\":false,\"strategy\":\"channel\""),
                          "m.weight", "must be I8 and shaped like the scales");
}

static void test_hostile_experts_are_refused(void **state)
{
    (void)state;
    const char *config = "{\"quant_method\":\"mxfp4\"}";
    start();
    quant_fake_tensor(&q, "up_blocks", TN_DTYPE_U8, 4, (int64_t[]){2, 4, 2, 16}, bytes, 256);
    assert_weight_refused(&q, config, "up", "'_scales' is missing");
    quant_fake_tensor(&q, "up_scales", TN_DTYPE_U8, 3, (int64_t[]){2, 4, 2}, bytes, 16);
    tn_qmodel *qmodel = open_fake(config);
    uint64_t n, k;
    assert_int_equal(quant_table()->shape(qmodel, "up", &n, &k, NULL), TN_OK);
    assert_int_equal(n, 8);
    assert_int_equal(k, 64);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, "up"), 2);
    quant_table()->close(qmodel);
    quant_fake_find(&q, "up_scales")->dim[1] = 3;
    assert_weight_refused(&q, config, "up", "one scale per block");
    quant_fake_find(&q, "up_blocks")->dim[3] = 8;
    assert_weight_refused(&q, config, "up", "U8 [.., 16]");
}

static void test_configs_that_cannot_be_honoured_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config;
        tn_status status;
        const char *words;
    } cases[] = {
        {"{\"quant_method\":\"hqq\"}", TN_E_NOT_FOUND, "hqq"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"nvfp4-pack-quantized\"}", TN_E_UNSUPPORTED, "nvfp4"},
        {"{\"quant_method\":\"compressed-tensors\",\"format\":\"marlin-24\"}", TN_E_UNSUPPORTED, "marlin-24"},
        {"{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}}",
         TN_E_UNSUPPORTED, "sparse-24-bitmask"},
        {"{\"quant_method\":\"compressed-tensors\",\"transform_config\":{\"config_groups\":{\"u\":{}}}}",
         TN_E_UNSUPPORTED, "transform_config"},
        {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":[]}", TN_E_CORRUPT, "not an object"},
        {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"g\":7}}", TN_E_CORRUPT, "config_groups.g"},
        {"{\"quant_method\":\"compressed-tensors\",\"ignore\":[7]}", TN_E_CORRUPT, "ignore[0]"},
        {WEIGHTS("\"num_bits\":9"), TN_E_UNSUPPORTED, "9 bits"},
        {WEIGHTS("\"num_bits\":6,\"type\":\"float\""), TN_E_UNSUPPORTED, "6 bits"},
        {WEIGHTS("\"num_bits\":-4"), TN_E_CORRUPT, "num_bits is -4"},
        {WEIGHTS("\"num_bits\":4,\"type\":\"ternary\""), TN_E_UNSUPPORTED, "ternary"},
        {WEIGHTS("\"num_bits\":4,\"strategy\":\"token\""), TN_E_UNSUPPORTED, "token"},
        {WEIGHTS("\"num_bits\":4,\"strategy\":\"group\""), TN_E_CORRUPT, "need a group_size"},
        {WEIGHTS("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[128]"), TN_E_CORRUPT,
         "block_structure"},
        {WEIGHTS("\"num_bits\":8,\"type\":\"float\",\"strategy\":\"block\",\"block_structure\":[0,128]"), TN_E_CORRUPT,
         "block_structure"},
        {WEIGHTS("\"num_bits\":8,\"strategy\":\"block\",\"block_structure\":[8,8]"), TN_E_UNSUPPORTED, "block of int"},
        {"{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", TN_E_UNSUPPORTED, "e5m2"},
        {"{\"quant_method\":\"fp8\",\"activation_scheme\":\"none\"}", TN_E_UNSUPPORTED, "none"},
        {"{\"quant_method\":\"fp8\",\"weight_block_size\":[128,-1]}", TN_E_CORRUPT, "weight_block_size"},
        {"{\"quant_method\":\"mxfp4\",\"modules_to_not_convert\":7}", TN_E_CORRUPT, "not a list"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start();
        assert_open_refused(&q, cases[i].config, cases[i].status, cases[i].words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_act_order_becomes_a_permutation),
        cmocka_unit_test(test_static_inputs_bring_their_scale),
        cmocka_unit_test(test_scales_of_blocks_come_by_rows_too),
        cmocka_unit_test(test_the_tensors_choose_among_schemes),
        cmocka_unit_test(test_zero_points_choose_among_schemes),
        cmocka_unit_test(test_hostile_tensors_are_refused),
        cmocka_unit_test(test_hostile_experts_are_refused),
        cmocka_unit_test(test_configs_that_cannot_be_honoured_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
