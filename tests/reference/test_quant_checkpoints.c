/* test_quant_checkpoints.c: modules of genuine quantized checkpoints, as their writers saved them, against the values
 * that the writers' libraries read from them (golden/NAME_checkpoints.json; make_*.py made them), and as the CPU keeps
 * them. Built once per plugin.
 */
#include "unit/cmocka_test.h"
#include "unit/quant_config_test.h"
#include "unit/quant_rig.h"

#include "cpu_weight_check.h"

#include <jansson.h>

enum { TENSORS_MAX = 16 };

static json_t *golden;

static int load_golden(void **state)
{
    (void)state;
    json_error_t error;
    golden = json_load_file(GOLDEN_FILE, JSON_REJECT_DUPLICATES, &error);
    return golden ? 0 : -1;
}

static int drop_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

/* The caller frees. */
static uint8_t *bytes_from_hex(const char *hex, uint64_t *ret_count)
{
    uint64_t count = strlen(hex) / 2;
    uint8_t *bytes = malloc(count);
    for (uint64_t i = 0; i < count; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    *ret_count = count;
    return bytes;
}

static uint32_t dtype_of(const char *name)
{
    static const struct {
        const char *name;
        uint32_t dtype;
    } types[] = {{"I32", TN_DTYPE_I32}, {"I64", TN_DTYPE_I64}, {"I8", TN_DTYPE_I8},     {"U8", TN_DTYPE_U8},
                 {"F16", TN_DTYPE_F16}, {"F32", TN_DTYPE_F32}, {"BF16", TN_DTYPE_BF16}, {"F8_E4M3", TN_DTYPE_F8_E4M3}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0)
            return types[i].dtype;
    fail_msg("golden file: type %s", name);
    return 0;
}

static void add_tensor(quant_fake *q, json_t *tensor, uint8_t **ret_data)
{
    int64_t dim[4];
    uint64_t bytes;
    json_t *shape = json_object_get(tensor, "shape");
    uint32_t rank = (uint32_t)json_array_size(shape);

    for (uint32_t d = 0; d < rank; d++)
        dim[d] = json_integer_value(json_array_get(shape, d));
    *ret_data = bytes_from_hex(json_string_value(json_object_get(tensor, "data")), &bytes);
    quant_fake_tensor(q, json_string_value(json_object_get(tensor, "name")),
                      dtype_of(json_string_value(json_object_get(tensor, "dtype"))), rank, dim, *ret_data, bytes);
}

static void check_values(json_t *test, const tn_qmodel *qmodel, const char *weight, uint64_t columns)
{
    float *row = malloc(columns * sizeof *row);
    tn_error err = TN_ERROR_INIT;
    size_t i;
    json_t *index;

    json_array_foreach(json_object_get(test, "rows"), i, index)
    {
        uint64_t bytes, n = (uint64_t)json_integer_value(index);
        uint8_t *expected =
            bytes_from_hex(json_string_value(json_array_get(json_object_get(test, "values"), i)), &bytes);
        assert_int_equal(bytes, columns * sizeof *row);
        assert_int_equal(quant_table()->reference(qmodel, weight, n, 1, row, &err), TN_OK);
        for (uint64_t k = 0; k < columns; k++) {
            float value;
            memcpy(&value, expected + 4 * k, sizeof value);
            if (bits_from_float(value) != bits_from_float(row[k]))
                fail_msg("%s: %s [%llu, %llu] is %a, its writer reads %a",
                         json_string_value(json_object_get(test, "name")), weight, (unsigned long long)n,
                         (unsigned long long)k, (double)row[k], (double)value);
        }
        free(expected);
    }
    free(row);
}

static void check_case(json_t *test)
{
    quant_fake *q = calloc(1, sizeof *q);
    uint8_t *data[TENSORS_MAX] = {0};
    const char *weight = json_string_value(json_object_get(test, "weight"));
    char *config = json_dumps(json_object_get(test, "quantization_config"), 0);
    tn_qmodel *qmodel = NULL;
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    uint64_t rows = 0, columns = 0;
    size_t i;
    json_t *tensor;

    json_array_foreach(json_object_get(test, "tensors"), i, tensor)
    {
        assert_true(i < TENSORS_MAX);
        add_tensor(q, tensor, &data[i]);
    }
    if (quant_fake_open(q, config, &qmodel, &err) != TN_OK ||
        quant_table()->shape(qmodel, weight, &rows, &columns, &err) != TN_OK)
        fail_msg("%s: %s", json_string_value(json_object_get(test, "name")), err.msg);
    assert_int_equal(rows, json_integer_value(json_array_get(json_object_get(test, "shape"), 0)));
    assert_int_equal(columns, json_integer_value(json_array_get(json_object_get(test, "shape"), 1)));
    check_values(test, qmodel, weight, columns);
    assert_int_equal(quant_table()->produces(qmodel, weight, 0, &enc, &err), TN_OK);
    assert_int_equal(rig_check_weight(quant_table(), qmodel, weight), enc.group_n > 1 ? 3 : 2); /* by rows, bf16 */
    cpu_weight_check(quant_table(), qmodel, weight);
    quant_table()->close(qmodel);
    for (i = 0; i < TENSORS_MAX; i++)
        free(data[i]);
    free(config);
    free(q);
}

static void test_values_are_those_that_the_writer_reads(void **state)
{
    (void)state;
    size_t i;
    json_t *test;
    assert_true(json_array_size(json_object_get(golden, "cases")) >= CASES_MIN);
    json_array_foreach(json_object_get(golden, "cases"), i, test)
    {
        check_case(test);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values_are_those_that_the_writer_reads)};
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
