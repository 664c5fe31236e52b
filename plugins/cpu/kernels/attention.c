/* plugins/cpu/kernels/attention.c: causal attention of a few query vectors over one span of 256 positions.
 *
 * Pages hold 16 tokens: K as [head_dim][16] with lanes over tokens, V as [16][v_pad] with lanes over the head. Within a
 * span: all scores, their largest, exponentials, their sum, weighted values; no rescaling. Spans start at absolute
 * multiples of 256 and are merged in ascending order with one formula, so a query's result does not depend on the
 * queries beside it, on how its prefix was computed, or on who computed which span (online softmax: Milakov and
 * Gimelshein 2018, arXiv:1805.02867; splitting: Dao 2023, Flash-Decoding).
 * Many queries convert K and V to float32 once for all; few (decode) convert in registers.
 */
#include "family.h"

#include "base/half.h"

enum { DIRECT_QUERIES_MAX = 6 };

typedef struct visible {
    uint32_t first, end; /* tokens of the span, relative to its start, that a query sees; first = end: none */
} visible;

static visible query_sees(const attention_item *item, uint32_t span, uint32_t query)
{
    uint32_t position = item->position + query / item->heads, start = span * SPAN_TOKENS;
    uint32_t low = item->window && position + 1 > item->window ? position + 1 - item->window : 0;
    visible v = {low > start ? low - start : 0, position + 1 > start ? position + 1 - start : 0};

    if (v.end > SPAN_TOKENS)
        v.end = SPAN_TOKENS;
    if (v.first > v.end)
        v.first = v.end;
    return v;
}

INLINE vf load_element(const uint8_t *p, uint64_t index, uint32_t store)
{
    switch (store) {
    case STORE_F16:
        return vf_load_f16((const uint16_t *)(const void *)p + index);
    case STORE_BF16:
        return vf_load_bf16((const uint16_t *)(const void *)p + index);
    default:
        return vf_load((const float *)(const void *)p + index);
    }
}

/* Page `page` of the span, or the last one: an address to prefetch while an earlier page is read. */
static const uint8_t *page_ahead(const attention_item *item, const uint8_t *base, uint32_t first_page, uint32_t page,
                                 uint32_t page_end)
{
    return base + item->pages[first_page + (page < page_end ? page : page_end - 1)] * item->page_stride;
}

/* score[q][t] of all tokens of pages page0 .. page_end, seen or not; each page converted to float32 for all queries. */
static void score_converted(const attention_item *item, uint32_t first_page, uint32_t page0, uint32_t page_end,
                            kernel_scratch *scratch)
{
    for (uint32_t p = page0; p < page_end; p++) {
        const uint8_t *page = item->k_base + item->pages[first_page + p] * item->page_stride;
        float *score = &scratch->score[0][p * LANES];
        for (uint32_t d = 0; d < item->head_dim; d++)
            vf_store(scratch->panel[d], load_element(page, (uint64_t)d * LANES, item->store));
        for (uint32_t q = 0; q < item->queries; q++)
            vf_store(score + (uint64_t)q * SPAN_TOKENS, vf_zero());
        FAMILY(product_continue)
        (item->q, item->head_dim, item->queries, (const float(*)[LANES])scratch->panel, item->head_dim, score,
         SPAN_TOKENS);
    }
}

/* Scores at t .. t + 16, -inf where the query does not see. */
static vf seen_scores(const attention_item *item, visible v, const float *score, uint32_t t)
{
    const vf lowest = vf_set(-__builtin_inff());
    vf s = vf_load(score + t);

    if (item->softcap != 0)
        s = vf_mul(vf_tanh(vf_div(s, vf_set(item->softcap))), vf_set(item->softcap));
    if (t >= v.first && t + LANES <= v.end)
        return s;
    s = vf_select(vi_first((int32_t)v.end - (int32_t)t), s, lowest);
    return vf_select(vi_first((int32_t)v.first - (int32_t)t), lowest, s);
}

/* Scores of one query become exp(score - max), zero where nothing is seen. */
static softmax_state soften(const attention_item *item, visible v, float *score)
{
    const uint32_t begin = v.first / LANES * LANES, end = (v.end + LANES - 1) / LANES * LANES;
    vf largest = vf_set(-__builtin_inff()), sum = vf_zero();

    for (uint32_t t = begin; t < end; t += LANES)
        largest = vf_max(largest, seen_scores(item, v, score, t));
    softmax_state state = {vf_largest(largest), 0};
    vf max = vf_set(state.max);
    for (uint32_t t = begin; t < end; t += LANES) {
        vf e = vf_exp(vf_sub(seen_scores(item, v, score, t), max));
        if (t < v.first || t + LANES > v.end) {
            e = vf_select(vi_first((int32_t)v.end - (int32_t)t), e, vf_zero());
            e = vf_select(vi_first((int32_t)v.first - (int32_t)t), vf_zero(), e);
        }
        vf_store(score + t, e);
        sum = vf_add(sum, e);
    }
    state.sum = vf_sum(sum);
    return state;
}

