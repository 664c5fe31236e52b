/* test_plan.c: the sizing function over a backend whose bytes are known: what fits, what is refused, and with which
 * advice. */
#include "cmocka_test.h"
#include "model/graph.h"
#include "plan/plan.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_TOKENS = 16, PAGE_BYTES = 1 << 16 };
#define GIB (1ull << 30)

static uint64_t page_bytes = PAGE_BYTES;

static tn_status fake_plan(const tn_devinfo *info, uint32_t world, const tn_compile *compile, tn_memplan *plan,
                           tn_error *err)
{
    (void)info;
    if (world > 2)
        return tn_fail(err, TN_E_UNSUPPORTED, "two ranks at most");
    plan->weights = 4 * GIB / world;
    plan->activations = (uint64_t)compile->max_tokens * 1000;
    plan->logits = (uint64_t)compile->max_outputs * 1000;
    plan->reserve = GIB / 4;
    plan->load_peak = GIB / 8;
    for (uint32_t g = 0; g < plan->group_count; g++) {
        plan->page_tokens[g] = PAGE_TOKENS;
        plan->page_bytes[g] = page_bytes;
    }
    return TN_OK;
}

static const tn_backend backend = {.struct_size = sizeof(tn_backend), .plan = fake_plan};

typedef struct fixture {
    settings *settings;
    model_config config;
    tn_graph *graph;
    tn_devinfo device;
    memory_plan plan;
    tn_error err;
} fixture;

static fixture open_fixture(uint64_t mem_total, const char *domain, const char *const *overrides)
{
    fixture f = {.config = {.architecture = "llama",
                            .layers = 2,
                            .model_width = 64,
                            .ff_width = 128,
                            .heads = 4,
                            .kv_heads = 2,
                            .head_dim = 16,
                            .vocab = 1000,
                            .context = 8192,
                            .norm_eps = 1e-5f,
                            .rope_theta = 10000,
                            .rope_dim = 16,
                            .rope_pairs = true,
                            .tied_embeddings = true},
                 .device = {.struct_size = sizeof(tn_devinfo), .mem_total = mem_total, .mem_free = mem_total},
                 .err = TN_ERROR_INIT};
    snprintf(f.device.name, sizeof f.device.name, "fake");
    snprintf(f.device.mem_domain, sizeof f.device.mem_domain, "%s", domain);
    assert_int_equal(settings_read(NULL, overrides, &f.settings, &f.err), TN_OK);
    assert_int_equal(model_graph_build(&f.config, &f.graph, &f.err), TN_OK);
    return f;
}

static tn_status make(fixture *f)
{
    plan_input input = {.settings = f->settings,
                        .config = &f->config,
                        .graph = f->graph,
                        .graph_api = model_graph_api(f->graph),
                        .backend = &backend,
                        .device = &f->device,
                        .staging_bytes = 1 << 20,
                        .tokenizer_bytes = 2 << 20};
    return plan_make(&input, &f->plan, &f->err);
}

static void close_fixture(fixture *f)
{
    model_graph_free(f->graph);
    settings_destroy(f->settings);
}

