/* sample.cu: tenon/sampling.h on the device; the twin of sdk/base/sampler.c. Limit: latency; a block of 1,024 threads
 * per row passes over V logits in L2: 3 times for a plain draw, up to 9 with top-k or top-p.
 *
 * Every cut (min_p, top_k, top_p) keeps a prefix of the order (logit descending, id ascending), found by histograms:
 * first over the distance to the maximum, 2,048 buckets that spread evenly, then over the four bytes of the logit
 * within one bucket, then by id among equals. Nothing is sorted but the reported top log-probs.
 *
 * Sums of weights are integers in units of 2^-44, so their order is free and the atomics of the histograms give the
 * same bits every time. A weight is within 2 ulp by the specification; the units lose less than that even over 2^19
 * tokens.
 */
#include "kernels/device.cuh"

enum { THREADS = 1024, WARPS = THREADS / WARP, BUCKETS = 2048, BUCKETS_PER_NAT = 64, DIGITS = 256 };

typedef unsigned long long mass; /* of weights, in 2^-44; or a count */

struct cut {
    float logit;
    int32_t id;
};

struct sample_shared {
    mass histogram[BUCKETS];
    mass of_warp[WARPS];
    mass before, inside; /* of the bucket found */
    uint32_t bucket, found;
    float value[WARPS];
    int32_t id[WARPS];
    uint32_t count;
    float top_logit[CUDA_TOP_MAX];
    int32_t top_id[CUDA_TOP_MAX];
};

/* ---- numbers ---- */

/* sdk/base/sampler.c's exp, operation by operation: exp(x) for x <= 0 within 2 ulp, 0 below -87. */
static __device__ float exp_negative(float x)
{
    const float clamped = x < -87.0f ? -87.0f : x;
    const float shifted = __fadd_rn(__fmul_rn(clamped, 1.44269504f), 12582912.0f), n = __fsub_rn(shifted, 12582912.0f);
    const float r = __fadd_rn(__fsub_rn(clamped, __fmul_rn(n, 0.693359375f)), __fmul_rn(n, 2.12194440e-4f));
    float p = 1.98412698e-4f;
    p = __fadd_rn(__fmul_rn(p, r), 1.38888889e-3f);
    p = __fadd_rn(__fmul_rn(p, r), 8.33333333e-3f);
    p = __fadd_rn(__fmul_rn(p, r), 4.16666667e-2f);
    p = __fadd_rn(__fmul_rn(p, r), 1.66666667e-1f);
    p = __fadd_rn(__fmul_rn(p, r), 0.5f);
    p = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.0f);
    const float scale = __uint_as_float((__float_as_uint(shifted) + 127u) << 23);
    return x < -87.0f ? 0.0f : __fmul_rn(p, scale);
}

static __device__ __forceinline__ mass mass_of(float weight)
{
    return (mass)__fmul_rn(weight, 0x1p44f);
}

/* Philox4x32-10, key = seed, counter = {position, choice, 0, 0}. */
static __device__ double uniform(uint64_t seed, uint32_t choice, uint32_t position)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32), c0 = position, c1 = choice, c2 = 0, c3 = 0;

    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return ((double)(c0 >> 6) * 134217728.0 + (double)(c1 >> 5)) / 9007199254740992.0;
}

static __device__ __forceinline__ bool precedes(float logit, int32_t id, cut last)
{
    return logit > last.logit || (logit == last.logit && id <= last.id);
}

static __device__ __forceinline__ uint32_t bucket_of(float logit, float max)
{
    const float distance = __fmul_rn(__fsub_rn(max, logit), (float)BUCKETS_PER_NAT);
    return distance < (float)(BUCKETS - 1) ? (uint32_t)distance : (uint32_t)BUCKETS - 1;
}

/* Ascends as the logit falls; -0 counts as 0. */
static __device__ __forceinline__ uint32_t key_of(float logit)
{
    const uint32_t bits = __float_as_uint(logit == 0.0f ? 0.0f : logit);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}
static __device__ __forceinline__ float logit_of(uint32_t key)
{
    return __uint_as_float(key & 0x80000000u ? key : ~key & 0x7fffffffu);
}

/* ---- block-wide steps; all threads call them and get the same answer ---- */

static __device__ mass warp_scan(mass value)
{
    for (unsigned delta = 1; delta < WARP; delta *= 2) {
        const mass other = __shfl_up_sync(WARP_FULL, value, delta);
        value += threadIdx.x % WARP >= delta ? other : 0;
    }
    return value;
}

