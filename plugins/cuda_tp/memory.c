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

/* As many as tenon/sampling.h says. */
static uint64_t seen_limit_of(const program *p)
{
    const tn_compile *r = &p->request;
    uint64_t row = r->max_model_len < p->vocab ? r->max_model_len : p->vocab, all = r->max_seqs * row;
    uint64_t most = row > TN_SEEN_BATCH_MAX ? row : TN_SEEN_BATCH_MAX;

    return all < most ? all : most;
}

step_sizes step_sizes_of(const program *p)
{
    const tn_compile *r = &p->request;
    uint64_t spans = ((uint64_t)r->max_model_len + SPAN_TOKENS - 1) / SPAN_TOKENS;
    step_sizes sizes = {.partial_limit = (uint32_t)(2 * r->max_seqs + 2 * spans),
                        .mask_words = (p->vocab + 31) / 32,
                        .bias_limit = (uint64_t)r->max_seqs * TN_BIAS_ROW_MAX,
                        .seen_limit = seen_limit_of(p)};

    /* At worst each row of the batch is a task of its own; beside those, one task per partial result. */
    sizes.task_limit = r->max_tokens + sizes.partial_limit;
    sizes.input_bytes = step_inputs_carve(p, &sizes, NULL, NULL);
    sizes.output_bytes = step_outputs_carve(p, NULL, NULL);
    return sizes;
}

static void carve_attention(const step_sizes *sizes, carver *c, attention_inputs *ret)
{
    ret->task = carve(c, sizes->task_limit * sizeof *ret->task);
    ret->task_count = carve(c, sizeof *ret->task_count);
    ret->item = carve(c, sizes->partial_limit * sizeof *ret->item);
    ret->item_partial = carve(c, (sizes->partial_limit + 1ull) * sizeof *ret->item_partial);
    ret->item_count = carve(c, sizeof *ret->item_count);
}

uint64_t step_inputs_carve(const program *p, const step_sizes *sizes, uint8_t *base, step_inputs *ret)
{
    const uint64_t tokens = p->request.max_tokens, outputs = p->request.max_outputs;
    carver c = {.base = base};
    step_inputs in = {0};

    in.token = carve(&c, tokens * sizeof *in.token);
    in.position = carve(&c, tokens * sizeof *in.position);
    in.row_slot = carve(&c, tokens * sizeof *in.row_slot);
    in.kv_position = carve(&c, tokens * sizeof *in.kv_position);
    in.out_row = carve(&c, outputs * sizeof *in.out_row);
    in.want = carve(&c, outputs * sizeof *in.want);
    in.sample_position = carve(&c, outputs * sizeof *in.sample_position);
    in.out_count = carve(&c, sizeof *in.out_count);
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++)
        carve_attention(sizes, &c, &in.attention[g]);
    in.copied = c.used;
    in.embed = carve(&c, tokens * p->width * sizeof *in.embed);
    in.temperature = carve(&c, outputs * sizeof *in.temperature);
    in.top_p = carve(&c, outputs * sizeof *in.top_p);
    in.min_p = carve(&c, outputs * sizeof *in.min_p);
    in.repetition = carve(&c, outputs * sizeof *in.repetition);
    in.presence = carve(&c, outputs * sizeof *in.presence);
    in.frequency = carve(&c, outputs * sizeof *in.frequency);
    in.top_k = carve(&c, outputs * sizeof *in.top_k);
    in.choice = carve(&c, outputs * sizeof *in.choice);
    in.seed = carve(&c, outputs * sizeof *in.seed);
    in.score_target = carve(&c, outputs * sizeof *in.score_target);
    in.mask = carve(&c, outputs * sizes->mask_words * sizeof *in.mask);
    in.bias_row = carve(&c, (outputs + 1) * sizeof *in.bias_row);
    in.bias_token = carve(&c, sizes->bias_limit * sizeof *in.bias_token);
    in.bias_value = carve(&c, sizes->bias_limit * sizeof *in.bias_value);
    in.seen_row = carve(&c, (outputs + 1) * sizeof *in.seen_row);
    in.seen_token = carve(&c, sizes->seen_limit * sizeof *in.seen_token);
    in.seen_count = carve(&c, sizes->seen_limit * sizeof *in.seen_count);
    if (ret)
        *ret = in;
    return c.used;
}

uint64_t step_outputs_carve(const program *p, uint8_t *base, step_outputs *ret)
{
    const uint64_t outputs = p->request.max_outputs;
    carver c = {.base = base};
    step_outputs out;

    out.id = carve(&c, outputs * sizeof *out.id);
    out.logprob = carve(&c, outputs * sizeof *out.logprob);
    out.target_logprob = carve(&c, outputs * sizeof *out.target_logprob);
    out.top_id = carve(&c, outputs * SAMPLE_TOP_MAX * sizeof *out.top_id);
    out.top_logprob = carve(&c, outputs * SAMPLE_TOP_MAX * sizeof *out.top_logprob);
    if (ret)
        *ret = out;
    return c.used;
}

void rank_memory_carve(const program *p, const step_sizes *sizes, uint8_t *base, rank_memory *ret)
{
    const tn_compile *r = &p->request;
    carver c = {.base = base};

    *ret = (rank_memory){0};
    ret->weights = carve(&c, p->weight_bytes);
    uint64_t begin = c.used;
    ret->activations = carve(&c, p->activation_bytes);
    ret->partial = carve(&c, (uint64_t)sizes->partial_limit * p->heads_max * (p->v_dim_max + 2) * sizeof(float));
    ret->split = carve(&c, p->split_floats * sizeof(float));
    ret->matmul = carve(&c, p->shape_count ? MATMUL_WORKSPACE_BYTES : 0);
    ret->input_base = carve(&c, sizes->input_bytes);
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++)
        ret->table[g] = carve(&c, (uint64_t)r->max_seqs * p->kv[g].table_stride * sizeof(uint32_t));
    ret->activation_total = c.used - begin;
    begin = c.used;
    ret->logits = carve(&c, p->buffers[p->logits].bytes);
    ret->work = carve(&c, p->buffers[p->logits].bytes);
    ret->output_base = carve(&c, sizes->output_bytes);
    ret->logits_total = c.used - begin;
    begin = c.used;
    ret->comms = carve(&c, one_shot_bytes(p->world));
    ret->comms_total = c.used - begin;
    ret->bytes = c.used;
    if (base) {
        step_inputs_carve(p, sizes, ret->input_base, &ret->in);
        step_outputs_carve(p, ret->output_base, &ret->out);
    }
}
