/* batch_builder.c: one pass over the schedule for token rows, one for output rows. */
#include "engine/batch_builder.h"

#include "engine/state.h"

#include <math.h>
#include <string.h>

void batch_builder_layout(batch_builder *builder, const engine_config *config, uint32_t vocab, uint32_t end_token_count,
                          uint64_t delta_capacity, carve *memory)
{
    uint64_t tokens = config->max_num_batched_tokens, seqs = config->max_num_seqs, outs = config->max_outputs;
    /* Only rows that sample carry lists, one per sequence. */
    uint64_t biases = seqs * ((uint64_t)config->max_bias + end_token_count + config->max_stop_tokens);
    uint64_t seen_row = vocab < config->max_model_len ? vocab : config->max_model_len, seen = seqs * seen_row;

    if (seen > TN_SEEN_BATCH_MAX)
        seen = seen_row > TN_SEEN_BATCH_MAX ? seen_row : TN_SEEN_BATCH_MAX;
    builder->seen_capacity = seen;
    builder->mask_words = vocab / 32 + (vocab % 32 > 0);
    builder->token = carve_array(memory, tokens, sizeof *builder->token);
    builder->position = carve_array(memory, tokens, sizeof *builder->position);
    builder->seq_start = carve_array(memory, seqs + 1, sizeof *builder->seq_start);
    builder->slot = carve_array(memory, seqs, sizeof *builder->slot);
    builder->cached_len = carve_array(memory, seqs, sizeof *builder->cached_len);
    builder->delta_group = carve_array(memory, delta_capacity, sizeof *builder->delta_group);
    builder->delta_slot = carve_array(memory, delta_capacity, sizeof *builder->delta_slot);
    builder->delta_index = carve_array(memory, delta_capacity, sizeof *builder->delta_index);
    builder->delta_page = carve_array(memory, delta_capacity, sizeof *builder->delta_page);
    builder->out_row = carve_array(memory, outs, sizeof *builder->out_row);
    builder->out_want = carve_array(memory, outs, sizeof *builder->out_want);
    builder->temperature = carve_array(memory, outs, sizeof *builder->temperature);
    builder->top_p = carve_array(memory, outs, sizeof *builder->top_p);
    builder->min_p = carve_array(memory, outs, sizeof *builder->min_p);
    builder->repetition = carve_array(memory, outs, sizeof *builder->repetition);
    builder->presence = carve_array(memory, outs, sizeof *builder->presence);
    builder->frequency = carve_array(memory, outs, sizeof *builder->frequency);
    builder->top_k = carve_array(memory, outs, sizeof *builder->top_k);
    builder->choice = carve_array(memory, outs, sizeof *builder->choice);
    builder->seed = carve_array(memory, outs, sizeof *builder->seed);
    builder->score_target = carve_array(memory, outs, sizeof *builder->score_target);
    builder->mask = carve_array(memory, outs * builder->mask_words, sizeof *builder->mask);
    builder->bias_row = carve_array(memory, outs + 1, sizeof *builder->bias_row);
    builder->seen_row = carve_array(memory, outs + 1, sizeof *builder->seen_row);
    builder->bias_token = carve_array(memory, biases, sizeof *builder->bias_token);
    builder->bias_value = carve_array(memory, biases, sizeof *builder->bias_value);
    builder->seen_token = carve_array(memory, seen, sizeof *builder->seen_token);
    builder->seen_count = carve_array(memory, seen, sizeof *builder->seen_count);
}

void step_result_layout(step_result *result, const engine_config *config, carve *memory)
{
    uint64_t outs = config->max_outputs, top = outs * config->max_top_logprobs;

    result->id = carve_array(memory, outs, sizeof *result->id);
    result->logprob = carve_array(memory, outs, sizeof *result->logprob);
    result->target_logprob = carve_array(memory, outs, sizeof *result->target_logprob);
    result->top_id = carve_array(memory, top, sizeof *result->top_id);
    result->top_logprob = carve_array(memory, top, sizeof *result->top_logprob);
}

/* ---- token rows ---- */

static void add_deltas(batch_builder *builder, page_table *pages, uint32_t slot)
{
    for (uint32_t g = 0; g < pages->group_count; g++) {
        page_group *group = &pages->group[g];
        page_row *row = &group->row[slot];
        if (row->sent < row->first)
            row->sent = row->first;
        for (; row->sent < row->end; row->sent++) {
            uint32_t at = builder->batch.delta_count++;
            builder->delta_group[at] = g;
            builder->delta_slot[at] = slot;
            builder->delta_index[at] = row->sent;
            builder->delta_page[at] = group->page[(uint64_t)slot * group->row_pages + row->sent];
        }
    }
}

static void add_tokens(batch_builder *builder, const scheduled *item)
{
    const sequence *sequence = item->sequence;
    uint32_t known = sequence->request->prompt_count + sequence->generated;

    for (uint32_t i = 0; i < item->count; i++) {
        uint32_t position = item->start + i;
        uint32_t at = builder->batch.token_count++;
        builder->position[at] = (int32_t)position;
        if (position < known) {
            builder->token[at] = sequence_token(sequence, position);
        } else {
            builder->token[at] = -1 - (int32_t)sequence->pending_row;
            builder->batch.need |= TN_NEED_PREV;
        }
    }
}

