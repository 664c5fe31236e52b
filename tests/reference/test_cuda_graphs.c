/* test_cuda_graphs.c: plugins/cuda_tp over memory of this machine, or (ON_DEVICE) on a GPU: steps that run as graphs of
 * padded buckets give the bits of steps that are launched one by one, for every family, on one rank and on two,
 * whatever comes between them; a step allocates nothing and crosses the bus twice; kernels are loaded before pages are
 * reserved. What can fail is in test_cuda_failures.c.
 *
 * Nothing here is compared with another implementation: test_cuda_families.c does that for launches, and here the bits
 * must be theirs.
 */
#include "cuda/built_plugins.h"
#include "decode_batch.h"
#include "family_case.h"
#include "unit/cmocka_test.h"

#ifndef ON_DEVICE
#include "host_device.h"
#endif

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = RIG_SLOTS_MAX, ROWS = 40, LENGTH = 300, TOPS = 3, MASK_WORDS = (FAMILY_VOCAB + 31) / 32 };
static const uint32_t buckets[] = {1, 2, 4, 8, 16};
enum { BUCKETS = sizeof buckets / sizeof *buckets };

static const tn_quant_table *quant_none(void)
{
    return built_quant("quant_none");
}

/* Whether a kernel that was not loaded when its model was opened may be launched; ends the program where not. */
static void expect_loaded(int on)
{
#ifdef SHIM
    void shim_expect_loaded(int on); /* shim/cuda_shim.h, which is C++ */
    shim_expect_loaded(on);
#else
    (void)on;
#endif
}

/* ---- two models that differ in how they run ---- */

typedef struct twins {
    model_rig graphs, launches;
    char path[256];
} twins;

static rig_limits limits_of(uint32_t world)
{
    return (rig_limits){.max_tokens = ROWS,
                        .max_seqs = SLOTS,
                        .max_outputs = ROWS,
                        .max_model_len = LENGTH,
                        .world = world,
                        .float_type = TN_BF16,
#ifdef ON_DEVICE
                        .one_device = true, /* where two ranks have no graphs */
#endif
                        .bucket = buckets,
                        .bucket_count = BUCKETS};
}

static void open_twins(twins *t, const char *family, uint32_t world)
{
    family_directory_make(family, NULL, t->path);
    rig_open(&t->launches, t->path, quant_none(), cuda_tp_backend(), limits_of(world));
    rig_open(&t->graphs, t->path, quant_none(), cuda_tp_backend(), limits_of(world));
    expect_loaded(1);
    rig_warm_up(&t->graphs);
}

static void close_twins(twins *t)
{
    expect_loaded(0);
    rig_close(&t->graphs);
    rig_close(&t->launches);
    family_directory_remove(t->path);
}

#ifdef ON_DEVICE
static uint32_t graph_launches(void)
{
    return 0;
}

static void expect_launches(uint32_t before, uint32_t more)
{
    (void)before, (void)more; /* nobody counts */
}
#else
static uint32_t graph_launches(void)
{
    return host_device_counted(0).graph_launches;
}

static void expect_launches(uint32_t before, uint32_t more)
{
    assert_int_equal(graph_launches(), before + more);
}
#endif

/* The same batch on both: logits of all rows, which must have the same bits. Expects a graph where one has room. */
static void step_both(twins *t, const rig_run *runs, uint32_t run_count)
{
    static float graphs[ROWS * FAMILY_VOCAB], launches[ROWS * FAMILY_VOCAB];
    uint32_t rows = 0, before = graph_launches();

    for (uint32_t i = 0; i < run_count; i++)
        rows += runs[i].count;
    rig_step(&t->launches, runs, run_count, launches);
    expect_launches(before, 0);
    rig_step(&t->graphs, runs, run_count, graphs);
    expect_launches(before, rows <= buckets[BUCKETS - 1]);
    assert_memory_equal(graphs, launches, rows * FAMILY_VOCAB * sizeof *graphs);
    for (uint32_t i = 0; i < rows * FAMILY_VOCAB; i++)
        assert_true(isfinite(graphs[i]));
}

/* ---- every family ---- */

static uint32_t random_state = 1;

static uint32_t random_below(uint32_t limit)
{
    random_state = random_state * 1664525 + 1013904223;
    return (random_state >> 8) % limit;
}