/* Inclusive scan over the block. */
static __device__ mass block_scan(sample_shared *s, mass value)
{
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

    value = warp_scan(value);
    __syncthreads();
    if (lane == WARP - 1)
        s->of_warp[warp] = value;
    __syncthreads();
    for (uint32_t i = 0; i < warp; i++)
        value += s->of_warp[i];
    return value;
}

static __device__ mass block_total(sample_shared *s, mass value)
{
    mass total = 0;
    block_scan(s, value);
    for (int i = 0; i < WARPS; i++)
        total += s->of_warp[i];
    __syncthreads();
    return total;
}

/* Largest logit and the lowest id that has it; false if a NaN is among them. */
static __device__ bool find_max(sample_shared *s, const float *x, uint32_t vocab, cut *ret_max)
{
    cut best = {-INFINITY, INT32_MAX};
    mass unordered = 0;

    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS) {
        unordered += x[i] != x[i];
        if (x[i] > best.logit || (x[i] == best.logit && (int32_t)i < best.id))
            best.logit = x[i], best.id = (int32_t)i;
    }
    for (unsigned mask = 16; mask; mask >>= 1) {
        const float logit = __shfl_xor_sync(WARP_FULL, best.logit, mask);
        const int32_t id = __shfl_xor_sync(WARP_FULL, best.id, mask);
        if (logit > best.logit || (logit == best.logit && id < best.id))
            best.logit = logit, best.id = id;
    }
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        s->value[threadIdx.x / WARP] = best.logit, s->id[threadIdx.x / WARP] = best.id;
    unordered = block_total(s, unordered);
    for (int i = 0; i < WARPS; i++)
        if (s->value[i] > best.logit || (s->value[i] == best.logit && s->id[i] < best.id))
            best.logit = s->value[i], best.id = s->id[i];
    __syncthreads();
    *ret_max = best;
    return unordered == 0;
}

/* Total of exp(x - max) over the ids up to `last`. */
static __device__ mass total_mass(sample_shared *s, const float *x, uint32_t vocab, float max, cut last)
{
    mass sum = 0;
    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        if (precedes(x[i], (int32_t)i, last))
            sum += mass_of(exp_negative(__fsub_rn(x[i], max)));
    return block_total(s, sum);
}

/* The bucket in which the running sum of the histogram reaches `goal` > 0; false if none. */
static __device__ bool find_bucket(sample_shared *s, uint32_t buckets, mass goal)
{
    const uint32_t each = (buckets + THREADS - 1) / THREADS, first = threadIdx.x * each;
    mass sum = 0;

    __syncthreads();
    if (threadIdx.x == 0)
        s->found = 0;
    for (uint32_t i = first; i < first + each && i < buckets; i++)
        sum += s->histogram[i];
    mass before = block_scan(s, sum) - sum;
    if (before < goal && before + sum >= goal) {
        uint32_t i = first;
        for (; before + s->histogram[i] < goal; i++)
            before += s->histogram[i];
        s->before = before, s->inside = s->histogram[i], s->bucket = i, s->found = 1;
    }
    __syncthreads();
    return s->found;
}

static __device__ void clear_histogram(sample_shared *s, uint32_t buckets)
{
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < buckets; i += THREADS)
        s->histogram[i] = 0;
    __syncthreads();
}

/* What one id counts for. */
static __device__ __forceinline__ mass value_of(float logit, float max, bool by_mass)
{
    return by_mass ? mass_of(exp_negative(__fsub_rn(logit, max))) : 1;
}

/* The id at which the running count of ids equal to `logit` and kept so far reaches `need`. Warps take runs of ids. */
static __device__ int32_t nth_equal(sample_shared *s, const float *x, uint32_t vocab, float logit, cut last, mass need)
{
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t run = ((vocab + WARPS - 1) / WARPS + WARP - 1) / WARP * WARP, begin = warp * run;
    mass count = 0;

    for (uint32_t i = begin; i < begin + run; i += WARP) {
        const bool equal = i + lane < vocab && x[i + lane] == logit && precedes(logit, (int32_t)(i + lane), last);
        count += (mass)__popc(__ballot_sync(WARP_FULL, equal));
    }
    mass before = block_scan(s, lane == 0 ? count : 0) - count;
    before = __shfl_sync(WARP_FULL, before, 0);
    if (before < need && before + count >= need) {
        for (uint32_t i = begin; i < begin + run; i += WARP) {
            const bool equal = i + lane < vocab && x[i + lane] == logit && precedes(logit, (int32_t)(i + lane), last);
            const uint32_t ballot = __ballot_sync(WARP_FULL, equal);
            const mass at = before + (mass)__popc(ballot & (0xffffffffu >> (31 - lane)));
            if (equal && at == need)
                s->id[0] = (int32_t)(i + lane);
            before += (mass)__popc(ballot);
        }
    }
    __syncthreads();
    const int32_t id = s->id[0];
    __syncthreads();
    return id;
}

