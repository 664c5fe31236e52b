/* forward.c: feeds a sequence in chunks that respect max_tokens and max_outputs; pages are taken in order. */
#include "cli/forward.h"

#include <stdlib.h>

/* Arrays of one chunk. */
typedef struct chunk {
    int32_t *position, *target, *sampled;
    uint32_t *out_row, *out_want;
    float *target_logprob, *logits;
    uint32_t want;   /* TN_WANT_*, of every row */
    uint32_t *delta; /* four arrays of delta_max */
    uint32_t rows_max, delta_max;
} chunk;

static void chunk_finish(chunk *c)
{
    free(c->position);
    free(c->target);
    free(c->sampled);
    free(c->out_row);
    free(c->out_want);
    free(c->target_logprob);
    free(c->logits);
    free(c->delta);
}

static tn_status chunk_init(chunk *c, const instance *in, bool with_logits, tn_error *err)
{
    const memory_plan *plan = &in->plan;
    uint64_t vocab = model_graph_api(in->graph)->vocab_size;

    *c = (chunk){.rows_max = plan->max_num_batched_tokens < plan->max_outputs ? plan->max_num_batched_tokens
                                                                              : plan->max_outputs};
    c->want = TN_WANT_TARGET | (with_logits ? TN_WANT_LOGITS : 0u);
    for (uint32_t g = 0; g < plan->kv_group_count; g++)
        c->delta_max += c->rows_max / plan->page_tokens[g] + 2;
    c->position = calloc(c->rows_max, sizeof *c->position);
    c->target = calloc(c->rows_max, sizeof *c->target);
    c->sampled = calloc(c->rows_max, sizeof *c->sampled);
    c->out_row = calloc(c->rows_max, sizeof *c->out_row);
    c->out_want = calloc(c->rows_max, sizeof *c->out_want);
    c->target_logprob = calloc(c->rows_max, sizeof *c->target_logprob);
    c->logits = with_logits ? calloc(c->rows_max * vocab, sizeof *c->logits) : NULL;
    c->delta = calloc(4ull * c->delta_max, sizeof *c->delta);
    if (c->position && c->target && c->sampled && c->out_row && c->out_want && c->target_logprob && c->delta &&
        (c->logits || !with_logits))
        return TN_OK;
    chunk_finish(c);
    return tn_fail(err, TN_E_MEMORY, "buffers of %u rows", c->rows_max);
}

/* Page-table changes for the pages that rows [begin, end) enter: page i of the sequence is page i of the pool. */
static uint32_t add_pages(const instance *in, chunk *c, uint64_t begin, uint64_t end)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < in->plan.kv_group_count; g++) {
        uint64_t page_tokens = in->plan.page_tokens[g];
        for (uint64_t page = (begin + page_tokens - 1) / page_tokens; page * page_tokens < end; page++) {
            TN_ASSERT(count < c->delta_max);
            c->delta[count] = g;
            c->delta[c->delta_max + count] = 0;
            c->delta[2 * c->delta_max + count] = (uint32_t)page;
            c->delta[3 * c->delta_max + count] = (uint32_t)page;
            count++;
        }
    }
    return count;
}

static tn_status run_chunk(const instance *in, chunk *c, const int32_t *ids, uint64_t begin, uint64_t end,
                           uint64_t count, tn_error *err)
{
    uint32_t rows = (uint32_t)(end - begin), starts[2] = {0, rows}, slot = 0, cached = (uint32_t)begin;
    uint64_t ticket;

    for (uint32_t r = 0; r < rows; r++) {
        c->position[r] = (int32_t)(begin + r);
        c->out_row[r] = r;
        c->out_want[r] = c->want;
        c->target[r] = begin + r + 1 < count ? ids[begin + r + 1] : -1;
        c->target_logprob[r] = 0;
    }
    uint32_t deltas = add_pages(in, c, begin, end);
    tn_sample sample = {.struct_size = sizeof sample, .score_target = c->target};
    tn_batch batch = {.struct_size = sizeof batch,
                      .need = TN_NEED_SCORE | (c->want & TN_WANT_LOGITS ? TN_NEED_LOGITS : 0u),
                      .token_count = rows,
                      .seq_count = 1,
                      .out_count = rows,
                      .delta_count = deltas,
                      .axis_count = 1,
                      .token = ids + begin,
                      .position = c->position,
                      .seq_start = starts,
                      .slot = &slot,
                      .cached_len = &cached,
                      .delta_group = c->delta,
                      .delta_slot = c->delta + c->delta_max,
                      .delta_index = c->delta + 2 * (uint64_t)c->delta_max,
                      .delta_page = c->delta + 3 * (uint64_t)c->delta_max,
                      .out_row = c->out_row,
                      .out_want = c->out_want,
                      .sample = &sample};
    tn_result result = {.struct_size = sizeof result,
                        .out_count = c->rows_max,
                        .id = c->sampled,
                        .target_logprob = c->target_logprob,
                        .logits = c->logits};
    if (batch.need & ~in->backend->can)
        return tn_fail(err, TN_E_UNSUPPORTED, "this backend cannot return scores or logits");
    tn_status status = in->backend->submit(in->model, &batch, &ticket, err);
    return status == TN_OK ? in->backend->wait(in->model, ticket, &result, err) : status;
}

tn_status forward_sequence(const instance *in, const int32_t *ids, uint64_t count, bool with_logits,
                           forward_reader reader, void *ctx, tn_error *err)
{
    chunk c;
    uint32_t vocab = model_graph_api(in->graph)->vocab_size;

    if (count == 0 || count > in->plan.max_model_len)
        return tn_fail(err, TN_E_ARGUMENT, "%llu tokens: give 1 to %u (model.max_model_len)", (unsigned long long)count,
                       in->plan.max_model_len);
    for (uint64_t i = 0; i < count; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= vocab)
            return tn_fail(err, TN_E_ARGUMENT, "token %llu is %d, outside the vocabulary of %u", (unsigned long long)i,
                           ids[i], vocab);
    tn_status status = chunk_init(&c, in, with_logits, err);
    if (status != TN_OK)
        return status;
    for (uint64_t begin = 0; begin < count && status == TN_OK; begin += c.rows_max) {
        uint64_t end = begin + c.rows_max < count ? begin + c.rows_max : count;
        status = run_chunk(in, &c, ids, begin, end, count, err);
        if (status == TN_OK)
            reader(ctx, &(forward_rows){begin, (uint32_t)(end - begin), c.logits, c.target_logprob});
    }
    chunk_finish(&c);
    return status;
}
