/* test_config.c: dimensions are read from both containers, and each absurd value is refused by the name of its key. */
#include "cmocka_test.h"
#include "fake_source.h"
#include "model/config.h"

#include <math.h>

static fake_source gguf(void)
{
    fake_source fake = {0};
    fake_set(&fake, "general.architecture", fake_string("llama"));
    fake_set(&fake, "llama.block_count", fake_uint(30));
    fake_set(&fake, "llama.context_length", fake_uint(8192));
    fake_set(&fake, "llama.embedding_length", fake_uint(576));
    fake_set(&fake, "llama.feed_forward_length", fake_uint(1536));
    fake_set(&fake, "llama.attention.head_count", fake_uint(9));
    fake_set(&fake, "llama.attention.head_count_kv", fake_uint(3));
    fake_set(&fake, "llama.attention.layer_norm_rms_epsilon", fake_float(1e-5));
    fake_set(&fake, "llama.rope.freq_base", fake_float(100000.0));
    fake_add_tensor(&fake, "token_embd.weight", TN_DTYPE_GGUF, 49152, 576, NULL, 49152 * 576 * 4);
    return fake;
}

#define HF_HEAD                                                                                     \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 64, \"intermediate_size\": 160, " \
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 4, \"vocab_size\": 320"

static tn_status read_hf(const char *json, model_config *ret_config, tn_error *err)
{
    fake_source fake = {0};
    fake_set(&fake, "config.json", fake_string(json));
    return model_config_read(fake_source_view(&fake, "safetensors"), ret_config, err);
}

static void assert_hf_refused(const char *json, tn_status status, const char *message_part)
{
    model_config config;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(read_hf(json, &config, &err), status);
    if (!strstr(err.msg, message_part))
        fail_msg("\"%s\" does not contain \"%s\"", err.msg, message_part);
}

static void assert_gguf_refused(const char *key, tn_meta meta, tn_status status)
{
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, key, meta);
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), status);
    if (!strstr(err.msg, key))
        fail_msg("\"%s\" does not name %s", err.msg, key);
}

static void test_gguf_dimensions_are_read(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_OK);
    assert_string_equal(config.architecture, "llama");
    assert_int_equal(config.layers, 30);
    assert_int_equal(config.model_width, 576);
    assert_int_equal(config.ff_width, 1536);
    assert_int_equal(config.heads, 9);
    assert_int_equal(config.kv_heads, 3);
    assert_int_equal(config.head_dim, 64);
    assert_int_equal(config.rope_dim, 64);
    assert_int_equal(config.vocab, 49152);
    assert_int_equal(config.context, 8192);
    assert_true(config.rope_theta == 100000.0f);
    assert_true(config.rope_pairs);
    assert_true(config.tied_embeddings);
    assert_false(config.hf_names);
    assert_int_equal(config.rope_scaling, ROPE_SCALING_NONE);
}

static void test_gguf_output_tensor_means_untied(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;

    fake_add_tensor(&fake, "output.weight", TN_DTYPE_GGUF, 49152, 576, NULL, 0);
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, NULL), TN_OK);
    assert_false(config.tied_embeddings);
}

static void test_gguf_rope_factors_are_borrowed_and_checked(void **state)
{
    (void)state;
    float factors[32];
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    for (int i = 0; i < 32; i++)
        factors[i] = 1.0f + (float)i;
    fake_add_tensor(&fake, "rope_freqs.weight", TN_DTYPE_GGUF, 1, 32, factors, sizeof factors);
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_OK);
    assert_ptr_equal(config.rope_factors, factors);

    factors[7] = NAN;
    assert_int_equal(model_config_read(&fake.source, &config, &err), TN_E_CORRUPT);
    factors[7] = 0.0f;
    assert_int_equal(model_config_read(&fake.source, &config, &err), TN_E_CORRUPT);
    fake.tensors[1].bytes = 31 * 4;
    assert_int_equal(model_config_read(&fake.source, &config, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "rope_freqs.weight"));
}