/* The same for all queries, one column block at a time converted to float32; only tokens that all of a group of queries
 * see are taken together. */
static void weigh_converted(const attention_item *item, uint32_t first_page, const visible *sees, uint32_t begin,
                            uint32_t end, float *out, kernel_scratch *scratch)
{
    for (uint32_t column = 0; column < item->v_pad; column += LANES) {
        for (uint32_t t = begin; t < end; t++) {
            const uint8_t *page = item->v_base + item->pages[first_page + t / LANES] * item->page_stride;
            vf_store(scratch->panel[t], load_element(page, (uint64_t)(t % LANES) * item->v_pad + column, item->store));
        }
        for (uint32_t q = 0; q < item->queries;) {
            uint32_t left = item->queries - q, count = left < ISA_ROWS_MAX ? left : ISA_ROWS_MAX;
            uint32_t low = 0, high = SPAN_TOKENS;
            for (uint32_t i = q; i < q + count; i++) {
                low = sees[i].first > low ? sees[i].first : low;
                high = sees[i].end < high ? sees[i].end : high;
            }
            high = high > low ? high : low;
            for (uint32_t part = 0; part < 3; part++) {
                uint32_t together = part == 1 ? count : 1;
                for (uint32_t i = q; i < q + count; i += together) {
                    uint32_t from = part == 0              ? sees[i].first
                                    : part == 1            ? low
                                    : high > sees[i].first ? high
                                                           : sees[i].first;
                    uint32_t to = part == 0 ? (low < sees[i].end ? low : sees[i].end) : part == 1 ? high : sees[i].end;
                    if (from < to)
                        FAMILY(product_continue)
                    (&scratch->score[i][from], SPAN_TOKENS, together, (const float(*)[LANES])scratch->panel + from,
                     to - from, out + (uint64_t)i * item->v_pad + column, item->v_pad);
                }
            }
            q += count;
        }
    }
}

/* ---- decode: up to 3 queries, all of which see the same tokens, read K and V in place ---- */

enum { STREAM_QUERIES_MAX = 3, STREAM_WIDTH = 2 };

/* Scores of two pages at a time: 2 x 3 chains hide the latency of the multiply-adds. */
INLINE void score_stream(const int queries, const uint32_t store, const attention_item *item, const float *q,
                         uint32_t first_page, uint32_t page0, uint32_t page_end, float *score)
{
    const uint32_t row_bytes = LANES * (store == STORE_F32 ? 4 : 2);

    for (uint32_t p = page0; p < page_end; p += STREAM_WIDTH) {
        uint32_t second = p + 1 < page_end ? p + 1 : p;
        const uint8_t *page[STREAM_WIDTH] = {item->k_base + item->pages[first_page + p] * item->page_stride,
                                             item->k_base + item->pages[first_page + second] * item->page_stride};
        vf acc[STREAM_WIDTH][STREAM_QUERIES_MAX];
        const uint8_t *ahead0 = page_ahead(item, item->k_base, first_page, p + 2, page_end);
        const uint8_t *ahead1 = page_ahead(item, item->k_base, first_page, p + 3, page_end);
        for (int w = 0; w < STREAM_WIDTH; w++)
            for (int i = 0; i < queries; i++)
                acc[w][i] = vf_zero();
        for (uint32_t d = 0; d < item->head_dim; d++, ahead0 += row_bytes, ahead1 += row_bytes) {
            isa_prefetch(ahead0);
            isa_prefetch(ahead1);
            vf k0 = load_element(page[0], (uint64_t)d * LANES, store),
               k1 = load_element(page[1], (uint64_t)d * LANES, store);
#pragma GCC unroll 3
            for (int i = 0; i < queries; i++) {
                vf x = vf_set(q[(uint32_t)i * item->head_dim + d]);
                acc[0][i] = vf_fma(x, k0, acc[0][i]);
                acc[1][i] = vf_fma(x, k1, acc[1][i]);
            }
        }
        for (int i = 0; i < queries; i++) {
            vf_store(score + (uint32_t)i * SPAN_TOKENS + p * LANES, acc[0][i]);
            if (second != p)
                vf_store(score + (uint32_t)i * SPAN_TOKENS + second * LANES, acc[1][i]);
        }
    }
}

