/* families/gemma.c: Gemma 1, 2 and 3: embeddings scaled by the root of the width, GELU, gains stored less 1 (in GGUF as
 * they are). Gemma 2 adds norms around, soft caps and a window in every other layer; Gemma 3 norms q and k instead of
 * capping, with a window and a rotation of their own in five layers of six.
 *
 * A config.json of Gemma 3 leaves out what equals the defaults of its class in transformers. Its rope factor does not
 * lengthen max_position_embeddings, which is the whole context. Source for what GGUF has no key for (rotation of local
 * layers, attention scale of the 27B models): llama.cpp.
 */
#include "model/config_json.h"
#include "model/decoder.h"

#include <math.h>

static const char *const gemma_architectures[] = {"GemmaForCausalLM", NULL};
static const char *const gemma2_architectures[] = {"Gemma2ForCausalLM", NULL};
static const char *const gemma3_architectures[] = {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", NULL};

static const decoder_names hf_names_around = {
    [TENSOR_FFN_NORM] = "pre_feedforward_layernorm.weight",
};

static void prepare_gemma(model_config *config)
{
    config->activation = TN_ACT_GELU_TANH;
    config->tied_embeddings = true;
    config->head_dim = 256;
}

static void prepare_gemma2(model_config *config)
{
    prepare_gemma(config);
    config->norms = NORMS_AROUND;
    config->window = 4096;
    family_mark_layers(config, LAYER_WINDOW, 2, false);
}

static void prepare_gemma3(model_config *config)
{
    prepare_gemma2(config);
    family_mark_layers(config, LAYER_WINDOW, 6, false);
    config->qk_norm = QK_NORM_HEAD;
    config->heads = 8;
    config->kv_heads = 4;
    config->vocab = 262208;
    config->context = 131072;
    config->rope_theta = 1e6f;
    config->rope_theta_local = 10000.0f;
}

static void prepare_gemma_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 8192;
}

static void prepare_gemma2_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 8192;
    config->heads = 8;
    config->kv_heads = 4;
    config->attention_softcap = 50.0f;
    config->logits_softcap = 30.0f;
}

/* The first Gemma's files say "gelu" and mean its approximation by tanh. */
static void read_gemma_hf(config_reader *reader, model_config *config)
{
    if (config->activation == TN_ACT_SILU)
        config_refuse(reader, TN_E_UNSUPPORTED, "hidden_activation", "SiLU is not supported in a Gemma");
    config->activation = TN_ACT_GELU_TANH;
    config->norm_offset = 1.0f;
    config->embedding_scale = sqrtf((float)config->model_width);
}

/* null: none. */
static void read_softcap(config_reader *reader, const char *key, float *softcap)
{
    config_real(reader, key, 0.0, 1e6, config_json_null(reader, key) ? 0.0 : (double)*softcap, softcap);
}

static void read_gemma2_hf(config_reader *reader, model_config *config)
{
    float scalar = 256.0f;

    read_gemma_hf(reader, config);
    config_real(reader, "query_pre_attn_scalar", 1e-3, 1e9, 256.0, &scalar);
    read_softcap(reader, "attn_logit_softcapping", &config->attention_softcap);
    read_softcap(reader, "final_logit_softcapping", &config->logits_softcap);
    if (reader->status == TN_OK)
        config->attention_scale = 1.0f / sqrtf(scalar);
}

static void read_gemma3_hf(config_reader *reader, model_config *config)
{
    uint32_t period = 6;
    bool both_ways = false;

    read_gemma2_hf(reader, config);
    config_count(reader, "max_position_embeddings", 1, MODEL_CONTEXT_MAX, 131072, &config->context);
    config_flag(reader, "use_bidirectional_attention", false, &both_ways);
    if (both_ways)
        config_refuse(reader, TN_E_UNSUPPORTED, "use_bidirectional_attention", "true is not supported");
    if (config_has(reader, "layer_types"))
        return;
    config_count(reader, "sliding_window_pattern", 1, MODEL_LAYERS_MAX, 6, &period);
    if (reader->status == TN_OK)
        family_mark_layers(config, LAYER_WINDOW, period, false);
}

static void read_gemma_gguf(config_reader *reader, model_config *config)
{
    (void)reader;
    config->embedding_scale = sqrtf((float)config->model_width);
}

/* The largest model of each generation scales by its width per head instead of by the head's width. */
static void scale_by_width(model_config *config, uint32_t layers)
{
    if (config->layers == layers)
        config->attention_scale = 1.0f / sqrtf((float)config->model_width / (float)config->heads);
}

static void read_gemma2_gguf(config_reader *reader, model_config *config)
{
    read_gemma_gguf(reader, config);
    config_real(reader, "attn_logit_softcapping", 0.0, 1e6, 50.0, &config->attention_softcap);
    config_real(reader, "final_logit_softcapping", 0.0, 1e6, 30.0, &config->logits_softcap);
    scale_by_width(config, 46);
}

static void read_gemma3_gguf(config_reader *reader, model_config *config)
{
    read_gemma_gguf(reader, config);
    config_real(reader, "final_logit_softcapping", 0.0, 1e6, 0.0, &config->logits_softcap);
    config_real(reader, "rope.freq_base_swa", 1.0, 1e15, 10000.0, &config->rope_theta_local);
    scale_by_width(config, 62);
}

const model_family gemma_family = {.architecture = "gemma",
                                   .hf_architectures = gemma_architectures,
                                   .prepare = prepare_gemma,
                                   .prepare_hf = prepare_gemma_hf,
                                   .read_hf = read_gemma_hf,
                                   .read_gguf = read_gemma_gguf};
const model_family gemma2_family = {.architecture = "gemma2",
                                    .hf_architectures = gemma2_architectures,
                                    .hf_names = &hf_names_around,
                                    .prepare = prepare_gemma2,
                                    .prepare_hf = prepare_gemma2_hf,
                                    .read_hf = read_gemma2_hf,
                                    .read_gguf = read_gemma2_gguf};
const model_family gemma3_family = {.architecture = "gemma3",
                                    .hf_architectures = gemma3_architectures,
                                    .hf_names = &hf_names_around,
                                    .prepare = prepare_gemma3,
                                    .read_hf = read_gemma3_hf,
                                    .read_gguf = read_gemma3_gguf};