static void test_gguf_absurd_values_are_refused_by_name(void **state)
{
    (void)state;
    assert_gguf_refused("llama.block_count", fake_uint(0), TN_E_CORRUPT);
    assert_gguf_refused("llama.block_count", fake_uint(UINT64_MAX), TN_E_CORRUPT);
    assert_gguf_refused("llama.block_count", fake_float(3.5), TN_E_CORRUPT);
    assert_gguf_refused("llama.block_count", fake_string("30"), TN_E_CORRUPT);
    assert_gguf_refused("llama.embedding_length", fake_int(-576), TN_E_CORRUPT);
    assert_gguf_refused("llama.feed_forward_length", fake_uint(1ull << 40), TN_E_CORRUPT);
    assert_gguf_refused("llama.attention.head_count", fake_uint(0), TN_E_CORRUPT);
    assert_gguf_refused("llama.attention.head_count_kv", fake_uint(1u << 31), TN_E_CORRUPT);
    assert_gguf_refused("llama.attention.key_length", fake_uint(1u << 20), TN_E_CORRUPT);
    assert_gguf_refused("llama.attention.value_length", fake_uint(32), TN_E_UNSUPPORTED);
    assert_gguf_refused("llama.attention.layer_norm_rms_epsilon", fake_float(NAN), TN_E_CORRUPT);
    assert_gguf_refused("llama.rope.freq_base", fake_float(INFINITY), TN_E_CORRUPT);
    assert_gguf_refused("llama.rope.freq_base", fake_float(-1.0), TN_E_CORRUPT);
    assert_gguf_refused("llama.rope.scaling.type", fake_string("ntk"), TN_E_UNSUPPORTED);
    assert_gguf_refused("llama.expert_count", fake_uint(1u << 20), TN_E_CORRUPT);
}

static void test_gguf_missing_keys_are_named(void **state)
{
    (void)state;
    const char *const required[] = {"general.architecture", "llama.block_count", "llama.embedding_length",
                                    "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        fake_source fake = gguf();
        model_config config;
        tn_error err = TN_ERROR_INIT;
        fake_unset(&fake, required[i]);
        assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_E_CORRUPT);
        assert_non_null(strstr(err.msg, required[i]));
    }
}

static void test_key_value_heads_must_divide_heads(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, "llama.attention.head_count_kv", fake_uint(4));
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "4 key/value heads do not divide 9"));
    fake_set(&fake, "llama.attention.head_count_kv", fake_uint(18));
    assert_int_equal(model_config_read(&fake.source, &config, &err), TN_E_CORRUPT);
}

static void test_odd_head_width_is_refused(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, "llama.attention.key_length", fake_uint(63));
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "63 is odd"));
}

static void test_a_head_width_that_follows_from_the_model_width_is_limited(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, "llama.embedding_length", fake_uint(MODEL_HEAD_DIM_MAX + 2));
    fake_set(&fake, "llama.attention.head_count", fake_uint(1));
    fake_set(&fake, "llama.attention.head_count_kv", fake_uint(1));
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "head width 4098 is beyond the limit of 4096"));
    assert_hf_refused("{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 8192, \"intermediate_size\": 160, "
                      "\"num_hidden_layers\": 3, \"num_attention_heads\": 1, \"vocab_size\": 320}",
                      TN_E_CORRUPT, "head width 8192");
}

static void test_unknown_architecture_lists_the_known(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, "general.architecture", fake_string("mamba"));
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "\"mamba\""));
    assert_non_null(strstr(err.msg, "known: llama, gemma"));
    assert_hf_refused("{\"architectures\": [\"MambaForCausalLM\"]}", TN_E_UNSUPPORTED,
                      "known: LlamaForCausalLM, MistralForCausalLM");
}

static void test_hf_defaults_are_those_of_transformers(void **state)
{
    (void)state;
    model_config config;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(read_hf(HF_HEAD ", \"head_dim\": null, \"rope_scaling\": null}", &config, &err), TN_OK);
    assert_string_equal(config.architecture, "llama");
    assert_int_equal(config.kv_heads, 4);
    assert_int_equal(config.head_dim, 16);
    assert_int_equal(config.context, 2048);
    assert_true(config.norm_eps == 1e-6f);
    assert_true(config.rope_theta == 10000.0f);
    assert_false(config.rope_pairs);
    assert_false(config.tied_embeddings);
    assert_false(config.attention_bias || config.attention_output_bias || config.mlp_bias);
    assert_true(config.hf_names);
}

/* A config.json of `name` that has nothing but sizes, and `keys`. */
static model_config read_class(const char *name, const char *keys)
{
    char text[640];
    model_config config = {0};
    tn_error err = TN_ERROR_INIT;

    snprintf(text, sizeof text,
             "{\"architectures\": [\"%s\"], \"hidden_size\": 1536, \"intermediate_size\": 160, "
             "\"num_hidden_layers\": 32, \"num_attention_heads\": 16, \"vocab_size\": 320%s}",
             name, keys);
    if (read_hf(text, &config, &err) != TN_OK)
        fail_msg("%s: %s", name, err.msg);
    return config;
}

