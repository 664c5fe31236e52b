/* test_roi.c: costs by hand arithmetic, the roofline against its formula written out, the charts to the letter. */
#include "cmocka_test.h"

#include "plan/roi_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    settings *settings;
    pool pool;
    model_config config;
    placement placement;
    roi_prices prices;
    roi roi;
    tn_error err;
} fixture;

/* A pool of four devices of round numbers, and a model of 10 GB over one of them. */
static fixture open_fixture(const char *const *sets)
{
    const char *all[16] = {"pool p.device=round",
                           "pool p.memory=20GB",
                           "pool p.count=4",
                           "pool p.link=pcie",
                           "pool p.memory_bandwidth=1000GB",
                           "pool p.bf16_teraflops=100",
                           "pool p.rate_per_hour=10",
                           "pool p.hours_per_month=100"};
    fixture f = {.err = TN_ERROR_INIT, .prices = {1, -1, 4}};
    for (int i = 0; sets && sets[i]; i++)
        all[8 + i] = sets[i];
    if (settings_read(NULL, all, &f.settings, &f.err) != TN_OK)
        fail_msg("%s", f.err.msg);
    assert_int_equal(pool_find(f.settings, "p", &f.pool, &f.err), TN_OK);
    f.config = (model_config){.layers = 10, .model_width = 1000};
    f.placement = (placement){.fits = true,
                              .nodes = 1,
                              .plan = {.world = 1,
                                       .weights = 10000000000,
                                       .kv_group_count = 1,
                                       .page_tokens = {16},
                                       .kept_tokens = {8192},
                                       .kv_pages = {4000},
                                       .kv_token_bytes = 100000,
                                       .max_model_len = 8192,
                                       .multiply_adds = 5000000000,
                                       .max_num_seqs = 256}};
    return f;
}

static tn_status make(fixture *f)
{
    return roi_make(f->settings, &f->placement, &f->config, &f->pool, &f->prices, &f->roi, &f->err);
}

static void must_make(fixture *f)
{
    if (make(f) != TN_OK)
        fail_msg("%s", f->err.msg);
}

static void assert_near(double value, double expected)
{
    if (fabs(value - expected) > 1e-9 * fabs(expected))
        fail_msg("%.17g is not %.17g", value, expected);
}

static void test_measured_costs(void **state)
{
    (void)state;
    const char *const sets[] = {"roi.tokens_per_second=1000",
                                "roi.input=600",
                                "roi.cached=200",
                                "roi.output=200",
                                "pool p.power_per_month=500",
                                NULL};
    fixture f = open_fixture(sets);
    f.prices.cached = 0.5;
    must_make(&f);
    assert_true(f.roi.throughput.measured);
    assert_near(f.roi.pool_cost, 1500);
    assert_near(f.roi.price, 0.6 * 1 + 0.2 * 0.5 + 0.2 * 4);
    assert_int_equal(f.roi.replicas_in_pool, 4);
    /* 4 replicas of 700 answer tokens/s, a fifth of the tokens, 100 hours. */
    assert_near(f.roi.capacity, 4 * 700 / 0.2 * 360000 / 1e6);
    assert_near(f.roi.break_even, 1000);
    assert_true(f.roi.reachable);
    assert_near(f.roi.peak_tokens_per_second, 200e6 / 360000);
    assert_near(f.roi.replicas, 1);
    assert_near(f.roi.pools, 1);
    assert_near(roi_cost_elsewhere(&f.roi, 1000), 1500);
    settings_destroy(f.settings);
}

static void test_unreachable_past_the_capacity(void **state)
{
    (void)state;
    const char *const sets[] = {"roi.tokens_per_second=100", "roi.input=500", "roi.output=500", NULL};
    fixture f = open_fixture(sets);
    f.prices = (roi_prices){1, -1, 1};
    must_make(&f);
    assert_near(f.roi.capacity, 4 * 70 / 0.5 * 360000 / 1e6); /* 201.6 million */
    assert_near(f.roi.break_even, 1000);
    assert_false(f.roi.reachable);
    /* A staircase: the price per token stays above the other's at each step's end too. */
    assert_near(roi_cost_here(&f.roi, 201.6), 1000);
    assert_near(roi_cost_here(&f.roi, 201.7), 2000);
    assert_near(roi_cost_here(&f.roi, 2016), 10000);
    /* 500e6 answers in 360000 s: 1389/s, over 70/s a replica: 20 replicas, 5 pools. */
    assert_near(f.roi.replicas, 20);
    assert_near(f.roi.pools, 5);
    settings_destroy(f.settings);

    f = open_fixture(sets);
    f.prices = (roi_prices){0, 0, 0};
    must_make(&f);
    assert_true(isinf(f.roi.break_even) && !f.roi.reachable);
    settings_destroy(f.settings);
}

