/* families/gpt_oss.c: gpt-oss: experts with biases and a clamped SwiGLU, attention sinks, a window in every other
 * layer, YaRN.
 *
 * Hugging Face keeps gate and up rows of all experts alternating in one tensor: [E, K, N] in floats, which is how
 * quantizers of other layers leave it, [E, N, K] in MXFP4. GGUF has them apart, and calls the norm before the experts
 * post_attention_norm.
 */
#include "model/config_json.h"
#include "model/decoder.h"

#include <string.h>

static const char *const architectures[] = {"GptOssForCausalLM", NULL};

static const decoder_names gguf_names = {[TENSOR_FFN_NORM] = "post_attention_norm.weight"};
static const decoder_names hf_names = {
    [TENSOR_ROUTER] = "mlp.router.weight",
    [TENSOR_EXPERT_DOWN] = "mlp.experts.down_proj",
};

static void prepare(model_config *config)
{
    config->attention_bias = true;
    config->attention_sinks = true;
    config->expert_bias = true;
    config->activation = TN_ACT_SWIGLU_CLAMPED;
    config->swiglu_limit = 7.0f;
    config->swiglu_alpha = 1.702f;
    config->rope_untruncated = true;
    config->window = 128;
    family_mark_layers(config, LAYER_WINDOW, 2, false);
}

static void prepare_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 131072;
    config->kv_heads = 8;
    config->head_dim = 64;
    config->norm_eps = 1e-5f;
    config->rope_theta = 150000.0f;
}

/* Its class scales also where the file says nothing of it; the context is as long as that makes it. */
static void scale_rotation(const config_reader *reader, model_config *config)
{
    if (config_has(reader, "rope_scaling") || config_has(reader, "rope_parameters"))
        return;
    config->rope_scaling = ROPE_SCALING_YARN;
    config->rope_factor = 32.0f;
    config->rope_beta_fast = 32.0f;
    config->rope_beta_slow = 1.0f;
    config->rope_original_context = 4096;
}

static bool is_mxfp4(const config_reader *reader)
{
    const char *method = config_json_quant_method(reader->ctx);
    return method && strcmp(method, "mxfp4") == 0;
}

static void read_hf(config_reader *reader, model_config *config)
{
    config_count(reader, "num_local_experts", 1, MODEL_EXPERTS_MAX, 0, &config->experts);
    config_count(reader, "num_experts_per_tok", 1, MODEL_EXPERTS_MAX, 0, &config->experts_chosen);
    config_real(reader, "swiglu_limit", 1e-3, 1e6, 7.0, &config->swiglu_limit);
    config_real(reader, "swiglu_alpha", 1e-3, 1e6, 1.702, &config->swiglu_alpha);
    config->activation = TN_ACT_SWIGLU_CLAMPED;
    scale_rotation(reader, config);
    config->fused_experts = true;
    config->experts_transposed = !is_mxfp4(reader);
}

const model_family gpt_oss_family = {.architecture = "gpt-oss",
                                     .hf_architectures = architectures,
                                     .gguf_names = &gguf_names,
                                     .hf_names = &hf_names,
                                     .prepare = prepare,
                                     .prepare_hf = prepare_hf,
                                     .read_hf = read_hf};
