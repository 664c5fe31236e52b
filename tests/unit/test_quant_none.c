/* test_quant_none.c: plain floats pass unchanged or rounded to bf16, wherever they lie; quantized checkpoints are left
 * alone. */
#include "canonical.h"
#include "cmocka_test.h"
#include "fake_source.h"
#include "tenon/quant.h"

#include <stdlib.h>

enum { ROWS = 3, COLUMNS = 24 };

static const tn_quant_table *quant;
static fake_source fake;
static uint8_t data[1 + ROWS * COLUMNS * 4]; /* weights start at an odd address */

static float weight_at(uint64_t index)
{
    return (float)((int)(index % 17) - 8) * 0.37f;
}

/* Fills data with the matrix in this type; returns its bytes. */
static uint64_t fill(uint32_t dtype)
{
    for (uint64_t i = 0; i < ROWS * COLUMNS; i++) {
        float value = weight_at(i);
        uint16_t half = dtype == TN_DTYPE_F16 ? f16_from_float(value) : bf16_from_float(value);
        if (dtype == TN_DTYPE_F32)
            memcpy(data + 1 + 4 * i, &value, 4);
        else
            memcpy(data + 1 + 2 * i, &half, 2);
    }
    return ROWS * COLUMNS * (dtype == TN_DTYPE_F32 ? 4u : 2u);
}

static tn_qmodel *open_matrix(uint32_t dtype)
{
    tn_qmodel *qmodel = NULL;
    tn_error err = TN_ERROR_INIT;
    memset(&fake, 0, sizeof fake);
    uint64_t bytes = fill(dtype);
    fake.tensors[0] = (tn_tensor_src){sizeof(tn_tensor_src), dtype, 2, 0, {ROWS, COLUMNS, 1, 1}, "w", data + 1, bytes};
    fake.tensors[1] = fake.tensors[0];
    fake.tensors[1].name = "gain";
    fake.tensors[1].rank = 1;
    fake.tensors[1].dim[0] = ROWS * COLUMNS;
    fake.tensors[1].dim[1] = 1;
    const tn_source *source = fake_source_view(&fake, "safetensors");
    assert_int_equal(quant->open(source, &qmodel, &err), TN_OK);
    return qmodel;
}

static void test_every_float_type_passes_as_the_list_promises(void **state)
{
    (void)state;
    static const uint32_t dtypes[] = {TN_DTYPE_F32, TN_DTYPE_F16, TN_DTYPE_BF16};
    for (size_t d = 0; d < 3; d++) {
        tn_qmodel *qmodel = open_matrix(dtypes[d]);
        tn_enc enc = {.struct_size = sizeof enc};
        tn_error err = TN_ERROR_INIT;
        float rows[ROWS * COLUMNS];
        assert_int_equal(quant->reference(qmodel, "w", 0, ROWS, rows, &err), TN_OK);
        for (uint32_t i = 0; quant->produces(qmodel, "w", i, &enc, &err) == TN_OK; i++) {
            uint8_t plane[2 * 16 * 4];
            void *planes[TN_PLANE_LIMIT] = {plane};
            uint64_t bytes[TN_PLANE_LIMIT] = {tn_plane_bytes(&enc, 0, 2, 16)};
            assert_true(i > 0 || enc.bits == (dtypes[d] == TN_DTYPE_F32 ? 32 : 16));
            assert_int_equal(quant->transcode(qmodel, "w", &enc, 1, 2, 8, 16, planes, bytes, &err), TN_OK);
            for (uint64_t k = 0; k < 32; k++) {
                float expected = rows[(1 + k / 16) * COLUMNS + 8 + k % 16];
                if (enc.qtype == TN_BF16)
                    expected = float_from_bf16(bf16_from_float(expected));
                assert_true(canonical_value(&enc, planes, 16, k / 16, k % 16) == expected);
            }
        }
        assert_int_equal(enc.qtype, TN_BF16);
        assert_true(dtypes[d] != TN_DTYPE_F32 || rows[5] == weight_at(5));
        quant->close(qmodel);
    }
}

static void test_a_vector_of_halves_is_offered_in_float32(void **state)
{
    (void)state;
    tn_qmodel *qmodel = open_matrix(TN_DTYPE_F16);
    tn_enc enc = {.struct_size = sizeof enc};
    uint64_t n, k;
    assert_int_equal(quant->shape(qmodel, "gain", &n, &k, NULL), TN_OK);
    assert_int_equal(n, 1);
    assert_int_equal(k, ROWS * COLUMNS);
    assert_int_equal(quant->produces(qmodel, "gain", 1, &enc, NULL), TN_OK);
    assert_int_equal(enc.qtype, TN_F32);
    quant->close(qmodel);
}

static void test_bad_requests_are_refused(void **state)
{
    (void)state;
    tn_qmodel *qmodel = open_matrix(TN_DTYPE_F32);
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    uint8_t plane[COLUMNS * 4];
    float row[COLUMNS];
    void *planes[TN_PLANE_LIMIT] = {plane};
    uint64_t bytes[TN_PLANE_LIMIT] = {sizeof plane};
    assert_int_equal(quant->produces(qmodel, "w", 0, &enc, &err), TN_OK);
    assert_int_equal(quant->transcode(qmodel, "w", &enc, ROWS, 1, 0, COLUMNS, planes, bytes, &err), TN_E_ARGUMENT);
    assert_int_equal(quant->transcode(qmodel, "w", &enc, 0, 1, 4, 20, planes, bytes, &err), TN_E_ARGUMENT);
    assert_int_equal(quant->transcode(qmodel, "w", &enc, 0, 1, 0, 16, planes, bytes, &err), TN_E_ARGUMENT);
    assert_int_equal(quant->reference(qmodel, "w", ROWS, 1, row, &err), TN_E_ARGUMENT);
    assert_int_equal(quant->produces(qmodel, "absent", 0, &enc, &err), TN_E_NOT_FOUND);
    fake.tensors[0].dtype = TN_DTYPE_I32;
    assert_int_equal(quant->produces(qmodel, "w", 0, &enc, &err), TN_E_UNSUPPORTED);
    quant->close(qmodel);
}

static tn_status open_with_config(const char *config, tn_error *err)
{
    tn_qmodel *qmodel = NULL;
    memset(&fake, 0, sizeof fake);
    fake.entries[0] = (fake_entry){"config.json", fake_string(config)};
    const tn_source *source = fake_source_view(&fake, "safetensors");
    tn_status status = quant->open(source, &qmodel, err);
    quant->close(qmodel);
    return status;
}

static void test_quantized_checkpoints_are_left_to_their_plugins(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(open_with_config("{\"quantization_config\":{\"quant_method\":\"awq\"}}", &err), TN_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "awq"));
    assert_int_equal(open_with_config("{\"quantization_config\":7}", &err), TN_E_NOT_FOUND);
    assert_int_equal(open_with_config("{\"quantization_config\":null}", &err), TN_OK);
    assert_int_equal(open_with_config("{}", &err), TN_OK);
    assert_int_equal(open_with_config("{", &err), TN_E_CORRUPT);
}

static int find_table(void **state)
{
    (void)state;
    quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    return quant ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_float_type_passes_as_the_list_promises),
        cmocka_unit_test(test_a_vector_of_halves_is_offered_in_float32),
        cmocka_unit_test(test_bad_requests_are_refused),
        cmocka_unit_test(test_quantized_checkpoints_are_left_to_their_plugins),
    };
    return cmocka_run_group_tests(tests, find_table, NULL);
}
