/* sampler.c: the host sampler. Data: one row of V logits, rewritten in place; scratch holds V weights and one bucket.
 *
 * Nothing is fully sorted: min_p, top_k and top_p all keep a prefix of the order (logit descending, id ascending), so
 * the kept set is one cut in that order. Logits fall into buckets by their distance to the maximum; only the bucket
 * that holds the cut is sorted. Cost: a few passes over V. Specification: tenon/sampling.h.
 */
#include "base/sampler.h"

#include "base/half.h"
#include "base/philox.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { BUCKETS = 2048, BUCKETS_PER_NAT = 64 };

/* A place in the order: everything up to and including (logit, id) is kept. */
typedef struct cut {
    float logit;
    int32_t id;
} cut;

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

typedef struct scratch {
    double mass[BUCKETS];
    uint32_t count[BUCKETS];
    float *weight;        /* [V] */
    float *raw;           /* [V] logits before bias, mask, penalties and temperature */
    candidate *candidate; /* [V] members of one bucket */
} scratch;

uint64_t sampler_scratch_bytes(uint32_t vocab)
{
    return sizeof(scratch) + (uint64_t)vocab * (2 * sizeof(float) + sizeof(candidate));
}

static scratch *scratch_lay_out(void *memory, uint32_t vocab)
{
    scratch *s = memory;
    s->candidate = (candidate *)(void *)(s + 1);
    s->weight = (float *)(void *)(s->candidate + vocab);
    s->raw = s->weight + vocab;
    return s;
}

double sampler_uniform(uint64_t seed, uint32_t choice, uint32_t position)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {position, choice, 0, 0};
    uint32_t words[4];

    philox4x32(key, counter, words);
    return ((double)(words[0] >> 6) * 134217728.0 + (double)(words[1] >> 5)) / 9007199254740992.0;
}

/* exp(x) for x <= 0, within 2 ulp; 0 below -87. Branch-free so that loops over it vectorise. Cody-Waite reduction, then
 * the Taylor polynomial of degree 7 on |r| <= ln(2)/2. */
static inline float exp_negative(float x)
{
    float clamped = x < -87.0f ? -87.0f : x;
    float shifted = clamped * 1.44269504f + 12582912.0f; /* the integer sits in the low mantissa bits */
    float n = shifted - 12582912.0f;
    float r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = (p * r) * r + r + 1.0f;
    float scale = float_from_bits((bits_from_float(shifted) + 127u) << 23);
    return x < -87.0f ? 0.0f : p * scale;
}

/* Largest logit; false when a NaN is among them. All -inf counts as a maximum of -inf. */
static bool find_max(const float *logits, uint32_t vocab, float *ret_max)
{
    float max = -INFINITY;
    uint32_t unordered = 0;
    for (uint32_t i = 0; i < vocab; i++) {
        unordered += logits[i] != logits[i];
        max = logits[i] > max ? logits[i] : max;
    }
    *ret_max = max;
    return unordered == 0;
}

static int32_t find_first(const float *logits, uint32_t vocab, float value)
{
    for (uint32_t i = 0; i < vocab; i++)
        if (logits[i] == value)
            return (int32_t)i;
    return -1;
}

/* weight[i] = exp(logit[i] - max); returns the sum. */
static double weigh(const float *logits, uint32_t vocab, float max, float *weight)
{
    double sum = 0;
    for (uint32_t i = 0; i < vocab; i++)
        weight[i] = exp_negative(logits[i] - max);
    for (uint32_t i = 0; i < vocab; i++)
        sum += (double)weight[i];
    return sum;
}

static bool precedes(float logit, int32_t id, cut last)
{
    return logit > last.logit || (logit == last.logit && id <= last.id);
}