/* out = sum over tokens [begin, end) of weight * V, two columns of 16 at a time in registers over the whole span. */
INLINE void weigh_stream(const int queries, const uint32_t store, const attention_item *item, uint32_t first_page,
                         uint32_t begin, uint32_t end, const float *weight, float *out)
{
    const uint32_t width = store == STORE_F32 ? 4 : 2;
    const uint32_t page_last = (end + LANES - 1) / LANES;

    for (uint32_t column = 0; column < item->v_pad; column += STREAM_WIDTH * LANES) {
        const bool pair = column + LANES < item->v_pad;
        const uint32_t next = pair ? LANES : 0;
        vf acc[STREAM_WIDTH][STREAM_QUERIES_MAX];
        for (int w = 0; w < STREAM_WIDTH; w++)
            for (int i = 0; i < queries; i++)
                acc[w][i] = vf_zero();
        for (uint32_t t = begin; t < end;) {
            uint32_t page_end = (t / LANES + 1) * LANES < end ? (t / LANES + 1) * LANES : end;
            const uint8_t *page = item->v_base + item->pages[first_page + t / LANES] * item->page_stride;
            const uint64_t at = ((uint64_t)(t % LANES) * item->v_pad + column) * width;
            const uint8_t *row = page + at;
            const uint8_t *ahead = page_ahead(item, item->v_base, first_page, t / LANES + 4, page_last) + at;
            for (; t < page_end; t++, row += (uint64_t)item->v_pad * width, ahead += (uint64_t)item->v_pad * width) {
                isa_prefetch(ahead);
                vf v0 = load_element(row, 0, store), v1 = load_element(row, next, store);
#pragma GCC unroll 3
                for (int i = 0; i < queries; i++) {
                    vf x = vf_set(weight[(uint32_t)i * SPAN_TOKENS + t]);
                    acc[0][i] = vf_fma(x, v0, acc[0][i]);
                    acc[1][i] = vf_fma(x, v1, acc[1][i]);
                }
            }
        }
        for (int i = 0; i < queries; i++) {
            vf_store(out + (uint32_t)i * item->v_pad + column, acc[0][i]);
            if (pair)
                vf_store(out + (uint32_t)i * item->v_pad + column + LANES, acc[1][i]);
        }
    }
}

INLINE void stream_queries(const int queries, const uint32_t store, const attention_item *item, uint32_t first_page,
                           uint32_t q, visible v, softmax_state *state, float *out, kernel_scratch *scratch)
{
    const uint32_t page_end = (v.end + LANES - 1) / LANES;

    score_stream(queries, store, item, item->q + (uint64_t)q * item->head_dim, first_page, v.first / LANES, page_end,
                 scratch->score[0]);
    for (int i = 0; i < queries; i++)
        state[i] = soften(item, v, scratch->score[i]);
    weigh_stream(queries, store, item, first_page, v.first, v.end, scratch->score[0], out);
}

static void stream_some(uint32_t queries, const attention_item *item, uint32_t first_page, uint32_t q, visible v,
                        softmax_state *state, float *out, kernel_scratch *scratch)
{
#define STREAM_CASE(n, kind)                                                  \
    if (queries == n && item->store == kind) {                                \
        stream_queries(n, kind, item, first_page, q, v, state, out, scratch); \
        return;                                                               \
    }
#define STREAM_CASES(kind) STREAM_CASE(1, kind) STREAM_CASE(2, kind) STREAM_CASE(3, kind)
    STREAM_CASES(STORE_F16)
    STREAM_CASES(STORE_BF16)
    STREAM_CASES(STORE_F32)
}

