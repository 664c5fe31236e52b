/* test_family_refusals.c: directories that cannot be right are refused in one sentence that names what is wrong, before
 * any weight is read.
 */
#include "family_case.h"
#include "unit/cmocka_test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Everything up to the choice of encodings, which looks at shapes only. */
static tn_status open_directory(const char *path, tn_error *err)
{
    const tn_quant_table *quant = tn_plugin_entry()->get_interface(TN_QUANT_ID);
    const tn_backend *backend = family_backend();
    tn_devinfo device = {.struct_size = sizeof device};
    weight_source weights = {.quant = quant};
    checkpoint *checkpoint = NULL;
    tn_graph *graph = NULL;
    model_config config;

    tn_status status = checkpoint_open(path, &checkpoint, err);
    if (status == TN_OK)
        status = quant->open(checkpoint_source(checkpoint), &weights.qmodel, err);
    if (status == TN_OK)
        status = model_config_read(checkpoint_source(checkpoint), &config, err);
    if (status == TN_OK)
        status = model_graph_build(&config, &graph, err);
    if (status == TN_OK)
        status = backend->device(0, &device, err);
    tn_enc *enc = graph ? calloc(model_graph_api(graph)->weight_count, sizeof *enc) : NULL;
    if (status == TN_OK)
        status = weights_choose(&weights, graph, backend, &device, enc, err);
    free(enc);
    model_graph_free(graph);
    quant->close(weights.qmodel);
    checkpoint_close(checkpoint);
    return status;
}

static void assert_refused(const char *path, tn_status wanted, const char *part)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = open_directory(path, &err);

    print_message("  %s\n", err.msg);
    if (status != wanted || !strstr(err.msg, part) || strchr(err.msg, '\n'))
        fail_msg("status %d, \"%s\" should contain \"%s\"", (int)status, err.msg, part);
}

