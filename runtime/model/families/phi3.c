/* families/phi3.c: Phi-3, 3.5 and 4: q, k, v in one tensor, gate and up in another; LongRoPE, and in Phi-4-mini only a
 * part of each head rotates.
 */
#include "model/decoder.h"

static const char *const architectures[] = {"Phi3ForCausalLM", NULL};

static void prepare(model_config *config)
{
    config->fused_qkv = true;
    config->fused_gate_up = true;
    family_mark_layers(config, LAYER_WINDOW, 0, false);
}

static void prepare_hf(model_config *config, const char *name)
{
    (void)name;
    config->context = 4096;
    config->norm_eps = 1e-5f;
}

const model_family phi3_family = {
    .architecture = "phi3", .hf_architectures = architectures, .prepare = prepare, .prepare_hf = prepare_hf};
