/* test_dummy_weights.c: made-up weights are the same however they are cut, of sane size, and refuse what they are not.
 */
#include "cmocka_test.h"
#include "model/checkpoint.h"
#include "canonical.h"
#include "model/dummy_weights.h"
#include "scratch_directory.h"

#include "base/half.h"
#include "base/weight_block.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static tn_graph *phi_like_graph(void)
{
    /* Fused qkv and gate_up: several weights read one tensor. */
    const model_config config = {.architecture = "phi3",
                                 .layers = 2,
                                 .model_width = 64,
                                 .ff_width = 96,
                                 .heads = 4,
                                 .kv_heads = 2,
                                 .head_dim = 16,
                                 .vocab = 100,
                                 .context = 128,
                                 .sequence_max = 128,
                                 .norm_eps = 1e-5f,
                                 .rope_theta = 10000,
                                 .rope_dim = 16,
                                 .fused_qkv = true,
                                 .fused_gate_up = true,
                                 .hf_names = true};
    tn_graph *graph;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(model_graph_build(&config, &graph, &err), TN_OK);
    return graph;
}

static checkpoint *open_config(const char *text)
{
    scratch_directory scratch = scratch_create();
    tn_error err = TN_ERROR_INIT;
    checkpoint *view;
    scratch_write(&scratch, "config.json", text, strlen(text));
    assert_int_equal(checkpoint_open_without_weights(scratch.path, &view, &err), TN_OK);
    scratch_destroy(&scratch);
    return view;
}

static void test_the_same_in_whatever_blocks(void **state)
{
    (void)state;
    const char *name = "model.layers.1.self_attn.qkv_proj.weight";
    tn_error err = TN_ERROR_INIT;
    tn_enc enc = {.struct_size = sizeof enc};
    tn_qmodel *dummy;
    uint64_t n, k;
    checkpoint *view = open_config("{}");
    tn_graph *graph = phi_like_graph();
    const tn_quant_table *table = &dummy_weights_table;

    assert_int_equal(dummy_weights_open(checkpoint_source(view), graph, NULL, &dummy, &err), TN_OK);
    assert_int_equal(table->shape(dummy, name, &n, &k, &err), TN_OK);
    assert_int_equal(n, 128);
    assert_int_equal(k, 64);
    assert_int_equal(table->produces(dummy, name, 0, &enc, &err), TN_OK);
    assert_int_equal(enc.qtype, TN_BF16);
    assert_int_equal(table->produces(dummy, name, 1, &enc, &err), TN_E_NOT_FOUND);

    uint16_t whole[128 * 64], part[5 * 24];
    float rows[5 * 64];
    void *plane[TN_PLANE_LIMIT] = {whole};
    uint64_t bytes[TN_PLANE_LIMIT] = {sizeof whole};
    assert_int_equal(table->transcode(dummy, name, &enc, 0, 128, 0, 64, plane, bytes, &err), TN_OK);
    plane[0] = part;
    bytes[0] = sizeof part;
    assert_int_equal(table->transcode(dummy, name, &enc, 7, 5, 40, 24, plane, bytes, &err), TN_OK);
    assert_int_equal(table->reference(dummy, name, 7, 5, rows, &err), TN_OK);
    for (int r = 0; r < 5; r++) {
        for (int c = 0; c < 24; c++)
            assert_int_equal(part[r * 24 + c], whole[(7 + r) * 64 + 40 + c]);
        for (int c = 0; c < 64; c++)
            assert_true(rows[r * 64 + c] == float_from_bf16(whole[(7 + r) * 64 + c]));
    }
    bytes[0]--;
    assert_int_equal(table->transcode(dummy, name, &enc, 7, 5, 40, 24, plane, bytes, &err), TN_E_ARGUMENT);
    table->close(dummy);
    checkpoint_close(view);
    model_graph_free(graph);
}

/* 64 columns: 1/sqrt(K) is 0.125. Neither all positive nor all equal. */
static void test_matrices_are_random_and_of_the_size_that_keeps_activations_finite(void **state)
{
    (void)state;
    const char *matrix = "model.layers.0.mlp.down_proj.weight", *vector = "model.norm.weight";
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *dummy;
    float rows[64 * 96], gain[64];
    double squares = 0, sum = 0;
    checkpoint *view = open_config("{}");
    tn_graph *graph = phi_like_graph();

    assert_int_equal(dummy_weights_open(checkpoint_source(view), graph, NULL, &dummy, &err), TN_OK);
    assert_int_equal(dummy_weights_table.reference(dummy, matrix, 0, 64, rows, &err), TN_OK);
    for (int i = 0; i < 64 * 96; i++) {
        squares += (double)rows[i] * rows[i];
        sum += rows[i];
    }
    double size = sqrt(squares / (64 * 96));
    assert_true(size > 0.5 / sqrt(96) && size < 2 / sqrt(96));
    assert_true(fabs(sum / (64 * 96)) < size / 10);
    assert_int_equal(dummy_weights_table.reference(dummy, vector, 0, 1, gain, &err), TN_OK);
    for (int i = 0; i < 64; i++)
        assert_true(gain[i] >= 1 && gain[i] < 2);
    assert_int_equal(dummy_weights_table.reference(dummy, "model.norm.bias", 0, 1, gain, &err), TN_E_NOT_FOUND);
    dummy_weights_table.close(dummy);
    checkpoint_close(view);
    model_graph_free(graph);
}

