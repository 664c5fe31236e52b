/* runtime/cli/forward.h: one sequence through the backend, without an engine: for `logits` and `perplexity`. */
#ifndef CLI_FORWARD_H
#define CLI_FORWARD_H

#include "instance/instance.h"

/* What one call of the reader sees: rows row0.. of the sequence. */
typedef struct forward_rows {
    uint64_t row0;
    uint32_t count;
    const float *logits;         /* [count * vocab], or NULL */
    const float *target_logprob; /* [count] log-prob of the next token of the sequence */
} forward_rows;
typedef void (*forward_reader)(void *ctx, const forward_rows *rows);

/* Runs ids[0..count) from an empty context in slot 0 and shows every row to reader, in order. The last row's target
 * is 0 (there is no next token). with_logits: rows carry logits. Needs STAGE_LOADED and no engine. */
tn_status forward_sequence(const instance *instance, const int32_t *ids, uint64_t count, bool with_logits,
                           forward_reader reader, void *ctx, tn_error *err);

#endif