/* Sorts by logit descending, id ascending. Heap sort: no recursion, no worst case. */
static void sift_down(candidate *heap, uint32_t at, uint32_t count)
{
    candidate moved = heap[at];
    for (uint32_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count &&
            precedes(heap[child].logit, heap[child].id, (cut){heap[child + 1].logit, heap[child + 1].id}))
            child++;
        if (!precedes(moved.logit, moved.id, (cut){heap[child].logit, heap[child].id}))
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void sort_candidates(candidate *list, uint32_t count)
{
    for (uint32_t i = count / 2; i-- > 0;)
        sift_down(list, i, count);
    for (uint32_t end = count; end > 1; end--) {
        candidate first = list[0];
        list[0] = list[end - 1];
        list[end - 1] = first;
        sift_down(list, 0, end - 1);
    }
}

static uint32_t bucket_of(float logit, float max)
{
    float distance = (max - logit) * (float)BUCKETS_PER_NAT;
    return distance < (float)(BUCKETS - 1) ? (uint32_t)distance : BUCKETS - 1;
}

static void fill_buckets(scratch *s, const float *logits, uint32_t vocab, float max, cut last)
{
    memset(s->mass, 0, sizeof s->mass);
    memset(s->count, 0, sizeof s->count);
    for (uint32_t i = 0; i < vocab; i++) {
        if (!precedes(logits[i], (int32_t)i, last))
            continue;
        uint32_t bucket = bucket_of(logits[i], max);
        s->count[bucket]++;
        s->mass[bucket] += (double)s->weight[i];
    }
}

/* Members of one bucket that are kept so far, in order. */
static uint32_t collect_bucket(scratch *s, const float *logits, uint32_t vocab, float max, cut last, uint32_t bucket)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < vocab; i++)
        if (precedes(logits[i], (int32_t)i, last) && bucket_of(logits[i], max) == bucket)
            s->candidate[count++] = (candidate){logits[i], (int32_t)i};
    sort_candidates(s->candidate, count);
    return count;
}

/* The last place whose weight is at least min_weight; weights fall along the order. */
static cut cut_by_weight(const scratch *s, const float *logits, uint32_t vocab, float max, float min_weight)
{
    cut last = {max, -1};
    for (uint32_t i = 0; i < vocab; i++)
        if (s->weight[i] >= min_weight && !precedes(logits[i], (int32_t)i, last))
            last = (cut){logits[i], (int32_t)i};
    return last;
}

/* The place of the keep-th candidate. */
static cut cut_by_count(scratch *s, const float *logits, uint32_t vocab, float max, cut last, uint32_t keep)
{
    uint32_t before = 0;

    fill_buckets(s, logits, vocab, max, last);
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        if (before + s->count[bucket] < keep) {
            before += s->count[bucket];
            continue;
        }
        collect_bucket(s, logits, vocab, max, last, bucket);
        candidate c = s->candidate[keep - before - 1];
        return (cut){c.logit, c.id};
    }
    return last; /* fewer candidates than keep */
}

/* The place where the running mass first reaches share of the whole. */
static cut cut_by_mass(scratch *s, const float *logits, uint32_t vocab, float max, cut last, float share)
{
    double total = 0, before = 0;

    fill_buckets(s, logits, vocab, max, last);
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++)
        total += s->mass[bucket];
    double goal = (double)share * total;
    for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
        if (s->count[bucket] == 0 || before + s->mass[bucket] < goal) {
            before += s->mass[bucket];
            continue;
        }
        uint32_t count = collect_bucket(s, logits, vocab, max, last, bucket);
        for (uint32_t i = 0; i < count; i++) {
            before += (double)s->weight[s->candidate[i].id];
            if (before >= goal || i + 1 == count)
                return (cut){s->candidate[i].logit, s->candidate[i].id};
        }
    }
    return last;
}

static void apply_bias(const tn_sample *sample, uint32_t row, float *logits)
{
    for (uint32_t i = sample->bias_row[row]; i < sample->bias_row[row + 1]; i++)
        logits[sample->bias_token[i]] += sample->bias_value[i];
}

static void apply_mask(const uint32_t *mask, float *logits, uint32_t vocab)
{
    for (uint32_t i = 0; i < vocab; i++)
        if (!(mask[i / 32] >> (i % 32) & 1u))
            logits[i] = -INFINITY;
}

static void apply_penalties(const tn_sample *sample, uint32_t row, float *logits)
{
    float repetition = sample->repetition ? sample->repetition[row] : 1.0f;
    float presence = sample->presence ? sample->presence[row] : 0.0f;
    float frequency = sample->frequency ? sample->frequency[row] : 0.0f;

    for (uint32_t i = sample->seen_row[row]; i < sample->seen_row[row + 1]; i++) {
        float *logit = &logits[sample->seen_token[i]];
        float count = (float)sample->seen_count[i];
        if (repetition != 1.0f)
            *logit = *logit > 0 ? *logit / repetition : *logit * repetition;
        *logit -= frequency * count;
        if (count > 0)
            *logit -= presence;
    }
}

static int32_t draw(const scratch *s, const float *logits, uint32_t vocab, cut last, double u)
{
    double total = 0, sum = 0;
    int32_t answer = -1;

    for (uint32_t i = 0; i < vocab; i++)
        if (precedes(logits[i], (int32_t)i, last))
            total += (double)s->weight[i];
    for (uint32_t i = 0; i < vocab; i++) {
        if (!precedes(logits[i], (int32_t)i, last) || s->weight[i] == 0)
            continue;
        answer = (int32_t)i;
        sum += (double)s->weight[i];
        if (sum > u * total)
            break;
    }
    return answer;
}