/* What each class of transformers 5.24 has for a key that is not there, where it is not what LlamaConfig has. */
static void test_hf_defaults_are_those_of_the_class(void **state)
{
    static const struct {
        const char *name, *keys;
        uint32_t context, kv_heads, head_dim;
        double eps, theta;
    } classes[] = {
        {"LlamaForCausalLM", "", 2048, 16, 96, 1e-6, 1e4},
        {"MistralForCausalLM", "", 131072, 8, 96, 1e-6, 1e4},
        {"MixtralForCausalLM", "", 131072, 8, 96, 1e-5, 1e6},
        {"GemmaForCausalLM", "", 8192, 16, 256, 1e-6, 1e4},
        {"Gemma2ForCausalLM", "", 8192, 4, 256, 1e-6, 1e4},
        {"Gemma3ForCausalLM", "", 131072, 4, 256, 1e-6, 1e6},
        {"Qwen2ForCausalLM", "", 32768, 16, 96, 1e-6, 1e4},
        {"Qwen3ForCausalLM", "", 32768, 16, 128, 1e-6, 1e4},
        {"Phi3ForCausalLM", "", 4096, 16, 96, 1e-5, 1e4},
        {"SmolLM3ForCausalLM", "", 32768, 4, 96, 1e-6, 2e6},
        {"Olmo2ForCausalLM", "", 2048, 16, 96, 1e-5, 1e4},
        {"Olmo3ForCausalLM", "", 2048, 16, 96, 1e-5, 5e5},
        {"GptOssForCausalLM", ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2", 131072, 8, 64, 1e-5, 15e4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        model_config config = read_class(classes[i].name, classes[i].keys);
        if (config.context != classes[i].context || config.kv_heads != classes[i].kv_heads ||
            config.head_dim != classes[i].head_dim || config.norm_eps != (float)classes[i].eps ||
            config.rope_theta != (float)classes[i].theta)
            fail_msg("%s: context %u, %u key/value heads, head width %u, eps %g, theta %g", classes[i].name,
                     config.context, config.kv_heads, config.head_dim, (double)config.norm_eps,
                     (double)config.rope_theta);
    }
    model_config mixtral = read_class("MixtralForCausalLM", "");
    assert_true(mixtral.experts == 8 && mixtral.experts_chosen == 2 && mixtral.window == 0);
}

/* A key with null is not a key that is not there: transformers takes None, not the default. */
static void test_hf_null_is_none_where_the_class_has_a_value(void **state)
{
    (void)state;
    model_config config = read_class("MistralForCausalLM", "");
    assert_int_equal(config.window, 4096);
    assert_int_equal(config.layer_kind[31], LAYER_WINDOW);
    config = read_class("MistralForCausalLM", ", \"sliding_window\": null, \"num_key_value_heads\": null");
    assert_int_equal(config.window, 0);
    assert_int_equal(config.kv_heads, 16);
    config = read_class("Gemma2ForCausalLM", "");
    assert_true(config.attention_softcap == 50.0f && config.logits_softcap == 30.0f);
    config = read_class("Gemma2ForCausalLM", ", \"attn_logit_softcapping\": null, \"final_logit_softcapping\": 20");
    assert_true(config.attention_softcap == 0.0f && config.logits_softcap == 20.0f);
    config = read_class("Gemma3ForCausalLM", "");
    assert_true(config.attention_softcap == 0.0f && config.logits_softcap == 0.0f);
    config = read_class("GptOssForCausalLM", ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2, "
                                             "\"head_dim\": null, \"sliding_window\": null");
    assert_int_equal(config.head_dim, 96);
    assert_int_equal(config.window, 0);
}

/* In transformers these have no window, whatever their files say: some were made from models that have one. */
static void test_hf_classes_without_a_window_have_none(void **state)
{
    static const char *const names[] = {"LlamaForCausalLM", "Olmo2ForCausalLM"};

    (void)state;
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        model_config config = read_class(names[n], ", \"sliding_window\": 1024");
        for (uint32_t i = 0; i < config.layers; i++)
            assert_int_equal(config.layer_kind[i], 0);
    }
}

