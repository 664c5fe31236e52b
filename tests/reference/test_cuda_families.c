/* test_cuda_families.c: plugins/cuda_tp, its host half over memory of this machine with plain loops or the kernels
 * under the shim for a device, or with stand-ins for NCCL and cuBLASLt (OVER_LIBRARIES), or (ON_DEVICE) on a GPU, all
 * ranks on one, or with the argument "each" on one each: tiny models of every family give the logits of transformers,
 * on one rank and on two; two and four ranks, teacher-forced, give one rank's argmax outside near-ties; steps overlap;
 * memory is as planned. What happens when a rank fails is in test_cuda_failures.c.
 *
 * Tolerance: what enters products, keys, values and attention are bf16 here, as in transformers run in bfloat16. So
 * golden positions must be within 2e-2 of float32, as tests/reference asks of bfloat16 everywhere, or where
 * transformers in bfloat16 is further off on this model, within what it is off. A router torn between two experts makes
 * of any rounding a jump, which is no measure of arithmetic: of a mixture's eight positions one may be such. The golden
 * file has few positions, so the interpreter (float32) is asked about all: the median row must be within 2e-2. Ranks
 * round the parts that they add up, which is no more roundings again than one rank does, so N ranks may be twice as far
 * from the interpreter as one rank; all experts are chosen there.
 */
#include "cuda/built_plugins.h"
#include "decode_batch.h"
#include "family_case.h"
#include "unit/cmocka_test.h"

#ifndef ON_DEVICE
#include "host_device.h"
#endif
#ifdef OVER_LIBRARIES
#define PEERS_CONNECTED 1
#include "over_libraries.h"
#include "plugin_options.h"
#else
#define PEERS_CONNECTED 0
#endif

#include "tenon/interp.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef TOKENS /* of the prompt that are run */
#define TOKENS FAMILY_PROMPT
#define SPANS_RUN
#endif
enum { VALUES = FAMILY_PROMPT * FAMILY_VOCAB };
static const double bound = 2e-2;
static uint32_t ranks_limit = 4; /* that there are devices for */
static float exact[VALUES], expected[VALUES], found[VALUES];

#ifdef ON_DEVICE
static bool one_device = true; /* for all ranks */
#endif

static const tn_quant_table *quant_none(void)
{
    return built_quant("quant_none");
}

static rig_limits limits_of(uint32_t world, bool dummy)
{
    return (rig_limits){.max_tokens = FAMILY_PROMPT,
                        .max_seqs = 4,
                        .max_outputs = FAMILY_PROMPT,
                        .max_model_len = FAMILY_PROMPT,
                        .world = world,
                        .float_type = TN_BF16,
#ifdef ON_DEVICE
                        .one_device = one_device,
#endif
                        .dummy = dummy};
}

/* ---- distances, as shares of the largest logit of b ---- */

static double largest(const float *logits)
{
    double most = 0;
    for (int i = 0; i < TOKENS * FAMILY_VOCAB; i++)
        most = fmax(most, fabs((double)logits[i]));
    return most;
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

typedef struct row_errors {
    double median, worst;
} row_errors;

static row_errors compare_rows(const float *a, const float *b)
{
    double scale = largest(b), error[TOKENS];

    for (int row = 0; row < TOKENS; row++) {
        error[row] = 0;
        for (int i = row * FAMILY_VOCAB; i < (row + 1) * FAMILY_VOCAB; i++) {
            double d = fabs((double)a[i] - (double)b[i]) / scale;
            error[row] = isnan(d) ? INFINITY : fmax(error[row], d);
        }
    }
    qsort(error, TOKENS, sizeof *error, by_size);
    return (row_errors){.median = error[TOKENS / 2], .worst = error[TOKENS - 1]};
}

/* ---- runs ---- */

static void run_prompt(model_rig *rig, float *logits)
{
    rig_step(rig, &(rig_run){.slot = 0, .count = TOKENS, .token = family_prompt()}, 1, logits);
}

static void run_interpreter(const char *path, bool dummy, float *logits)
{
    const tn_backend *backend = NULL;
    model_rig rig;

    assert_int_equal(tn_interp_backend(tn_interp_host_ops(), &backend, NULL), TN_OK);
    rig_limits limits = limits_of(1, dummy);
    limits.kv_dtype = TN_F32;
    limits.one_device = false;
    rig_open(&rig, path, quant_none(), backend, limits);
    run_prompt(&rig, logits);
    rig_close(&rig);
}

/* The prompt in single tokens and pieces must agree to the bit with it in one. */
static void check_pieces(model_rig *rig, const float *logits)
{
    static float pieces[VALUES];
    const uint32_t singles = TOKENS / 8;

    for (uint32_t at = 0, count; at < TOKENS; at += count) {
        count = at < singles ? 1 : at < 2 * TOKENS / 3 ? TOKENS / 6 + 3 : TOKENS / 3;
        count = count < TOKENS - at ? count : TOKENS - at;
        rig_step(rig, &(rig_run){2, at, count, family_prompt() + at}, 1, pieces + (size_t)at * FAMILY_VOCAB);
    }
    assert_memory_equal(pieces, logits, (size_t)TOKENS * FAMILY_VOCAB * sizeof *pieces);
}

static void run_ranks(const char *path, uint32_t world, bool dummy, float *logits)
{
    model_rig rig;

    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(world, dummy));
    run_prompt(&rig, logits);
    if (!dummy || world > 2)
        check_pieces(&rig, logits);
    rig_close(&rig);
}

