/* test_model_faults.c: config, graph, weights and the interpreter's model while memory runs out, at every allocation in
 * turn. */
#include "fail_nth.h"
#include "unit/cmocka_test.h"
#include "unit/fake_source.h"

#include "model/weights.h"
#include "tenon/interp.h"

static const model_config tiny = {.architecture = "llama",
                                  .layers = 2,
                                  .model_width = 32,
                                  .ff_width = 48,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .head_dim = 8,
                                  .vocab = 96,
                                  .norm_eps = 1e-5f,
                                  .rope_theta = 10000.0f,
                                  .rope_dim = 8,
                                  .rope_factor = 1.0f};
static tn_graph *graph;
static tn_enc enc[64];
static const tn_backend *backend;
static tn_dev *dev;

static tn_status read_config(tn_error *err)
{
    static fake_source fake;
    model_config config;
    fake_set(&fake, "config.json",
             fake_string("{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 64, \"intermediate_size\": 160, "
                         "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 320}"));
    return model_config_read(fake_source_view(&fake, "safetensors"), &config, err);
}

static tn_status build_graph(tn_error *err)
{
    tn_graph *built = NULL;
    tn_status status = model_graph_build(&tiny, &built, err);
    model_graph_free(built);
    return status;
}

/* Fused tensors, and one for each expert. */
static tn_status build_mixture(tn_error *err)
{
    model_config mixture = tiny;
    tn_graph *built = NULL;

    mixture.hf_names = true;
    mixture.fused_qkv = true;
    mixture.experts = 3;
    mixture.experts_chosen = 2;
    tn_status status = model_graph_build(&mixture, &built, err);
    model_graph_free(built);
    return status;
}

static tn_compile request(void)
{
    return (tn_compile){.struct_size = sizeof(tn_compile),
                        .graph = graph,
                        .api = model_graph_api(graph),
                        .weight_enc = enc,
                        .weight_enc_stride = sizeof *enc,
                        .max_tokens = 8,
                        .max_seqs = 2,
                        .max_outputs = 2,
                        .max_model_len = 32};
}

static tn_status compile_model(tn_error *err)
{
    tn_compile compile = request();
    tn_model *model = NULL;
    tn_status status = backend->compile(dev, &compile, &model, err);
    backend->model_free(model);
    return status;
}

static tn_status plan_model(tn_error *err)
{
    tn_compile compile = request();
    uint32_t page_tokens[1];
    uint64_t page_bytes[1];
    tn_memplan plan = {
        .struct_size = sizeof plan, .group_count = 1, .page_tokens = page_tokens, .page_bytes = page_bytes};
    return backend->plan(NULL, 1, &compile, &plan, err);
}

static tn_status ignore_block(tn_model *model, uint32_t id, const tn_planes *planes, tn_error *err)
{
    (void)model, (void)id, (void)planes, (void)err;
    return TN_OK;
}

static tn_status zero_block(const tn_qmodel *qmodel, const char *name, const tn_enc *block_enc, uint64_t row0,
                            uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane, const uint64_t *plane_bytes,
                            tn_error *err)
{
    (void)qmodel, (void)name, (void)block_enc, (void)row0, (void)n_rows, (void)k0, (void)n_k, (void)err;
    memset(plane[0], 0, plane_bytes[0]);
    return TN_OK;
}

static tn_status load_weights(tn_error *err)
{
    static const tn_quant_table quant = {.struct_size = sizeof quant, .transcode = zero_block};
    static const tn_backend sink = {.struct_size = sizeof sink, .weight = ignore_block};
    const weight_source source = {.quant = &quant};
    return weights_load(&source, NULL, graph, enc, &sink, NULL, 2, NULL, err);
}

static void test_config_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(read_config, false) > 5);
}

static void test_graph_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(build_graph, true) > 50);
    assert_true(fail_every_allocation(build_mixture, true) > 80);
}

static void test_interpreter_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(compile_model, true) > 25);
    assert_true(fail_every_allocation(plan_model, true) >= 1);
}

static void test_loading_weights_survives_every_failing_allocation(void **state)
{
    (void)state;
    assert_true(fail_every_allocation(load_weights, true) == 3);
}

static int setup(void **state)
{
    (void)state;
    const uint32_t ordinal = 0;
    tn_open open = {.struct_size = sizeof open, .device_count = 1, .world = 1, .ordinal = &ordinal};

    for (uint32_t i = 0; i < 64; i++)
        enc[i] = (tn_enc){.struct_size = sizeof *enc, .family = TN_ENC_FLOAT, .qtype = TN_F32, .bits = 32};
    tn_status status = model_graph_build(&tiny, &graph, NULL);
    if (status == TN_OK)
        status = tn_interp_backend(tn_interp_host_ops(), &backend, NULL);
    if (status == TN_OK)
        status = backend->open(&open, &dev, NULL);
    return status;
}

static int teardown(void **state)
{
    (void)state;
    backend->close(dev);
    model_graph_free(graph);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_survives_every_failing_allocation),
        cmocka_unit_test(test_graph_survives_every_failing_allocation),
        cmocka_unit_test(test_interpreter_survives_every_failing_allocation),
        cmocka_unit_test(test_loading_weights_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