static void add_sequence(tn_engine *engine, const scheduled *item)
{
    batch_builder *builder = &engine->builder;
    uint32_t at = builder->batch.seq_count++;

    builder->slot[at] = item->sequence->slot;
    builder->cached_len[at] = item->start;
    add_deltas(builder, &engine->pages, item->sequence->slot);
    add_tokens(builder, item);
    builder->seq_start[at + 1] = builder->batch.token_count;
}

/* ---- output rows ---- */

/* An output row for a token row, with neutral sampling and empty lists. */
static uint32_t add_output(batch_builder *builder, uint32_t token_row, uint32_t want)
{
    uint32_t row = builder->batch.out_count++;
    builder->out_row[row] = token_row;
    builder->out_want[row] = want;
    builder->temperature[row] = 0;
    builder->top_p[row] = 1;
    builder->min_p[row] = 0;
    builder->repetition[row] = 1;
    builder->presence[row] = builder->frequency[row] = 0;
    builder->top_k[row] = builder->choice[row] = 0;
    builder->seed[row] = 0;
    builder->score_target[row] = -1;
    builder->bias_row[row + 1] = builder->bias_row[row];
    builder->seen_row[row + 1] = builder->seen_row[row];
    return row;
}

static void add_bias(batch_builder *builder, uint32_t row, int32_t token, float value)
{
    uint32_t at = builder->bias_row[row + 1]++;
    builder->bias_token[at] = token;
    builder->bias_value[at] = value;
    builder->batch.need |= TN_NEED_BIAS;
}

static void add_biases(const tn_engine *engine, batch_builder *builder, uint32_t row, const sequence *sequence)
{
    const request *request = sequence->request;
    const request_limits *limits = &engine->limits;

    for (uint32_t i = 0; i < request->bias_count; i++)
        add_bias(builder, row, request->bias[i].token, request->bias[i].value);
    if (sequence->generated + sequence->pending >= request->min_new)
        return;
    /* Too early to stop: the tokens that would are out of the question. */
    for (uint32_t i = 0; i < request->stop_token_count; i++)
        add_bias(builder, row, request->stop_token[i], -INFINITY);
    for (uint32_t i = 0; i < limits->end_token_count && !(request->flags & TN_REQ_IGNORE_EOS); i++)
        add_bias(builder, row, limits->end_token[i], -INFINITY);
}

/* Merges the prompt's distinct tokens with those of the output; both ascend. */
static void add_seen(batch_builder *builder, uint32_t row, const sequence *sequence)
{
    const request *request = sequence->request;
    uint32_t at = builder->seen_row[row + 1], p = 0, o = 0;

    while (p < request->seen_count || o < sequence->seen_count) {
        bool from_output =
            p == request->seen_count || (o < sequence->seen_count && sequence->seen[o] <= request->seen[p]);
        int32_t token = from_output ? sequence->seen[o] : request->seen[p];
        builder->seen_token[at] = token;
        builder->seen_count[at++] = from_output ? sequence->seen_times[o++] : 0;
        if (p < request->seen_count && request->seen[p] == token)
            p++;
    }
    builder->seen_row[row + 1] = at;
    builder->batch.need |= TN_NEED_PENALTY;
}

static uint32_t sampling_want(const request *request)
{
    if (!(request->flags & TN_REQ_LOGPROBS))
        return 0;
    return TN_WANT_LOGPROB | (request->top_logprobs > 0 ? TN_WANT_TOP : 0);
}

static void add_sampling_row(const tn_engine *engine, batch_builder *builder, const scheduled *item, uint32_t token_row)
{
    const sequence *sequence = item->sequence;
    const request *request = sequence->request;
    uint32_t row = add_output(builder, token_row, sampling_want(request));

    builder->temperature[row] = request->temperature;
    builder->top_p[row] = request->top_p;
    builder->min_p[row] = request->min_p;
    builder->repetition[row] = request->repetition;
    builder->presence[row] = request->presence;
    builder->frequency[row] = request->frequency;
    builder->top_k[row] = request->top_k;
    builder->choice[row] = sequence->choice;
    builder->seed[row] = request->seed;
    add_biases(engine, builder, row, sequence);
    if (request->penalised)
        add_seen(builder, row, sequence);
    if (request->mask || request->grammar)
        builder->batch.need |= TN_NEED_MASK;
}

static void add_outputs(tn_engine *engine, const scheduled *item, uint32_t first_row)
{
    batch_builder *builder = &engine->builder;
    const request *request = item->sequence->request;

    for (uint32_t i = 0; i < item->score_count; i++) {
        uint32_t position = item->score_first + i;
        uint32_t want = TN_WANT_TARGET | (request->top_logprobs > 0 ? TN_WANT_TOP : 0);
        uint32_t row = add_output(builder, first_row + position - item->start, want);
        builder->score_target[row] = request->prompt[position + 1];
        builder->batch.need |= TN_NEED_SCORE;
    }
    if (item->samples)
        add_sampling_row(engine, builder, item, first_row + item->count - 1);
}

