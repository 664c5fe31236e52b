/* test_graph.c: the llama graph has the right nodes, shapes and sharing, and every input is written before it is read.
 */
#include "cmocka_test.h"
#include "model/graph.h"

#include <math.h>
#include <string.h>

static model_config tiny(void)
{
    model_config config = {.architecture = "llama",
                           .layers = 3,
                           .model_width = 64,
                           .ff_width = 160,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 16,
                           .vocab = 320,
                           .context = 512,
                           .norm_eps = 1e-5f,
                           .rope_theta = 10000.0f,
                           .rope_dim = 16,
                           .rope_factor = 1.0f};
    return config;
}

static tn_graph *build(const model_config *config)
{
    tn_graph *graph = NULL;
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(model_graph_build(config, &graph, &err), TN_OK);
    return graph;
}

static tn_node node_at(const tn_graph *graph, uint32_t index)
{
    tn_node node = {.struct_size = sizeof node};
    assert_int_equal(model_graph_api(graph)->node(graph, index, &node), TN_OK);
    return node;
}

static tn_value value_of(const tn_graph *graph, uint32_t index)
{
    tn_value value = {.struct_size = sizeof value};
    assert_int_equal(model_graph_api(graph)->value(graph, index, &value), TN_OK);
    return value;
}

static uint32_t count_op(const tn_graph *graph, uint32_t op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model_graph_api(graph)->node_count; i++)
        count += node_at(graph, i).op == op;
    return count;
}

static void test_llama_has_the_expected_nodes(void **state)
{
    (void)state;
    model_config config = tiny();
    tn_graph *graph = build(&config);

    assert_int_equal(count_op(graph, TN_OP_EMBED), 1);
    assert_int_equal(count_op(graph, TN_OP_LINEAR), 3 * 7);
    assert_int_equal(count_op(graph, TN_OP_RMS_NORM), 3 * 2 + 1);
    assert_int_equal(count_op(graph, TN_OP_ROPE), 3 * 2);
    assert_int_equal(count_op(graph, TN_OP_ATTENTION), 3);
    assert_int_equal(count_op(graph, TN_OP_GATED), 3);
    assert_int_equal(count_op(graph, TN_OP_ADD), 3 * 2);
    assert_int_equal(count_op(graph, TN_OP_SELECT), 2);
    assert_int_equal(node_at(graph, model_graph_api(graph)->node_count - 1).op, TN_OP_LOGITS);
    assert_int_equal(model_graph_api(graph)->weight_count, 3 * 9 + 3);
    assert_int_equal(model_graph_api(graph)->vocab_size, 320);
    assert_int_equal(model_graph_api(graph)->model_width, 64);
    model_graph_free(graph);
}

static void test_every_activation_is_written_once_before_it_is_read(void **state)
{
    (void)state;
    model_config config = tiny();
    tn_graph *graph = build(&config);
    bool written[1024] = {false};

    for (uint32_t i = 0; i < model_graph_api(graph)->node_count; i++) {
        tn_node node = node_at(graph, i);
        for (uint32_t j = 0; j < node.in_count; j++)
            assert_true(value_of(graph, node.in[j]).kind != TN_VALUE_ACTIVATION || written[node.in[j]]);
        assert_false(written[node.out[0]]);
        written[node.out[0]] = true;
    }
    model_graph_free(graph);
}

static void test_rows_become_output_rows_after_the_last_attention(void **state)
{
    (void)state;
    model_config config = tiny();
    tn_graph *graph = build(&config);
    uint32_t attentions = 0;

    for (uint32_t i = 0; i < model_graph_api(graph)->node_count; i++) {
        tn_node node = node_at(graph, i);
        int64_t rows = value_of(graph, node.out[0]).dim[0];
        attentions += node.op == TN_OP_ATTENTION;
        bool last_half = attentions == 3 && node.op != TN_OP_ATTENTION;
        assert_int_equal(rows, last_half ? TN_DIM_OUTPUTS : TN_DIM_TOKENS);
    }
    model_graph_free(graph);
}

