/* test_published_configs.c: the config.json of published models, cut to the keys that are read, gives the graph of
 * those models: as many parameters as their publishers' files have.
 *
 * The totals are those that the model pages on the Hugging Face hub state for the safetensors files.
 */
#include "cmocka_test.h"
#include "fake_source.h"
#include "model/graph.h"

#include <string.h>

#define QWEN2_DISTILL                                                                                   \
    "\"architectures\": [\"Qwen2ForCausalLM\"], \"attention_dropout\": 0.0, \"bos_token_id\": 151643, " \
    "\"hidden_act\": \"silu\", \"max_position_embeddings\": 131072, \"model_type\": \"qwen2\", "        \
    "\"tie_word_embeddings\": false, \"use_mrope\": false, \"use_sliding_window\": false, "             \
    "\"torch_dtype\": \"bfloat16\", "
#define LLAMA_DISTILL                                                                                     \
    "\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"hidden_act\": \"silu\", "    \
    "\"max_position_embeddings\": 131072, \"mlp_bias\": false, \"model_type\": \"llama\", "               \
    "\"rms_norm_eps\": 1e-05, \"rope_scaling\": {\"factor\": 8.0, \"low_freq_factor\": 1.0, "             \
    "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}, " \
    "\"rope_theta\": 500000.0, \"tie_word_embeddings\": false, \"vocab_size\": 128256, "

typedef struct published {
    const char *name, *json;
    uint64_t parameters;
    uint32_t context, head_dim, window;
    float theta;
} published;

