/* families/llama.c: Llama 2 and 3, SmolLM2, DeepSeek-R1's distilled Llamas, TinyLlama; Mistral, which adds a window;
 * and Mixtral, which replaces the feed-forward by experts. GGUF calls all of them "llama".
 *
 * Mixtral's config has the experts' width in intermediate_size. Mistral 3's text model lies in a larger one.
 */
#include "model/decoder.h"

#include <string.h>

static const char *const architectures[] = {"LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM",
                                            "Mistral3ForConditionalGeneration", NULL};

static const decoder_names hf_names = {
    [TENSOR_ROUTER] = "block_sparse_moe.gate.weight",
    [TENSOR_EXPERT_GATE] = "block_sparse_moe.experts.*.w1.weight",
    [TENSOR_EXPERT_UP] = "block_sparse_moe.experts.*.w3.weight",
    [TENSOR_EXPERT_DOWN] = "block_sparse_moe.experts.*.w2.weight",
};

static void prepare(model_config *config)
{
    family_mark_layers(config, LAYER_WINDOW, 0, false);
}

/* A window in the file of a Llama says nothing: its class has none. */
static void prepare_hf(model_config *config, const char *name)
{
    if (strcmp(name, "LlamaForCausalLM") == 0) {
        memset(config->layer_kind, 0, sizeof config->layer_kind);
        return;
    }
    config->context = 131072;
    config->kv_heads = 8;
    if (strcmp(name, "MixtralForCausalLM") == 0) {
        config->experts = 8;
        config->experts_chosen = 2;
        config->norm_eps = 1e-5f;
        config->rope_theta = 1e6f;
    } else {
        config->window = 4096;
    }
}

static void read_hf(config_reader *reader, model_config *config)
{
    config_count(reader, "num_local_experts", 0, MODEL_EXPERTS_MAX, config->experts ? config->experts : UINT32_MAX,
                 &config->experts);
    if (config->experts == UINT32_MAX)
        config->experts = 0;
    if (config->experts)
        config_count(reader, "num_experts_per_tok", 1, MODEL_EXPERTS_MAX, config->experts_chosen,
                     &config->experts_chosen);
}

const model_family llama_family = {.architecture = "llama",
                                   .hf_architectures = architectures,
                                   .hf_names = &hf_names,
                                   .gguf_rope_pairs = true,
                                   .prepare = prepare,
                                   .prepare_hf = prepare_hf,
                                   .read_hf = read_hf};