/* The place at which the running value of the order, cut at `last`, reaches `goal`; `last` if it never does. */
static __device__ cut cut_at(sample_shared *s, const float *x, uint32_t vocab, float max, cut last, mass goal,
                             bool by_mass)
{
    clear_histogram(s, BUCKETS);
    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        if (precedes(x[i], (int32_t)i, last))
            atomicAdd(&s->histogram[bucket_of(x[i], max)], value_of(x[i], max, by_mass));
    if (!find_bucket(s, BUCKETS, goal))
        return last;
    const uint32_t bucket = s->bucket;
    uint32_t key = 0;
    goal -= s->before;
    for (int shift = 24; shift >= 0; shift -= 8) {
        clear_histogram(s, DIGITS);
        for (uint32_t i = threadIdx.x; i < vocab; i += THREADS) {
            if (!precedes(x[i], (int32_t)i, last) || bucket_of(x[i], max) != bucket)
                continue;
            const uint32_t own = key_of(x[i]);
            if (shift == 24 || own >> (shift + 8) == key >> (shift + 8))
                atomicAdd(&s->histogram[own >> shift & 0xff], value_of(x[i], max, by_mass));
        }
        find_bucket(s, DIGITS, goal);
        key |= s->bucket << shift;
        goal -= s->before;
    }
    const float logit = logit_of(key);
    const mass each = value_of(logit, max, by_mass), need = (goal + each - 1) / each;
    if (need * each == s->inside) { /* all of them */
        const cut whole = {logit, logit == last.logit ? last.id : INT32_MAX};
        return whole;
    }
    const cut some = {logit, nth_equal(s, x, vocab, logit, last, need)};
    return some;
}

/* The last place whose weight is at least min_weight. */
static __device__ cut cut_by_weight(sample_shared *s, const float *x, uint32_t vocab, float max, float min_weight)
{
    float low = max;

    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        if (x[i] < low && exp_negative(__fsub_rn(x[i], max)) >= min_weight)
            low = x[i];
    low = -warp_max(-low);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        s->value[threadIdx.x / WARP] = low;
    __syncthreads();
    for (int i = 0; i < WARPS; i++)
        low = fminf(low, s->value[i]);
    __syncthreads();
    const cut last = {low, min_weight > 1.0f ? -1 : INT32_MAX}; /* nothing weighs more than the largest */
    return last;
}

/* Step 6: the first kept id whose running sum exceeds u * total. */
static __device__ int32_t draw(sample_shared *s, const float *x, uint32_t vocab, float max, cut last, double u)
{
    const uint32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const uint32_t run = ((vocab + WARPS - 1) / WARPS + WARP - 1) / WARP * WARP, begin = warp * run;
    mass sum = 0;
    int32_t last_id = -1; /* the last kept id of any weight */

    for (uint32_t i = begin + lane; i < begin + run && i < vocab; i += WARP) {
        if (!precedes(x[i], (int32_t)i, last))
            continue;
        const float weight = exp_negative(__fsub_rn(x[i], max));
        sum += mass_of(weight);
        last_id = weight > 0 ? (int32_t)i : last_id;
    }
    for (unsigned mask = 16; mask; mask >>= 1) {
        sum += __shfl_xor_sync(WARP_FULL, sum, mask);
        const int32_t other = __shfl_xor_sync(WARP_FULL, last_id, mask);
        last_id = other > last_id ? other : last_id;
    }
    const mass total = block_total(s, lane == 0 ? sum : 0); /* leaves the warps' sums in of_warp */
    const double target = u * (double)total;
    if (lane == 0)
        s->of_warp[warp] = sum, s->id[warp] = last_id;
    if (threadIdx.x == 0)
        s->found = 0;
    __syncthreads();
    mass before = 0;
    for (uint32_t i = 0; i < warp; i++)
        before += s->of_warp[i];
    if ((double)before <= target && (double)(before + sum) > target) {
        for (uint32_t i = begin; i < begin + run; i += WARP) {
            const uint32_t id = i + lane;
            const bool kept = id < vocab && precedes(x[id], (int32_t)id, last);
            const mass own = kept ? mass_of(exp_negative(__fsub_rn(x[id], max))) : 0;
            const mass upto = before + warp_scan(own);
            if (own && (double)upto > target && (double)(upto - own) <= target)
                s->found = 1, s->bucket = id;
            before = __shfl_sync(WARP_FULL, upto, WARP - 1);
        }
    }
    __syncthreads();
    int32_t answer = (int32_t)s->bucket;
    if (!s->found) {
        answer = -1;
        for (int i = 0; i < WARPS; i++)
            answer = s->id[i] > answer ? s->id[i] : answer;
    }
    __syncthreads();
    return answer;
}