static const published models[] = {
    {"DeepSeek-R1-Distill-Qwen-1.5B",
     "{" QWEN2_DISTILL "\"hidden_size\": 1536, \"intermediate_size\": 8960, \"max_window_layers\": 21, "
     "\"num_attention_heads\": 12, \"num_hidden_layers\": 28, \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-06, "
     "\"rope_theta\": 10000, \"sliding_window\": 4096, \"vocab_size\": 151936}",
     1777088000, 131072, 128, 0, 10000.0f},
    {"DeepSeek-R1-Distill-Qwen-7B",
     "{" QWEN2_DISTILL "\"hidden_size\": 3584, \"intermediate_size\": 18944, \"max_window_layers\": 28, "
     "\"num_attention_heads\": 28, \"num_hidden_layers\": 28, \"num_key_value_heads\": 4, \"rms_norm_eps\": 1e-06, "
     "\"rope_theta\": 10000, \"sliding_window\": 4096, \"vocab_size\": 152064}",
     7615616512, 131072, 128, 0, 10000.0f},
    {"DeepSeek-R1-Distill-Qwen-14B",
     "{" QWEN2_DISTILL "\"hidden_size\": 5120, \"intermediate_size\": 13824, \"max_window_layers\": 48, "
     "\"num_attention_heads\": 40, \"num_hidden_layers\": 48, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 1000000.0, \"sliding_window\": 131072, \"vocab_size\": 152064}",
     14770033664, 131072, 128, 0, 1000000.0f},
    {"DeepSeek-R1-Distill-Qwen-32B",
     "{" QWEN2_DISTILL "\"hidden_size\": 5120, \"intermediate_size\": 27648, \"max_window_layers\": 64, "
     "\"num_attention_heads\": 40, \"num_hidden_layers\": 64, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 1000000.0, \"sliding_window\": 131072, \"vocab_size\": 152064}",
     32763876352, 131072, 128, 0, 1000000.0f},
    {"DeepSeek-R1-Distill-Llama-8B",
     "{" LLAMA_DISTILL "\"hidden_size\": 4096, \"intermediate_size\": 14336, \"num_attention_heads\": 32, "
     "\"num_hidden_layers\": 32, \"num_key_value_heads\": 8}",
     8030261248, 131072, 128, 0, 500000.0f},
    {"DeepSeek-R1-Distill-Llama-70B",
     "{" LLAMA_DISTILL "\"hidden_size\": 8192, \"intermediate_size\": 28672, \"num_attention_heads\": 64, "
     "\"num_hidden_layers\": 80, \"num_key_value_heads\": 8, \"head_dim\": 128}",
     70553706496, 131072, 128, 0, 500000.0f},
    {"phi-4",
     "{\"architectures\": [\"Phi3ForCausalLM\"], \"attention_bias\": false, \"hidden_act\": \"silu\", \"hidden_size\": "
     "5120, \"intermediate_size\": 17920, \"max_position_embeddings\": 16384, \"model_type\": \"phi3\", "
     "\"num_attention_heads\": 40, \"num_hidden_layers\": 40, \"num_key_value_heads\": 10, "
     "\"original_max_position_embeddings\": 16384, \"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": "
     "250000, \"sliding_window\": null, \"tie_word_embeddings\": false, \"vocab_size\": 100352}",
     14659507200, 16384, 128, 0, 250000.0f},
    {"Mistral-Small-24B-Instruct-2501",
     "{\"architectures\": [\"MistralForCausalLM\"], \"head_dim\": 128, \"hidden_act\": \"silu\", \"hidden_size\": "
     "5120, "
     "\"intermediate_size\": 32768, \"max_position_embeddings\": 32768, \"model_type\": \"mistral\", "
     "\"num_attention_heads\": 32, \"num_hidden_layers\": 40, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, "
     "\"rope_theta\": 100000000.0, \"sliding_window\": null, \"tie_word_embeddings\": false, \"vocab_size\": 131072}",
     23572403200, 32768, 128, 0, 100000000.0f},
    /* The text part of 24,011,361,280 parameters. */
    {"Mistral-Small-3.1-24B-Instruct-2503",
     "{\"architectures\": [\"Mistral3ForConditionalGeneration\"], \"image_token_index\": 10, \"model_type\": "
     "\"mistral3\", \"text_config\": {\"attention_dropout\": 0.0, \"head_dim\": 128, \"hidden_act\": \"silu\", "
     "\"hidden_size\": 5120, \"intermediate_size\": 32768, \"max_position_embeddings\": 131072, \"model_type\": "
     "\"mistral\", \"num_attention_heads\": 32, \"num_hidden_layers\": 40, \"num_key_value_heads\": 8, "
     "\"rms_norm_eps\": 1e-05, \"rope_theta\": 1000000000.0, \"sliding_window\": null, \"vocab_size\": 131072}, "
     "\"vision_config\": {\"hidden_size\": 1024, \"num_hidden_layers\": 24, \"rope_theta\": 10000.0}}",
     23572403200, 131072, 128, 0, 1000000000.0f},
    {"Olmo-3-1025-7B",
     "{\"architectures\": [\"Olmo3ForCausalLM\"], \"attention_bias\": false, \"hidden_act\": \"silu\", "
     "\"hidden_size\": "
     "4096, \"intermediate_size\": 11008, \"max_position_embeddings\": 65536, \"model_type\": \"olmo3\", "
     "\"num_attention_heads\": 32, \"num_hidden_layers\": 32, \"num_key_value_heads\": 32, \"rms_norm_eps\": 1e-06, "
     "\"rope_scaling\": {\"attention_factor\": 1.2079441541679836, \"beta_fast\": 32, \"beta_slow\": 1, \"factor\": "
     "8.0, "
     "\"original_max_position_embeddings\": 8192, \"rope_type\": \"yarn\"}, \"rope_theta\": 500000, "
     "\"sliding_window\": 4096, \"tie_word_embeddings\": false, \"vocab_size\": 100278}",
     7298011136, 65536, 128, 4096, 500000.0f},
};

static uint64_t parameters(const tn_graph *graph)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < model_graph_api(graph)->weight_count; i++) {
        uint64_t n, k;
        model_graph_weight_shape(graph, i, &n, &k);
        total += n * k;
    }
    return total;
}

static void test_published_configs_give_the_published_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const published *m = &models[i];
        fake_source fake = {0};
        model_config config;
        tn_graph *graph;
        tn_error err = TN_ERROR_INIT;

        fake_set(&fake, "config.json", fake_string(m->json));
        if (model_config_read(fake_source_view(&fake, "safetensors"), &config, &err) != TN_OK)
            fail_msg("%s: %s", m->name, err.msg);
        assert_int_equal(model_graph_build(&config, &graph, &err), TN_OK);
        uint64_t count = parameters(graph);
        model_graph_free(graph);
        if (count != m->parameters)
            fail_msg("%s: %llu parameters, published are %llu", m->name, (unsigned long long)count,
                     (unsigned long long)m->parameters);
        assert_int_equal(config.context, m->context);
        assert_int_equal(config.head_dim, m->head_dim);
        assert_int_equal(config.window, m->window);
        assert_true(config.rope_theta == m->theta);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_configs_give_the_published_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
