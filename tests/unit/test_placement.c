/* test_placement.c: five published models placed in the predefined pools over a backend that plans by the book: bytes
 * that the design's table states, strategies, the most that fits, and that every change that is advised works.
 */
#include "cmocka_test.h"
#include "fake_source.h"
#include "model/graph.h"
#include "plan/placement.h"
#include "plan/planned_encoding.h"
#include "published_shapes.h"
#include "ruler_backend.h"

#include "base/weight_block.h"

#include <stdlib.h>
#include <string.h>

#define GIB (1ull << 30)

typedef struct fixture {
    settings *settings;
    fake_source source;
    model_config config;
    tn_graph *graph;
    tn_enc *enc;
    pool pool, pools[3];
    placement_request request;
    placement placement;
    tn_error err;
} fixture;

static void open_fixture(fixture *f, const char *json, const char *pool, const char *const *overrides)
{
    *f = (fixture){.err = TN_ERROR_INIT};
    fake_set(&f->source, "config.json", fake_string(json));
    assert_int_equal(settings_read(NULL, overrides, &f->settings, &f->err), TN_OK);
    assert_int_equal(model_config_read(fake_source_view(&f->source, "safetensors"), &f->config, &f->err), TN_OK);
    assert_int_equal(model_graph_build(&f->config, &f->graph, &f->err), TN_OK);
    assert_int_equal(pool_find(f->settings, pool, &f->pool, &f->err), TN_OK);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(pool_at(f->settings, i, &f->pools[i], &f->err), TN_OK);
    const tn_graph_api *api = model_graph_api(f->graph);
    f->enc = calloc(api->weight_count, sizeof *f->enc);
    for (uint32_t id = 0; id < api->weight_count; id++)
        f->enc[id] = enc_float(TN_BF16);
    f->request = (placement_request){.input = {.settings = f->settings,
                                               .config = &f->config,
                                               .graph = f->graph,
                                               .graph_api = api,
                                               .weight_enc = f->enc,
                                               .backend = &ruler_backend,
                                               .device = &f->pool.device},
                                     .pool = &f->pool,
                                     .pools = f->pools,
                                     .pool_count = 3};
}

static void close_fixture(fixture *f)
{
    free(f->enc);
    model_graph_free(f->graph);
    settings_destroy(f->settings);
}

static void find(fixture *f)
{
    if (placement_find(&f->request, &f->placement, &f->err) != TN_OK)
        fail_msg("%s", f->err.msg);
}

static void quantize(fixture *f, const char *method)
{
    tn_enc *planned = calloc(f->request.input.graph_api->weight_count, sizeof *planned);
    assert_int_equal(planned_encoding_apply(method, &ruler_backend, &f->pool.device, f->graph,
                                            f->request.input.graph_api, f->enc, planned, &f->err),
                     TN_OK);
    free(f->enc);
    f->enc = planned;
    f->request.input.weight_enc = planned;
}

/* Parameters as published; the table rounds them to 0.1 GiB at 2 bytes. */
static const struct published {
    const char *json;
    uint64_t parameters, embedding_rows, width;
    double table_gib;
    uint64_t kv_kib;
} published[] = {
    {LLAMA_3_8B, 8030261248, 2 * 128256, 4096, 15.0, 128},
    {GEMMA_7B, 8537680896, 256000, 3072, 15.9, 448},
    {MIXTRAL_8X7B, 46702792704, 2 * 32000, 4096, 87.0, 128},
    {LLAMA_3_70B, 70553706496, 2 * 128256, 8192, 131.4, 320},
    {LLAMA_31_405B, 405853388800, 2 * 128256, 16384, 756, 504},
};

