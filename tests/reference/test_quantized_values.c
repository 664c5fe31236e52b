/* test_quantized_values.c: every quantized weight of a real checkpoint directory is, to the last bit, what the library that
 * wrote it reads. Built once per plugin.
 *
 * Usage: test_gptq_values DIRECTORY...; each has the checkpoint and reference.json (model_reference.py), with the SHA-256
 * of each weight's float32 bytes. Besides, the planes of every encoding that the plugin lists decode to the same bits.
 */
#include "model/checkpoint.h"
#include "unit/cmocka_test.h"
#include "unit/quant_rig.h"

#include <jansson.h>
#include <nettle/sha2.h>

enum { PATH_BYTES = 4096 };

static void hex_digest(const float *values, uint64_t count, char ret_hex[2 * SHA256_DIGEST_SIZE + 1])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];

    sha256_init(&context);
    sha256_update(&context, count * sizeof *values, (const uint8_t *)values);
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        sprintf(ret_hex + 2 * i, "%02x", digest[i]);
}

static void check_weight(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name, json_t *expected)
{
    json_t *shape = json_object_get(expected, "shape");
    char hex[2 * SHA256_DIGEST_SIZE + 1];
    uint64_t rows, columns;
    tn_error err = TN_ERROR_INIT;

    if (quant->shape(qmodel, name, &rows, &columns, &err) != TN_OK)
        fail_msg("%s: %s", name, err.msg);
    assert_int_equal(rows, json_integer_value(json_array_get(shape, 0)));
    assert_int_equal(columns, json_integer_value(json_array_get(shape, 1)));
    float *values = malloc(rows * columns * sizeof *values);
    assert_non_null(values);
    assert_int_equal(quant->reference(qmodel, name, 0, rows, values, &err), TN_OK);
    hex_digest(values, rows * columns, hex);
    free(values);
    if (strcmp(hex, json_string_value(json_object_get(expected, "sha256"))) != 0)
        fail_msg("%s: other values than those of the library that wrote it", name);
    assert_true(rig_check_weight(quant, qmodel, name) > 1);
}

static void test_weights_are_those_of_the_writer(void **state)
{
    const char *directory = *state, *name;
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    char path[PATH_BYTES];
    json_error_t error;
    json_t *expected;
    checkpoint *checkpoint;
    tn_qmodel *qmodel;
    tn_error err = TN_ERROR_INIT;

    assert_true((size_t)snprintf(path, sizeof path, "%s/reference.json", directory) < sizeof path);
    json_t *reference = json_load_file(path, JSON_REJECT_DUPLICATES, &error), *weights = json_object_get(reference, "weights");
    if (json_object_size(weights) == 0)
        fail_msg("%s: no weights: %s", path, reference ? "made of an unquantized model" : error.text);
    if (checkpoint_open(directory, &checkpoint, &err) != TN_OK ||
        quant->open(checkpoint_source(checkpoint), &qmodel, &err) != TN_OK)
        fail_msg("%s: %s", directory, err.msg);
    json_object_foreach(weights, name, expected)
    {
        check_weight(quant, qmodel, name, expected);
    }
    print_message("%s: %zu weights\n", directory, json_object_size(weights));
    quant->close(qmodel);
    checkpoint_close(checkpoint);
    json_decref(reference);
}

int main(int argc, char **argv)
{
    int failures = argc < 2;
    for (int i = 1; i < argc; i++) {
        const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(test_weights_are_those_of_the_writer, argv[i])};
        failures += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failures;
}