static void test_hf_window_of_smollm3_is_of_layers_that_do_not_rotate(void **state)
{
    (void)state;
    model_config config = read_class("SmolLM3ForCausalLM", ", \"use_sliding_window\": true, \"sliding_window\": 1024");
    assert_int_equal(config.window, 1024);
    assert_int_equal(config.layer_kind[2], 0);
    assert_int_equal(config.layer_kind[3], LAYER_NO_ROPE | LAYER_WINDOW);
    assert_int_equal(read_class("SmolLM3ForCausalLM", ", \"sliding_window\": 1024").window, 0);
}

static void test_hf_gpt_oss_scales_its_rotation_by_default(void **state)
{
    (void)state;
    model_config config = read_class("GptOssForCausalLM", ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2");
    assert_int_equal(config.rope_scaling, ROPE_SCALING_YARN);
    assert_true(config.rope_factor == 32.0f && config.rope_beta_fast == 32.0f && config.rope_beta_slow == 1.0f);
    assert_true(config.rope_untruncated);
    assert_int_equal(config.rope_original_context, 4096);
    config = read_class("GptOssForCausalLM", ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2, "
                                             "\"rope_parameters\": {\"rope_type\": \"default\"}");
    assert_int_equal(config.rope_scaling, ROPE_SCALING_NONE);
}

/* Qwen's file turns its window on; without max_window_layers it begins at layer 28. */
static void test_hf_qwen_window_begins_at_its_layer(void **state)
{
    (void)state;
    model_config config = read_class("Qwen2ForCausalLM", ", \"use_sliding_window\": true");
    assert_int_equal(config.window, 4096);
    assert_int_equal(config.layer_kind[27], 0);
    assert_int_equal(config.layer_kind[28], LAYER_WINDOW);
    assert_int_equal(read_class("Qwen2ForCausalLM", "").window, 0);
}

/* Stacked experts are [E, K, N] in floats, also where other layers are quantized: `tenon quantize` leaves them so. */
static void test_hf_experts_of_gpt_oss_are_turned_in_mxfp4_alone(void **state)
{
    static const struct {
        const char *keys;
        bool transposed;
    } files[] = {
        {"", true},
        {", \"quantization_config\": null", true},
        {", \"quantization_config\": {\"quant_method\": \"compressed-tensors\"}", true},
        {", \"quantization_config\": {\"quant_method\": \"mxfp4\"}", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char keys[256];
        snprintf(keys, sizeof keys, ", \"num_local_experts\": 8, \"num_experts_per_tok\": 2%s", files[i].keys);
        assert_int_equal(read_class("GptOssForCausalLM", keys).experts_transposed, files[i].transposed);
    }
}

static void test_hf_rope_scaling_is_read_in_both_spellings(void **state)
{
    (void)state;
    model_config config;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(read_hf(HF_HEAD ", \"rope_theta\": 5e5, \"rope_scaling\": {\"rope_type\": \"llama3\", "
                                     "\"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, "
                                     "\"original_max_position_embeddings\": 8192}}",
                             &config, &err),
                     TN_OK);
    assert_int_equal(config.rope_scaling, ROPE_SCALING_LLAMA3);
    assert_true(config.rope_factor == 8.0f && config.rope_high_freq_factor == 4.0f);
    assert_int_equal(config.rope_original_context, 8192);
    assert_true(config.rope_theta == 5e5f);

    assert_int_equal(read_hf(HF_HEAD ", \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 2.5, "
                                     "\"rope_theta\": 20000}}",
                             &config, &err),
                     TN_OK);
    assert_int_equal(config.rope_scaling, ROPE_SCALING_LINEAR);
    assert_true(config.rope_factor == 2.5f && config.rope_theta == 20000.0f);

    assert_int_equal(read_hf(HF_HEAD ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}", &config, &err),
                     TN_OK);
    assert_int_equal(config.rope_scaling, ROPE_SCALING_LINEAR);
}

static void test_gguf_yarn_windows_and_experts_are_read(void **state)
{
    (void)state;
    fake_source fake = gguf();
    model_config config;
    tn_error err = TN_ERROR_INIT;

    fake_set(&fake, "llama.rope.scaling.type", fake_string("yarn"));
    fake_set(&fake, "llama.rope.scaling.factor", fake_float(4.0));
    fake_set(&fake, "llama.rope.scaling.original_context_length", fake_uint(2048));
    fake_set(&fake, "llama.attention.sliding_window", fake_uint(1024));
    fake_set(&fake, "llama.attention.sliding_window_pattern", fake_uint(3));
    fake_set(&fake, "llama.expert_count", fake_uint(8));
    fake_set(&fake, "llama.expert_used_count", fake_uint(2));
    assert_int_equal(model_config_read(fake_source_view(&fake, "gguf"), &config, &err), TN_OK);
    assert_int_equal(config.rope_scaling, ROPE_SCALING_YARN);
    assert_int_equal(config.rope_original_context, 2048);
    assert_true(config.rope_factor == 4.0f && config.rope_beta_fast == 32.0f);
    assert_int_equal(config.window, 1024);
    assert_true(config.layer_kind[0] == LAYER_WINDOW && config.layer_kind[1] == LAYER_WINDOW);
    assert_int_equal(config.layer_kind[2], 0);
    assert_int_equal(config.experts, 8);
    assert_int_equal(config.experts_chosen, 2);
    fake_set(&fake, "llama.expert_used_count", fake_uint(9));
    assert_int_equal(model_config_read(&fake.source, &config, &err), TN_E_CORRUPT);
    assert_non_null(strstr(err.msg, "9 experts are chosen of 8"));
}

/* TranslateGemma's file has the bases flat, as in transformers 4, and the rest nested, as in 5. What is nested has the
 * last word. */
static void test_hf_bases_beside_rope_parameters_are_read(void **state)
{
    (void)state;
    model_config config =
        read_class("Gemma3ForCausalLM", ", \"rope_theta\": 2e6, \"rope_local_base_freq\": 2e4, \"rope_parameters\": {"
                                        "\"full_attention\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
                                        "\"sliding_attention\": {\"rope_type\": \"default\"}}");
    assert_int_equal(config.rope_scaling, ROPE_SCALING_LINEAR);
    assert_true(config.rope_theta == 2e6f && config.rope_theta_local == 2e4f);
    config = read_class("Gemma3ForCausalLM", ", \"rope_local_base_freq\": 2e4, \"rope_parameters\": {"
                                             "\"full_attention\": {\"rope_theta\": 3e6}, "
                                             "\"sliding_attention\": {\"rope_theta\": 3e4}}");
    assert_true(config.rope_theta == 3e6f && config.rope_theta_local == 3e4f);
}

static void test_hf_text_part_of_a_larger_model_is_read(void **state)
{
    (void)state;
    model_config config;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(read_hf("{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"text_config\": {"
                             "\"hidden_size\": 2560, \"intermediate_size\": 10240, \"num_hidden_layers\": 34, "
                             "\"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
                             "\"sliding_window\": 1024}}",
                             &config, &err),
                     TN_OK);
    assert_string_equal(config.architecture, "gemma3");
    assert_string_equal(config.hf_prefix, "language_model.");
    assert_true(config.tied_embeddings);
    assert_int_equal(config.heads, 8);
    assert_int_equal(config.kv_heads, 4);
    assert_int_equal(config.head_dim, 256);
    assert_int_equal(config.context, 131072);
    assert_true(config.rope_theta == 1e6f && config.rope_theta_local == 1e4f);
    assert_true(config.layer_kind[4] == LAYER_WINDOW && config.layer_kind[5] == 0);
    assert_string_equal(config.hf_infix, "");
}

static void test_hf_text_part_is_found_by_its_tensors(void **state)
{
    (void)state;
    fake_source fake = {0};
    model_config config;

    fake_set(&fake, "config.json",
             fake_string("{\"architectures\": [\"Gemma3ForConditionalGeneration\"], \"text_config\": {"
                         "\"hidden_size\": 64, \"intermediate_size\": 160, \"num_hidden_layers\": 3}}"));
    fake_add_tensor(&fake, "model.language_model.embed_tokens.weight", TN_DTYPE_BF16, 320, 64, NULL, 320 * 64 * 2);
    assert_int_equal(model_config_read(fake_source_view(&fake, "safetensors"), &config, NULL), TN_OK);
    assert_string_equal(config.hf_prefix, "");
    assert_string_equal(config.hf_infix, "language_model.");
}

static void test_hf_scalings_lengthen_the_context(void **state)
{
    (void)state;
    model_config config;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(read_hf(HF_HEAD ", \"max_position_embeddings\": 40960, \"rope_scaling\": {\"rope_type\": "
                                     "\"yarn\", \"factor\": 4, \"original_max_position_embeddings\": 32768}}",
                             &config, &err),
                     TN_OK);
    assert_int_equal(config.context, 131072);
    assert_int_equal(read_hf(HF_HEAD ", \"max_position_embeddings\": 4096, \"rope_scaling\": {\"type\": "
                                     "\"dynamic\", \"factor\": 2}}",
                             &config, &err),
                     TN_OK);
    assert_int_equal(config.context, 8192);
    assert_int_equal(config.sequence_max, 8192);
}

static void test_hf_bad_values_are_refused_by_name(void **state)
{
    (void)state;
    assert_hf_refused("[1]", TN_E_CORRUPT, "must hold an object");
    assert_hf_refused("{\"architectures\"", TN_E_CORRUPT, "config.json line 1");
    assert_hf_refused("{\"architectures\": \"LlamaForCausalLM\"}", TN_E_CORRUPT, "architectures");
    assert_hf_refused("{\"architectures\": [\"LlamaForCausalLM\"]}", TN_E_CORRUPT, "num_hidden_layers");
    assert_hf_refused(HF_HEAD ", \"num_key_value_heads\": 3}", TN_E_CORRUPT, "3 key/value heads");
    assert_hf_refused(HF_HEAD ", \"rms_norm_eps\": \"small\"}", TN_E_CORRUPT, "config.json rms_norm_eps");
    assert_hf_refused(HF_HEAD ", \"hidden_act\": \"relu\"}", TN_E_UNSUPPORTED, "hidden_act");
    assert_hf_refused(HF_HEAD ", \"mlp_bias\": 1}", TN_E_CORRUPT, "mlp_bias");
    assert_hf_refused(HF_HEAD ", \"rope_scaling\": \"llama3\"}", TN_E_CORRUPT, "rope_scaling");
    assert_hf_refused(HF_HEAD ", \"rope_scaling\": {\"rope_type\": \"ntk\"}}", TN_E_UNSUPPORTED, "ntk");
    assert_hf_refused(HF_HEAD ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}", TN_E_CORRUPT,
                      "rope_scaling.low_freq_factor");
    assert_hf_refused(HF_HEAD ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4,"
                              "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}}",
                      TN_E_CORRUPT, "high_freq_factor");
    assert_hf_refused(HF_HEAD
                      ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e6}, \"sliding_attention\": "
                      "{\"rope_theta\": 1e4, \"rope_type\": \"linear\", \"factor\": 8}}}",
                      TN_E_UNSUPPORTED, "rope_parameters.sliding_attention.rope_type");
    assert_hf_refused(HF_HEAD ", \"partial_rotary_factor\": 0.05}", TN_E_CORRUPT, "partial_rotary_factor");
    assert_hf_refused("{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 9223372036854775807}",
                      TN_E_CORRUPT, "num_hidden_layers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gguf_dimensions_are_read),
        cmocka_unit_test(test_gguf_output_tensor_means_untied),
        cmocka_unit_test(test_gguf_rope_factors_are_borrowed_and_checked),
        cmocka_unit_test(test_gguf_absurd_values_are_refused_by_name),
        cmocka_unit_test(test_gguf_missing_keys_are_named),
        cmocka_unit_test(test_key_value_heads_must_divide_heads),
        cmocka_unit_test(test_odd_head_width_is_refused),
        cmocka_unit_test(test_a_head_width_that_follows_from_the_model_width_is_limited),
        cmocka_unit_test(test_unknown_architecture_lists_the_known),
        cmocka_unit_test(test_hf_defaults_are_those_of_transformers),
        cmocka_unit_test(test_hf_defaults_are_those_of_the_class),
        cmocka_unit_test(test_hf_null_is_none_where_the_class_has_a_value),
        cmocka_unit_test(test_hf_classes_without_a_window_have_none),
        cmocka_unit_test(test_hf_window_of_smollm3_is_of_layers_that_do_not_rotate),
        cmocka_unit_test(test_hf_gpt_oss_scales_its_rotation_by_default),
        cmocka_unit_test(test_hf_qwen_window_begins_at_its_layer),
        cmocka_unit_test(test_hf_experts_of_gpt_oss_are_turned_in_mxfp4_alone),
        cmocka_unit_test(test_hf_rope_scaling_is_read_in_both_spellings),
        cmocka_unit_test(test_gguf_yarn_windows_and_experts_are_read),
        cmocka_unit_test(test_hf_bases_beside_rope_parameters_are_read),
        cmocka_unit_test(test_hf_text_part_of_a_larger_model_is_read),
        cmocka_unit_test(test_hf_text_part_is_found_by_its_tensors),
        cmocka_unit_test(test_hf_scalings_lengthen_the_context),
        cmocka_unit_test(test_hf_bad_values_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