static bool is_mixture(const char *name)
{
    return strstr(name, "mixtral") || strstr(name, "moe") || strstr(name, "gpt_oss");
}

/* True if the logits of case `name` are those of transformers. */
static bool is_golden(const char *name, uint32_t world, const float *logits)
{
    double share;
    uint32_t beyond = family_beyond_bfloat16(name, logits, TOKENS, bound, &share);
    row_errors rows = compare_rows(logits, exact);

    print_message("%-24s %u ranks: %.2g of what bfloat16 may be off; rows: median %.2g, worst %.2g\n", name, world,
                  share, rows.median, rows.worst);
    return beyond <= is_mixture(name) && rows.median <= bound;
}

static void test_logits_match_transformers_on_one_rank_and_two(void **state)
{
    (void)state;
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < family_count(); i++) {
        char path[256];
        const char *name = family_name(i);
        if (!family_is_run(name))
            continue;
        family_directory_make(name, NULL, path);
        run_interpreter(path, false, exact);
        for (uint32_t world = 1; world <= 2; world++) {
            run_ranks(path, world, false, found);
            wrong += !is_golden(name, world, found);
        }
        family_directory_remove(path);
    }
    assert_int_equal(wrong, 0);
}

/* Rows whose two largest logits are further apart than twice what they may be off by must have the same argmax. Returns
 * their number. */
static uint32_t compare_argmax(const char *name, double off, uint32_t *differing)
{
    double tie = 2 * off * largest(expected);
    uint32_t compared = 0;

    for (int row = 0; row < TOKENS; row++) {
        const float *one = expected + row * FAMILY_VOCAB, *many = found + row * FAMILY_VOCAB;
        int first = 0, best = 0;
        double second = -INFINITY;
        for (int i = 1; i < FAMILY_VOCAB; i++) {
            first = one[i] > one[first] ? i : first;
            best = many[i] > many[best] ? i : best;
        }
        for (int i = 0; i < FAMILY_VOCAB; i++)
            second = i == first ? second : fmax(second, (double)one[i]);
        if ((double)one[first] - second < tie)
            continue;
        compared++;
        if (best != first)
            print_message("%s: row %d: token %d, not %d\n", name, row, best, first);
        *differing += best != first;
    }
    return compared;
}

/* Eight query heads over two key/value heads: on four ranks, pairs of ranks share a head. */
static void test_more_ranks_give_one_ranks_argmax(void **state)
{
    (void)state;
    uint32_t compared = 0, differing = 0, wrong = 0, rows = 0;

    for (uint32_t i = 0; i < family_count(); i++) {
        char path[256];
        const char *name = family_name(i);
        if (!family_is_run(name))
            continue;
        family_directory_make(name,
                              "{\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 16,"
                              " \"intermediate_size\": 64, \"num_local_experts\": 4, \"num_experts_per_tok\": 4}",
                              path);
        run_interpreter(path, true, exact);
        run_ranks(path, 1, true, expected);
        double one = compare_rows(expected, exact).worst, allowed = 2 * fmax(bound, one);
        for (uint32_t world = 2; world <= 4 && world <= ranks_limit; world *= 2) {
            run_ranks(path, world, true, found);
            double many = compare_rows(found, exact).worst;
            print_message("%-24s off by %.2g on one rank, %.2g on %u\n", name, one, many, world);
            wrong += !(many <= allowed);
            compared += compare_argmax(name, allowed, &differing);
            rows += TOKENS;
        }
        family_directory_remove(path);
    }
    print_message("%u of %u rows outside near-ties, %u with another argmax\n", compared, rows, differing);
    assert_int_equal(wrong, 0);
    assert_true(compared > rows / 50);
    assert_int_equal(differing, 0);
}

