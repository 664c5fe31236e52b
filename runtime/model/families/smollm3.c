/* families/smollm3.c: SmolLM3: Llama in which every fourth layer does not rotate (NoPE, Yang et al. 2025,
 * arXiv:2501.18795). GGUF has no key for which.
 */
#include "model/decoder.h"

static const char *const architectures[] = {"SmolLM3ForCausalLM", NULL};

static void prepare(model_config *config)
{
    config->tied_embeddings = true;
    family_mark_layers(config, LAYER_NO_ROPE, 4, true);
}

static void prepare_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 32768;
    config->kv_heads = 4;
    config->rope_theta = 2e6f;
}

/* no_rope_layers holds 1 where a layer does rotate. A window, if there is one, is of those that do not. */
static void read_hf(config_reader *reader, model_config *config)
{
    uint32_t interval = 4, count = config_length(reader, "no_rope_layers");
    bool used = false;

    config_flag(reader, "use_sliding_window", false, &used);
    if (!used)
        config->window = 0;
    config_count(reader, "no_rope_layer_interval", 1, MODEL_LAYERS_MAX, 4, &interval);
    if (reader->status != TN_OK)
        return;
    family_mark_layers(config, LAYER_NO_ROPE, interval, true);
    if (count != 0 && count != config->layers)
        config_refuse(reader, TN_E_CORRUPT, "no_rope_layers", "has %u elements for %u layers", count, config->layers);
    for (uint32_t i = 0; i < count && reader->status == TN_OK; i++) {
        uint32_t rotates = config_count_at(reader, "no_rope_layers", i, 1);
        config->layer_kind[i] = (uint8_t)(config->layer_kind[i] & ~LAYER_NO_ROPE) | (rotates ? 0 : LAYER_NO_ROPE);
    }
    for (uint32_t i = 0; i < config->layers && !config_has(reader, "layer_types"); i++)
        config->layer_kind[i] |= config->layer_kind[i] & LAYER_NO_ROPE ? LAYER_WINDOW : 0;
}

const model_family smollm3_family = {.architecture = "smollm3",
                                     .hf_architectures = architectures,
                                     .gguf_rope_pairs = true,
                                     .prepare = prepare,
                                     .prepare_hf = prepare_hf,
                                     .read_hf = read_hf};