/* ---- steps 2 and 3 ---- */

/* Adds the biases of a row; those of one token in their order. */
static __device__ void apply_bias(const tn_sample &p, uint32_t row, float *x)
{
    const uint32_t begin = p.bias_row[row], end = p.bias_row[row + 1];

    for (uint32_t i = begin + threadIdx.x; i < end; i += THREADS) {
        const int32_t token = p.bias_token[i];
        bool first = true;
        for (uint32_t j = begin; j < i && first; j++)
            first = p.bias_token[j] != token;
        if (!first)
            continue;
        float logit = x[token];
        for (uint32_t j = i; j < end; j++)
            if (p.bias_token[j] == token)
                logit = __fadd_rn(logit, p.bias_value[j]);
        x[token] = logit;
    }
    __syncthreads();
}

static __device__ void apply_penalties(const tn_sample &p, uint32_t row, float *x)
{
    const float repetition = p.repetition ? p.repetition[row] : 1.0f;
    const float presence = p.presence ? p.presence[row] : 0.0f, frequency = p.frequency ? p.frequency[row] : 0.0f;

    for (uint32_t i = p.seen_row[row] + threadIdx.x; i < p.seen_row[row + 1]; i += THREADS) {
        float logit = x[p.seen_token[i]];
        const float count = (float)p.seen_count[i];
        if (repetition != 1.0f)
            logit = logit > 0 ? __fdiv_rn(logit, repetition) : __fmul_rn(logit, repetition);
        logit = __fsub_rn(logit, __fmul_rn(frequency, count));
        if (count > 0)
            logit = __fsub_rn(logit, presence);
        x[p.seen_token[i]] = logit;
    }
    __syncthreads();
}

/* x = the row's logits, masked, biased and penalised. */
static __device__ void edit_row(const tn_sample &p, uint32_t row, const float *logits, uint32_t vocab, float *x)
{
    const uint32_t *mask = p.mask ? p.mask + (uint64_t)row * ((vocab + 31) / 32) : nullptr;

    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        x[i] = !mask || mask[i / 32] >> (i % 32) & 1u ? logits[i] : -INFINITY;
    __syncthreads();
    if (p.bias_row)
        apply_bias(p, row, x);
    if (p.seen_row)
        apply_penalties(p, row, x);
}

/* ---- a row ---- */

/* Steps 2 to 6. x: work row. */
static __device__ int32_t choose(sample_shared *s, const tn_sample &p, uint32_t row, uint32_t position,
                                 const float *logits, uint32_t vocab, float *work)
{
    const float temperature = p.temperature ? p.temperature[row] : 0.0f;
    const bool edited = p.bias_row || p.mask || p.seen_row;
    const float *x = logits;
    cut max, last = {-INFINITY, INT32_MAX};

    if (edited) {
        edit_row(p, row, logits, vocab, work);
        x = work;
    }
    if (!find_max(s, x, vocab, &max) || max.logit == -INFINITY)
        return -1;
    if (temperature == 0)
        return max.id;
    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        work[i] = __fdiv_rn(x[i], temperature);
    __syncthreads();
    if (!find_max(s, work, vocab, &max) || isinf(max.logit))
        return max.logit == INFINITY ? max.id : -1;

    const float min_p = p.min_p ? p.min_p[row] : 0.0f, top_p = p.top_p ? p.top_p[row] : 1.0f;
    const uint32_t top_k = p.top_k ? p.top_k[row] : 0;
    if (min_p > 0)
        last = cut_by_weight(s, work, vocab, max.logit, min_p);
    if (top_k > 0 && top_k < vocab)
        last = cut_at(s, work, vocab, max.logit, last, top_k, false);
    if (top_p < 1) {
        const double goal = ceil((double)top_p * (double)total_mass(s, work, vocab, max.logit, last));
        last = cut_at(s, work, vocab, max.logit, last, goal < 1 ? 1 : (mass)goal, true);
    }
    return draw(s, work, vocab, max.logit, last,
                uniform(p.seed ? p.seed[row] : 0, p.choice ? p.choice[row] : 0, position));
}

