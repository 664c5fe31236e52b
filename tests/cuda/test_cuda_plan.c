/* test_cuda_plan.c: bytes per rank of known models, counted here from their dimensions alone; degrees that divide and
 * those that do not; how single weights are cut.
 */
#include "cmocka_test.h"
#include "model/graph.h"
#include "model/weights.h"

#include "matmul.h"
#include "one_shot.h"
#include "plan.h"

#include "base/weight_block.h"

#include <stdlib.h>
#include <string.h>

static const model_config llama_8b = {.architecture = "llama",
                                      .layers = 32,
                                      .model_width = 4096,
                                      .ff_width = 14336,
                                      .heads = 32,
                                      .kv_heads = 8,
                                      .head_dim = 128,
                                      .vocab = 128256,
                                      .context = 8192,
                                      .sequence_max = 8192,
                                      .rope_theta = 500000,
                                      .rope_dim = 128,
                                      .norm_eps = 1e-5f,
                                      .hf_names = true};

static model_config llama_70b(void)
{
    model_config config = llama_8b;
    config.layers = 80;
    config.model_width = 8192;
    config.ff_width = 28672;
    config.heads = 64;
    return config;
}

static model_config mixtral_8x7b(void)
{
    model_config config = llama_8b;
    config.vocab = 32000;
    config.context = config.sequence_max = 32768;
    config.experts = 8;
    config.experts_chosen = 2;
    return config;
}

typedef struct request {
    tn_graph *graph;
    tn_enc *enc;
    tn_compile compile;
} request;

static request open_request(const model_config *config, const tn_enc *matrices)
{
    request r = {0};
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(model_graph_build(config, &r.graph, &err), TN_OK);
    const tn_graph_api *api = model_graph_api(r.graph);
    r.enc = calloc(api->weight_count, sizeof *r.enc);
    for (uint32_t id = 0; id < api->weight_count; id++) {
        uint64_t n, k;
        model_graph_weight_shape(r.graph, id, &n, &k);
        const char *name = model_graph_weight_name(r.graph, id);
        bool quantized = matrices && n > 1 && strstr(name, "_proj");
        r.enc[id] = quantized ? *matrices : enc_float(TN_BF16);
    }
    r.compile = (tn_compile){.struct_size = sizeof r.compile,
                             .graph = r.graph,
                             .api = api,
                             .weight_enc = r.enc,
                             .weight_enc_stride = sizeof *r.enc,
                             .batch_invariant = 1,
                             .max_tokens = 2048,
                             .max_seqs = 256,
                             .max_outputs = 256,
                             .max_model_len = config->context};
    return r;
}

static void close_request(request *r)
{
    free(r->enc);
    model_graph_free(r->graph);
}

typedef struct rank_bytes {
    tn_memplan plan;
    uint32_t page_tokens[4];
    uint64_t page_bytes[4];
} rank_bytes;

static tn_status plan_for(const request *r, uint32_t world, rank_bytes *ret, tn_error *err)
{
    *ret = (rank_bytes){.plan = {.struct_size = sizeof ret->plan, .group_count = 4}};
    ret->plan.page_tokens = ret->page_tokens;
    ret->plan.page_bytes = ret->page_bytes;
    return plan_backend(NULL, world, &r->compile, &ret->plan, err);
}

/* Elements of a rank's matrices, by the book: heads and feed-forward cut, keys and values cut as far as there are
 * heads, vocabulary padded to 16 rows a rank. */
static uint64_t rank_elements(const model_config *c, uint64_t world)
{
    uint64_t m = c->model_width, d = c->head_dim, kv_heads = c->kv_heads < world ? 1 : c->kv_heads / world;
    uint64_t attention = 2 * (c->heads / world * d) * m + 2 * (kv_heads * d) * m;
    uint64_t experts = c->experts ? c->experts : 1, forward = experts * 3 * (c->ff_width / world) * m;
    uint64_t vocab = world == 1 ? c->vocab : ((c->vocab + world - 1) / world + 15) / 16 * 16;
    return c->layers * (attention + forward + c->experts * m) + 2 * vocab * m;
}

static void expect_weights(const model_config *c, uint32_t world)
{
    request r = open_request(c, NULL);
    rank_bytes bytes;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(plan_for(&r, world, &bytes, &err), TN_OK);
    uint64_t vectors = (2ull * c->layers + 1) * c->model_width * 4 + c->head_dim / 2 * 4;
    uint64_t expected = 2 * rank_elements(c, world) + vectors;
    uint64_t padding = 256ull * (r.compile.api->weight_count + 1);
    assert_in_range(bytes.plan.weights, expected, expected + padding);
    uint64_t kv_heads = c->kv_heads < world ? 1 : c->kv_heads / world;
    assert_int_equal(bytes.page_tokens[0], 16);
    assert_int_equal(bytes.page_bytes[0], 16ull * 2 * c->layers * kv_heads * c->head_dim * 2);
    close_request(&r);
}