/* Without batch_invariant other kernels may multiply. */
static void test_logits_of_batches_that_may_vary(void **state)
{
    (void)state;
    rig_limits limits = limits_of(1, false);

    limits.batch_varies = true;
    for (uint32_t i = 0; i < family_count(); i++) {
        char path[256];
        model_rig rig;
        if (!family_is_run(family_name(i)))
            continue;
        family_directory_make(family_name(i), NULL, path);
        run_interpreter(path, false, exact);
        rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
        run_prompt(&rig, found);
        rig_close(&rig);
        assert_true(compare_rows(found, exact).median <= bound);
        family_directory_remove(path);
    }
}

/* Where nobody asks for the same bits in every batch, ranks add up as is fastest. */
static void test_ranks_may_add_in_any_order(void **state)
{
    (void)state;
    rig_limits limits = limits_of(ranks_limit < 4 ? 2 : 4, true);
    char path[256];
    model_rig rig;

    family_directory_make("llama", "{\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 16}", path);
    run_interpreter(path, true, exact);
    limits.batch_varies = true;
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
    run_prompt(&rig, found);
    rig_close(&rig);
    assert_true(compare_rows(found, exact).worst <= 2 * bound);
    family_directory_remove(path);
}

#ifndef ON_DEVICE
/* Small sums taken from the other devices' memory are the bits of those that are gathered and added in order. */
static void test_ranks_that_reach_each_other_give_the_same_bits(void **state)
{
    (void)state;
    char path[256];

    family_directory_make("llama", "{\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"head_dim\": 16}", path);
    for (uint32_t world = 2; world <= 4; world *= 2) {
        model_rig rig;
        host_device_connect(0);
        rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(world, true));
        run_prompt(&rig, expected);
        rig_close(&rig);
        host_device_connect(1);
        rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(world, true));
        run_prompt(&rig, found);
        rig_close(&rig);
        assert_memory_equal(found, expected, (size_t)TOKENS * FAMILY_VOCAB * sizeof *found);
    }
    host_device_connect(PEERS_CONNECTED);
    family_directory_remove(path);
}
#endif

#ifdef SPANS_RUN
/* Single rows of a long sequence are split by span, rows of a chunk are not. */
static void test_rows_beyond_one_span_agree_however_they_come(void **state)
{
    (void)state;
    enum { CHUNKS = 4, SINGLES = 3 };
    char path[256];
    model_rig rig;
    rig_limits limits = limits_of(2, true);

    family_directory_make("llama", NULL, path);
    limits.max_model_len = CHUNKS * FAMILY_PROMPT;
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
    for (uint32_t slot = 0; slot < 2; slot++) {
        uint32_t singles = slot ? SINGLES : 0, at = 0;
        float *to = slot ? found : expected;
        for (uint32_t chunk = 0; chunk < CHUNKS; chunk++, at += FAMILY_PROMPT) {
            uint32_t count = chunk + 1 < CHUNKS ? FAMILY_PROMPT : FAMILY_PROMPT - singles;
            rig_step(&rig, &(rig_run){slot, at, count, family_prompt()}, 1, to);
        }
        for (uint32_t i = FAMILY_PROMPT - singles; i < FAMILY_PROMPT; i++)
            rig_step(&rig, &(rig_run){slot, at - FAMILY_PROMPT + i, 1, family_prompt() + i}, 1,
                     to + (size_t)i * FAMILY_VOCAB);
    }
    assert_true(compare_rows(found, expected).worst <= bound);
    rig_close(&rig);
    family_directory_remove(path);
}

#endif

/* ---- steps that overlap ---- */

/* A row of slot 0, and its log-prob. token: negative for that of the step `prev`. */
static const tn_batch *decode_step(const model_rig *rig, decode_batch *d, int32_t token, uint32_t position,
                                   uint64_t prev)
{
    uint32_t length[RIG_SLOTS_MAX] = {position};

    decode_batch_fill(rig, 1, length, d);
    d->token[0] = token;
    d->want[0] = TN_WANT_LOGPROB;
    d->batch.prev = prev;
    d->batch.need = token < 0 ? TN_NEED_PREV : 0;
    return &d->batch;
}