/* Matrices of products are in the method's codes, however they are cut, and of the size that bfloat16 ones have; the
 * embedding is not. */
static void check_method(const char *method, uint32_t qtype, uint32_t bits)
{
    enum { ROWS = 64, K = 96, FIRST = 7, SOME = 5 };
    const char *matrix = "model.layers.0.mlp.down_proj.weight";
    const tn_quant_table *table = &dummy_weights_table;
    tn_error err = TN_ERROR_INIT;
    tn_enc enc = {.struct_size = sizeof enc}, other = {.struct_size = sizeof other};
    tn_qmodel *dummy;
    uint8_t memory[2][3][ROWS * K];
    float rows[SOME * K];
    double squares = 0;
    checkpoint *view = open_config("{}");
    tn_graph *graph = phi_like_graph();

    assert_int_equal(dummy_weights_open(checkpoint_source(view), graph, method, &dummy, &err), TN_OK);
    assert_int_equal(table->produces(dummy, "model.embed_tokens.weight", 0, &other, &err), TN_OK);
    assert_int_equal(other.family, TN_ENC_FLOAT);
    assert_int_equal(table->produces(dummy, matrix, 0, &enc, &err), TN_OK);
    assert_int_equal(enc.qtype, qtype);
    assert_int_equal(enc.bits, bits);
    for (int i = 0; i < 2; i++) {
        void *plane[TN_PLANE_LIMIT] = {memory[i][0], memory[i][1], memory[i][2]};
        uint64_t bytes[TN_PLANE_LIMIT], count = i ? SOME : ROWS;
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
            bytes[p] = tn_plane_bytes(&enc, p, count, K);
        assert_int_equal(table->transcode(dummy, matrix, &enc, i ? FIRST : 0, count, 0, K, plane, bytes, &err), TN_OK);
    }
    void *plane[TN_PLANE_LIMIT] = {memory[0][0], memory[0][1], memory[0][2]};
    assert_memory_equal(memory[1][0], memory[0][0] + tn_plane_bytes(&enc, TN_PLANE_CODES, FIRST, K),
                        tn_plane_bytes(&enc, TN_PLANE_CODES, SOME, K));
    assert_int_equal(table->reference(dummy, matrix, FIRST, SOME, rows, &err), TN_OK);
    for (uint64_t i = 0; i < SOME * K; i++) {
        assert_true(rows[i] == canonical_stored(&enc, plane, K, FIRST + i / K, i % K));
        squares += (double)rows[i] * (double)rows[i];
    }
    double size = sqrt(squares / (SOME * K));
    assert_true(size > 0.5 / sqrt(K) && size < 2 / sqrt(K));
    table->close(dummy);
    checkpoint_close(view);
    model_graph_free(graph);
}

static void test_methods_of_quantization(void **state)
{
    (void)state;
    check_method("awq", TN_Q_UNSIGNED, 4);
    check_method("int4", TN_Q_SIGNED, 4);
    check_method("int8", TN_Q_SIGNED, 8);
    check_method("fp8", TN_Q_E4M3, 8);
}

static void test_an_unknown_method_is_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *dummy;
    checkpoint *view = open_config("{}");
    tn_graph *graph = phi_like_graph();

    assert_int_equal(dummy_weights_open(checkpoint_source(view), graph, "awk", &dummy, &err), TN_E_ARGUMENT);
    assert_string_equal(err.msg, "model.quantization awk: did you mean awq?");
    checkpoint_close(view);
    model_graph_free(graph);
}

static void test_a_quantized_config_is_refused(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    tn_qmodel *dummy;
    checkpoint *view = open_config("{\"quantization_config\": {\"quant_method\": \"awq\", \"bits\": 4}}");
    tn_graph *graph = phi_like_graph();

    assert_int_equal(dummy_weights_open(checkpoint_source(view), graph, NULL, &dummy, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "awq"));
    assert_non_null(strstr(err.msg, "remove quantization_config"));
    checkpoint_close(view);
    model_graph_free(graph);
}

static void test_a_file_is_not_a_directory(void **state)
{
    (void)state;
    tn_error err = TN_ERROR_INIT;
    checkpoint *view;
    assert_int_equal(checkpoint_open_without_weights("/dev/null", &view, &err), TN_E_ARGUMENT);
    assert_int_equal(checkpoint_open_without_weights("/nonexistent", &view, &err), TN_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_in_whatever_blocks),
        cmocka_unit_test(test_matrices_are_random_and_of_the_size_that_keeps_activations_finite),
        cmocka_unit_test(test_methods_of_quantization),
        cmocka_unit_test(test_an_unknown_method_is_refused),
        cmocka_unit_test(test_a_quantized_config_is_refused),
        cmocka_unit_test(test_a_file_is_not_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