/* Mask rows exist for all output rows or for none. */
static void fill_masks(tn_engine *engine, const schedule *schedule)
{
    batch_builder *builder = &engine->builder;
    memset(builder->mask, 0xff, (size_t)builder->batch.out_count * builder->mask_words * sizeof *builder->mask);
    for (uint32_t i = 0; i < schedule->count; i++) {
        const scheduled *item = &schedule->item[i];
        const request *request = item->sequence->request;
        uint32_t *row = builder->mask + (size_t)(item->out_first + item->score_count) * builder->mask_words;
        if (!item->samples)
            continue;
        if (request->grammar)
            grammar_desk_mask(&engine->desk, item->sequence, row);
        for (uint32_t w = 0; request->mask && w < builder->mask_words; w++)
            row[w] &= request->mask[w];
    }
}

/* ---- the whole ---- */

static void start_batch(batch_builder *builder, uint64_t prev)
{
    builder->seq_start[0] = builder->bias_row[0] = builder->seen_row[0] = 0;
    builder->batch = (tn_batch){
        .struct_size = sizeof(tn_batch),
        .prev = prev,
        .axis_count = 1,
        .token = builder->token,
        .position = builder->position,
        .seq_start = builder->seq_start,
        .slot = builder->slot,
        .cached_len = builder->cached_len,
        .delta_group = builder->delta_group,
        .delta_slot = builder->delta_slot,
        .delta_index = builder->delta_index,
        .delta_page = builder->delta_page,
        .out_row = builder->out_row,
        .out_want = builder->out_want,
        .sample = &builder->sample,
    };
}

static void finish_sample(batch_builder *builder, uint32_t top_logprobs)
{
    uint32_t need = builder->batch.need;
    builder->sample = (tn_sample){
        .struct_size = sizeof(tn_sample),
        .top_logprobs = top_logprobs,
        .temperature = builder->temperature,
        .top_p = builder->top_p,
        .min_p = builder->min_p,
        .repetition = builder->repetition,
        .presence = builder->presence,
        .frequency = builder->frequency,
        .top_k = builder->top_k,
        .choice = builder->choice,
        .seed = builder->seed,
        .mask = need & TN_NEED_MASK ? builder->mask : NULL,
        .bias_row = need & TN_NEED_BIAS ? builder->bias_row : NULL,
        .bias_token = need & TN_NEED_BIAS ? builder->bias_token : NULL,
        .bias_value = need & TN_NEED_BIAS ? builder->bias_value : NULL,
        .seen_row = need & TN_NEED_PENALTY ? builder->seen_row : NULL,
        .seen_token = need & TN_NEED_PENALTY ? builder->seen_token : NULL,
        .seen_count = need & TN_NEED_PENALTY ? builder->seen_count : NULL,
        .score_target = need & TN_NEED_SCORE ? builder->score_target : NULL,
    };
}

/* What a step's rows want back decides which buffers the backend may fill. */
static void prepare_result(const batch_builder *builder, uint32_t top_logprobs, step_result *result)
{
    uint32_t want = 0;
    for (uint32_t row = 0; row < builder->batch.out_count; row++)
        want |= builder->out_want[row];
    result->top_stride = top_logprobs;
    result->result = (tn_result){
        .struct_size = sizeof(tn_result),
        .out_count = builder->batch.out_count,
        .id = result->id,
        .logprob = want & TN_WANT_LOGPROB ? result->logprob : NULL,
        .target_logprob = want & TN_WANT_TARGET ? result->target_logprob : NULL,
        .top_id = want & TN_WANT_TOP ? result->top_id : NULL,
        .top_logprob = want & TN_WANT_TOP ? result->top_logprob : NULL,
    };
}

void batch_builder_fill(tn_engine *engine, const schedule *schedule, uint64_t prev, step_result *result)
{
    batch_builder *builder = &engine->builder;
    uint32_t top_logprobs = 0;

    start_batch(builder, prev);
    for (uint32_t i = 0; i < schedule->count; i++) {
        const scheduled *item = &schedule->item[i];
        uint32_t first_row = builder->batch.token_count;
        add_sequence(engine, item);
        add_outputs(engine, item, first_row);
        if (item->sequence->request->top_logprobs > top_logprobs)
            top_logprobs = item->sequence->request->top_logprobs;
    }
    TN_ASSERT(builder->batch.token_count == schedule->token_count);
    TN_ASSERT(builder->batch.out_count == schedule->out_count);
    if (!(builder->batch.need & TN_NEED_PREV))
        builder->batch.prev = 0;
    if (builder->batch.need & TN_NEED_MASK)
        fill_masks(engine, schedule);
    finish_sample(builder, top_logprobs);
    prepare_result(builder, top_logprobs, result);
}