/* A batch of some slots, in any order: mostly single tokens, now and then a piece of a prompt. */
static void step_random(twins *t, uint32_t length[SLOTS])
{
    rig_run runs[SLOTS];
    uint32_t order[SLOTS], count = 1 + random_below(SLOTS);

    for (uint32_t i = 0; i < SLOTS; i++)
        order[i] = i;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = i + random_below(SLOTS - i), slot = order[other];
        order[other] = order[i];
        order[i] = slot;
        uint32_t rows = random_below(4) ? 1 : 1 + random_below(5);
        runs[i] = (rig_run){slot, length[slot], rows, family_prompt() + (length[slot] * 7 + slot) % 200};
        length[slot] += rows;
    }
    step_both(t, runs, count);
}

#ifdef SHIM
enum { STEPS = 3 };
#else
enum { STEPS = 24 };
#endif

static void test_graphs_give_the_bits_of_launches(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < family_count(); i++) {
        for (uint32_t world = 1; world <= 2 && family_is_run(family_name(i)); world++) {
            uint32_t length[SLOTS] = {0};
            twins t;
            open_twins(&t, family_name(i), world);
            for (uint32_t step = 0; step < STEPS; step++)
                step_random(&t, length);
            close_twins(&t);
        }
    }
}

#ifndef SHIM
/* One sequence is beyond a window and in its second span, whose rows are split, while others begin. */
static void test_graphs_hold_rows_of_several_spans(void **state)
{
    (void)state;
    static const char *const families[] = {"llama", "gemma3", "gpt_oss"};

    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        uint32_t at = 0;
        twins t;
        open_twins(&t, families[i], 2);
        for (; at < 250; at += 25)
            step_both(&t, &(rig_run){3, at, 25, family_prompt() + at}, 1);
        for (uint32_t step = 0; step < 20; step++, at++) {
            const rig_run runs[] = {{1, step, 1, family_prompt() + step}, {3, at, 1, family_prompt() + at}};
            step_both(&t, runs, 2);
        }
        close_twins(&t);
    }
}
#endif

/* ---- batches that sample ---- */

/* What rows may have beside their tokens. */
typedef struct samples {
    float temperature[SLOTS], top_p[SLOTS], repetition[SLOTS];
    uint32_t top_k[SLOTS], mask[SLOTS * MASK_WORDS];
    uint64_t seed[SLOTS];
    int32_t target[SLOTS], list_token[SLOTS];
    uint32_t list_row[SLOTS + 1], list_count[SLOTS];
    float list_value[SLOTS];
    tn_sample sample;
} samples;

enum { GREEDY, DRAWN, MASKED, BIASED, PENALISED, SCORED, KINDS };

/* What one kind of batch has beside its rows. */
static void add_sample(decode_batch *d, samples *s, uint32_t kind)
{
    *s = (samples){.sample = {.struct_size = sizeof s->sample}};
    for (uint32_t i = 0; i < d->rows; i++) {
        d->want[i] = i % 2 ? TN_WANT_LOGPROB : 0;
        s->temperature[i] = 0.5f + (float)i;
        s->top_p[i] = 0.9f;
        s->top_k[i] = 20 + i;
        s->seed[i] = 1000 + i;
        s->repetition[i] = 1.5f;
        s->target[i] = (int32_t)(3 * i);
        s->list_row[i + 1] = i + 1;
        s->list_token[i] = (int32_t)(i + 2);
        s->list_value[i] = i % 2 ? 50 : -50;
        s->list_count[i] = i;
        for (uint32_t w = 0; w < MASK_WORDS; w++)
            s->mask[i * MASK_WORDS + w] = 0xf0f0f0f0u >> i;
    }
    if (kind == DRAWN) {
        s->sample.temperature = s->temperature, s->sample.seed = s->seed;
        s->sample.top_p = s->top_p, s->sample.top_k = s->top_k;
    } else if (kind == MASKED) {
        s->sample.mask = s->mask;
        d->batch.need |= TN_NEED_MASK;
    } else if (kind == BIASED) {
        s->sample.bias_row = s->list_row, s->sample.bias_token = s->list_token, s->sample.bias_value = s->list_value;
        d->batch.need |= TN_NEED_BIAS;
    } else if (kind == PENALISED) {
        s->sample.seen_row = s->list_row, s->sample.seen_token = s->list_token, s->sample.seen_count = s->list_count;
        s->sample.repetition = s->repetition;
        d->batch.need |= TN_NEED_PENALTY;
    } else if (kind == SCORED) {
        s->sample.score_target = s->target, s->sample.top_logprobs = TOPS;
        d->batch.need |= TN_NEED_SCORE;
        for (uint32_t i = 0; i < d->rows; i++)
            d->want[i] = TN_WANT_TARGET | TN_WANT_TOP | TN_WANT_LOGPROB;
    }
    d->batch.sample = kind == GREEDY ? NULL : &s->sample;
}

