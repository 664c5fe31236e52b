/* families/qwen.c: Qwen2 and 2.5 (biases on q, k and v), Qwen3 (a norm on every head of q and k instead) and its
 * mixtures of experts. DeepSeek-R1's distilled Qwens are Qwen2.
 */
#include "model/decoder.h"

static const char *const qwen2_architectures[] = {"Qwen2ForCausalLM", NULL};
static const char *const qwen3_architectures[] = {"Qwen3ForCausalLM", NULL};
static const char *const qwen3_moe_architectures[] = {"Qwen3MoeForCausalLM", NULL};

static void prepare_qwen2(model_config *config)
{
    config->attention_bias = true;
}

static void prepare_qwen3(model_config *config)
{
    config->qk_norm = QK_NORM_HEAD;
}

static void prepare_qwen_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 32768;
    config->window = 4096;
}

static void prepare_qwen3_hf(model_config *config, const char *name)
{
    prepare_qwen_hf(config, name);
    config->head_dim = 128;
}

static void prepare_qwen3_moe_hf(model_config *config, const char *name)
{
    prepare_qwen_hf(config, name);
    config->kv_heads = 4;
}

/* A window is in the config of every Qwen, but in force only if use_sliding_window says so, and from a layer on. */
static void read_window(config_reader *reader, model_config *config)
{
    bool used = false;
    uint32_t full = 0;

    config_flag(reader, "use_sliding_window", false, &used);
    config_count(reader, "max_window_layers", 0, UINT32_MAX - 1, 28, &full);
    if (reader->status != TN_OK)
        return;
    if (!used)
        config->window = 0;
    for (uint32_t i = full; i < config->layers && !config_has(reader, "layer_types"); i++)
        config->layer_kind[i] |= LAYER_WINDOW;
}

static void read_qwen2_hf(config_reader *reader, model_config *config)
{
    read_window(reader, config);
    config->attention_bias = true;
    config->attention_output_bias = false;
}

/* Dense are the layers that mlp_only_layers lists, and all but the last of every decoder_sparse_step. */
static void read_dense_layers(config_reader *reader, model_config *config)
{
    uint32_t step = 1, count = config_length(reader, "mlp_only_layers");

    config_count(reader, "decoder_sparse_step", 1, UINT32_MAX - 1, 1, &step);
    if (reader->status == TN_OK && step != 1)
        family_mark_layers(config, LAYER_DENSE, step, false);
    for (uint32_t i = 0; i < count && reader->status == TN_OK; i++) {
        uint32_t layer = config_count_at(reader, "mlp_only_layers", i, UINT32_MAX);
        if (reader->status == TN_OK && layer < config->layers)
            config->layer_kind[layer] |= LAYER_DENSE;
    }
}

/* The number of experts has another name in the files of transformers 5. */
static void read_qwen3_moe_hf(config_reader *reader, model_config *config)
{
    bool normalized = false;

    read_window(reader, config);
    config_count(reader, config_has(reader, "num_local_experts") ? "num_local_experts" : "num_experts", 1,
                 MODEL_EXPERTS_MAX, 0, &config->experts);
    config_count(reader, "num_experts_per_tok", 1, MODEL_EXPERTS_MAX, 0, &config->experts_chosen);
    config_count(reader, "moe_intermediate_size", 1, MODEL_WIDTH_MAX, 0, &config->expert_width);
    config_flag(reader, "norm_topk_prob", false, &normalized);
    read_dense_layers(reader, config);
    config->experts_unnormalized = !normalized;
}

const model_family qwen2_family = {.architecture = "qwen2",
                                   .hf_architectures = qwen2_architectures,
                                   .prepare = prepare_qwen2,
                                   .prepare_hf = prepare_qwen_hf,
                                   .read_hf = read_qwen2_hf};
const model_family qwen3_family = {.architecture = "qwen3",
                                   .hf_architectures = qwen3_architectures,
                                   .prepare = prepare_qwen3,
                                   .prepare_hf = prepare_qwen3_hf,
                                   .read_hf = read_window};
const model_family qwen3_moe_family = {.architecture = "qwen3moe",
                                       .hf_architectures = qwen3_moe_architectures,
                                       .prepare = prepare_qwen3,
                                       .prepare_hf = prepare_qwen3_moe_hf,
                                       .read_hf = read_qwen3_moe_hf};