static void test_weights_and_kv_are_those_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const struct published *m = &published[i];
        const char *const sets[] = {"pool huge.device=x", "pool huge.memory=2TiB", NULL};
        fixture f;

        open_fixture(&f, m->json, "huge", sets);
        find(&f);
        assert_true(f.placement.fits && f.placement.plan.world == 1);
        assert_int_equal(f.placement.plan.weights, 2 * m->parameters);
        double gib = (double)f.placement.plan.weights / (double)GIB, step = m->table_gib < 500 ? 0.1 : 1;
        assert_true(gib > m->table_gib - step / 2 - 0.01 && gib < m->table_gib + step / 2 + 0.01);
        assert_int_equal(f.placement.plan.kv_token_bytes, m->kv_kib * 1024);
        close_fixture(&f);
    }
}

/* Matrices in 8 and 4 bits; embedding and output matrix keep 16. */
static void test_quantized_weights_by_arithmetic(void **state)
{
    (void)state;
    const uint64_t matrices = 32ull * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3ull * 14336 * 4096);
    const uint64_t others = 8030261248 - matrices, outputs = 32ull * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096);
    const struct {
        const char *method;
        uint64_t bytes;
    } expected[] = {
        {"int8", matrices + 2 * outputs},
        {"fp8", matrices + 2 * outputs},
        {"int4", matrices / 2 + matrices / 128 * 2},
        {"awq", matrices / 2 + matrices / 128 * 3},
    };
    for (int i = 0; i < 4; i++) {
        fixture f;
        open_fixture(&f, LLAMA_3_8B, "GPU_NV_L", NULL);
        quantize(&f, expected[i].method);
        find(&f);
        assert_int_equal(f.placement.plan.weights, expected[i].bytes + 2 * others);
        close_fixture(&f);
    }
}

/* Experts too; their routers keep 16 bits. */
static void test_quantized_experts_by_arithmetic(void **state)
{
    (void)state;
    const uint64_t matrices = 32ull * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 8 * 3ull * 14336 * 4096);
    const uint64_t outputs = 32ull * (2 * 4096 + 2 * 1024 + 8 * (2 * 14336 + 4096));
    fixture f;

    open_fixture(&f, MIXTRAL_8X7B, "GPU_NV_L", NULL);
    quantize(&f, "int8");
    f.request.world = 1;
    find(&f);
    assert_int_equal(f.placement.plan.weights, matrices + 2 * outputs + 2 * (46702792704 - matrices));
    close_fixture(&f);
}

static void test_methods_are_named(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, LLAMA_3_8B, "GPU_NV_L", NULL);
    const tn_graph_api *api = f.request.input.graph_api;
    tn_enc *planned = calloc(api->weight_count, sizeof *planned);
    assert_int_equal(
        planned_encoding_apply("awk", &ruler_backend, &f.pool.device, f.graph, api, f.enc, planned, &f.err),
        TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "did you mean awq?"));
    quantize(&f, "int8");
    assert_int_equal(
        planned_encoding_apply("awq", &ruler_backend, &f.pool.device, f.graph, api, f.enc, planned, &f.err),
        TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "quantized already"));
    free(planned);
    close_fixture(&f);
}

/* The design's walk through: where an 8B, a 70B and a Mixtral go. */
static void test_the_first_strategy_that_fits(void **state)
{
    (void)state;
    const struct {
        const char *json, *pool;
        uint32_t world; /* 0: it does not fit */
        const char *warning;
    } cases[] = {
        {LLAMA_3_8B, "GPU_NV_S", 1, NULL},     {LLAMA_3_8B, "GPU_NV_M", 1, NULL},
        {LLAMA_3_70B, "GPU_NV_M", 0, "PCIe"},  {LLAMA_3_70B, "GPU_NV_L", 4, NULL},
        {MIXTRAL_8X7B, "GPU_NV_M", 0, "PCIe"}, {MIXTRAL_8X7B, "GPU_NV_L", 4, NULL},
        {LLAMA_31_405B, "GPU_NV_L", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fixture f;
        open_fixture(&f, cases[i].json, cases[i].pool, NULL);
        find(&f);
        assert_int_equal(f.placement.fits, cases[i].world > 0);
        if (cases[i].world)
            assert_int_equal(f.placement.plan.world, cases[i].world);
        assert_int_equal(f.placement.warning_count, cases[i].warning ? 1 : 0);
        if (cases[i].warning)
            assert_non_null(strstr(f.placement.warnings[0], cases[i].warning));
        close_fixture(&f);
    }
}

static void test_the_most_that_fits_is_the_most(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, LLAMA_3_8B, "GPU_NV_S", NULL);
    find(&f);
    uint32_t most = f.placement.largest_concurrency;
    assert_in_range(most, 3, 4); /* "three 8k sequences" */
    assert_int_equal(f.placement.largest_context, 8192);
    close_fixture(&f);

    for (uint32_t i = 0; i < 2; i++) {
        char set[64];
        snprintf(set, sizeof set, "engine.max_num_seqs=%u", most + i);
        const char *const sets[] = {set, NULL};
        open_fixture(&f, LLAMA_3_8B, "GPU_NV_S", sets);
        f.request.concurrency = most + i;
        find(&f);
        assert_int_equal(f.placement.fits, i == 0);
        if (i == 1)
            assert_non_null(strstr(f.placement.reason.msg, "do not fit at once"));
        close_fixture(&f);
    }
}