/* The k largest raw logits as log-probs, padded with id -1. */
static __device__ void report_top(sample_shared *s, const float *x, uint32_t vocab, float max, float log_sum,
                                  uint32_t k, int32_t *ret_id, float *ret_logprob)
{
    const cut all = {-INFINITY, INT32_MAX}, last = cut_at(s, x, vocab, max, all, k < vocab ? k : vocab, false);

    if (threadIdx.x == 0)
        s->count = 0;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        if (precedes(x[i], (int32_t)i, last)) {
            const uint32_t at = atomicAdd(&s->count, 1u);
            if (at < CUDA_TOP_MAX)
                s->top_logit[at] = x[i], s->top_id[at] = (int32_t)i;
        }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < k; i += THREADS) {
        if (i >= s->count) {
            ret_id[i] = -1;
            ret_logprob[i] = -INFINITY;
            continue;
        }
        uint32_t rank = 0;
        const cut own = {s->top_logit[i], s->top_id[i]};
        for (uint32_t j = 0; j < s->count; j++)
            rank += j != i && precedes(s->top_logit[j], s->top_id[j], own);
        ret_id[rank] = own.id;
        ret_logprob[rank] = __fsub_rn(__fsub_rn(own.logit, max), log_sum);
    }
    __syncthreads();
}

static __global__ void __launch_bounds__(THREADS) sample(cuda_sample_args a, tn_sample p)
{
    __shared__ sample_shared shared;
    const uint32_t row = blockIdx.x, want = a.want ? a.want[row] : 0;
    const float *logits = a.logits + (uint64_t)row * a.stride;
    const int32_t target = p.score_target ? p.score_target[row] : -1;
    const cut all = {-INFINITY, INT32_MAX};
    cut max = {0, 0};
    float log_sum = 0;

    if (a.row_count && row >= *a.row_count)
        return;
    if (want & (TN_WANT_LOGPROB | TN_WANT_TOP | TN_WANT_TARGET)) {
        if (!find_max(&shared, logits, a.vocab, &max) || isinf(max.logit)) {
            if (threadIdx.x == 0)
                a.id[row] = -1;
            return;
        }
        log_sum = (float)log((double)total_mass(&shared, logits, a.vocab, max.logit, all) * 0x1p-44);
        if (threadIdx.x == 0 && (want & TN_WANT_TARGET) && target >= 0 && (uint32_t)target < a.vocab)
            a.target_logprob[row] = __fsub_rn(__fsub_rn(logits[target], max.logit), log_sum);
        if ((want & TN_WANT_TOP) && p.top_logprobs)
            report_top(&shared, logits, a.vocab, max.logit, log_sum, p.top_logprobs,
                       a.top_id + (uint64_t)row * p.top_logprobs, a.top_logprob + (uint64_t)row * p.top_logprobs);
    }
    const int32_t id =
        choose(&shared, p, row, a.position ? a.position[row] : 0, logits, a.vocab, a.work + (uint64_t)row * a.stride);
    if (threadIdx.x)
        return;
    a.id[row] = id;
    if ((want & TN_WANT_LOGPROB) && id >= 0)
        a.logprob[row] = __fsub_rn(__fsub_rn(logits[id], max.logit), log_sum);
}

extern "C" tn_status cuda_sample(const cuda_sample_args *args, cuda_stream stream)
{
    tn_sample neutral = {};

    if (!args->rows)
        return TN_OK;
    if (!args->vocab || args->vocab > (1u << 19) || args->stride < args->vocab ||
        (args->sample && args->sample->top_logprobs > CUDA_TOP_MAX))
        return TN_E_ARGUMENT;
    LAUNCH(sample, args->rows, THREADS, 0, stream, *args, args->sample ? *args->sample : neutral);
    return LAUNCH_STATUS();
}
