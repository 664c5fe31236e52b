/* test_family_features.c: every feature of every family is felt: with any one of them switched off, the logits are no
 * longer those of transformers.
 *
 * A feature is switched off in config.json where the file has a key for it, else in what was read from it. The error
 * must then be at least FELT, ten times the tolerance of test_families.c.
 */
#include "family_case.h"
#include "unit/cmocka_test.h"

#include <string.h>

static const double felt = 1e-2;

static void no_attention_bias(model_config *config)
{
    config->attention_bias = false;
}

static void no_output_bias(model_config *config)
{
    config->attention_output_bias = false;
}

static void no_mlp_bias(model_config *config)
{
    config->mlp_bias = false;
}

static void no_qk_norm(model_config *config)
{
    config->qk_norm = QK_NORM_NONE;
}

static void no_norms_after(model_config *config)
{
    config->norms = NORMS_BEFORE;
}

static void no_norm_offset(model_config *config)
{
    config->norm_offset = 0.0f;
}

static void no_embedding_scale(model_config *config)
{
    config->embedding_scale = 0.0f;
}

static void no_window(model_config *config)
{
    config->window = 0;
}

static void no_local_rotation(model_config *config)
{
    config->rope_theta_local = 0.0f;
}

static void no_rope_scaling(model_config *config)
{
    config->rope_scaling = ROPE_SCALING_NONE;
}

static void no_rope_magnitude(model_config *config)
{
    config->rope_attention_factor = 1.0f;
}

static void no_ramp_between_dimensions(model_config *config)
{
    config->rope_untruncated = false;
}

static void short_rotation(model_config *config)
{
    config->sequence_max = config->rope_original_context;
}

static void all_layers_rotate(model_config *config)
{
    for (uint32_t i = 0; i < config->layers; i++)
        config->layer_kind[i] &= (uint8_t)~LAYER_NO_ROPE;
}

static void windows_elsewhere(model_config *config)
{
    for (uint32_t i = 0; i < config->layers; i++)
        config->layer_kind[i] ^= LAYER_WINDOW;
}

static void no_sinks(model_config *config)
{
    config->attention_sinks = false;
}

static void no_expert_bias(model_config *config)
{
    config->expert_bias = false;
}

static void plain_silu(model_config *config)
{
    config->activation = TN_ACT_SILU;
}

static void other_router_weights(model_config *config)
{
    config->experts_unnormalized = !config->experts_unnormalized;
}

static void one_expert(model_config *config)
{
    config->experts_chosen = 1;
}

static void usual_attention_scale(model_config *config)
{
    config->attention_scale = 0.0f;
}