/* The same request with one change: settings from its flags. */
static void apply_flags(const char *flags, char sets[8][96], const char **list, uint32_t *concurrency,
                        const char **pool, const char **quant)
{
    static const struct {
        const char *flag, *setting;
    } names[] = {{"--util", "engine.gpu_memory_utilization"},
                 {"--max-model-len", "model.max_model_len"},
                 {"--kv-dtype", "engine.kv_cache_dtype"},
                 {"--tp", "backend.tensor_parallel_size"},
                 {"--concurrency", "engine.max_num_seqs"}};
    static char words[160];
    uint32_t count = 0;
    char *rest = NULL;

    while (list[count])
        count++;
    snprintf(words, sizeof words, "%s", flags);
    for (char *flag = strtok_r(words, " ", &rest); flag; flag = strtok_r(NULL, " ", &rest)) {
        if (strcmp(flag, "--set") == 0) {
            char *quoted = strtok_r(NULL, "\"", &rest);
            snprintf(sets[count], sizeof sets[count], "%s", quoted);
            list[count] = sets[count];
            list[++count] = NULL;
            continue;
        }
        char *value = strtok_r(NULL, " ", &rest);
        if (strcmp(flag, "--pool") == 0)
            *pool = value;
        if (strcmp(flag, "--quant") == 0)
            *quant = value;
        if (strcmp(flag, "--concurrency") == 0)
            *concurrency = (uint32_t)atoi(value);
        for (int i = 0; i < 5; i++) {
            if (strcmp(flag, names[i].flag) != 0)
                continue;
            snprintf(sets[count], sizeof sets[count], "%s=%s", names[i].setting, value);
            list[count] = sets[count];
            list[++count] = NULL;
        }
    }
}

typedef struct question {
    const char *json, *pool, *sets[4];
    uint32_t concurrency, fixes;
    placement_strategy strategy;
    const char *flag[PLACEMENT_FIXES]; /* how each fix begins */
} question;

static void ask(fixture *f, const question *q, const char *const *sets, const char *pool)
{
    open_fixture(f, q->json, pool, sets);
    f->request.concurrency = q->concurrency;
    f->request.strategy = q->strategy;
    uint32_t world = (uint32_t)settings_integer(f->settings, "backend", "tensor_parallel_size");
    f->request.world = world > 1 ? world : 0;
}

static void expect_that_fix_works(const question *q, const char *flags)
{
    char sets[8][96];
    const char *list[9] = {NULL}, *pool = q->pool, *quant = NULL;
    question changed = *q;
    fixture f;

    for (int i = 0; i < 4 && q->sets[i]; i++)
        list[i] = q->sets[i];
    apply_flags(flags, sets, list, &changed.concurrency, &pool, &quant);
    changed.strategy = PLACEMENT_AUTO;
    ask(&f, &changed, list, pool);
    if (quant)
        quantize(&f, quant);
    find(&f);
    if (!f.placement.fits)
        fail_msg("%s: %s", flags, f.placement.reason.msg);
    close_fixture(&f);
}

