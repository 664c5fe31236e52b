/* families/granite.c: Granite 3: Llama with multipliers on embeddings, attention, residual branches and logits. */
#include "model/decoder.h"

static const char *const architectures[] = {"GraniteForCausalLM", NULL};

static void invert_logits_scale(config_reader *reader, model_config *config)
{
    if (reader->status == TN_OK)
        config->logits_scale = 1.0f / config->logits_scale;
}

static void read_hf(config_reader *reader, model_config *config)
{
    config_real(reader, "embedding_multiplier", 1e-6, 1e6, 1.0, &config->embedding_scale);
    config_real(reader, "residual_multiplier", 1e-6, 1e6, 1.0, &config->residual_scale);
    config_real(reader, "attention_multiplier", 1e-6, 1e6, 1.0, &config->attention_scale);
    config_real(reader, "logits_scaling", 1e-6, 1e6, 1.0, &config->logits_scale);
    invert_logits_scale(reader, config);
}

static void read_gguf(config_reader *reader, model_config *config)
{
    config_real(reader, "embedding_scale", 1e-6, 1e6, 1.0, &config->embedding_scale);
    config_real(reader, "residual_scale", 1e-6, 1e6, 1.0, &config->residual_scale);
    config_real(reader, "attention.scale", 0.0, 1e6, 0.0, &config->attention_scale);
    config_real(reader, "logit_scale", 1e-6, 1e6, 1.0, &config->logits_scale);
    invert_logits_scale(reader, config);
}

const model_family granite_family = {.architecture = "granite",
                                     .hf_architectures = architectures,
                                     .gguf_rope_pairs = true,
                                     .read_hf = read_hf,
                                     .read_gguf = read_gguf};