static int32_t collect(const model_rig *rig, uint64_t ticket)
{
    int32_t id = -1;
    float logprob = NAN;
    tn_error err = TN_ERROR_INIT;
    tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id, .logprob = &logprob};

    if (rig->backend->wait(rig->model, ticket, &result, &err) != TN_OK)
        fail_msg("%s", err.msg);
    assert_true(logprob <= 0);
    return id;
}

static void test_a_step_may_feed_on_the_one_before_it(void **state)
{
    (void)state;
    enum { STEPS = 40 };
    int32_t slow[STEPS + 1] = {5}, fast[STEPS + 1] = {5};
    char path[256];
    model_rig rig;
    decode_batch d;

    family_directory_make("llama", NULL, path);
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(2, false));
    for (uint32_t i = 0; i < STEPS; i++) {
        const tn_batch *batch = decode_step(&rig, &d, slow[i], i, 0);
        slow[i + 1] = collect(&rig, decode_batch_submit(&rig, batch));
    }
    uint64_t last = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        const tn_batch *batch = decode_step(&rig, &d, i ? -1 : fast[0], i, last);
        uint64_t ticket = decode_batch_submit(&rig, batch);
        if (i)
            fast[i] = collect(&rig, last);
        last = ticket;
    }
    fast[STEPS] = collect(&rig, last);
    assert_memory_equal(slow, fast, sizeof slow);

    tn_error err = TN_ERROR_INIT;
    uint64_t tickets[2], third;
    const tn_batch *batch = decode_step(&rig, &d, 1, STEPS, 0);
    tickets[0] = decode_batch_submit(&rig, batch);
    batch = decode_step(&rig, &d, 1, STEPS + 1, 0);
    tickets[1] = decode_batch_submit(&rig, batch);
    assert_int_equal(rig.backend->submit(rig.model, batch, &third, &err), TN_E_AGAIN);
    collect(&rig, tickets[0]);
    batch = decode_step(&rig, &d, -1, STEPS + 2, tickets[0]);
    assert_int_equal(rig.backend->submit(rig.model, batch, &third, &err), TN_E_ARGUMENT);
    collect(&rig, tickets[1]);
    rig_close(&rig);
    family_directory_remove(path);
}

/* ---- lists of the sampler ---- */

/* The most that the core sends: more than the tiny vocabulary and the sequence have tokens. */
static void test_a_row_may_have_as_many_biases_as_the_core_sends(void **state)
{
    (void)state;
    enum { CHOSEN = 7 };
    static int32_t token[TN_BIAS_ROW_MAX + 1];
    static float value[TN_BIAS_ROW_MAX + 1];
    uint32_t row[] = {0, TN_BIAS_ROW_MAX};
    rig_limits limits = limits_of(2, false);
    char path[256];
    model_rig rig;
    decode_batch d;
    tn_error err = TN_ERROR_INIT;
    uint64_t ticket;

    family_directory_make("llama", NULL, path);
    limits.max_seqs = limits.max_outputs = 1;
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
    for (uint32_t i = 0; i < TN_BIAS_ROW_MAX; i++)
        token[i] = (int32_t)(i % FAMILY_VOCAB);
    token[TN_BIAS_ROW_MAX - 1] = CHOSEN;
    value[TN_BIAS_ROW_MAX - 1] = 1e6f;
    const tn_sample sample = {.struct_size = sizeof sample, .bias_row = row, .bias_token = token, .bias_value = value};
    const tn_batch *batch = decode_step(&rig, &d, 1, 0, 0);
    d.batch.sample = &sample;
    d.batch.need |= TN_NEED_BIAS;
    assert_int_equal(collect(&rig, decode_batch_submit(&rig, batch)), CHOSEN);

    token[3] = FAMILY_VOCAB;
    assert_int_equal(rig.backend->submit(rig.model, batch, &ticket, &err), TN_E_ARGUMENT);
    token[3] = -1;
    assert_int_equal(rig.backend->submit(rig.model, batch, &ticket, &err), TN_E_ARGUMENT);
    token[3] = 0;
    row[0] = TN_BIAS_ROW_MAX + 1;
    assert_int_equal(rig.backend->submit(rig.model, batch, &ticket, &err), TN_E_ARGUMENT);
    row[0] = 0;
    row[1]++;
    assert_int_equal(rig.backend->submit(rig.model, batch, &ticket, &err), TN_E_UNSUPPORTED);
    rig_close(&rig);
    family_directory_remove(path);
}