static void test_every_advised_change_works(void **state)
{
    (void)state;
    static const question questions[] = {
        {.json = GEMMA_7B, .pool = "GPU_NV_S", .fixes = 3, .flag = {"--util", "--max-model-len", "--quant int8"}},
        {.json = LLAMA_3_8B,
         .pool = "GPU_NV_S",
         .sets = {"engine.max_num_seqs=8"},
         .concurrency = 8,
         .fixes = 3,
         .flag = {"--max-model-len", "--concurrency", "--quant int8"}},
        {.json = LLAMA_3_8B,
         .pool = "GPU_NV_S",
         .sets = {"engine.max_num_seqs=4", "engine.kv_cache_dtype=float32", "engine.gpu_memory_utilization=0.95"},
         .concurrency = 4,
         .fixes = 3,
         .flag = {"--max-model-len", "--concurrency", "--kv-dtype bfloat16"}},
        {.json = LLAMA_3_70B, .pool = "GPU_NV_S", .fixes = 2, .flag = {"--tp 4 --pool GPU_NV_L", "--tp 8 --set"}},
        {.json = LLAMA_3_70B,
         .pool = "GPU_NV_L",
         .strategy = PLACEMENT_ONE,
         .fixes = 2,
         .flag = {"--strategy auto --tp 4", "--strategy auto --tp 16 --set"}},
        {.json = LLAMA_3_70B,
         .pool = "GPU_NV_L",
         .sets = {"backend.tensor_parallel_size=3"},
         .fixes = 2,
         .flag = {"--tp 4", "--tp 16 --set \"pool GPU_NV_L.nodes=2\""}},
        {.json = LLAMA_31_405B,
         .pool = "GPU_NV_L",
         .fixes = 2,
         .flag = {"--quant awq", "--tp 32 --set \"pool GPU_NV_L.nodes=4\""}},
        {.json = LLAMA_3_70B,
         .pool = "GPU_NV_M",
         .strategy = PLACEMENT_NODES,
         .fixes = 2,
         .flag = {"--strategy auto --tp 8 --set", "--strategy auto --tp 4 --pool GPU_NV_L"}},
    };
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        const question *q = &questions[i];
        tn_enc *encodings[2] = {NULL};
        fixture f;

        ask(&f, q, q->sets, q->pool);
        placement_encoding advised[2];
        for (int e = 0; e < 2; e++) {
            const char *method = e == 0 ? "int8" : "awq";
            encodings[e] = calloc(f.request.input.graph_api->weight_count, sizeof(tn_enc));
            planned_encoding_apply(method, &ruler_backend, &f.pool.device, f.graph, f.request.input.graph_api, f.enc,
                                   encodings[e], &f.err);
            advised[e] = (placement_encoding){method, encodings[e]};
        }
        f.request.encodings = advised;
        f.request.encoding_count = 2;
        find(&f);
        assert_false(f.placement.fits);
        for (uint32_t fix = 0; fix < f.placement.fix_count; fix++) {
            const char *flags = f.placement.fixes[fix].flags, *wanted = q->flag[fix];
            if (!wanted || strncmp(flags, wanted, strlen(wanted)) != 0)
                fail_msg("question %zu, fix %u is %s, not %s", i, fix, flags, wanted ? wanted : "none");
            expect_that_fix_works(q, flags);
        }
        assert_int_equal(f.placement.fix_count, q->fixes);
        free(encodings[0]);
        free(encodings[1]);
        close_fixture(&f);
    }
}

static void test_degrees_that_do_not_divide_name_those_that_do(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, LLAMA_3_8B, "GPU_NV_M", NULL);
    f.request.world = 3;
    find(&f);
    assert_false(f.placement.fits);
    assert_non_null(strstr(f.placement.reason.msg, "degrees that do: 1, 2, 4, 8, 16, 32"));
    assert_string_equal(f.placement.fixes[0].flags, "--tp 1");
    close_fixture(&f);
}