static void test_tied_embeddings_share_one_weight(void **state)
{
    (void)state;
    model_config config = tiny();
    config.tied_embeddings = true;
    tn_graph *graph = build(&config);
    tn_node embed = node_at(graph, 0), logits = node_at(graph, model_graph_api(graph)->node_count - 1);

    assert_int_equal(model_graph_api(graph)->weight_count, 3 * 9 + 2);
    assert_int_equal(embed.op, TN_OP_EMBED);
    assert_int_not_equal(embed.in[0], logits.in[1]);
    assert_int_equal(value_of(graph, embed.in[0]).weight_id, value_of(graph, logits.in[1]).weight_id);
    assert_int_equal(model_graph_weight_value(graph, value_of(graph, logits.in[1]).weight_id), embed.in[0]);
    model_graph_free(graph);
}

static void test_weights_have_checkpoint_names_and_shapes(void **state)
{
    (void)state;
    model_config config = tiny();
    uint64_t n, k;
    tn_graph *graph = build(&config);

    assert_string_equal(model_graph_weight_name(graph, 0), "token_embd.weight");
    bool found = false;
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        if (strcmp(model_graph_weight_name(graph, id), "blk.2.attn_k.weight") != 0)
            continue;
        found = true;
        model_graph_weight_shape(graph, id, &n, &k);
        assert_int_equal(n, 32);
        assert_int_equal(k, 64);
        tn_value value = value_of(graph, model_graph_weight_value(graph, id));
        assert_int_equal(value.shard, TN_SHARD_ROWS);
        assert_int_equal(value.shard_unit, 16);
    }
    assert_true(found);
    model_graph_free(graph);

    config.hf_names = true;
    graph = build(&config);
    assert_string_equal(model_graph_weight_name(graph, 0), "model.embed_tokens.weight");
    assert_string_equal(model_graph_weight_name(graph, 1), "model.layers.0.input_layernorm.weight");
    model_graph_free(graph);
}

static void test_biases_appear_where_the_config_says(void **state)
{
    (void)state;
    model_config config = tiny();
    config.attention_bias = true;
    config.mlp_bias = true;
    tn_graph *graph = build(&config);
    uint32_t biased = 0;

    for (uint32_t i = 0; i < model_graph_api(graph)->node_count; i++) {
        tn_node node = node_at(graph, i);
        biased += node.op == TN_OP_LINEAR && node.in_count == 3;
    }
    assert_int_equal(biased, 3 * 6);
    model_graph_free(graph);
}

static uint32_t weight_named(const tn_graph *graph, const char *name)
{
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        if (strcmp(model_graph_weight_name(graph, id), name) == 0)
            return id;
    }
    fail_msg("no weight %s", name);
    return 0;
}

static void assert_part(const tn_graph *graph, uint32_t id, uint32_t index, const weight_part *wanted)
{
    weight_part part;
    model_graph_part(graph, id, index, &part);
    assert_string_equal(part.tensor, wanted->tensor);
    assert_int_equal(part.tensor_rows, wanted->tensor_rows);
    assert_int_equal(part.tensor_columns, wanted->tensor_columns);
    assert_int_equal(part.rows, wanted->rows);
    assert_int_equal(part.row0, wanted->row0);
    assert_int_equal(part.row_step, wanted->row_step);
    assert_int_equal(part.column0, wanted->column0);
    assert_int_equal(part.column_step, wanted->column_step);
    assert_int_equal(part.transposed, wanted->transposed);
}

static void test_fused_tensors_are_cut_by_rows(void **state)
{
    (void)state;
    model_config config = tiny();
    snprintf(config.architecture, sizeof config.architecture, "phi3");
    config.fused_qkv = true;
    config.attention_bias = true;
    tn_graph *graph = build(&config);

    uint32_t k = weight_named(graph, "blk.1.attn_k.weight"), bias = weight_named(graph, "blk.1.attn_k.bias");
    assert_int_equal(model_graph_part_count(graph, k), 1);
    assert_part(graph, k, 0, &(weight_part){"blk.1.attn_qkv.weight", 128, 64, 32, 64, 1, 0, 1, false});
    assert_part(graph, bias, 0, &(weight_part){"blk.1.attn_qkv.bias", 1, 128, 1, 0, 1, 64, 1, false});
    model_graph_free(graph);
}