/* ---- memory ---- */

#ifdef ON_DEVICE

#ifdef SPANS_RUN /* not under compute-sanitizer, which takes memory of its own */

static uint64_t free_bytes(void)
{
    tn_devinfo info = {.struct_size = sizeof info};
    tn_error err = TN_ERROR_INIT;
    assert_int_equal(cuda_tp_backend()->device(0, &info, &err), TN_OK);
    return info.mem_free;
}

/* What the device has less of is the plan and no more than the reserve beside it. */
static void check_memory(const char *name, uint32_t world)
{
    const uint64_t on_device = one_device ? world : 1;
    char path[256];
    model_rig rig;

    family_directory_make(name, NULL, path);
    uint64_t before = free_bytes();
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(world, false));
    run_prompt(&rig, found);
    uint64_t planned = rig.plan.weights + rig.plan.activations + rig.plan.logits + rig.plan.comms;
    for (uint32_t g = 0; g < rig.api->kv_group_count; g++)
        planned += rig.pages * rig.page_bytes[g];
    uint64_t taken = before - free_bytes();
    print_message("%-12s %u ranks: %.2f MiB planned, %.2f taken, reserve %.0f\n", name, world,
                  (double)(planned * on_device) / (1 << 20), (double)taken / (1 << 20),
                  (double)(rig.plan.reserve * on_device) / (1 << 20));
    assert_in_range(taken, planned * on_device, (planned + rig.plan.reserve) * on_device);
    rig_close(&rig);
    family_directory_remove(path);
}

static void test_memory_is_as_planned(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "gemma3", "mixtral", "gpt_oss"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (uint32_t world = 1; world <= 2; world++)
            check_memory(names[i], world);
}

#endif

static void test_logits_match_the_cpu_backend(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < family_count(); i++) {
        char path[256];
        model_rig rig;
        rig_limits limits = limits_of(1, false);
        if (!family_is_run(family_name(i)))
            continue;
        family_directory_make(family_name(i), NULL, path);
        limits.one_device = false;
        rig_open(&rig, path, quant_none(), built_backend("cpu"), limits);
        run_prompt(&rig, expected);
        rig_close(&rig);
        run_ranks(path, 1, false, found);
        row_errors rows = compare_rows(found, expected);
        print_message("%-24s beside the CPU: median %.2g, worst %.2g\n", family_name(i), rows.median, rows.worst);
        assert_true(rows.median <= bound);
        family_directory_remove(path);
    }
}

/* Whatever the step had come to; afterwards there are no others. */
static void test_abort_ends_the_group(void **state)
{
    (void)state;
    char path[256];
    model_rig rig;
    decode_batch d;
    tn_error err = TN_ERROR_INIT;
    uint64_t ticket;
    int32_t id;

    family_directory_make("llama", NULL, path);
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(2, false));
    collect(&rig, decode_batch_submit(&rig, decode_step(&rig, &d, 1, 0, 0)));
    ticket = decode_batch_submit(&rig, decode_step(&rig, &d, 2, 1, 0));
    rig.backend->abort(rig.dev);
    tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = &id};
    tn_status status = rig.backend->wait(rig.model, ticket, &result, &err);
    assert_true(status == TN_OK || status == TN_E_CANCELLED);
    assert_int_equal(rig.backend->submit(rig.model, &d.batch, &ticket, &err), TN_E_CANCELLED);
    rig_close(&rig);
    family_directory_remove(path);
}

#else

static void test_memory_is_as_planned_in_one_reservation(void **state)
{
    (void)state;
    for (uint32_t world = 1; world <= 2; world++) {
        char path[256];
        model_rig rig;
        uint32_t allocations;

        family_directory_make("gemma3", NULL, path);
        rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(world, false));
        for (uint32_t r = 0; r < world; r++) {
            uint64_t planned = rig.plan.weights + rig.plan.activations + rig.plan.logits + rig.plan.comms;
            for (uint32_t g = 0; g < rig.api->kv_group_count; g++)
                planned += rig.pages * rig.page_bytes[g];
            assert_int_equal(host_device_bytes(r, &allocations), planned);
            assert_int_equal(allocations, 1 + rig.api->kv_group_count);
        }
        rig_close(&rig);
        for (uint32_t r = 0; r < world; r++)
            assert_int_equal(host_device_bytes(r, &allocations), 0);
        family_directory_remove(path);
    }
}

