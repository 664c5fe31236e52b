/* test_cpu_program.c: graphs whose nodes stand in an order that invites the CPU's program to fuse too much: its logits
 * beside the reference interpreter's.
 */
#include "backend.h"
#include "cmocka_test.h"
#include "tenon/interp.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { WIDTH = 32, VOCAB = 40, TOKENS = 3, NODES_MAX = 12, VALUES_MAX = 24, WEIGHTS_MAX = 8 };

static const double no_attrs[2] = {0};

typedef struct small_graph {
    tn_graph_api api;
    tn_node node[NODES_MAX];
    tn_value value[VALUES_MAX];
    uint32_t in[NODES_MAX][2], out[NODES_MAX];
    int64_t attr[NODES_MAX];
    double fattr[NODES_MAX][2];
} small_graph;

static tn_status get_node(const tn_graph *graph, uint32_t index, tn_node *ret_node)
{
    *ret_node = ((const small_graph *)(const void *)graph)->node[index];
    return TN_OK;
}

static tn_status get_value(const tn_graph *graph, uint32_t index, tn_value *ret_value)
{
    *ret_value = ((const small_graph *)(const void *)graph)->value[index];
    return TN_OK;
}

static tn_status get_kv_group(const tn_graph *graph, uint32_t index, tn_kv_group *ret_group)
{
    (void)graph, (void)index, (void)ret_group;
    return TN_E_NOT_FOUND;
}

static void graph_begin(small_graph *g)
{
    *g = (small_graph){.api = {.struct_size = sizeof g->api,
                               .vocab_size = VOCAB,
                               .model_width = WIDTH,
                               .node = get_node,
                               .value = get_value,
                               .kv_group = get_kv_group}};
}

static uint32_t add_value(small_graph *g, uint32_t kind, int64_t rows, int64_t columns)
{
    assert_true(g->api.value_count < VALUES_MAX);
    tn_value *v = &g->value[g->api.value_count];
    *v = (tn_value){.struct_size = sizeof *v, .kind = kind, .dim = {rows, columns}, .name = "value"};
    if (kind == TN_VALUE_WEIGHT)
        v->weight_id = g->api.weight_count++;
    return g->api.value_count++;
}

static uint32_t add_node(small_graph *g, uint32_t op, uint32_t first, uint32_t second, int64_t attr,
                         const double fattr[2])
{
    const bool outputs = op == TN_OP_SELECT || op == TN_OP_LOGITS;
    uint32_t i = g->api.node_count++;

    assert_true(i < NODES_MAX);
    g->in[i][0] = first;
    g->in[i][1] = second;
    g->attr[i] = attr;
    memcpy(g->fattr[i], fattr, sizeof g->fattr[i]);
    g->out[i] =
        add_value(g, TN_VALUE_ACTIVATION, outputs ? TN_DIM_OUTPUTS : TN_DIM_TOKENS, op == TN_OP_LOGITS ? VOCAB : WIDTH);
    g->node[i] = (tn_node){.struct_size = sizeof(tn_node),
                           .op = op,
                           .in_count = op == TN_OP_EMBED || op == TN_OP_SELECT ? 1 : 2,
                           .out_count = 1,
                           .attr_count = 1,
                           .fattr_count = 2,
                           .in = g->in[i],
                           .out = &g->out[i],
                           .attr = &g->attr[i],
                           .fattr = g->fattr[i]};
    return g->out[i];
}

static uint32_t embed(small_graph *g)
{
    return add_node(g, TN_OP_EMBED, add_value(g, TN_VALUE_WEIGHT, VOCAB, WIDTH), 0, 0, (double[2]){1.0});
}

static uint32_t linear(small_graph *g, uint32_t x)
{
    return add_node(g, TN_OP_LINEAR, x, add_value(g, TN_VALUE_WEIGHT, WIDTH, WIDTH), 0, no_attrs);
}

static uint32_t norm(small_graph *g, uint32_t x)
{
    return add_node(g, TN_OP_RMS_NORM, x, add_value(g, TN_VALUE_WEIGHT, 1, WIDTH), WIDTH, (double[2]){1e-5});
}

static void finish(small_graph *g, uint32_t x)
{
    uint32_t rows = add_node(g, TN_OP_SELECT, x, 0, 0, no_attrs);
    add_node(g, TN_OP_LOGITS, rows, add_value(g, TN_VALUE_WEIGHT, VOCAB, WIDTH), 0, (double[2]){1.0});
}

static tn_status send_weights(const small_graph *g, const tn_backend *backend, tn_model *model, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < g->api.value_count && status == TN_OK; i++) {
        static float codes[VOCAB * WIDTH];
        const tn_value *v = &g->value[i];
        if (v->kind != TN_VALUE_WEIGHT)
            continue;
        for (uint32_t j = 0; j < VOCAB * WIDTH; j++)
            codes[j] = sinf((float)(j + 1) * 1.7f + (float)v->weight_id);
        const void *plane[TN_PLANE_LIMIT] = {codes};
        uint64_t bytes[TN_PLANE_LIMIT] = {(uint64_t)(v->dim[0] * v->dim[1]) * sizeof(float)};
        status = backend->weight(model, v->weight_id,
                                 &(tn_planes){.struct_size = sizeof(tn_planes),
                                              .plane_count = TN_PLANE_LIMIT,
                                              .n_rows = (uint64_t)v->dim[0],
                                              .n_k = (uint64_t)v->dim[1],
                                              .plane = plane,
                                              .plane_bytes = bytes},
                                 err);
    }
    return status == TN_OK ? backend->seal(model, err) : status;
}