static void test_weights_and_pages_of_known_models(void **state)
{
    (void)state;
    const model_config large = llama_70b(), mixture = mixtral_8x7b();
    const uint32_t degrees[] = {1, 2, 4, 8};

    /* The published parameter counts, so that the book itself is right. */
    assert_int_equal(rank_elements(&llama_8b, 1) + (2 * 32 + 1) * 4096, 8030261248);
    assert_int_equal(rank_elements(&large, 1) + (2 * 80 + 1) * 8192, 70553706496);
    assert_int_equal(rank_elements(&mixture, 1) + (2 * 32 + 1) * 4096, 46702792704);
    for (int i = 0; i < 4; i++) {
        expect_weights(&llama_8b, degrees[i]);
        expect_weights(&large, degrees[i]);
        expect_weights(&mixture, degrees[i]);
    }
    expect_weights(&llama_8b, 16); /* more ranks than key/value heads */
}

/* 4.5 bits: codes, and f16 scale and zero point byte per 128. */
static void test_quantized_weights_stay_small_on_every_rank(void **state)
{
    (void)state;
    const tn_enc int4 = {.struct_size = sizeof int4,
                         .family = TN_ENC_AFFINE,
                         .qtype = TN_Q_UNSIGNED,
                         .bits = 4,
                         .group_k = 128,
                         .scale_type = TN_F16,
                         .zero_type = TN_ZERO_POINT};
    request r = open_request(&llama_8b, &int4);
    tn_error err = TN_ERROR_INIT;
    rank_bytes one, four;

    assert_int_equal(plan_for(&r, 1, &one, &err), TN_OK);
    assert_int_equal(plan_for(&r, 4, &four, &err), TN_OK);
    uint64_t matrices = 6979321856ull, vocabulary = 2ull * 2 * 128256 * 4096; /* elements; bytes */
    assert_in_range(one.plan.weights, vocabulary + matrices / 2 + matrices / 128 * 3,
                    vocabulary + matrices / 2 + matrices / 128 * 3 + (4 << 20));
    assert_in_range(four.plan.weights, one.plan.weights / 4, one.plan.weights / 4 + (4 << 20));
    close_request(&r);
}

/* Lists of tokens have room for a batch's, not for a vocabulary a row. */
static void test_long_sequences_do_not_take_memory_for_lists(void **state)
{
    (void)state;
    request r = open_request(&llama_8b, NULL);
    tn_error err = TN_ERROR_INIT;
    rank_bytes small, large;

    assert_int_equal(plan_for(&r, 1, &small, &err), TN_OK);
    r.compile.max_model_len = 131072;
    assert_int_equal(plan_for(&r, 1, &large, &err), TN_OK);
    uint64_t entry = sizeof(uint32_t) + sizeof(cuda_page_change), spans = 2ull * (131072 - 8192) / 256;
    uint64_t tables = 256ull * (131072 - 8192) / 16 * entry;
    uint64_t partials = spans * 32 * (128 + 2) * 4;
    uint64_t more = large.plan.activations - small.plan.activations;
    assert_in_range(more, tables + partials, tables + partials + (1 << 20));
    close_request(&r);
}

/* cuBLASLt's, where bits may vary; and flags of one-shot sums on several ranks. */
static void test_libraries_are_planned_for(void **state)
{
    (void)state;
    request r = open_request(&llama_8b, NULL);
    tn_error err = TN_ERROR_INIT;
    rank_bytes same, varying, two;

    assert_int_equal(plan_for(&r, 1, &same, &err), TN_OK);
    assert_int_equal(plan_for(&r, 2, &two, &err), TN_OK);
    r.compile.batch_invariant = 0;
    assert_int_equal(plan_for(&r, 1, &varying, &err), TN_OK);
    assert_int_equal(varying.plan.activations, same.plan.activations + MATMUL_WORKSPACE_BYTES);
    assert_true(varying.plan.reserve > same.plan.reserve);
    assert_int_equal(same.plan.comms, 0);
    assert_int_equal(two.plan.comms, ONE_SHOT_BYTES);
    close_request(&r);
}

