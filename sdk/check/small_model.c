/* sdk/check/small_model.c: see small_model.h. */
#include "check/small_model.h"

#include "base/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Head width 64 and multiples of 64 throughout: shapes that real models have and any kernel takes. */
static const model_config config = {.architecture = "llama",
                                    .layers = 2,
                                    .model_width = 256,
                                    .ff_width = 512,
                                    .heads = 4,
                                    .kv_heads = 2,
                                    .head_dim = 64,
                                    .vocab = SMALL_VOCAB,
                                    .context = SMALL_LENGTH,
                                    .norm_eps = 1e-5f,
                                    .rope_theta = 10000.0f,
                                    .rope_dim = 64,
                                    .rope_pairs = true,
                                    .rope_factor = 1.0f};

/* ---- the model ---- */

tn_status small_model_init(small_model *model, tn_error *err)
{
    *model = (small_model){0};
    tn_status status = model_graph_build(&config, &model->graph, err);
    if (status != TN_OK)
        return status;
    model->api = model_graph_api(model->graph);
    model->enc = calloc(model->api->weight_count, sizeof *model->enc);
    if (!model->enc)
        return tn_fail(err, TN_E_MEMORY, "out of memory: small model");
    for (uint32_t i = 0; i < model->api->weight_count; i++)
        model->enc[i] = (tn_enc){.struct_size = sizeof(tn_enc), .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};
    model->compile = (tn_compile){.struct_size = sizeof model->compile,
                                  .graph = model->graph,
                                  .api = model->api,
                                  .weight_enc = model->enc,
                                  .weight_enc_stride = sizeof *model->enc,
                                  .batch_invariant = 1,
                                  .max_tokens = SMALL_TOKENS,
                                  .max_seqs = SMALL_SLOTS,
                                  .max_outputs = SMALL_TOKENS,
                                  .max_model_len = SMALL_LENGTH};
    return TN_OK;
}

void small_model_finish(small_model *model)
{
    model_graph_free(model->graph);
    free(model->enc);
}

tn_status small_model_plan(const small_model *model, const tn_backend *backend, const tn_devinfo *info,
                           uint32_t page_tokens[SMALL_GROUPS], uint64_t page_bytes[SMALL_GROUPS], tn_memplan *ret_plan,
                           tn_error *err)
{
    TN_ASSERT(model->api->kv_group_count <= SMALL_GROUPS);
    *ret_plan = (tn_memplan){.struct_size = sizeof *ret_plan,
                             .group_count = model->api->kv_group_count,
                             .page_tokens = page_tokens,
                             .page_bytes = page_bytes};
    return backend->plan(info, 1, &model->compile, ret_plan, err);
}

/* ---- weights ---- */