typedef struct results {
    int32_t id[SLOTS], top_id[SLOTS * TOPS];
    float logprob[SLOTS], target_logprob[SLOTS], top_logprob[SLOTS * TOPS];
} results;

static void collect(const model_rig *rig, uint64_t ticket, results *r)
{
    tn_error err = TN_ERROR_INIT;
    memset(r, 0, sizeof *r);
    tn_result result = {.struct_size = sizeof result,
                        .out_count = SLOTS,
                        .id = r->id,
                        .logprob = r->logprob,
                        .target_logprob = r->target_logprob,
                        .top_id = r->top_id,
                        .top_logprob = r->top_logprob};
    if (rig->backend->wait(rig->model, ticket, &result, &err) != TN_OK)
        fail_msg("%s", err.msg);
}

static void test_every_kind_of_sampling_follows_a_graph(void **state)
{
    (void)state;
    enum { STEPS_SAMPLED = 2 * KINDS };

    for (uint32_t world = 1; world <= 2; world++) {
        uint32_t length[SLOTS] = {0};
        results graphs, launches;
        uint32_t before = graph_launches();
        decode_batch d;
        samples s;
        twins t;

        open_twins(&t, "llama", world);
        before += BUCKETS;
        for (uint32_t step = 0; step < STEPS_SAMPLED; step++) {
            decode_batch_fill(&t.graphs, SLOTS - step % 3, length, &d);
            add_sample(&d, &s, step % KINDS);
            collect(&t.launches, decode_batch_submit(&t.launches, &d.batch), &launches);
            collect(&t.graphs, decode_batch_submit(&t.graphs, &d.batch), &graphs);
            assert_memory_equal(&graphs, &launches, sizeof graphs);
            for (uint32_t i = 0; i < d.rows; i++)
                assert_in_range(graphs.id[i], 0, FAMILY_VOCAB - 1);
        }
        expect_launches(before, STEPS_SAMPLED);
        close_twins(&t);
    }
}

/* Each step takes its tokens from the one before it, which is still in flight; batches shrink and grow, and every third
 * is launched because a row of it is given as an embedding. */
enum { CHAIN = 18 };

static uint32_t chain_rows(uint32_t step)
{
    return SLOTS - step % 4;
}

static void chain_batch(const model_rig *rig, uint32_t step, uint32_t length[SLOTS], const int32_t *id, uint64_t prev,
                        decode_batch *d)
{
    static float embed[SLOTS * 4096];

    decode_batch_fill(rig, chain_rows(step), length, d);
    for (uint32_t i = 0; i < d->rows && step; i++) {
        uint32_t row = i % chain_rows(step - 1);
        d->token[i] = prev ? -1 - (int32_t)row : id[(step - 1) * SLOTS + row];
    }
    d->batch.prev = prev;
    d->batch.need |= prev ? TN_NEED_PREV : 0;
    if (step % 3)
        return;
    TN_ASSERT(rig->api->model_width <= 4096);
    for (uint32_t i = 0; i < rig->api->model_width; i++)
        embed[i] = (float)(i % 13) * 0.1f;
    d->token[0] = TN_TOKEN_EMBED;
    d->batch.embed = embed;
    d->batch.need |= TN_NEED_EMBED;
}

static void run_chain(const model_rig *rig, bool overlap, int32_t id[CHAIN * SLOTS])
{
    uint32_t length[SLOTS] = {0};
    uint64_t last = 0;
    decode_batch d;
    results r;

    for (uint32_t step = 0; step <= CHAIN; step++) {
        uint64_t ticket = 0;
        if (step < CHAIN) {
            chain_batch(rig, step, length, id, overlap ? last : 0, &d);
            ticket = decode_batch_submit(rig, &d.batch);
        }
        if (overlap ? step : step < CHAIN) {
            collect(rig, overlap ? last : ticket, &r);
            memcpy(&id[(overlap ? step - 1 : step) * SLOTS], r.id, sizeof r.id);
        }
        last = ticket;
    }
}

static void test_graphs_feed_on_steps_in_flight(void **state)
{
    (void)state;
    static int32_t graphs[CHAIN * SLOTS], launches[CHAIN * SLOTS];
    twins t;

    open_twins(&t, "llama", 2);
    run_chain(&t.launches, false, launches);
    run_chain(&t.graphs, true, graphs);
    assert_memory_equal(graphs, launches, sizeof graphs);
    for (uint32_t i = 0; i < CHAIN * SLOTS; i++)
        assert_in_range(graphs[i], 0, FAMILY_VOCAB - 1);
    close_twins(&t);
}