static void test_configs_that_cannot_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *family, *edit;
        tn_status status;
        const char *part;
    } bad[] = {
        {"llama", "{\"architectures\": [\"MambaForCausalLM\"]}", TN_E_UNSUPPORTED,
         "\"MambaForCausalLM\" is not supported; known: LlamaForCausalLM, MistralForCausalLM"},
        {"llama", "{\"hidden_size\": 64}", TN_E_CORRUPT,
         "tensor model.embed_tokens.weight is 96 x 32, the model's configuration needs 96 x 64"},
        {"llama", "{\"num_hidden_layers\": 3}", TN_E_CORRUPT,
         "tensor model.layers.2.input_layernorm.weight is missing"},
        {"llama", "{\"num_hidden_layers\": 0}", TN_E_CORRUPT, "num_hidden_layers: is 0, must be within 1 to 1024"},
        {"llama", "{\"num_key_value_heads\": 3}", TN_E_CORRUPT, "3 key/value heads do not divide 4 attention heads"},
        {"llama", "{\"head_dim\": 15}", TN_E_CORRUPT, "head width 15 is odd"},
        {"llama", "{\"hidden_act\": \"relu\"}", TN_E_UNSUPPORTED, "hidden_act: \"relu\" is not supported; known: silu"},
        {"llama",
         "{\"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.0}, \"rope_scaling\": {\"type\": "
         "\"linear\", \"factor\": 4.0}}",
         TN_E_CORRUPT, "rope_parameters: differs from rope_scaling"},
        {"mistral", "{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 16.0, \"llama_4_scaling_beta\": 0.1}}",
         TN_E_UNSUPPORTED, "llama_4_scaling_beta: is not supported: queries that grow with their position"},
        {"llama", "{\"rope_scaling\": {\"type\": \"ntk\"}}", TN_E_UNSUPPORTED,
         "rope_type: \"ntk\" is not supported; known: default, linear"},
        {"mixtral", "{\"num_experts_per_tok\": 5}", TN_E_CORRUPT, "5 experts are chosen of 4"},
        {"mixtral", "{\"num_local_experts\": 5}", TN_E_CORRUPT,
         "tensor model.layers.0.block_sparse_moe.gate.weight is 4 x 32, the model's configuration needs 5 x 32"},
        {"mixtral", "{\"num_local_experts\": 1024, \"intermediate_size\": 1048576}", TN_E_CORRUPT,
         "1024 experts of width 1048576 are beyond the limit"},
        {"gemma2", "{\"layer_types\": [\"full_attention\"]}", TN_E_CORRUPT,
         "layer_types: has 1 elements, num_hidden_layers is 3"},
        {"gemma2", "{\"layer_types\": [\"full_attention\", \"chunked_attention\", \"full_attention\"]}",
         TN_E_UNSUPPORTED, "layer_types: \"chunked_attention\" is not supported"},
        {"gemma3", "{\"layer_types\": [\"full_attention\", 7, \"full_attention\"]}", TN_E_CORRUPT,
         "layer_types[1]: must be a string"},
        {"qwen2", "{\"num_attention_heads\": 8}", TN_E_CORRUPT, "self_attn.q_proj.weight is 32 x 32, the model"},
        {"qwen3_moe", "{\"mlp_only_layers\": [0]}", TN_E_CORRUPT,
         "tensor model.layers.0.mlp.gate_proj.weight is missing; the model's configuration needs it as 32 x 32"},
        {"qwen3_moe", "{\"mlp_only_layers\": [\"0\"]}", TN_E_CORRUPT, "mlp_only_layers[0]: must be"},
        {"qwen3_moe_dense", "{\"decoder_sparse_step\": 0}", TN_E_CORRUPT, "decoder_sparse_step: is 0"},
        {"qwen3_moe_dense", "{\"decoder_sparse_step\": 1}", TN_E_CORRUPT,
         "tensor model.layers.0.mlp.gate.weight is missing"},
        {"gemma3_vision", "{\"text_config\": {\"num_hidden_layers\": 3, \"layer_types\": null}}", TN_E_CORRUPT,
         "tensor language_model.model.layers.2.input_layernorm.weight is missing"},
        {"mistral3_vision", "{\"text_config\": {\"num_hidden_layers\": 3}}", TN_E_CORRUPT,
         "tensor model.language_model.layers.2.input_layernorm.weight is missing"},
        {"mistral3_vision", "{\"text_config\": {\"vocab_size\": 100}}", TN_E_CORRUPT,
         "tensor model.language_model.embed_tokens.weight is 96 x 32"},
        {"phi3", "{\"rope_scaling\": {\"long_factor\": [1.0, 2.0]}}", TN_E_CORRUPT,
         "long_factor: has 2 elements, one is needed for each of 8 rotated pairs"},
        {"phi3", "{\"rope_scaling\": {\"short_factor\": [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]}}", TN_E_CORRUPT,
         "short_factor[3]: is 0, must be within 1e-06"},
        {"phi3", "{\"num_key_value_heads\": 2}", TN_E_CORRUPT,
         "tensor model.layers.0.self_attn.qkv_proj.weight is 64 x 32, the model's configuration needs 96 x 32"},
        {"smollm3", "{\"no_rope_layers\": [1, 0]}", TN_E_CORRUPT, "no_rope_layers: has 2 elements for 3 layers"},
        {"gpt_oss", "{\"intermediate_size\": 48}", TN_E_CORRUPT,
         "tensor model.layers.0.mlp.experts.gate_up_proj is 128 x 64, the model's configuration needs 128 x 96"},
        {"gpt_oss", "{\"rope_parameters\": {\"factor\": \"eight\"}}", TN_E_CORRUPT, "factor: must be a number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char path[256];
        family_directory_make(bad[i].family, bad[i].edit, path);
        assert_refused(path, bad[i].status, bad[i].part);
        family_directory_remove(path);
    }
}

static void write_file(const char *path, const char *name, const char *text)
{
    char file[300];
    snprintf(file, sizeof file, "%s/%s", path, name);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void test_a_missing_shard_is_named(void **state)
{
    (void)state;
    char path[256], whole[300], shard[300];

    family_directory_make("llama", NULL, path);
    snprintf(whole, sizeof whole, "%s/model.safetensors", path);
    snprintf(shard, sizeof shard, "%s/model-00001-of-00002.safetensors", path);
    assert_int_equal(rename(whole, shard), 0);
    write_file(path, "model.safetensors.index.json",
               "{\"weight_map\": {\"model.norm.weight\": \"model-00001-of-00002.safetensors\", "
               "\"lm_head.weight\": \"model-00002-of-00002.safetensors\"}}");
    assert_refused(path, TN_E_NOT_FOUND, "model-00002-of-00002.safetensors");
    assert_int_equal(unlink(shard), 0);
    family_directory_remove(path);
}

static void test_a_missing_config_is_named(void **state)
{
    (void)state;
    char path[256], file[300];

    family_directory_make("llama", NULL, path);
    snprintf(file, sizeof file, "%s/config.json", path);
    assert_int_equal(unlink(file), 0);
    assert_refused(path, TN_E_NOT_FOUND, "config.json");
    family_directory_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configs_that_cannot_be_right),
        cmocka_unit_test(test_a_missing_shard_is_named),
        cmocka_unit_test(test_a_missing_config_is_named),
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