static tn_status step(const tn_backend *backend, tn_model *model, float *ret_logits, tn_error *err)
{
    const int32_t token[TOKENS] = {3, 39, 17}, position[TOKENS] = {0, 1, 2};
    const uint32_t seq_start[2] = {0, TOKENS}, slot = 0, cached_len = 0, out_row[TOKENS] = {0, 1, 2};
    const uint32_t want[TOKENS] = {TN_WANT_LOGITS, TN_WANT_LOGITS, TN_WANT_LOGITS};
    int32_t id[TOKENS];
    uint64_t ticket;

    tn_status status = backend->submit(model,
                                       &(tn_batch){.struct_size = sizeof(tn_batch),
                                                   .need = TN_NEED_LOGITS,
                                                   .token_count = TOKENS,
                                                   .seq_count = 1,
                                                   .out_count = TOKENS,
                                                   .axis_count = 1,
                                                   .token = token,
                                                   .position = position,
                                                   .seq_start = seq_start,
                                                   .slot = &slot,
                                                   .cached_len = &cached_len,
                                                   .out_row = out_row,
                                                   .out_want = want},
                                       &ticket, err);
    tn_result result = {.struct_size = sizeof result, .out_count = TOKENS, .id = id, .logits = ret_logits};
    return status == TN_OK ? backend->wait(model, ticket, &result, err) : status;
}

/* The graph's logits, [TOKENS, VOCAB]. */
static void run(const small_graph *g, const tn_backend *backend, float *ret_logits)
{
    const uint32_t ordinal = 0;
    tn_enc enc[WEIGHTS_MAX];
    tn_dev *dev = NULL;
    tn_model *model = NULL;
    tn_error err = TN_ERROR_INIT;

    assert_true(g->api.weight_count <= WEIGHTS_MAX);
    for (uint32_t i = 0; i < WEIGHTS_MAX; i++)
        enc[i] = (tn_enc){.struct_size = sizeof *enc, .family = TN_ENC_FLOAT, .qtype = TN_F32, .bits = 32};
    const tn_compile compile = {.struct_size = sizeof compile,
                                .graph = (const tn_graph *)(const void *)g,
                                .api = &g->api,
                                .weight_enc = enc,
                                .weight_enc_stride = sizeof *enc,
                                .max_tokens = TOKENS,
                                .max_seqs = 1,
                                .max_outputs = TOKENS,
                                .max_model_len = TOKENS};
    tn_status status = backend->open(
        &(tn_open){.struct_size = sizeof(tn_open), .device_count = 1, .world = 1, .ordinal = &ordinal}, &dev, &err);
    if (status == TN_OK)
        status = backend->compile(dev, &compile, &model, &err);
    if (status == TN_OK)
        status = send_weights(g, backend, model, &err);
    if (status == TN_OK)
        status = step(backend, model, ret_logits, &err);
    backend->model_free(model);
    backend->close(dev);
    if (status != TN_OK)
        fail_msg("%s", err.msg);
}

static void assert_runs_as_the_reference(const small_graph *g)
{
    static float expected[TOKENS * VOCAB], seen[TOKENS * VOCAB];
    const tn_backend *reference = NULL;
    float largest = 0;

    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &reference, NULL), TN_OK);
    run(g, reference, expected);
    run(g, cpu_backend(), seen);
    for (uint32_t i = 0; i < TOKENS * VOCAB; i++)
        largest = fabsf(expected[i]) > largest ? fabsf(expected[i]) : largest;
    for (uint32_t i = 0; i < TOKENS * VOCAB; i++)
        if (!(fabsf(seen[i] - expected[i]) <= 1e-5f * largest)) /* float32 sums of 32 */
            fail_msg("logit %u: %g, expected %g", i, (double)seen[i], (double)expected[i]);
}

static void test_a_product_adds_what_a_later_node_made(void **state)
{
    (void)state;
    static small_graph g;
    graph_begin(&g);
    uint32_t x = embed(&g), made = norm(&g, linear(&g, x)), y = linear(&g, x);
    finish(&g, add_node(&g, TN_OP_ADD, made, y, 0, no_attrs));
    assert_runs_as_the_reference(&g);
}

static void test_a_sum_leaves_its_operand_to_nodes_that_still_read_it(void **state)
{
    (void)state;
    static small_graph g;
    graph_begin(&g);
    uint32_t x = embed(&g), z = norm(&g, x), first = linear(&g, x);
    uint32_t gated = add_node(&g, TN_OP_GATED, first, z, TN_ACT_SILU, no_attrs), second = linear(&g, x);
    uint32_t sum = add_node(&g, TN_OP_ADD, z, second, 0, no_attrs);
    finish(&g, add_node(&g, TN_OP_ADD, sum, gated, 0, no_attrs));
    assert_runs_as_the_reference(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_product_adds_what_a_later_node_made),
        cmocka_unit_test(test_a_sum_leaves_its_operand_to_nodes_that_still_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
