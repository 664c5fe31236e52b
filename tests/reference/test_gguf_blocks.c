/* test_gguf_blocks.c: block values against other implementations' (golden/gguf_blocks.json), and, with a real model at
 * hand (TENON_TEST_MODEL), that the planes of all its tensors decode to the same values.
 */
#include "unit/canonical.h"
#include "unit/cmocka_test.h"
#include "unit/gguf_writer.h"

#include "cpu_weight_check.h"

#include "model/container.h"
#include "tenon/quant.h"

#include <jansson.h>

static json_t *golden;

static int load_golden(void **state)
{
    (void)state;
    json_error_t error;
    golden = json_load_file(GOLDEN_DIR "/gguf_blocks.json", JSON_REJECT_DUPLICATES, &error);
    return golden ? 0 : -1;
}

static int drop_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static size_t bytes_from_hex(const char *hex, uint8_t *bytes, size_t capacity)
{
    size_t count = strlen(hex) / 2;
    assert_true(count <= capacity);
    for (size_t i = 0; i < count; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return count;
}

/* A file of one tensor "w" made of this block, and its reference decoding. */
static void check_block(const char *name, uint32_t type, json_t *block)
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    uint8_t bytes[512], floats[1024];
    float values[256];
    byte_writer file = {0};
    checkpoint *opened;
    tn_qmodel *qmodel;
    tn_error err = TN_ERROR_INIT;

    size_t n_bytes = bytes_from_hex(json_string_value(json_object_get(block, "bytes")), bytes, sizeof bytes);
    size_t n_floats = bytes_from_hex(json_string_value(json_object_get(block, "floats")), floats, sizeof floats);
    write_header(&file, 3, 1, 0);
    write_tensor(&file, "w", 1, (uint64_t[]){n_floats / 4}, type, 0);
    write_padding(&file, 32);
    write_bytes(&file, bytes, n_bytes);
    assert_int_equal(gguf_open_memory(name, file.data, file.size, &opened, &err), TN_OK);
    assert_int_equal(quant->open(checkpoint_source(opened), &qmodel, &err), TN_OK);
    assert_int_equal(quant->reference(qmodel, "w", 0, 1, values, &err), TN_OK);
    assert_memory_equal(values, floats, n_floats);
    cpu_weight_check(quant, qmodel, "w");
    quant->close(qmodel);
    checkpoint_close(opened);
    free(file.data);
}

static void test_reference_equals_other_implementations_on_every_type(void **state)
{
    (void)state;
    static const char *const names[] = {"F16",  "BF16", "Q8_0", "Q4_0", "Q4_1",   "Q5_0",   "Q5_1", "Q2_K",
                                        "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_t *type = json_object_get(json_object_get(golden, "types"), names[i]), *block;
        size_t index;
        assert_true(json_array_size(json_object_get(type, "blocks")) > 0);
        json_array_foreach(json_object_get(type, "blocks"), index, block)
        {
            check_block(names[i], (uint32_t)json_integer_value(json_object_get(type, "id")), block);
        }
    }
}

static void check_rows(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name, const tn_enc *enc,
                       uint64_t row0, uint64_t n_rows, uint64_t columns)
{
    float *reference = malloc(n_rows * columns * sizeof *reference);
    void *planes[TN_PLANE_LIMIT];
    uint64_t bytes[TN_PLANE_LIMIT];
    tn_error err = TN_ERROR_INIT;

    assert_non_null(reference);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(enc, p, n_rows, columns);
        planes[p] = bytes[p] ? malloc(bytes[p]) : NULL;
    }
    assert_int_equal(quant->reference(qmodel, name, row0, n_rows, reference, &err), TN_OK);
    assert_int_equal(quant->transcode(qmodel, name, enc, row0, n_rows, 0, columns, planes, bytes, &err), TN_OK);
    for (uint64_t row = 0; row < n_rows; row++)
        for (uint64_t k = 0; k < columns; k++)
            if (bits_from_float(canonical_value(enc, planes, columns, row, k)) !=
                bits_from_float(reference[row * columns + k]))
                fail_msg("%s: row %llu, column %llu differs", name, (unsigned long long)(row0 + row),
                         (unsigned long long)k);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(planes[p]);
    free(reference);
}

static void test_planes_of_a_real_model_decode_to_the_reference(void **state)
{
    (void)state;
    const char *path = getenv("TENON_TEST_MODEL");
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    checkpoint *opened;
    tn_qmodel *qmodel;
    tn_error err = TN_ERROR_INIT;

    if (!path)
        skip();
    assert_int_equal(checkpoint_open(path, &opened, &err), TN_OK);
    const tn_source *source = checkpoint_source(opened);
    assert_int_equal(quant->open(source, &qmodel, &err), TN_OK);
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        tn_enc enc = {.struct_size = sizeof enc};
        uint64_t n, k;
        assert_int_equal(source->tensor_at(source, i, &tensor), TN_OK);
        assert_int_equal(quant->shape(qmodel, tensor.name, &n, &k, &err), TN_OK);
        assert_int_equal(quant->produces(qmodel, tensor.name, 0, &enc, &err), TN_OK);
        uint64_t rows = n < 16 ? n : 16; /* the first and the last ones; reading all takes a minute */
        check_rows(quant, qmodel, tensor.name, &enc, 0, rows, k);
        check_rows(quant, qmodel, tensor.name, &enc, n - rows, rows, k);
        checkpoint_release(opened, tensor.data, tensor.bytes);
    }
    quant->close(qmodel);
    checkpoint_close(opened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_equals_other_implementations_on_every_type),
        cmocka_unit_test(test_planes_of_a_real_model_decode_to_the_reference),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