static void test_experts_come_one_by_one_stacked_or_in_turns(void **state)
{
    (void)state;
    model_config config = tiny();
    config.experts = 4;
    config.experts_chosen = 2;
    tn_graph *graph = build(&config);
    uint32_t up = weight_named(graph, "blk.2.ffn_up_exps.weight");
    assert_part(graph, up, 0, &(weight_part){"blk.2.ffn_up_exps.weight", 640, 64, 640, 0, 1, 0, 1, false});
    model_graph_free(graph);

    config.hf_names = true;
    graph = build(&config);
    assert_int_equal(count_op(graph, TN_OP_MOE), 3);
    up = weight_named(graph, "model.layers.2.block_sparse_moe.experts.*.w3.weight");
    assert_int_equal(model_graph_part_count(graph, up), 4);
    assert_part(graph, up, 3,
                &(weight_part){"model.layers.2.block_sparse_moe.experts.3.w3.weight", 160, 64, 160, 0, 1, 0, 1, false});
    model_graph_free(graph);

    snprintf(config.architecture, sizeof config.architecture, "gpt-oss");
    config.fused_experts = true;
    config.expert_bias = true;
    graph = build(&config);
    up = weight_named(graph, "model.layers.2.mlp.experts.*.up_proj.weight");
    assert_part(graph, up, 1,
                &(weight_part){"model.layers.2.mlp.experts.gate_up_proj", 1280, 64, 160, 321, 2, 0, 1, false});
    model_graph_free(graph);

    config.experts_transposed = true;
    graph = build(&config);
    up = weight_named(graph, "model.layers.2.mlp.experts.*.up_proj.weight");
    assert_part(graph, up, 1,
                &(weight_part){"model.layers.2.mlp.experts.gate_up_proj", 256, 320, 160, 64, 1, 1, 2, true});
    up = weight_named(graph, "model.layers.2.mlp.experts.*.up_proj.bias");
    assert_part(graph, up, 0,
                &(weight_part){"model.layers.2.mlp.experts.gate_up_proj_bias", 4, 320, 4, 0, 1, 1, 2, false});
    model_graph_free(graph);
}

static void test_windowed_layers_are_a_group_of_their_own(void **state)
{
    (void)state;
    model_config config = tiny();
    config.window = 128;
    config.layer_kind[1] = LAYER_WINDOW;
    tn_graph *graph = build(&config);
    tn_kv_group group = {.struct_size = sizeof group};

    assert_int_equal(model_graph_api(graph)->kv_group_count, 2);
    assert_int_equal(model_graph_api(graph)->kv_group(graph, 0, &group), TN_OK);
    assert_int_equal(group.kind, TN_KV_FULL);
    assert_int_equal(group.layer_count, 2);
    assert_int_equal(model_graph_api(graph)->kv_group(graph, 1, &group), TN_OK);
    assert_int_equal(group.kind, TN_KV_WINDOW);
    assert_int_equal(group.window, 128);
    assert_int_equal(group.layer_count, 1);
    model_graph_free(graph);
}

static void test_attention_layers_count_up_in_one_group(void **state)
{
    (void)state;
    model_config config = tiny();
    tn_graph *graph = build(&config);
    tn_kv_group group = {.struct_size = sizeof group};
    int64_t layer = 0;

    assert_int_equal(model_graph_api(graph)->kv_group_count, 1);
    assert_int_equal(model_graph_api(graph)->kv_group(graph, 0, &group), TN_OK);
    assert_int_equal(group.kind, TN_KV_FULL);
    assert_int_equal(group.layer_count, 3);
    assert_int_equal(group.kv_heads, 2);
    for (uint32_t i = 0; i < model_graph_api(graph)->node_count; i++) {
        tn_node node = node_at(graph, i);
        if (node.op != TN_OP_ATTENTION)
            continue;
        assert_int_equal(node.attr[TN_ATTENTION_A_LAYER], layer++);
        assert_true(node.fattr[TN_ATTENTION_F_SCALE] == 0.25);
    }
    assert_int_equal(layer, 3);
    model_graph_free(graph);
}

/* Frequencies of the graph's only constant. */
static void frequencies(const model_config *config, float *ret_inv_freq)
{
    tn_graph *graph = build(config);
    for (uint32_t i = 0; i < model_graph_api(graph)->value_count; i++) {
        tn_value value = value_of(graph, i);
        if (value.kind == TN_VALUE_CONSTANT)
            memcpy(ret_inv_freq, value.constant, config->rope_dim / 2 * sizeof *ret_inv_freq);
    }
    model_graph_free(graph);
}

