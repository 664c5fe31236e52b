/* memory.c: where everything but weights and KV lies, on a rank and in the host memory that a step is copied from. The
 * plan counts with the same functions that place.
 */
#include "model.h"

typedef struct carver {
    uint8_t *base; /* NULL: only count */
    uint64_t used;
} carver;

static void *carve(carver *c, uint64_t bytes)
{
    void *at = c->base ? c->base + c->used : NULL;
    c->used += align_up(bytes);
    return at;
}

/* Denser, for what crosses the bus. */
static void *pack(carver *c, uint64_t bytes)
{
    void *at = c->base ? c->base + c->used : NULL;
    c->used += step_align(bytes);
    return at;
}

/* As many as tenon/sampling.h says. */
static uint64_t seen_limit_of(const program *p)
{
    const tn_compile *r = &p->request;
    uint64_t row = r->max_model_len < p->vocab ? r->max_model_len : p->vocab, all = r->max_seqs * row;
    uint64_t most = row > TN_SEEN_BATCH_MAX ? row : TN_SEEN_BATCH_MAX;

    return all < most ? all : most;
}

static uint64_t table_entries(const program *p)
{
    uint64_t entries = 0;
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++)
        entries += (uint64_t)p->request.max_seqs * p->kv[g].table_stride;
    return entries;
}

/* Everything of a block at once: batch.c packs as many arrays or fewer, each as long or shorter. */
static uint64_t block_bytes(const program *p, const step_sizes *sizes)
{
    const uint64_t outputs = p->request.max_outputs;
    const step_shape most = {.tokens = p->request.max_tokens, .outputs = p->request.max_outputs};
    const uint64_t scalars = sizeof(uint32_t) * 11 + sizeof(uint64_t); /* of an output: want, position, tn_sample's */
    uint64_t bytes = step_inputs_carve(p, sizes, most, NULL, NULL);

    bytes += step_align(sizes->change_limit * sizeof(cuda_page_change));
    bytes += step_align(outputs * scalars) + 12 * step_align(1);
    bytes += step_align(outputs * sizes->mask_words * sizeof(uint32_t));
    bytes += 2 * step_align((outputs + 1) * sizeof(uint32_t));
    bytes +=
        2 * step_align(sizes->bias_limit * sizeof(uint32_t)) + 2 * step_align(sizes->seen_limit * sizeof(uint32_t));
    return bytes;
}

step_sizes step_sizes_of(const program *p)
{
    const tn_compile *r = &p->request;
    uint32_t spans = (r->max_model_len + SPAN_TOKENS - 1) / SPAN_TOKENS;
    step_sizes sizes = {.spans_max = spans,
                        .partial_limit = 2 * r->max_seqs + 2 * spans,
                        .mask_words = (p->vocab + 31) / 32,
                        .change_limit = table_entries(p),
                        .bias_limit = (uint64_t)r->max_seqs * TN_BIAS_ROW_MAX,
                        .seen_limit = seen_limit_of(p)};

    sizes.block_bytes = block_bytes(p, &sizes);
    sizes.output_bytes = step_outputs_carve(r->max_outputs, SAMPLE_TOP_MAX, NULL, NULL);
    return sizes;
}

uint32_t step_partial_limit(const step_sizes *sizes, step_shape shape)
{
    uint64_t most = (uint64_t)shape.tokens * sizes->spans_max;
    return most < sizes->partial_limit ? (uint32_t)most : sizes->partial_limit;
}

/* At worst each row is a task of its own; beside those, one task per partial result. */
static void pack_attention(const step_sizes *sizes, step_shape shape, carver *c, attention_inputs *ret)
{
    const uint64_t partials = step_partial_limit(sizes, shape);

    ret->task = pack(c, (shape.tokens + partials) * sizeof *ret->task);
    ret->item = pack(c, partials * sizeof *ret->item);
    ret->item_partial = pack(c, (partials + 1) * sizeof *ret->item_partial);
}

uint64_t step_inputs_carve(const program *p, const step_sizes *sizes, step_shape shape, uint8_t *base, step_inputs *ret)
{
    const uint32_t groups = p->view.api->kv_group_count;
    const uint64_t tokens = shape.tokens, outputs = shape.outputs;
    carver c = {.base = base};
    step_inputs in = {0};

    uint32_t *counts = pack(&c, (2 + 2 * groups) * sizeof *counts);
    in.token = pack(&c, tokens * sizeof *in.token);
    in.position = pack(&c, tokens * sizeof *in.position);
    in.row_slot = pack(&c, tokens * sizeof *in.row_slot);
    in.kv_position = pack(&c, tokens * sizeof *in.kv_position);
    in.out_row = pack(&c, outputs * sizeof *in.out_row);
    for (uint32_t g = 0; g < groups; g++)
        pack_attention(sizes, shape, &c, &in.attention[g]);
    in.change = pack(&c, 0);
    if (base) {
        in.token_count = counts;
        in.change_count = counts + 1;
        for (uint32_t g = 0; g < groups; g++) {
            in.attention[g].task_count = counts + 2 + 2 * g;
            in.attention[g].item_count = counts + 3 + 2 * g;
        }
    }
    if (ret)
        *ret = in;
    return c.used;
}

uint64_t step_outputs_carve(uint32_t outputs, uint32_t top, uint8_t *base, step_outputs *ret)
{
    const uint64_t rows = outputs, tops = rows * top;
    carver c = {.base = base};
    step_outputs out;

    out.id = pack(&c, rows * sizeof *out.id);
    out.logprob = pack(&c, rows * sizeof *out.logprob);
    out.target_logprob = pack(&c, rows * sizeof *out.target_logprob);
    out.top_id = pack(&c, tops * sizeof *out.top_id);
    out.top_logprob = pack(&c, tops * sizeof *out.top_logprob);
    if (ret)
        *ret = out;
    return c.used;
}

void rank_memory_carve(const program *p, const step_sizes *sizes, uint8_t *base, rank_memory *ret)
{
    carver c = {.base = base};

    *ret = (rank_memory){0};
    ret->weights = carve(&c, p->weight_bytes);
    uint64_t begin = c.used;
    ret->activations = carve(&c, p->activation_bytes);
    ret->partial = carve(&c, (uint64_t)sizes->partial_limit * p->heads_max * (p->v_dim_max + 2) * sizeof(float));
    ret->split = carve(&c, p->split_floats * sizeof(float));
    ret->matmul = carve(&c, p->shape_count ? MATMUL_WORKSPACE_BYTES : 0);
    ret->block = carve(&c, sizes->block_bytes);
    ret->embed = carve(&c, (uint64_t)p->request.max_tokens * p->width * sizeof(float));
    ret->table = carve(&c, table_entries(p) * sizeof(uint32_t));
    ret->activation_total = c.used - begin;
    begin = c.used;
    ret->logits = carve(&c, p->buffers[p->logits].bytes);
    ret->work = carve(&c, p->buffers[p->logits].bytes);
    ret->results = carve(&c, sizes->output_bytes);
    ret->logits_total = c.used - begin;
    begin = c.used;
    ret->comms = carve(&c, one_shot_bytes(p->world));
    ret->comms_total = c.used - begin;
    ret->bytes = c.used;
}