static const struct {
    const char *family, *feature;
    const char *edit;                     /* of config.json */
    void (*change)(model_config *config); /* of what was read */
} features[] = {
    {"llama", "attention bias", NULL, no_attention_bias},
    {"llama", "output bias", NULL, no_output_bias},
    {"llama", "feed-forward bias", NULL, no_mlp_bias},
    {"llama", "base of the rotation", "{\"rope_theta\": 5000.0}", NULL},
    {"llama_linear", "rope scaling", NULL, no_rope_scaling},
    {"llama_linear", "rope factor", "{\"rope_scaling\": {\"factor\": 4.0}}", NULL},
    {"llama_dynamic", "rope scaling", NULL, no_rope_scaling},
    {"llama_llama3", "rope scaling", NULL, no_rope_scaling},
    {"llama_yarn", "rope scaling", NULL, no_rope_scaling},
    {"llama_yarn", "magnitude", NULL, no_rope_magnitude},
    {"llama_yarn", "beta_slow", "{\"rope_scaling\": {\"beta_slow\": 0.25}}", NULL},
    {"mistral", "window", "{\"sliding_window\": null}", NULL},
    {"mistral", "window's width", "{\"sliding_window\": 23}", NULL},
    {"mixtral", "normalised router", NULL, other_router_weights},
    {"mixtral", "second expert", "{\"num_experts_per_tok\": 1}", NULL},
    {"gemma", "embedding scale", NULL, no_embedding_scale},
    {"gemma", "gains stored less 1", NULL, no_norm_offset},
    {"gemma", "GELU", NULL, plain_silu},
    {"gemma2", "attention soft cap", "{\"attn_logit_softcapping\": null}", NULL},
    {"gemma2", "final soft cap", "{\"final_logit_softcapping\": null}", NULL},
    {"gemma2", "attention scale", "{\"query_pre_attn_scalar\": 16}", NULL},
    {"gemma2", "norms after", NULL, no_norms_after},
    {"gemma2", "window", NULL, no_window},
    {"gemma2", "which layers have it", NULL, windows_elsewhere},
    {"gemma3", "q and k norms", NULL, no_qk_norm},
    {"gemma3", "norms after", NULL, no_norms_after},
    {"gemma3", "window", NULL, no_window},
    {"gemma3", "which layers have it", "{\"layer_types\": null}", NULL},
    {"gemma3", "rotation of local layers", NULL, no_local_rotation},
    {"gemma3", "rope scaling", NULL, no_rope_scaling},
    {"gemma3", "embedding scale", NULL, no_embedding_scale},
    {"gemma3", "attention scale", NULL, usual_attention_scale},
    {"qwen2", "q, k and v biases", NULL, no_attention_bias},
    {"qwen2_window", "window", "{\"use_sliding_window\": false}", NULL},
    {"qwen2_window", "layers before it", "{\"max_window_layers\": 0}", NULL},
    {"qwen3", "q and k norms", NULL, no_qk_norm},
    {"qwen3_moe", "normalised router", "{\"norm_topk_prob\": false}", NULL},
    {"qwen3_moe", "experts but one", NULL, one_expert},
    {"qwen3_moe", "q and k norms", NULL, no_qk_norm},
    {"qwen3_moe_unnormalized", "router's own weights", "{\"norm_topk_prob\": true}", NULL},
    {"qwen3_moe_dense", "normalised router", NULL, other_router_weights},
    {"qwen3_moe_dense", "second expert", NULL, one_expert},
    {"gemma3_vision", "which layers have the window", NULL, windows_elsewhere},
    {"mistral3_vision", "base of the rotation", "{\"text_config\": {\"rope_parameters\": {\"rope_theta\": 500.0}}}",
     NULL},
    {"phi3", "rope scaling", NULL, no_rope_scaling},
    {"phi3", "magnitude", NULL, no_rope_magnitude},
    {"phi3", "long factors", NULL, short_rotation},
    {"phi3", "window", NULL, no_window},
    {"phi3_partial", "long factors", NULL, short_rotation},
    {"smollm3", "layers that do not rotate", NULL, all_layers_rotate},
    {"olmo2", "q and k norms", NULL, no_qk_norm},
    {"olmo3", "q and k norms", NULL, no_qk_norm},
    {"olmo3", "window", NULL, no_window},
    {"olmo3", "which layers have it", NULL, windows_elsewhere},
    {"olmo3", "rotation of local layers", NULL, no_local_rotation},
    {"olmo3", "rope scaling", NULL, no_rope_scaling},
    {"granite", "embedding multiplier", "{\"embedding_multiplier\": 1.0}", NULL},
    {"granite", "residual multiplier", "{\"residual_multiplier\": 1.0}", NULL},
    {"granite", "attention multiplier", NULL, usual_attention_scale},
    {"granite", "logits scaling", "{\"logits_scaling\": 1.0}", NULL},
    {"gpt_oss", "sinks", NULL, no_sinks},
    {"gpt_oss", "expert biases", NULL, no_expert_bias},
    {"gpt_oss", "attention biases", NULL, no_attention_bias},
    {"gpt_oss", "output bias", NULL, no_output_bias},
    {"gpt_oss", "clamped activation", NULL, plain_silu},
    {"gpt_oss", "clamp", "{\"swiglu_limit\": 100.0}", NULL},
    {"gpt_oss", "window", NULL, no_window},
    {"gpt_oss", "which layers have it", NULL, windows_elsewhere},
    {"gpt_oss", "rope scaling", NULL, no_rope_scaling},
    {"gpt_oss", "ramp between dimensions", NULL, no_ramp_between_dimensions},
    {"gpt_oss", "second expert", NULL, one_expert},
    {"gpt_oss", "normalised router", NULL, other_router_weights},
};

static void test_no_feature_can_be_left_out(void **state)
{
    (void)state;
    static float logits[FAMILY_PROMPT * FAMILY_VOCAB];
    uint32_t unfelt = 0;

    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        char path[256];
        model_rig rig;

        family_directory_make(features[i].family, features[i].edit, path);
        family_open(&rig, path, TN_F32, features[i].change);
        family_run(&rig, logits);
        rig_close(&rig);
        family_directory_remove(path);
        double error = family_error(features[i].family, logits);
        bool weak = !(error >= felt);
        print_message("%-24s without %-26s %.2g%s\n", features[i].family, features[i].feature, error,
                      weak ? "  NOT FELT" : "");
        unfelt += weak;
    }
    assert_int_equal(unfelt, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_feature_can_be_left_out),
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
