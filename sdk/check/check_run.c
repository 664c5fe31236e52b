/* sdk/check/check_run.c: a small model on the backend's first device: right numbers, and the same numbers however the
 * work is cut up.
 *
 * The reference is sdk/interp with float64 sums. Right means: the root mean square of the difference is below a
 * twentieth of the logits' own deviation, which int8 activations meet and a swapped rotary pair or a wrong page does
 * not.
 */
#include "check/checks.h"

#include "check/small_model.h"
#include "tenon/interp.h"

#include <math.h>
#include <string.h>

enum { PROMPT = 37, CHUNK = 16, DECODED = 5, NEIGHBOUR = 23 };
#define DEVIATION_MAX 0.05

typedef float logits_row[SMALL_VOCAB];

/* Large, so static: tenon-check runs one plugin, once. */
static logits_row expected[PROMPT], seen[SMALL_TOKENS], again[SMALL_TOKENS];
static int32_t ids[SMALL_TOKENS];

static int32_t prompt[PROMPT], neighbour[NEIGHBOUR];

static void fill_tokens(void)
{
    for (int32_t i = 0; i < PROMPT; i++)
        prompt[i] = (i * i * 31 + 7) % SMALL_VOCAB;
    for (int32_t i = 0; i < NEIGHBOUR; i++)
        neighbour[i] = (i * 57 + 11) % SMALL_VOCAB;
}

static double deviation(logits_row *wanted, logits_row *got, uint32_t rows)
{
    double sum = 0, square = 0, difference = 0, n = (double)rows * SMALL_VOCAB;
    for (uint32_t row = 0; row < rows; row++) {
        for (uint32_t i = 0; i < SMALL_VOCAB; i++) {
            double d = (double)got[row][i] - (double)wanted[row][i];
            sum += (double)wanted[row][i];
            square += (double)wanted[row][i] * (double)wanted[row][i];
            difference += d * d;
        }
    }
    return sqrt(difference / (square - sum * sum / n));
}

/* Not a number compares as too large. */
static bool close_enough(double deviation)
{
    return deviation <= DEVIATION_MAX;
}

static tn_status run_reference(const small_model *model, tn_error *err)
{
    const tn_backend *interp = NULL;
    small_run run = {0};
    tn_status status = tn_interp_backend(tn_interp_host_ops(), &interp, err);
    if (status != TN_OK)
        return status;
    status = small_run_open(&run, model, interp, err);
    if (status == TN_OK)
        status = small_run_step(&run, &(small_span){0, 0, PROMPT, prompt}, 1, &expected[0][0], ids, err);
    small_run_close(&run);
    return status;
}

static void check_numbers(report *report, small_run *run)
{
    tn_error err = TN_ERROR_INIT;
    report_begin("prompt against the reference");
    tn_status status = small_run_step(run, &(small_span){0, 0, PROMPT, prompt}, 1, &seen[0][0], ids, &err);
    if (status != TN_OK) {
        report_fail(report, "%s", report_reason(status, &err));
        return;
    }
    double d = deviation(expected, seen, PROMPT);
    if (close_enough(d))
        report_pass(report, "%.2g of the logits' deviation (limit %.2g)", d, DEVIATION_MAX);
    else
        report_fail(report, "differs by %.2g of the logits' deviation (limit %.2g)", d, DEVIATION_MAX);

    report_begin("greedy tokens");
    for (uint32_t row = 0; row < PROMPT; row++) {
        int32_t best = 0;
        for (int32_t i = 1; i < SMALL_VOCAB; i++)
            best = seen[row][i] > seen[row][best] ? i : best;
        if (ids[row] == best)
            continue;
        report_fail(report, "row %u: id %d, but its largest logit is that of %d (lowest id among equals)", row,
                    ids[row], best);
        return;
    }
    report_pass(report, "the largest logit of each of %d rows", PROMPT);
}

/* Compares again[0..rows) with seen[first..]. */
static void judge_same(report *report, const small_run *run, uint32_t first, uint32_t rows)
{
    bool equal = !memcmp(again, seen + first, rows * sizeof *again);
    double d = deviation(seen + first, again, rows);
    if (equal)
        report_pass(report, "bit for bit the same");
    else if (run->model->compile.batch_invariant)
        report_fail(report, "differs by %.2g; compiled with batch_invariant, logits must be the same bits", d);
    else if (close_enough(d))
        report_pass(report, "differs by %.2g, as it may without batch_invariant", d);
    else
        report_fail(report, "differs by %.2g (limit %.2g)", d, DEVIATION_MAX);
}

/* The prompt in chunks, in another slot. */
static void check_chunks(report *report, small_run *run)
{
    tn_error err = TN_ERROR_INIT;
    report_begin("prompt in chunks");
    for (uint32_t at = 0; at < PROMPT; at += CHUNK) {
        uint32_t count = PROMPT - at < CHUNK ? PROMPT - at : CHUNK;
        tn_status status = small_run_step(run, &(small_span){1, at, count, prompt + at}, 1, &again[at][0], ids, &err);
        if (status != TN_OK) {
            report_fail(report, "%s", report_reason(status, &err));
            return;
        }
    }
    judge_same(report, run, 0, PROMPT);
}