static void test_the_peak_decides_how_many_replicas(void **state)
{
    (void)state;
    const char *const sets[] = {"roi.tokens_per_second=1000", "roi.output=36", "roi.peak_tokens_per_second=5000", NULL};
    fixture f = open_fixture(sets);
    must_make(&f);
    assert_near(f.roi.replicas, 8); /* 5000 / 700 */
    assert_near(f.roi.pools, 2);
    settings_destroy(f.settings);
}

/* 50 sequences of 1,280 tokens fit. */
static void test_the_roofline(void **state)
{
    (void)state;
    fixture f = open_fixture(NULL);
    must_make(&f);
    const throughput *t = &f.roi.throughput;
    double bytes = 10e9 + 50 * (1024 + 128) * 100e3, prefill = 2 * 5e9 * 1024 / (100e12 * 0.6);
    assert_false(t->measured);
    assert_int_equal(t->batch, 50);
    assert_near(t->step_seconds, bytes / (1000e9 * 0.8));
    assert_near(t->prefill_seconds, prefill);
    assert_near(t->answer_tokens_per_second, 50 * 256 / (50 * prefill + 256 * t->step_seconds));
    settings_destroy(f.settings);
}

static void test_sums_over_ranks_take_their_time(void **state)
{
    (void)state;
    fixture f = open_fixture(NULL);
    f.placement.plan.world = 4;
    must_make(&f);
    /* Two sums a layer of 1,000 bf16 numbers for each of 50 tokens: a ring over 4 ranks moves them 1.5 times. */
    double bytes = 10e9 + 50 * (1024 + 128) * 100e3, sums = 20 * 1.5 * 50 * 1000 * 2 / 32e9;
    assert_near(f.roi.throughput.step_seconds, bytes / (1000e9 * 0.8) + sums);
    assert_int_equal(f.roi.replicas_in_pool, 1);
    settings_destroy(f.settings);
}

static void test_a_large_batch_is_limited_by_arithmetic(void **state)
{
    (void)state;
    fixture f = open_fixture(NULL);
    f.placement.plan.weights = 1000;
    f.placement.plan.kv_token_bytes = 1;
    must_make(&f);
    assert_near(f.roi.throughput.step_seconds, 2 * 5e9 * 50 / (100e12 * 0.6));
    settings_destroy(f.settings);
}

static void test_what_is_cached_is_not_prefilled(void **state)
{
    (void)state;
    const char *const sets[] = {"roi.input=1", "roi.cached=3", "roi.output=1", "roi.answer_tokens=256", NULL};
    fixture f = open_fixture(sets);
    must_make(&f);
    assert_near(f.roi.throughput.prefill_seconds, 2 * 5e9 * 256 / (100e12 * 0.6));
    settings_destroy(f.settings);
}

/* 300 prompt tokens for each of an answer's: a usual answer would have a prompt that the model does not take. */
static void test_no_request_is_longer_than_the_model_takes(void **state)
{
    (void)state;
    const char *const long_prompts[] = {"roi.input=300", "roi.output=1", NULL};
    const char *const endless[] = {"roi.input=1e9", "roi.output=1e-12", NULL};
    fixture f = open_fixture(long_prompts);
    must_make(&f);
    const throughput *t = &f.roi.throughput;
    double prompt = 8192 * 300 / 301.0, answer = 8192 / 301.0, prefill = 2 * 5e9 * prompt / (100e12 * 0.6);
    double step = (10e9 + 7 * (prompt + answer / 2) * 100e3) / (1000e9 * 0.8);
    assert_int_equal(t->batch, 4000 / 512);
    assert_near(t->prefill_seconds, prefill);
    assert_near(t->step_seconds, step);
    assert_near(t->answer_tokens_per_second, 7 * answer / (7 * prefill + answer * step));
    settings_destroy(f.settings);

    f = open_fixture(endless);
    must_make(&f);
    assert_int_equal(f.roi.throughput.batch, 4000 / 512);
    assert_true(f.roi.throughput.answer_tokens_per_second > 0 && isfinite(f.roi.capacity));
    settings_destroy(f.settings);
}

static void must_refuse(const char *const *sets, roi_prices prices, const char *words)
{
    fixture f = open_fixture(sets);
    f.prices = prices;
    assert_int_equal(make(&f), TN_E_ARGUMENT);
    if (!strstr(f.err.msg, words))
        fail_msg("\"%s\" does not say \"%s\"", f.err.msg, words);
    settings_destroy(f.settings);
}

