/* tenon/sampling.h: the sampler specification. Every sampler, host or device, implements this text and passes the
 * vectors in tests/unit/sampler_vectors.json.
 *
 * For one output row with float32 logits l[0..V) at position p (the position of the token being chosen, that is the
 * position of the row's own token plus one):
 *
 *  1. Log-probs reported to the user are log_softmax of the raw logits, before any step below:
 *     l[i] - m - log(sum exp(l[j] - m)), m = max, exp and sum as in step 5.
 *  2. bias: l[t] += bias for each (t, bias) of the row. mask: l[i] = -inf where bit i is clear.
 *  3. Penalties, over the distinct tokens seen by the row (prompt or output): repetition r != 1: l = l > 0 ? l / r : l * r;
 *     then, with c the token's count in the output so far: l -= frequency * c; if c > 0: l -= presence.
 *  4. temperature = 0: the answer is the largest l, the lowest id among equals. Otherwise l = l / temperature.
 *  5. Candidates are ordered by l descending, then id ascending. w[i] = exp(l[i] - max l), float32 within 2 ulp; sums of
 *     w are float64, in any order.
 *       min_p > 0: drop i with w[i] < min_p.
 *       top_k > 0: keep the first top_k of the order.
 *       top_p < 1: keep the shortest prefix of the remaining order whose sum reaches top_p * (sum of all remaining); at
 *       least one.
 *  6. u = uniform(seed, choice, p). Walk the kept ids in ascending order adding w; the answer is the first whose
 *     running sum exceeds u * total; the last kept id with w > 0 if rounding leaves none.
 *
 * uniform: Philox4x32-10 (Salmon et al. 2011) with key {seed low, seed high}, counter {p, choice, 0, 0};
 * u = ((r0 >> 6) * 2^27 + (r1 >> 5)) / 2^53, r0 and r1 the first two outputs.
 *
 * A row whose logits hold NaN, or whose mask is empty, yields token id -1; the engine fails that request.
 */
#ifndef TENON_SAMPLING_H
#define TENON_SAMPLING_H

#include "tenon/error.h"

TN_BEGIN_DECLS

/* A batch has lists for at most one row per sequence, with no more than this in them; a backend has room for as much. */
enum {
    TN_BIAS_ROW_MAX = 2048,      /* biases of a row */
    TN_SEEN_BATCH_MAX = 1 << 20 /* seen tokens of all rows; one row, whose tokens are distinct, may have more */
};

/* Sampling of a whole batch, one element per output row (n_out). A NULL member means "neutral for all rows":
 * temperature 0, top_p 1, min_p 0, repetition 1, presence 0, frequency 0, top_k 0, seed 0, choice 0, no mask,
 * no bias, nothing seen, no score target. Borrowed for the submit call. */
typedef struct tn_sample {
    uint32_t struct_size;
    uint32_t top_logprobs; /* the largest k that any row wants; stride of tn_result.top_id */
    const float *temperature, *top_p, *min_p, *repetition, *presence, *frequency;
    const uint32_t *top_k, *choice;
    const uint64_t *seed;
    const uint32_t *mask;     /* allowed tokens: n_out rows of (V + 31) / 32 words, bit i % 32 of word i / 32 */
    const uint32_t *bias_row; /* n_out + 1 starts into bias_token / bias_value */
    const int32_t *bias_token;
    const float *bias_value;
    const uint32_t *seen_row; /* n_out + 1 starts into seen_token / seen_count; distinct tokens of prompt and output */
    const int32_t *seen_token;
    const uint32_t *seen_count;  /* occurrences in the output so far, 0: only in the prompt */
    const int32_t *score_target; /* token whose log-prob is wanted, -1: none */
} tn_sample;
TN_SEALED(tn_sample, score_target);

TN_END_DECLS
#endif