static uint64_t next_random(uint64_t *state)
{
    /* splitmix64, Steele et al. 2014 */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Rows scaled so that activations keep unit size; vectors (norm gains) around 1. */
static void fill_weight(uint32_t id, uint64_t rows, uint64_t columns, uint16_t *out)
{
    uint64_t state = id + 1;
    float scale = rows == 1 ? 0.25f : sqrtf(3.0f / (float)columns), offset = rows == 1 ? 1.0f : 0.0f;
    for (uint64_t i = 0; i < rows * columns; i++) {
        float unit = (float)(next_random(&state) >> 40) * 0x1p-23f - 1.0f;
        out[i] = bf16_from_float(offset + scale * unit);
    }
}

static tn_status send_weight(small_run *run, uint32_t id, tn_error *err)
{
    uint64_t rows, columns;
    model_graph_weight_shape(run->model->graph, id, &rows, &columns);
    uint16_t *codes = malloc(rows * columns * sizeof *codes);
    if (!codes)
        return tn_fail(err, TN_E_MEMORY, "out of memory: small model");
    fill_weight(id, rows, columns, codes);
    const void *plane[TN_PLANE_LIMIT] = {codes};
    uint64_t plane_bytes[TN_PLANE_LIMIT] = {rows * columns * sizeof *codes};
    tn_planes planes = {.struct_size = sizeof planes,
                        .plane_count = TN_PLANE_LIMIT,
                        .n_rows = rows,
                        .n_k = columns,
                        .plane = plane,
                        .plane_bytes = plane_bytes};
    tn_status status = run->backend->weight(run->loaded, id, &planes, err);
    free(codes);
    return status;
}

/* ---- a run ---- */

static tn_status load(small_run *run, tn_error *err)
{
    tn_status status = TN_OK;
    for (uint32_t id = 0; status == TN_OK && id < run->model->api->weight_count; id++)
        status = send_weight(run, id, err);
    if (status == TN_OK)
        status = run->backend->seal(run->loaded, err);
    for (uint32_t group = 0; status == TN_OK && group < run->model->api->kv_group_count; group++)
        status = run->backend->kv_reserve(run->loaded, group, run->pages, err);
    return status == TN_OK ? run->backend->warmup(run->loaded, SMALL_TOKENS, err) : status;
}

static uint32_t pages_of_slot(const small_run *run)
{
    return (SMALL_LENGTH + run->page_tokens[0] - 1) / run->page_tokens[0];
}

tn_status small_run_open(small_run *run, const small_model *model, const tn_backend *backend, tn_error *err)
{
    const uint32_t ordinal = 0;
    tn_open request = {.struct_size = sizeof request, .device_count = 1, .world = 1, .ordinal = &ordinal};
    tn_devinfo info = {.struct_size = sizeof info};
    tn_memplan plan;
    *run = (small_run){.model = model, .backend = backend};

    tn_status status = backend->device(0, &info, err);
    if (status == TN_OK)
        status = small_model_plan(model, backend, &info, run->page_tokens, run->page_bytes, &plan, err);
    if (status == TN_OK && run->page_tokens[0] == 0)
        status = tn_fail(err, TN_E_INTERNAL, "plan says 0 tokens per page");
    if (status != TN_OK)
        return status;
    /* A count that 7 does not divide: page i * 7 % pages is a permutation. */
    run->pages = (uint64_t)pages_of_slot(run) * SMALL_SLOTS + 1;
    run->pages += run->pages % 7 == 0;
    status = backend->open(&request, &run->dev, err);
    if (status == TN_OK)
        status = backend->compile(run->dev, &model->compile, &run->loaded, err);
    return status == TN_OK ? load(run, err) : status;
}

void small_run_close(small_run *run)
{
    run->backend->model_free(run->loaded);
    run->backend->close(run->dev);
}

/* ---- steps ---- */

typedef struct step_arrays {
    int32_t token[SMALL_TOKENS], position[SMALL_TOKENS];
    uint32_t out_row[SMALL_TOKENS], out_want[SMALL_TOKENS];
    uint32_t seq_start[SMALL_SLOTS + 1], slot[SMALL_SLOTS], cached_len[SMALL_SLOTS];
    uint32_t delta_group[SMALL_SLOTS * SMALL_PAGES_PER_SLOT * SMALL_GROUPS];
    uint32_t delta_slot[SMALL_SLOTS * SMALL_PAGES_PER_SLOT * SMALL_GROUPS];
    uint32_t delta_index[SMALL_SLOTS * SMALL_PAGES_PER_SLOT * SMALL_GROUPS];
    uint32_t delta_page[SMALL_SLOTS * SMALL_PAGES_PER_SLOT * SMALL_GROUPS];
    uint32_t delta_count, row_count;
} step_arrays;

static void add_pages(small_run *run, const small_span *span, step_arrays *a)
{
    uint32_t needed = (span->cached_len + span->count + run->page_tokens[0] - 1) / run->page_tokens[0];
    for (; run->pages_set[span->slot] < needed; run->pages_set[span->slot]++) {
        for (uint32_t group = 0; group < run->model->api->kv_group_count; group++) {
            uint32_t index = run->pages_set[span->slot];
            a->delta_group[a->delta_count] = group;
            a->delta_slot[a->delta_count] = span->slot;
            a->delta_index[a->delta_count] = index;
            a->delta_page[a->delta_count] =
                (uint32_t)((uint64_t)(span->slot * pages_of_slot(run) + index) * 7 % run->pages);
            a->delta_count++;
        }
    }
}

static void fill_arrays(small_run *run, const small_span *spans, uint32_t span_count, bool logits, step_arrays *a)
{
    TN_ASSERT(span_count <= SMALL_SLOTS);
    a->delta_count = a->row_count = 0;
    for (uint32_t s = 0; s < span_count; s++) {
        TN_ASSERT(a->row_count + spans[s].count <= SMALL_TOKENS);
        a->seq_start[s] = a->row_count;
        a->slot[s] = spans[s].slot;
        a->cached_len[s] = spans[s].cached_len;
        add_pages(run, &spans[s], a);
        for (uint32_t i = 0; i < spans[s].count; i++, a->row_count++) {
            a->token[a->row_count] = spans[s].token[i];
            a->position[a->row_count] = (int32_t)(spans[s].cached_len + i);
            a->out_row[a->row_count] = a->row_count;
            a->out_want[a->row_count] = logits ? TN_WANT_LOGITS : 0;
        }
    }
    a->seq_start[span_count] = a->row_count;
}

tn_status small_run_submit(small_run *run, const small_span *spans, uint32_t span_count, bool logits,
                           uint64_t *ret_ticket, tn_error *err)
{
    step_arrays *a = malloc(sizeof *a);
    if (!a)
        return tn_fail(err, TN_E_MEMORY, "out of memory: step");
    fill_arrays(run, spans, span_count, logits, a);
    tn_batch batch = {.struct_size = sizeof batch,
                      .need = logits ? TN_NEED_LOGITS : 0,
                      .token_count = a->row_count,
                      .seq_count = span_count,
                      .out_count = a->row_count,
                      .delta_count = a->delta_count,
                      .axis_count = 1,
                      .token = a->token,
                      .position = a->position,
                      .seq_start = a->seq_start,
                      .slot = a->slot,
                      .cached_len = a->cached_len,
                      .delta_group = a->delta_group,
                      .delta_slot = a->delta_slot,
                      .delta_index = a->delta_index,
                      .delta_page = a->delta_page,
                      .out_row = a->out_row,
                      .out_want = a->out_want};
    tn_status status = run->backend->submit(run->loaded, &batch, ret_ticket, err);
    free(a); /* submit copies its inputs: a backend that does not is found out here */
    return status;
}

tn_status small_run_step(small_run *run, const small_span *spans, uint32_t span_count, float *ret_logits,
                         int32_t *ret_ids, tn_error *err)
{
    uint64_t ticket = 0;
    uint32_t rows = 0;
    for (uint32_t s = 0; s < span_count; s++)
        rows += spans[s].count;
    tn_status status = small_run_submit(run, spans, span_count, ret_logits != NULL, &ticket, err);
    if (status != TN_OK)
        return status;
    tn_result result = {.struct_size = sizeof result, .out_count = rows, .id = ret_ids, .logits = ret_logits};
    return run->backend->wait(run->loaded, ticket, &result, err);
}