void FAMILY(attention_span)(const attention_item *item, uint32_t span, softmax_state *state, float *out,
                            kernel_scratch *scratch)
{
    const uint32_t first_page = span * SPAN_PAGES;
    visible sees[QUERIES_MAX];
    uint32_t begin = SPAN_TOKENS, end = 0;

    for (uint32_t q = 0; q < item->queries; q++) {
        sees[q] = query_sees(item, span, q);
        state[q] = (softmax_state){-__builtin_inff(), 0};
        if (sees[q].first < sees[q].end) {
            begin = sees[q].first < begin ? sees[q].first : begin;
            end = sees[q].end > end ? sees[q].end : end;
        }
    }
    for (uint32_t i = 0; i < item->queries * item->v_pad; i += LANES)
        vf_store(out + i, vf_zero());
    if (begin >= end)
        return;
    if (item->queries <= DIRECT_QUERIES_MAX) {
        for (uint32_t q = 0; q < item->queries;) { /* queries of one row see the same */
            uint32_t count = item->heads - q % item->heads;
            count = count < STREAM_QUERIES_MAX ? count : STREAM_QUERIES_MAX;
            count = count < item->queries - q ? count : item->queries - q;
            if (sees[q].first < sees[q].end)
                stream_some(count, item, first_page, q, sees[q], state + q, out + (uint64_t)q * item->v_pad, scratch);
            q += count;
        }
        return;
    }
    score_converted(item, first_page, begin / LANES, (end + LANES - 1) / LANES, scratch);
    for (uint32_t q = 0; q < item->queries; q++)
        if (sees[q].first < sees[q].end)
            state[q] = soften(item, sees[q], scratch->score[q]);
    weigh_converted(item, first_page, sees, begin, end, out, scratch);
}

static float exp_scalar(float x)
{
    float lane[LANES];
    vf_store(lane, vf_exp(vf_set(x)));
    return lane[0];
}

void FAMILY(attention_merge)(softmax_state *state, float *out, const softmax_state *part, const float *part_out,
                             uint32_t v_pad)
{
    if (part->max == -__builtin_inff() && part->sum == 0)
        return;
    if (state->max == -__builtin_inff() && state->sum == 0) {
        *state = *part;
        for (uint32_t i = 0; i < v_pad; i += LANES)
            vf_store(out + i, vf_load(part_out + i));
        return;
    }
    float max = state->max > part->max ? state->max : part->max;
    float old = exp_scalar(state->max - max), new = exp_scalar(part->max - max);
    state->sum = state->sum * old + part->sum * new;
    state->max = max;
    for (uint32_t i = 0; i < v_pad; i += LANES)
        vf_store(out + i, vf_fma(vf_load(out + i), vf_set(old), vf_mul(vf_load(part_out + i), vf_set(new))));
}

void FAMILY(attention_finish)(const softmax_state *state, const float *state_out, const float *sink, uint32_t v_dim,
                              float *out)
{
    float sum = state->sum, factor = 1;

    if (sink) {
        float max = state->max > *sink ? state->max : *sink;
        factor = exp_scalar(state->max - max);
        sum = sum * factor + exp_scalar(*sink - max);
    }
    vf scale = vf_set(factor / sum);
    for (uint32_t i = 0; i < v_dim; i += LANES)
        vf_store_first(out + i, vf_mul(vf_load(state_out + i), scale), (int32_t)(v_dim - i));
}

/* 16 values, at most `count` of them real, as stored scalars. */
static void to_stored(const float *x, uint32_t count, uint32_t store, uint16_t half[LANES], float wide[LANES])
{
    vf v = vf_load_first(x, (int32_t)count);

    vf_store(wide, v);
    if (store == STORE_F16)
        vf_store_f16(half, v);
    else if (store == STORE_BF16)
        for (uint32_t i = 0; i < LANES; i++)
            half[i] = bf16_from_float(wide[i]);
}

void FAMILY(kv_write)(const float *k, const float *v, uint32_t head_dim, uint32_t v_dim, uint32_t v_pad, uint32_t store,
                      uint32_t token, uint8_t *k_page, uint8_t *v_page)
{
    uint16_t half[LANES];
    float wide[LANES];
    const uint64_t width = store == STORE_F32 ? 4 : 2;
    const void *from = store == STORE_F32 ? (const void *)wide : (const void *)half;

    for (uint32_t d0 = 0; d0 < head_dim; d0 += LANES) {
        uint32_t count = head_dim - d0 < LANES ? head_dim - d0 : LANES;
        to_stored(k + d0, count, store, half, wide);
        for (uint32_t d = 0; d < count; d++)
            if (width == 2)
                memcpy(k_page + ((uint64_t)(d0 + d) * LANES + token) * 2, half + d, 2);
            else
                memcpy(k_page + ((uint64_t)(d0 + d) * LANES + token) * 4, wide + d, 4);
    }
    for (uint32_t d = 0; d < v_pad; d += LANES) {
        to_stored(v + d, d < v_dim ? v_dim - d : 0, store, half, wide);
        memcpy(v_page + ((uint64_t)token * v_pad + d) * width, from, LANES * width);
    }
}