#if !defined(SHIM) && !defined(ON_DEVICE) /* kernels make no difference to the rest, which counts */
#define COUNTS_RUN

/* ---- what a step costs ---- */

static void test_a_step_allocates_nothing_and_crosses_the_bus_twice(void **state)
{
    (void)state;
    enum { STEPS_COUNTED = 40 };
    uint32_t length[SLOTS] = {0};
    decode_batch d;
    samples s;
    results r;
    twins t;

    open_twins(&t, "gemma3", 1); /* two groups of pages */
    host_device_counts before = host_device_counted(0);
    for (uint32_t step = 0; step < STEPS_COUNTED; step++) {
        decode_batch_fill(&t.graphs, 5, length, &d);
        add_sample(&d, &s, step % KINDS);
        collect(&t.graphs, decode_batch_submit(&t.graphs, &d.batch), &r);
    }
    host_device_counts after = host_device_counted(0);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.copies, before.copies + 2 * STEPS_COUNTED);
    assert_int_equal(after.graph_launches, before.graph_launches + STEPS_COUNTED);
    close_twins(&t);
}

static void test_graphs_live_as_long_as_their_model(void **state)
{
    (void)state;
    twins t;

    open_twins(&t, "llama", 2);
    for (uint32_t r = 0; r < 2; r++)
        assert_int_equal(host_device_counted(r).graphs, BUCKETS);
    close_twins(&t);
    for (uint32_t r = 0; r < 2; r++)
        assert_int_equal(host_device_counted(r).graphs, 0);
}

/* Most rows of a long piece of a prompt want no logits: its graph would make them all the same. */
static void test_a_piece_of_a_prompt_with_one_output_is_launched(void **state)
{
    (void)state;
    static const uint32_t bucket[] = {32};
    rig_limits limits = limits_of(1);
    uint32_t slot = 0, start[] = {0, 20}, cached = 0, out = 19, want = 0, index[] = {0, 1}, page[] = {0, 1};
    uint32_t zero[] = {0, 0};
    int32_t position[20];
    char path[256];
    model_rig rig;
    results r;

    family_directory_make("llama", NULL, path);
    limits.bucket = bucket;
    limits.bucket_count = 1;
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
    rig_warm_up(&rig);
    for (int32_t i = 0; i < 20; i++)
        position[i] = i;
    const tn_batch batch = {.struct_size = sizeof batch,
                            .token_count = 20,
                            .seq_count = 1,
                            .out_count = 1,
                            .delta_count = 2,
                            .axis_count = 1,
                            .token = family_prompt(),
                            .position = position,
                            .seq_start = start,
                            .slot = &slot,
                            .cached_len = &cached,
                            .delta_group = zero,
                            .delta_slot = zero,
                            .delta_index = index,
                            .delta_page = page,
                            .out_row = &out,
                            .out_want = &want};
    uint32_t before = graph_launches();
    collect(&rig, decode_batch_submit(&rig, &batch), &r);
    expect_launches(before, 0);
    rig_close(&rig);
    family_directory_remove(path);
}

static void test_ranks_that_meet_on_the_host_have_no_graphs(void **state)
{
    (void)state;
    static float graphs[FAMILY_VOCAB], launches[FAMILY_VOCAB];
    uint32_t before = graph_launches();
    twins t;

    host_device_meet_on_host(1);
    open_twins(&t, "llama", 2);
    rig_step(&t.launches, &(rig_run){0, 0, 1, family_prompt()}, 1, launches);
    rig_step(&t.graphs, &(rig_run){0, 0, 1, family_prompt()}, 1, graphs);
    assert_memory_equal(graphs, launches, sizeof graphs);
    expect_launches(before, 0);
    close_twins(&t);
    host_device_meet_on_host(0);
}

#endif

int main(void)
{
#ifdef ON_DEVICE
    if (!built_device_count())
        return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graphs_give_the_bits_of_launches),
        cmocka_unit_test(test_every_kind_of_sampling_follows_a_graph),
        cmocka_unit_test(test_graphs_feed_on_steps_in_flight),
#ifndef SHIM
        cmocka_unit_test(test_graphs_hold_rows_of_several_spans),
#endif
#ifdef COUNTS_RUN
        cmocka_unit_test(test_a_step_allocates_nothing_and_crosses_the_bus_twice),
        cmocka_unit_test(test_graphs_live_as_long_as_their_model),
        cmocka_unit_test(test_a_piece_of_a_prompt_with_one_output_is_launched),
        cmocka_unit_test(test_ranks_that_meet_on_the_host_have_no_graphs),
#endif
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