static void test_more_ranks_than_devices(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, LLAMA_3_70B, "GPU_NV_M", NULL);
    f.request.world = 8;
    find(&f);
    assert_false(f.placement.fits);
    assert_non_null(strstr(f.placement.reason.msg, "8 ranks need as many devices, but pool GPU_NV_M has 4"));
    assert_int_equal(f.placement.nodes, 2);
    close_fixture(&f);
}

static void test_several_nodes_say_what_they_need(void **state)
{
    (void)state;
    const char *const sets[] = {"pool GPU_NV_M.nodes=2", NULL};
    fixture f;
    open_fixture(&f, LLAMA_3_70B, "GPU_NV_M", sets);
    find(&f);
    assert_true(f.placement.fits);
    assert_int_equal(f.placement.strategy, PLACEMENT_NODES);
    assert_int_equal(f.placement.plan.world, 8);
    assert_int_equal(f.placement.nodes, 2);
    assert_int_equal(f.placement.warning_count, 2);
    assert_non_null(strstr(f.placement.warnings[1], "8 ranks on 2 nodes"));
    close_fixture(&f);

    open_fixture(&f, LLAMA_3_70B, "GPU_NV_M", NULL);
    f.request.strategy = PLACEMENT_NODES;
    find(&f);
    assert_false(f.placement.fits);
    assert_non_null(strstr(f.placement.reason.msg, "pool GPU_NV_M has one node, but it takes 2"));
    close_fixture(&f);
}

static void test_a_strategy_and_a_degree_that_contradict_each_other(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, LLAMA_3_8B, "GPU_NV_M", NULL);
    f.request.world = 4;
    f.request.strategy = PLACEMENT_ONE;
    assert_int_equal(placement_find(&f.request, &f.placement, &f.err), TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "4 ranks are strategy \"tensor parallel\""));
    close_fixture(&f);
}

static void test_copies_of_key_value_heads_are_told(void **state)
{
    (void)state;
    const char *const sets[] = {"pool wide.device=A100-80GB", "pool wide.count=16", NULL};
    fixture f;
    open_fixture(&f, LLAMA_31_405B, "wide", sets);
    find(&f);
    assert_true(f.placement.fits);
    assert_int_equal(f.placement.plan.world, 16);
    assert_int_equal(f.placement.warning_count, 1);
    assert_non_null(strstr(f.placement.warnings[0], "16 ranks share 8 key/value heads"));
    close_fixture(&f);
}

static void test_an_unknown_link_says_where_it_is_set(void **state)
{
    (void)state;
    const char *const sets[] = {"pool wide.device=card", "pool wide.memory=80GiB", "pool wide.count=2", NULL};
    for (int named = 0; named < 2; named++) {
        fixture f;
        open_fixture(&f, LLAMA_3_8B, "wide", sets);
        f.request.world = 2;
        if (!named)
            f.pool.name[0] = '\0'; /* what is here, as `tenon plan` without --pool has it */
        find(&f);
        assert_int_equal(f.placement.warning_count, 1);
        assert_non_null(
            strstr(f.placement.warnings[0], named ? "in [pool wide]" : "in [pool NAME] and name it with --pool"));
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights_and_kv_are_those_of_the_table),
        cmocka_unit_test(test_quantized_weights_by_arithmetic),
        cmocka_unit_test(test_quantized_experts_by_arithmetic),
        cmocka_unit_test(test_methods_are_named),
        cmocka_unit_test(test_the_first_strategy_that_fits),
        cmocka_unit_test(test_the_most_that_fits_is_the_most),
        cmocka_unit_test(test_every_advised_change_works),
        cmocka_unit_test(test_degrees_that_do_not_divide_name_those_that_do),
        cmocka_unit_test(test_more_ranks_than_devices),
        cmocka_unit_test(test_several_nodes_say_what_they_need),
        cmocka_unit_test(test_a_strategy_and_a_degree_that_contradict_each_other),
        cmocka_unit_test(test_copies_of_key_value_heads_are_told),
        cmocka_unit_test(test_an_unknown_link_says_where_it_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