static void test_what_is_missing_is_named(void **state)
{
    (void)state;
    const char *const unanswered[] = {"roi.input=1", NULL}, *const other[] = {"roi.price=openly", NULL};
    const char *const priced[] = {"price api.input=1", NULL};
    must_refuse(NULL, (roi_prices){-1, -1, 4}, "set input in [price api], or --price-in");
    must_refuse(priced, (roi_prices){-1, -1, -1}, "set output in [price api], or --price-out");
    must_refuse(other, (roi_prices){-1, -1, -1}, "[price openly]");
    must_refuse(unanswered, (roi_prices){1, -1, 1}, "set roi.output");

    fixture f = open_fixture(NULL);
    f.pool.priced = false;
    assert_int_equal(make(&f), TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "pool p has no costs: set rate_per_hour in [pool p]"));
    f.pool.priced = true;
    f.pool.memory_bandwidth = 0;
    assert_int_equal(make(&f), TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "memory_bandwidth in [pool p]"));
    f.pool = pool_here();
    assert_int_equal(make(&f), TN_E_ARGUMENT);
    assert_non_null(strstr(f.err.msg, "--pool"));
    settings_destroy(f.settings);
}

static void test_prices_of_the_settings(void **state)
{
    (void)state;
    const char *const sets[] = {"roi.price=b",      "price a.input=9",         "price b.input=2",
                                "price b.output=8", "roi.tokens_per_second=1", NULL};
    fixture f = open_fixture(sets);
    f.prices = (roi_prices){-1, -1, -1};
    must_make(&f);
    assert_near(f.roi.prices.cached, 2); /* as input */
    assert_near(f.roi.price, 0.8 * 2 + 0.2 * 8);
    f.prices.output = 3;
    must_make(&f);
    assert_near(f.roi.prices.output, 3);
    settings_destroy(f.settings);
}

static void test_numbers_for_people(void **state)
{
    (void)state;
    char text[40], volume[24];
    assert_string_equal(roi_format_money(0, text), "0.00");
    assert_string_equal(roi_format_money(999.5, text), "999.50");
    assert_string_equal(roi_format_money(1234567.891, text), "1,234,567.89");
    assert_string_equal(roi_format_money(-1000, text), "-1,000.00");
    assert_string_equal(roi_format_volume(0.5, volume), "0.50 M");
    assert_string_equal(roi_format_volume(12.34, volume), "12.3 M");
    assert_string_equal(roi_format_volume(999, volume), "999 M");
    assert_string_equal(roi_format_volume(1500, volume), "1.50 G");
    assert_string_equal(roi_format_volume(2e9, volume), "2.00 P");
    assert_string_equal(roi_format_volume(1e30, volume), "1e+21 P");
}

static char *chart_of(const roi *roi, void (*print)(const struct roi *, FILE *))
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    print(roi, out);
    fclose(out);
    return text;
}

static void test_the_chart_in_a_terminal(void **state)
{
    (void)state;
    const roi roi = {.pool = "p",
                     .currency = "USD",
                     .pool_cost = 1000,
                     .price = 2,
                     .capacity = 600,
                     .break_even = 500,
                     .reachable = true};
    char *text = chart_of(&roi, roi_chart_print);
    assert_string_equal(text, "cost of a month, USD:  = pool p   / elsewhere\n"
                              "   2,200.00 |\n"
                              "            |                                                ============\n"
                              "            |\n"
                              "            |\n"
                              "            |                                                         ///\n"
                              "            |                                                  ///////\n"
                              "            |                                            //////\n"
                              "            |=====================================+++++++====\n"
                              "            |                              ///////\n"
                              "            |                        //////\n"
                              "            |                 ///////\n"
                              "            |          ///////\n"
                              "            |    //////\n"
                              "       0.00 |////\n"
                              "            +------------------------------------------------------------\n"
                              "             0                                       750 M tokens a month\n");
    free(text);
}

static void test_the_picture_escapes_what_it_is_given(void **state)
{
    (void)state;
    const roi roi = {.pool = "p", .currency = "<&>", .pool_cost = 1, .price = 1, .capacity = 0.001, .break_even = 1};
    char *text = chart_of(&roi, roi_chart_svg);
    assert_non_null(strstr(text, "&lt;&amp;&gt; a month"));
    assert_null(strstr(text, "<&>"));
    assert_non_null(strstr(text, "break-even at 1.00 M: unreachable"));
    assert_null(strstr(text, "<circle"));
    assert_null(strstr(text, "nan"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measured_costs),
        cmocka_unit_test(test_unreachable_past_the_capacity),
        cmocka_unit_test(test_the_peak_decides_how_many_replicas),
        cmocka_unit_test(test_the_roofline),
        cmocka_unit_test(test_sums_over_ranks_take_their_time),
        cmocka_unit_test(test_a_large_batch_is_limited_by_arithmetic),
        cmocka_unit_test(test_what_is_cached_is_not_prefilled),
        cmocka_unit_test(test_no_request_is_longer_than_the_model_takes),
        cmocka_unit_test(test_what_is_missing_is_named),
        cmocka_unit_test(test_prices_of_the_settings),
        cmocka_unit_test(test_numbers_for_people),
        cmocka_unit_test(test_the_chart_in_a_terminal),
        cmocka_unit_test(test_the_picture_escapes_what_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