/* The last tokens one by one, each step beside the rows of another sequence, which come first in the batch. */
static void check_company(report *report, small_run *run)
{
    tn_error err = TN_ERROR_INIT;
    uint32_t before = PROMPT - DECODED;
    static logits_row mixed[NEIGHBOUR + 1];
    report_begin("decoding in company");
    tn_status status = small_run_step(run, &(small_span){2, 0, before, prompt}, 1, NULL, ids, &err);
    for (uint32_t i = 0; status == TN_OK && i < DECODED; i++) {
        /* The neighbour starts over each time, with more rows than before. */
        uint32_t rows = NEIGHBOUR - DECODED + i;
        small_span spans[] = {{3, 0, rows, neighbour}, {2, before + i, 1, prompt + before + i}};
        status = small_run_step(run, spans, 2, &mixed[0][0], ids, &err);
        memcpy(again[i], mixed[rows], sizeof *again);
    }
    if (status != TN_OK)
        report_fail(report, "%s", report_reason(status, &err));
    else
        judge_same(report, run, before, DECODED);
}

/* As many tickets as promised, one more refused, all delivered in order. */
static void check_flight(report *report, small_run *run)
{
    enum { TICKETS_MAX = 16 };
    uint64_t tickets[TICKETS_MAX], surplus;
    uint32_t limit = run->backend->max_in_flight;
    tn_error err = TN_ERROR_INIT, refusal = TN_ERROR_INIT;
    report_begin("tickets in flight");
    if (limit >= TICKETS_MAX) {
        report_skip(report, "max_in_flight is %u, more than this check holds", limit);
        return;
    }
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < limit && status == TN_OK; i++)
        status = small_run_submit(run, &(small_span){0, PROMPT + i, 1, prompt}, 1, false, &tickets[i], &err);
    if (status != TN_OK) {
        report_fail(report, "%s", report_reason(status, &err));
        return;
    }
    tn_status full = small_run_submit(run, &(small_span){0, PROMPT + limit, 1, prompt}, 1, false, &surplus, &refusal);
    for (uint32_t i = 0; i < limit && status == TN_OK; i++) {
        tn_result result = {.struct_size = sizeof result, .out_count = 1, .id = ids};
        status = run->backend->wait(run->loaded, tickets[i], &result, &err);
    }
    if (status != TN_OK)
        report_fail(report, "wait: %s", report_reason(status, &err));
    else if (full != TN_E_AGAIN)
        report_fail(report, "the ticket past max_in_flight (%u) got \"%s\", not TN_E_AGAIN", limit,
                    tn_status_text(full));
    else
        report_pass(report, "%u, the next is told to try again", limit);
}

/* Opens with batch_invariant, or without where the backend says that it cannot. */
static tn_status open_run(report *report, small_model *model, const tn_backend *table, small_run *run, tn_error *err)
{
    tn_status status = small_run_open(run, model, table, err);
    if (status != TN_E_UNSUPPORTED || !model->compile.batch_invariant)
        return status;
    report_skip(report, "with batch_invariant: %s", report_reason(status, err));
    report_begin("load a small Llama");
    small_run_close(run);
    model->compile.batch_invariant = 0;
    return small_run_open(run, model, table, err);
}

static void check_loaded(report *report, const tn_backend *table, small_model *model)
{
    tn_error err = TN_ERROR_INIT;
    small_run run = {0};
    report_begin("load a small Llama");
    tn_status status = open_run(report, model, table, &run, &err);
    if (status != TN_OK) {
        report_fail(report, "%s", report_reason(status, &err));
        if (run.backend)
            small_run_close(&run);
        return;
    }
    report_pass(report, "open, compile, %u weights, seal, kv_reserve, warmup", model->api->weight_count);
    if (table->can & TN_NEED_LOGITS) {
        check_numbers(report, &run);
        check_chunks(report, &run);
        check_company(report, &run);
    } else {
        report_begin("numbers");
        report_skip(report, "this backend cannot return logits (TN_NEED_LOGITS)");
    }
    check_flight(report, &run);
    report_begin("model_free, close");
    small_run_close(&run);
    report_pass(report, "done");
}

void check_backend_run(report *report, const tn_backend *table)
{
    tn_error err = TN_ERROR_INIT;
    tn_devinfo info = {.struct_size = sizeof info};
    small_model model;
    report_begin("running a model");
    if (table->device(0, &info, &err) == TN_E_NOT_FOUND) {
        report_skip(report, "no device here");
        return;
    }
    fill_tokens();
    tn_status status = small_model_init(&model, &err);
    if (status == TN_OK)
        status = run_reference(&model, &err);
    if (status == TN_OK)
        check_loaded(report, table, &model);
    else
        report_fail(report, "the reference itself: %s", err.msg);
    small_model_finish(&model);
}