#ifdef OVER_LIBRARIES
/* ---- what the libraries do ---- */

/* Products of many rows, and none with batch_invariant; logits are right either way. */
static void test_cublaslt_multiplies_where_bits_may_vary(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < family_count(); i++) {
        char path[256];
        const char *name = family_name(i);
        if (!family_is_run(name))
            continue;
        family_directory_make(name, NULL, path);
        run_interpreter(path, false, exact);
        for (uint32_t varies = 0; varies < 2; varies++) {
            model_rig rig;
            rig_limits limits = limits_of(2, false);
            uint32_t before = fake_cublaslt->products();

            limits.batch_varies = varies;
            rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits);
            uint32_t tried = fake_cublaslt->products() - before;
            run_prompt(&rig, found);
            uint32_t done = fake_cublaslt->products() - before - tried;
            rig_close(&rig);
            assert_true(is_golden(name, 2, found));
            if (varies)
                assert_true(tried > 0 && done > 0);
            else
                assert_int_equal(tried + done, 0);
        }
        family_directory_remove(path);
    }
    assert_int_equal(fake_cublaslt->objects(), 0);
}

static uint32_t operations_of_a_step(const char *one_shot_limit)
{
    char path[256];
    model_rig rig;
    decode_batch d;
    tn_error err = TN_ERROR_INIT;

    assert_int_equal(plugin_option_set("one_shot_bytes", one_shot_limit, &err), TN_OK);
    family_directory_make("llama", NULL, path);
    rig_open(&rig, path, quant_none(), cuda_tp_backend(), limits_of(2, false));
    uint32_t before = fake_nccl->operations();
    collect(&rig, decode_batch_submit(&rig, decode_step(&rig, &d, 1, 0, 0)));
    uint32_t done = fake_nccl->operations() - before;
    rig_close(&rig);
    family_directory_remove(path);
    assert_int_equal(plugin_option_set("one_shot_bytes", OVER_LIBRARIES_ONE_SHOT, &err), TN_OK);
    return done;
}

/* The embedding and two sums a layer; logits are gathered. */
static void test_small_sums_do_not_go_over_nccl(void **state)
{
    (void)state;
    const uint32_t gathered = operations_of_a_step("auto"), all = operations_of_a_step("0");

    assert_int_equal(gathered, 1);
    assert_int_equal(all % 2, 0);
    assert_true(all >= 1 + 1 + 2);
}

#endif
#endif

int main(int argc, char **argv)
{
#ifdef ON_DEVICE
    const uint32_t devices = built_device_count();
    one_device = argc < 2 || strcmp(argv[1], "each") != 0;
    if (!devices)
        return 77;
    if (!one_device && devices < 2) {
        print_message("skipped: one device\n");
        return 77;
    }
    ranks_limit = one_device ? 4 : devices;
#else
    (void)argc, (void)argv;
#endif
#ifdef OVER_LIBRARIES
    over_libraries_begin();
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_match_transformers_on_one_rank_and_two),
        cmocka_unit_test(test_more_ranks_give_one_ranks_argmax),
        cmocka_unit_test(test_logits_of_batches_that_may_vary),
        cmocka_unit_test(test_ranks_may_add_in_any_order),
#ifndef ON_DEVICE
        cmocka_unit_test(test_ranks_that_reach_each_other_give_the_same_bits),
#endif
#ifdef SPANS_RUN
        cmocka_unit_test(test_rows_beyond_one_span_agree_however_they_come),
#endif
        cmocka_unit_test(test_a_step_may_feed_on_the_one_before_it),
        cmocka_unit_test(test_a_row_may_have_as_many_biases_as_the_core_sends),
#ifdef ON_DEVICE
#ifdef SPANS_RUN
        cmocka_unit_test(test_memory_is_as_planned),
#endif
        cmocka_unit_test(test_logits_match_the_cpu_backend),
        cmocka_unit_test(test_abort_ends_the_group),
#else
        cmocka_unit_test(test_memory_is_as_planned_in_one_reservation),
#ifdef OVER_LIBRARIES
        cmocka_unit_test(test_cublaslt_multiplies_where_bits_may_vary),
        cmocka_unit_test(test_small_sums_do_not_go_over_nccl),
#endif
#endif
    };
    return cmocka_run_group_tests(tests, family_golden_load, family_golden_drop);
}