static void expect_refusal(const request *r, uint32_t world, const char *words)
{
    tn_error err = TN_ERROR_INIT;
    rank_bytes bytes;

    assert_int_equal(plan_for(r, world, &bytes, &err), TN_E_UNSUPPORTED);
    if (!strstr(err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void test_degrees_that_do_not_divide_are_refused_with_those_that_do(void **state)
{
    (void)state;
    request r = open_request(&llama_8b, NULL);
    expect_refusal(&r, 3, "tensor_parallel_size = 3 does not divide this model");
    expect_refusal(&r, 3, "degrees that do: 1, 2, 4, 8, 16, 32");
    expect_refusal(&r, 64, "32 heads over 8 key/value heads cannot be cut over 64 ranks");
    close_request(&r);

    /* Groups of 128 columns: 14336 / 128 = 112 of them, which 32 ranks cannot share evenly. */
    const tn_enc int4 = {.struct_size = sizeof int4,
                         .family = TN_ENC_AFFINE,
                         .qtype = TN_Q_UNSIGNED,
                         .bits = 4,
                         .group_k = 128,
                         .scale_type = TN_F16};
    r = open_request(&llama_8b, &int4);
    expect_refusal(&r, 32, "degrees that do: 1, 2, 4, 8, 16");
    expect_refusal(&r, 32, "columns in units of 128");
    close_request(&r);
}

/* What is planned is what is cut: all ranks together hold every row and column once, or as often as they are told to.
 */
static void test_ranks_together_hold_every_part(void **state)
{
    (void)state;
    const model_config mixture = mixtral_8x7b();
    request r = open_request(&mixture, NULL);
    graph_view view;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(graph_view_init(&view, &r.compile, &err), TN_OK);
    for (uint32_t world = 2; world <= 16; world *= 2) {
        for (uint32_t id = 0; id < view.api->weight_count; id++) {
            weight_cut cut;
            assert_int_equal(partition_weight(&view, id, world, &cut, &err), TN_OK);
            const tn_value *v = &view.weight[id].value;
            uint64_t rows = 0, columns = 0;
            for (uint32_t rank = 0; rank < world; rank += cut.replicas) {
                rows += cut.shard == TN_SHARD_ROWS ? cut.rows : 0;
                columns += cut.shard == TN_SHARD_COLUMNS ? cut.columns : 0;
                assert_true(cut.shard != TN_SHARD_ROWS || cut_first_row(&cut, rank) == rows - cut.rows);
                assert_true(cut.shard != TN_SHARD_COLUMNS || cut_first_column(&cut, rank) == columns - cut.columns);
            }
            assert_int_equal(cut.runs * cut.run_rows, v->dim[0]);
            if (cut.shard == TN_SHARD_ROWS)
                assert_in_range(rows, cut.run_rows, cut.run_rows + (v->dim[0] == 32000 ? world * 16 : 0));
            if (cut.shard == TN_SHARD_COLUMNS)
                assert_int_equal(columns, v->dim[1]);
            bool kv = strstr(v->name, "k_proj") || strstr(v->name, "v_proj");
            assert_int_equal(cut.replicas, kv && world > 8 ? world / 8 : 1);
        }
    }
    graph_view_finish(&view);
    close_request(&r);
}

/* FP8 in blocks of 128 by 128: a rank must not begin in the middle of one. */
static void test_vocabulary_rows_that_share_a_scale_stay_together(void **state)
{
    (void)state;
    model_config config = llama_8b;
    config.vocab = 32002;
    request r = open_request(&config, NULL);
    graph_view view;
    tn_error err = TN_ERROR_INIT;
    uint32_t heads = 0;

    for (uint32_t id = 0; id < r.compile.api->weight_count; id++)
        if (strstr(model_graph_weight_name(r.graph, id), "lm_head"))
            r.enc[id] = (tn_enc){.struct_size = sizeof(tn_enc),
                                 .family = TN_ENC_AFFINE,
                                 .qtype = TN_Q_E4M3,
                                 .bits = 8,
                                 .group_k = 128,
                                 .group_n = 128,
                                 .scale_type = TN_F32};
    assert_int_equal(graph_view_init(&view, &r.compile, &err), TN_OK);
    for (uint32_t id = 0; id < view.api->weight_count; id++) {
        weight_cut cut;
        if (!strstr(view.weight[id].value.name, "lm_head"))
            continue;
        heads++;
        assert_int_equal(partition_weight(&view, id, 2, &cut, &err), TN_OK);
        assert_int_equal(cut.rows, 16128); /* of 16001 */
    }
    assert_int_equal(heads, 1);
    graph_view_finish(&view);
    close_request(&r);
}

static void test_nodes_that_no_kernel_runs_are_named(void **state)
{
    (void)state;
    model_config wide = llama_8b;
    uint32_t bad[4], count = 4;
    tn_error err = TN_ERROR_INIT;

    wide.layers = 2;
    wide.heads = wide.kv_heads = 8;
    wide.head_dim = wide.rope_dim = 512;
    request r = open_request(&wide, NULL);
    assert_int_equal(plan_check(NULL, &r.compile, bad, &count, &err), TN_E_UNSUPPORTED);
    assert_int_equal(count, 2);
    tn_node node = {.struct_size = sizeof node};
    r.compile.api->node(r.graph, bad[1], &node);
    assert_int_equal(node.op, TN_OP_ATTENTION);
    assert_non_null(strstr(err.msg, "width 512"));
    close_request(&r);
}

/* Products of few rows split K over blocks, and none needs more scratch than is planned. */
static void test_scratch_of_products_is_bounded(void **state)
{
    (void)state;
    const uint64_t outputs[] = {1, 96, 1024, 4096, 14336, 48640, 48641, 128256};

    for (int i = 0; i < 8; i++) {
        uint64_t n = outputs[i], most = 0;
        for (uint32_t rows = 1; rows <= 20000; rows++) {
            uint64_t floats = cuda_linear_split_floats(rows, n);
            most = floats > most ? floats : most;
            assert_true(rows % 777 || cuda_linear_split_floats_max(rows, n) == most);
        }
        assert_true(most * sizeof(float) <= 100 << 20);
    }
    assert_int_equal(cuda_linear_split_floats(16, 4096), 0);
    assert_int_equal(cuda_linear_split_floats(17, 4096), 8 * 17 * 4096);
    assert_int_equal(cuda_linear_split_floats(64 * 11, 4096), 8 * 64 * 11 * 4096);
    assert_int_equal(cuda_linear_split_floats(64 * 11 + 1, 4096), 0);
}

/* Graphs are in what the plan reserves beside its own, each with a bounded amount for every launch. */
static void test_graphs_are_planned(void **state)
{
    (void)state;
    request r = open_request(&llama_8b, NULL);
    const uint32_t bucket[] = {1, 2, 4, 8}, falling[] = {1, 4, 2}, large[] = {4096}, none[] = {0};
    tn_error err = TN_ERROR_INIT;
    rank_bytes without, with;

    assert_int_equal(plan_for(&r, 1, &without, &err), TN_OK);
    r.compile.bucket = bucket;
    r.compile.bucket_count = 4;
    assert_int_equal(plan_for(&r, 1, &with, &err), TN_OK);
    assert_int_equal(with.plan.activations, without.plan.activations);
    assert_in_range(with.plan.reserve, without.plan.reserve + (4 << 20), without.plan.reserve + (32 << 20));
    r.compile.bucket = falling;
    r.compile.bucket_count = 3;
    assert_int_equal(plan_for(&r, 1, &with, &err), TN_E_ARGUMENT);
    assert_non_null(strstr(err.msg, "number 2 is of 2"));
    r.compile.bucket_count = 1;
    r.compile.bucket = large;
    assert_int_equal(plan_for(&r, 1, &with, &err), TN_E_ARGUMENT);
    r.compile.bucket = none;
    assert_int_equal(plan_for(&r, 1, &with, &err), TN_E_ARGUMENT);
    close_request(&r);
}

static tn_status same_group(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group)
{
    (void)index;
    return model_graph_api(graph)->kv_group(graph, 0, ret_group);
}

static void test_groups_that_there_is_no_room_or_reader_for_are_refused(void **state)
{
    (void)state;
    request r = open_request(&llama_8b, NULL);
    tn_graph_api api = *r.compile.api;

    r.compile.api = &api;
    api.kv_group = same_group;
    api.kv_group_count = 17;
    expect_refusal(&r, 1, "17 KV groups; up to 16 run");
    api.kv_group_count = 2;
    expect_refusal(&r, 1, "KV group 1, which no ATTENTION reads");
    close_request(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_and_pages_of_known_models),
        cmocka_unit_test(test_quantized_weights_stay_small_on_every_rank),
        cmocka_unit_test(test_long_sequences_do_not_take_memory_for_lists),
        cmocka_unit_test(test_libraries_are_planned_for),
        cmocka_unit_test(test_graphs_are_planned),
        cmocka_unit_test(test_degrees_that_do_not_divide_are_refused_with_those_that_do),
        cmocka_unit_test(test_ranks_together_hold_every_part),
        cmocka_unit_test(test_vocabulary_rows_that_share_a_scale_stay_together),
        cmocka_unit_test(test_groups_that_there_is_no_room_or_reader_for_are_refused),
        cmocka_unit_test(test_scratch_of_products_is_bounded),
        cmocka_unit_test(test_nodes_that_no_kernel_runs_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