/* Expected figures: transformers 5.23, ROPE_INIT_FUNCTIONS["llama3"] for head width 128, theta 500000, factor 8, 1, 4,
 * 8192. */
static void test_llama3_frequencies_match_transformers(void **state)
{
    (void)state;
    static const struct {
        int index;
        float value;
    } expected[] = {{0, 1.0f},
                    {20, 0.0165604409f},
                    {28, 0.00321144611f},
                    {29, 0.00216657063f},
                    {31, 0.00085675146f},
                    {33, 0.00031269365f},
                    {35, 9.55621217e-05f},
                    {36, 7.78465546e-05f},
                    {50, 4.41153452e-06f},
                    {63, 3.06892588e-07f}};
    model_config config = tiny();
    float inv_freq[64];

    config.model_width = 512;
    config.head_dim = 128;
    config.rope_dim = 128;
    config.rope_theta = 500000.0f;
    config.rope_scaling = ROPE_SCALING_LLAMA3;
    config.rope_factor = 8.0f;
    config.rope_low_freq_factor = 1.0f;
    config.rope_high_freq_factor = 4.0f;
    config.rope_original_context = 8192;
    frequencies(&config, inv_freq);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_true(fabsf(inv_freq[expected[i].index] / expected[i].value - 1.0f) < 3e-7f);
}

static void test_linear_scaling_and_factor_tensors_divide_frequencies(void **state)
{
    (void)state;
    float plain[8], scaled[8];
    const float factors[8] = {1, 2, 4, 8, 1, 2, 4, 8};
    model_config config = tiny();

    frequencies(&config, plain);
    assert_true(plain[0] == 1.0f);
    assert_true(fabsf(plain[4] - 0.01f) < 1e-9f);
    config.rope_factors = factors;
    frequencies(&config, scaled);
    for (int i = 0; i < 8; i++)
        assert_true(scaled[i] == plain[i] / factors[i]);
    config.rope_factors = NULL;
    config.rope_scaling = ROPE_SCALING_LINEAR;
    config.rope_factor = 4.0f;
    frequencies(&config, scaled);
    for (int i = 0; i < 8; i++)
        assert_true(scaled[i] == plain[i] / 4.0f);
}

static void test_accessors_refuse_indices_past_the_end(void **state)
{
    (void)state;
    model_config config = tiny();
    tn_graph *graph = build(&config);
    const tn_graph_api *api = model_graph_api(graph);
    tn_node node = {.struct_size = sizeof node};
    tn_value value = {.struct_size = sizeof value};
    tn_kv_group group = {.struct_size = sizeof group};

    assert_int_equal(api->node(graph, api->node_count, &node), TN_E_ARGUMENT);
    assert_int_equal(api->value(graph, api->value_count, &value), TN_E_ARGUMENT);
    assert_int_equal(api->kv_group(graph, 1, &group), TN_E_ARGUMENT);
    node.struct_size = 8;
    assert_int_equal(api->node(graph, 0, &node), TN_E_ARGUMENT);
    model_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_has_the_expected_nodes),
        cmocka_unit_test(test_every_activation_is_written_once_before_it_is_read),
        cmocka_unit_test(test_rows_become_output_rows_after_the_last_attention),
        cmocka_unit_test(test_tied_embeddings_share_one_weight),
        cmocka_unit_test(test_weights_have_checkpoint_names_and_shapes),
        cmocka_unit_test(test_biases_appear_where_the_config_says),
        cmocka_unit_test(test_fused_tensors_are_cut_by_rows),
        cmocka_unit_test(test_experts_come_one_by_one_stacked_or_in_turns),
        cmocka_unit_test(test_windowed_layers_are_a_group_of_their_own),
        cmocka_unit_test(test_attention_layers_count_up_in_one_group),
        cmocka_unit_test(test_llama3_frequencies_match_transformers),
        cmocka_unit_test(test_linear_scaling_and_factor_tensors_divide_frequencies),
        cmocka_unit_test(test_accessors_refuse_indices_past_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
