/* runtime/engine/batch_builder.h: turns a schedule into a tn_batch, and owns the arrays of both directions.
 *
 * The backend copies its inputs during submit, so one set of input arrays serves all steps; results arrive later, so
 * each step under way has its own. All sizes are fixed at start. Loop thread only.
 */
#ifndef ENGINE_BATCH_BUILDER_H
#define ENGINE_BATCH_BUILDER_H

#include "engine/engine.h"
#include "engine/scheduler.h"

typedef struct step_result {
    tn_result result; /* pointers into this step's own arrays */
    int32_t *id, *top_id;
    float *logprob, *target_logprob, *top_logprob;
    uint32_t top_stride; /* elements of top_id per output row in this step */
} step_result;

typedef struct batch_builder {
    uint32_t mask_words;                                                    /* of one row */
    int32_t *token, *position;                                              /* [max_num_batched_tokens] */
    uint32_t *seq_start, *slot, *cached_len;                                /* [max_num_seqs (+ 1)] */
    uint32_t *delta_group, *delta_slot, *delta_index, *delta_page;          /* [delta_capacity] */
    uint32_t *out_row, *out_want;                                           /* [max_outputs] */
    float *temperature, *top_p, *min_p, *repetition, *presence, *frequency; /* [max_outputs] */
    uint32_t *top_k, *choice;                                               /* [max_outputs] */
    uint64_t *seed;                                                         /* [max_outputs] */
    int32_t *score_target;                                                  /* [max_outputs] */
    uint32_t *mask;                                                         /* [max_outputs * mask_words] */
    uint32_t *bias_row, *seen_row;                                          /* [max_outputs + 1] */
    int32_t *bias_token;                                                    /* [bias_capacity] */
    float *bias_value;
    uint64_t seen_capacity; /* of all rows of a step; one row's always fit */
    int32_t *seen_token;    /* [seen_capacity] */
    uint32_t *seen_count;
    tn_sample sample;
    tn_batch batch;
} batch_builder;

void batch_builder_layout(batch_builder *builder, const engine_config *config, uint32_t vocab, uint32_t end_token_count,
                          uint64_t delta_capacity, carve *memory);
void step_result_layout(step_result *result, const engine_config *config, carve *memory);

/* Fills builder->batch from a schedule; prev: ticket of the step under way, 0 if none. */
void batch_builder_fill(tn_engine *engine, const schedule *schedule, uint64_t prev, step_result *result);

#endif