static void test_a_device_gives_all_that_is_left_to_kv(void **state)
{
    (void)state;
    const char *const sets[] = {"engine.gpu_memory_utilization=0.5", NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    assert_int_equal(make(&f), TN_OK);
    uint64_t host = f.plan.engine + f.plan.tokenizer;
    uint64_t used = plan_resident_bytes(&f.plan) - host + f.plan.reserve;
    assert_true(f.plan.budget == 12 * GIB);
    assert_true(used <= f.plan.budget && used + GIB / 100 > f.plan.budget);
    assert_true(f.plan.kv == f.plan.kv_pages[0] * PAGE_BYTES);
    assert_true(f.plan.load_peak == GIB / 8 + (1 << 20));
    close_fixture(&f);
}

static void test_a_host_backend_leaves_memory_to_others(void **state)
{
    (void)state;
    fixture f = open_fixture(64 * GIB, "host", NULL);

    assert_int_equal(make(&f), TN_OK);
    assert_true(f.plan.kv <= 2 * GIB);
    assert_true(f.plan.kv_tokens >= f.plan.max_model_len);
    close_fixture(&f);
}

static void test_no_more_kv_than_all_sequences_can_fill(void **state)
{
    (void)state;
    const char *const sets[] = {"engine.max_num_seqs=1", "model.max_model_len=1024", NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    assert_int_equal(make(&f), TN_OK);
    assert_true(f.plan.kv_tokens >= 1024 && f.plan.kv_tokens <= 1024 + 2 * PAGE_TOKENS);
    close_fixture(&f);
}

static void test_a_window_counts_as_the_context_it_serves(void **state)
{
    (void)state;
    const char *const sets[] = {"engine.max_num_seqs=8", "engine.max_num_batched_tokens=448", NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    model_graph_free(f.graph);
    f.config.window = 64;
    f.config.layer_kind[1] = LAYER_WINDOW;
    assert_int_equal(model_graph_build(&f.config, &f.graph, &f.err), TN_OK);
    assert_int_equal(make(&f), TN_OK);
    assert_int_equal(f.plan.kv_group_count, 2);
    assert_int_equal(f.plan.full_sequences, 8);
    assert_true(f.plan.kv_tokens >= 8 * 8192 && f.plan.kv_tokens < 8 * 8192 + 8 * 2 * 8192 / 32);
    assert_int_equal(plan_sequences(&f.plan, 8192), 8);
    assert_int_equal(plan_sequences(&f.plan, 512), 8 * 33 / 32); /* the window's pages are the fewer ones */
    assert_int_equal(plan_sequences(&f.plan, 160), 8 * 33 / 10);
    close_fixture(&f);
}

static void expect_buckets(const char *seqs, const char *batched, uint32_t count, const uint32_t *expected)
{
    const char *const sets[] = {seqs, batched, NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    assert_int_equal(make(&f), TN_OK);
    const plan_input input = {.graph = f.graph, .graph_api = model_graph_api(f.graph)};
    const tn_compile compile = plan_compile(&input, &f.plan);
    assert_int_equal(compile.bucket_count, count);
    for (uint32_t i = 0; i < count && expected; i++)
        assert_int_equal(compile.bucket[i], expected[i]);
    for (uint32_t i = 1; i < count; i++) {
        assert_true(compile.bucket[i] > compile.bucket[i - 1]);
        assert_true(compile.bucket[i] <= 2 * compile.bucket[i - 1]);
    }
    assert_int_equal(compile.bucket[count - 1], f.plan.max_num_seqs < 512 ? f.plan.max_num_seqs : 512);
    close_fixture(&f);
}

/* Sizes of decoding batches, whose last has every sequence, unless those are very many. */
static void test_the_backend_is_told_the_sizes_of_batches(void **state)
{
    (void)state;
    const char *batched = "engine.max_num_batched_tokens=2048";

    expect_buckets("engine.max_num_seqs=1", batched, 1, (const uint32_t[]){1});
    expect_buckets("engine.max_num_seqs=3", batched, 3, (const uint32_t[]){1, 2, 3});
    expect_buckets("engine.max_num_seqs=30", batched, 7, (const uint32_t[]){1, 2, 4, 8, 16, 24, 30});
    expect_buckets("engine.max_num_seqs=256", batched, 35, NULL);
    expect_buckets("engine.max_num_seqs=512", batched, 51, NULL);
    expect_buckets("engine.max_num_seqs=1000", batched, 51, NULL);
}

static void test_a_misfit_names_settings_that_do_fit(void **state)
{
    (void)state;
    /* 4.25 GiB fixed of a budget of 4.5: one sequence of 131,072 tokens would need 512 MiB. */
    const char *const sets[] = {"engine.gpu_memory_utilization=0.9", NULL};
    fixture f = open_fixture(5 * GIB, "cuda", sets);
    f.config.context = 131072;

    assert_int_equal(make(&f), TN_E_MEMORY);
    const char *advice = strstr(f.err.msg, "model.max_model_len=");
    assert_non_null(advice);
    char set[64];
    snprintf(set, sizeof set, "model.max_model_len=%d", atoi(advice + strlen("model.max_model_len=")));
    close_fixture(&f);

    const char *const fixed[] = {"engine.gpu_memory_utilization=0.9", set, NULL};
    f = open_fixture(5 * GIB, "cuda", fixed);
    f.config.context = 131072;
    assert_int_equal(make(&f), TN_OK);
    close_fixture(&f);
}

/* 2^52 bytes a sequence, 4,096 of which are 2^64; the device has room for four. */
static void test_more_sequences_than_64_bits_count(void **state)
{
    (void)state;
    const char *const sets[] = {"engine.max_num_seqs=4096", NULL};
    fixture f = open_fixture(5ull << 52, "cuda", sets);

    f.config.context = 1 << 30;
    page_bytes = 1 << 26;
    tn_status status = make(&f);
    page_bytes = PAGE_BYTES;
    assert_int_equal(status, TN_OK);
    assert_int_equal(f.plan.full_sequences, 4);
    close_fixture(&f);
}

static void test_weights_larger_than_the_device_say_so(void **state)
{
    (void)state;
    fixture f = open_fixture(2 * GIB, "host", NULL);

    assert_int_equal(make(&f), TN_E_MEMORY);
    assert_non_null(strstr(f.err.msg, "smaller or more strongly quantized"));
    assert_int_equal(f.plan.kv_token_bytes, PAGE_BYTES / PAGE_TOKENS);
    assert_non_null(strstr(f.err.msg, "4."));
    close_fixture(&f);
}

static void test_more_kv_than_is_left_says_how_to_get_the_most(void **state)
{
    (void)state;
    const char *const sets[] = {"engine.kv_cache_memory_bytes=60GiB", NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    assert_int_equal(make(&f), TN_E_MEMORY);
    assert_non_null(strstr(f.err.msg, "engine.kv_cache_memory_bytes asks for 60.00 GiB: set it to auto"));
    assert_null(strstr(f.err.msg, "or more"));
    close_fixture(&f);

    const char *const small[] = {"engine.kv_cache_memory_bytes=1MiB", NULL};
    f = open_fixture(24 * GIB, "cuda", small);
    assert_int_equal(make(&f), TN_E_MEMORY);
    const char *advice = strstr(f.err.msg, "engine.kv_cache_memory_bytes to ");
    assert_non_null(advice);
    char set[80];
    snprintf(set, sizeof set, "engine.kv_cache_memory_bytes=%lld",
             atoll(advice + strlen("engine.kv_cache_memory_bytes to ")));
    close_fixture(&f);

    const char *const both[][2] = {{"engine.kv_cache_memory_bytes=auto", NULL}, {set, NULL}};
    for (int i = 0; i < 2; i++) {
        f = open_fixture(24 * GIB, "cuda", both[i]);
        assert_int_equal(make(&f), TN_OK);
        close_fixture(&f);
    }
}

static void test_a_context_beyond_the_models_is_refused(void **state)
{
    (void)state;
    const char *const sets[] = {"model.max_model_len=16384", NULL};
    fixture f = open_fixture(24 * GIB, "cuda", sets);

    assert_int_equal(make(&f), TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "8192"));
    close_fixture(&f);
}

/* Half of the weights fits, and so does everything else. */
static void test_a_misfit_that_more_devices_cure_names_their_number(void **state)
{
    (void)state;
    fixture f = open_fixture(GIB * 7 / 2, "cuda", NULL);

    assert_int_equal(make(&f), TN_E_MEMORY);
    assert_non_null(strstr(f.err.msg, "set backend.tensor_parallel_size=2"));
    close_fixture(&f);

    const char *const sets[] = {"backend.tensor_parallel_size=2", NULL};
    f = open_fixture(GIB * 7 / 2, "cuda", sets);
    assert_int_equal(make(&f), TN_OK);
    assert_int_equal(f.plan.weights, 2 * GIB);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_device_gives_all_that_is_left_to_kv),
        cmocka_unit_test(test_a_host_backend_leaves_memory_to_others),
        cmocka_unit_test(test_no_more_kv_than_all_sequences_can_fill),
        cmocka_unit_test(test_a_window_counts_as_the_context_it_serves),
        cmocka_unit_test(test_the_backend_is_told_the_sizes_of_batches),
        cmocka_unit_test(test_a_misfit_names_settings_that_do_fit),
        cmocka_unit_test(test_more_sequences_than_64_bits_count),
        cmocka_unit_test(test_weights_larger_than_the_device_say_so),
        cmocka_unit_test(test_more_kv_than_is_left_says_how_to_get_the_most),
        cmocka_unit_test(test_a_context_beyond_the_models_is_refused),
        cmocka_unit_test(test_a_misfit_that_more_devices_cure_names_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