/* Steps 4 to 6 for a row whose logits are already biased, masked and penalised. */
static int32_t choose(const tn_sample *sample, uint32_t row, uint32_t position, float *logits, uint32_t vocab,
                      scratch *s)
{
    float temperature = sample && sample->temperature ? sample->temperature[row] : 0.0f;
    float max;

    if (!find_max(logits, vocab, &max) || max == -INFINITY)
        return -1;
    if (temperature == 0)
        return find_first(logits, vocab, max);
    for (uint32_t i = 0; i < vocab; i++)
        logits[i] /= temperature;
    if (!find_max(logits, vocab, &max) || isinf(max))
        return max == INFINITY ? find_first(logits, vocab, max) : -1;
    weigh(logits, vocab, max, s->weight);

    cut last = {-INFINITY, INT32_MAX};
    float min_p = sample->min_p ? sample->min_p[row] : 0.0f;
    uint32_t top_k = sample->top_k ? sample->top_k[row] : 0;
    float top_p = sample->top_p ? sample->top_p[row] : 1.0f;
    if (min_p > 0)
        last = cut_by_weight(s, logits, vocab, max, min_p);
    if (top_k > 0 && top_k < vocab)
        last = cut_by_count(s, logits, vocab, max, last, top_k);
    if (top_p < 1)
        last = cut_by_mass(s, logits, vocab, max, last, top_p);
    double u =
        sampler_uniform(sample->seed ? sample->seed[row] : 0, sample->choice ? sample->choice[row] : 0, position);
    return draw(s, logits, vocab, last, u);
}

/* The k largest raw logits as log-probs; padded with id -1 if the vocabulary is smaller than k. */
static void report_top(scratch *s, const float *logits, uint32_t vocab, float max, float log_sum, uint32_t k,
                       int32_t *ret_id, float *ret_logprob)
{
    cut all = {-INFINITY, INT32_MAX};
    uint32_t keep = k < vocab ? k : vocab, count = 0;
    cut last = cut_by_count(s, logits, vocab, max, all, keep);

    for (uint32_t i = 0; i < vocab && count < keep; i++)
        if (precedes(logits[i], (int32_t)i, last))
            s->candidate[count++] = (candidate){logits[i], (int32_t)i};
    sort_candidates(s->candidate, count);
    for (uint32_t i = 0; i < k; i++) {
        ret_id[i] = i < count ? s->candidate[i].id : -1;
        ret_logprob[i] = i < count ? s->candidate[i].logit - max - log_sum : -INFINITY;
    }
}

void sampler_row(const tn_sample *sample, uint32_t row, uint32_t position, uint32_t want, float *logits, uint32_t vocab,
                 void *memory, tn_result *result)
{
    scratch *s = scratch_lay_out(memory, vocab);
    bool scored = want & (TN_WANT_LOGPROB | TN_WANT_TOP | TN_WANT_TARGET);
    float max = 0, log_sum = 0;
    int32_t target = sample && sample->score_target ? sample->score_target[row] : -1;

    if (scored) {
        if (!find_max(logits, vocab, &max) || isinf(max)) {
            result->id[row] = -1;
            return;
        }
        log_sum = (float)log(weigh(logits, vocab, max, s->weight));
        if ((want & TN_WANT_TARGET) && target >= 0 && (uint32_t)target < vocab)
            result->target_logprob[row] = logits[target] - max - log_sum;
        if ((want & TN_WANT_TOP) && sample && sample->top_logprobs) {
            uint64_t at = (uint64_t)row * sample->top_logprobs;
            report_top(s, logits, vocab, max, log_sum, sample->top_logprobs, result->top_id + at,
                       result->top_logprob + at);
        }
    }

    bool edited = sample && (sample->bias_row || sample->mask || sample->seen_row || sample->temperature);
    const float *raw = logits;
    if ((want & TN_WANT_LOGPROB) && edited) {
        memcpy(s->raw, logits, (size_t)vocab * sizeof *logits);
        raw = s->raw;
    }
    if (sample && sample->bias_row)
        apply_bias(sample, row, logits);
    if (sample && sample->mask)
        apply_mask(sample->mask + (uint64_t)row * ((vocab + 31) / 32), logits, vocab);
    if (sample && sample->seen_row)
        apply_penalties(sample, row, logits);
    int32_t id = choose(sample, row, position, logits, vocab, s);
    result->id[row] = id;
    if ((want & TN_WANT_LOGPROB) && id >= 0)
        result->logprob[row] = raw[id] - max - log_sum;
}
