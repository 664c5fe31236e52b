/* plain_launch.c: the launchers of plugins/cuda_tp/kernels/launch.h as plain loops over host memory, for tests of the
 * host half: what it cuts, places, orders and adds up. Work is done at once, streams are ignored. The kernels
 * themselves are tested elsewhere.
 */
#include "plain_weight.h"

#include "base/expert_route.h"
#include "base/half.h"
#include "base/sampler.h"

#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local bool launch_nothing;

void cuda_launch_nothing(bool on)
{
    launch_nothing = on;
}

static bool is_off(cuda_stream stream)
{
    (void)stream;
    return launch_nothing;
}

/* ---- elements ---- */

static float get(const void *array, uint32_t type, uint64_t index)
{
    if (type == TN_F32)
        return ((const float *)array)[index];
    return type == TN_F16 ? float_from_f16(((const uint16_t *)array)[index])
                          : float_from_bf16(((const uint16_t *)array)[index]);
}

static void put(void *array, uint32_t type, uint64_t index, float value)
{
    if (type == TN_F32)
        ((float *)array)[index] = value;
    else
        ((uint16_t *)array)[index] = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);
}

/* ---- rows ---- */

tn_status cuda_embed(const cuda_embed_args *a, cuda_stream stream)
{
    float *row;

    if (is_off(stream))
        return TN_OK;
    row = malloc(a->table->columns * sizeof *row);
    if (!row)
        return TN_E_MEMORY;
    for (uint64_t t = 0; t < a->rows; t++) {
        bool given = a->token[t] == TN_TOKEN_EMBED;
        int64_t token = given || a->token[t] >= 0 ? a->token[t] : a->prev_id[-1 - a->token[t]];
        bool ours = !given && token >= a->vocab_first && token - a->vocab_first < a->table->rows;
        if (ours)
            plain_weight_row(a->table, (uint64_t)(token - a->vocab_first), row);
        for (uint32_t c = 0; c < a->table->columns; c++) {
            float value = 0;
            if (given)
                value = a->vocab_first == 0 ? a->embed[t * a->table->columns + c] : 0;
            else if (ours)
                value = a->scale * row[c];
            put(a->out, a->out_type, t * a->out_stride + (a->perm && !given ? a->perm[c] : c), value);
        }
    }
    free(row);
    return TN_OK;
}

static void norm_run(const cuda_rms_norm_args *a, uint64_t row, uint32_t first, float *s)
{
    double squares = 0;

    for (uint32_t c = 0; c < a->run; c++) {
        s[c] = get(a->x, a->x_type, row * a->x_stride + first + c);
        if (a->delta)
            s[c] += a->delta_scale * get(a->delta, a->delta_type, row * a->delta_stride + first + c);
        squares += (double)s[c] * s[c];
    }
    double factor = 1 / sqrt(squares / a->run + (double)a->eps);
    for (uint32_t c = 0; c < a->run; c++) {
        if (a->sum)
            put(a->sum, a->x_type, row * a->sum_stride + first + c, s[c]);
        if (a->out)
            put(a->out, a->out_type, row * a->out_stride + first + c,
                (float)(s[c] * factor * ((double)a->gain[c] + (double)a->gain_offset)));
    }
}

tn_status cuda_rms_norm(const cuda_rms_norm_args *a, cuda_stream stream)
{
    float *s;

    if (is_off(stream))
        return TN_OK;
    s = malloc(a->run * sizeof *s);
    if (!s)
        return TN_E_MEMORY;
    for (uint64_t row = 0; row < a->rows; row++)
        for (uint32_t first = 0; first < a->columns; first += a->run)
            norm_run(a, row, first, s);
    free(s);
    return TN_OK;
}

static void turn_head(const cuda_rope_kv_args *a, const float *in, uint32_t dim, int32_t position, float *out)
{
    memcpy(out, in, dim * sizeof *out);
    for (uint32_t i = 0; i < a->rotated / 2; i++) {
        bool halves = a->style == TN_ROPE_HALVES;
        uint32_t first = halves ? i : 2 * i, second = halves ? i + a->rotated / 2 : 2 * i + 1;
        double angle = (double)((float)position * a->inv_freq[i]);
        double cosine = cos(angle) * (double)a->magnitude, sine = sin(angle) * (double)a->magnitude;
        out[first] = (float)(in[first] * cosine - in[second] * sine);
        out[second] = (float)(in[second] * cosine + in[first] * sine);
    }
}

static uint64_t kv_index(const cuda_kv *kv, uint32_t slot, uint32_t position, uint32_t head, bool value)
{
    uint64_t page = kv->table[slot * (uint64_t)kv->table_stride + position / kv->page_tokens];
    uint64_t width = value ? kv->v_dim : kv->head_dim;
    uint64_t at = page * kv->page_stride / tn_scalar_bytes(kv->type) +
                  (value ? (uint64_t)kv->kv_heads * kv->page_tokens * kv->head_dim : 0);
    return at + (head * (uint64_t)kv->page_tokens + position % kv->page_tokens) * width;
}

static void rope_kv_row(const cuda_rope_kv_args *a, uint64_t t)
{
    const cuda_kv *kv = &a->kv;
    float in[CUDA_HEAD_DIM_MAX], out[CUDA_HEAD_DIM_MAX];
    int32_t position = a->position[t * a->axis_count + a->axis];

    for (uint32_t h = 0; h < a->heads; h++) {
        for (uint32_t c = 0; c < kv->head_dim; c++)
            in[c] = get(a->q, TN_BF16, t * a->q_stride + h * kv->head_dim + c);
        turn_head(a, in, kv->head_dim, position, out);
        for (uint32_t c = 0; c < kv->head_dim; c++)
            put(a->q, TN_BF16, t * a->q_stride + h * kv->head_dim + c, out[c]);
    }
    for (uint32_t g = 0; g < kv->kv_heads && a->row_slot[t] != CUDA_NO_ROW; g++) {
        uint64_t k_at = kv_index(kv, a->row_slot[t], a->kv_position[t], g, false);
        uint64_t v_at = kv_index(kv, a->row_slot[t], a->kv_position[t], g, true);
        for (uint32_t c = 0; c < kv->head_dim; c++)
            in[c] = get(a->k, TN_BF16, t * a->k_stride + g * kv->head_dim + c);
        turn_head(a, in, kv->head_dim, position, out);
        for (uint32_t c = 0; c < kv->head_dim; c++)
            put(kv->pages, kv->type, k_at + c, out[c]);
        for (uint32_t c = 0; c < kv->v_dim; c++)
            put(kv->pages, kv->type, v_at + c, get(a->v, TN_BF16, t * a->v_stride + g * kv->v_dim + c));
    }
}

tn_status cuda_rope_kv(const cuda_rope_kv_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t t = 0; t < a->rows; t++)
        rope_kv_row(a, t);
    return TN_OK;
}

static double activate(uint32_t activation, double x)
{
    switch (activation) {
    case TN_ACT_SILU:
        return x / (1 + exp(-x));
    case TN_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    default:
        return 0.5 * x * (1 + erf(x * 0.7071067811865476));
    }
}

static double gated(const cuda_gated_args *a, double gate, double up)
{
    double limit = (double)a->limit;

    if (a->activation != TN_ACT_SWIGLU_CLAMPED)
        return activate(a->activation, gate) * up;
    gate = fmin(gate, limit);
    up = fmax(fmin(up, limit), -limit);
    return gate / (1 + exp(-(double)a->alpha * gate)) * (up + 1);
}

tn_status cuda_gated(const cuda_gated_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->columns; c++)
            put(a->out, a->out_type, r * a->out_stride + c,
                (float)gated(a, (double)get(a->gate, a->in_type, r * a->gate_stride + c),
                             (double)get(a->up, a->in_type, r * a->up_stride + c)));
    return TN_OK;
}

tn_status cuda_add(const cuda_add_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++) {
        for (uint64_t c = 0; c < a->columns; c++) {
            float value = get(a->a, a->a_type, r * a->a_stride + c);
            if (a->b)
                value += a->scale * get(a->b, a->b_type, (a->b_rows ? 0 : r * a->b_stride) + c);
            else
                value *= a->scale;
            put(a->out, a->out_type, r * a->out_stride + c, value);
        }
    }
    return TN_OK;
}

static void sum_in_order(const void *const *buffer, uint32_t world, void *out, uint64_t count, uint32_t type)
{
    for (uint64_t i = 0; i < count; i++) {
        float sum = get(buffer[0], type, i);
        for (uint32_t r = 1; r < world; r++)
            sum += get(buffer[r], type, i);
        put(out, type, i, sum);
    }
}

tn_status cuda_sum_ranks(const cuda_sum_ranks_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    sum_in_order(a->buffer, a->world, a->out, a->count, a->type);
    return TN_OK;
}

/* As the kernel's first block does. */
static void meet(const cuda_all_reduce_args *a, uint32_t gate, uint32_t round)
{
    for (uint32_t peer = 0; peer < a->world; peer++)
        __atomic_store_n(&a->flag[peer][a->rank * CUDA_REDUCE_BLOCKS * 2 + gate], round, __ATOMIC_RELEASE);
    for (uint32_t peer = 0; peer < a->world; peer++) {
        const uint32_t *theirs = &a->flag[a->rank][peer * CUDA_REDUCE_BLOCKS * 2 + gate];
        while ((int32_t)(__atomic_load_n(theirs, __ATOMIC_ACQUIRE) - round) < 0 &&
               !__atomic_load_n(a->cancel, __ATOMIC_RELAXED))
            sched_yield();
    }
}

tn_status cuda_all_reduce(const cuda_all_reduce_args *a, cuda_stream stream)
{
    const uint32_t round = *a->sequence + 1;

    if (is_off(stream))
        return TN_OK;
    meet(a, 0, round);
    if (!__atomic_load_n(a->cancel, __ATOMIC_RELAXED)) /* else others may write their buffers by now */
        sum_in_order(a->buffer, a->world, a->out, a->count, a->type);
    meet(a, 1, round);
    *a->sequence = round;
    return TN_OK;
}

tn_status cuda_softcap(const cuda_softcap_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++) {
        for (uint32_t c = 0; c < a->columns; c++) {
            float x = a->x[r * a->stride + c] * a->scale;
            a->x[r * a->stride + c] = a->cap != 0 ? a->cap * tanhf(x / a->cap) : x;
        }
    }
    return TN_OK;
}

tn_status cuda_select(const cuda_select_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t i = 0; i < a->count; i++)
        for (uint32_t c = 0; c < a->columns; c++)
            put(a->out, a->type, i * a->out_stride + c, get(a->x, a->type, a->row[i] * (uint64_t)a->x_stride + c));
    return TN_OK;
}

static uint32_t expert_of(const cuda_permute_columns_args *a, uint32_t place)
{
    uint32_t expert = 0;
    while (place >= a->expert_start[expert + 1])
        expert++;
    TN_ASSERT(expert < a->experts);
    return expert;
}

tn_status cuda_permute_columns(const cuda_permute_columns_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint32_t r = 0; r < a->rows && (!a->row_count || r < *a->row_count); r++) {
        const uint32_t *perm = a->perm + (a->expert_start ? (uint64_t)expert_of(a, r) * a->columns : 0);
        uint64_t row = a->place_row ? a->place_row[r] : r;
        for (uint32_t k = 0; k < a->columns; k++) {
            uint64_t part = a->part_columns ? perm[k] / a->part_columns : 0;
            uint64_t column = a->part_columns ? perm[k] % a->part_columns : perm[k];
            put(a->out, TN_BF16, (uint64_t)r * a->out_stride + k,
                get(a->x, TN_BF16, (part * a->part_rows + row) * a->x_stride + column));
        }
    }
    return TN_OK;
}

tn_status cuda_interleave(const cuda_interleave_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++)
        for (uint32_t c = 0; c < a->columns; c++)
            a->out[r * a->out_stride + c] = a->x[((uint64_t)(c / a->part) * a->rows + r) * a->part + c % a->part];
    return TN_OK;
}

tn_status cuda_page_table(const cuda_page_table_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint32_t i = 0; i < *a->count; i++)
        a->table[a->change[i].at] = a->change[i].page;
    return TN_OK;
}

/* ---- attention ---- */

typedef struct softmax {
    double max, sum, value[CUDA_HEAD_DIM_MAX];
} softmax;

static void attend_key(const cuda_attention_args *a, uint64_t q_at, uint32_t slot, uint32_t head, uint32_t key,
                       softmax *s)
{
    const cuda_kv *kv = &a->kv;
    uint32_t g = head / (a->heads / kv->kv_heads);
    uint64_t k_at = kv_index(kv, slot, key, g, false), v_at = kv_index(kv, slot, key, g, true);
    double score = 0;

    for (uint32_t c = 0; c < kv->head_dim; c++)
        score += (double)get(a->q, TN_BF16, q_at + c) * (double)get(kv->pages, kv->type, k_at + c);
    score *= (double)a->scale;
    if (a->softcap != 0)
        score = (double)a->softcap * tanh(score / (double)a->softcap);
    double max = fmax(s->max, score), shrink = exp(s->max - max), weight = exp(score - max);
    s->max = max;
    s->sum = s->sum * shrink + weight;
    for (uint32_t c = 0; c < kv->v_dim; c++)
        s->value[c] = s->value[c] * shrink + weight * (double)get(kv->pages, kv->type, v_at + c);
}

static void finish_head(const softmax *s, const float *sinks, uint32_t head, uint32_t v_dim, void *out, uint64_t at)
{
    double max = sinks ? fmax(s->max, (double)sinks[head]) : s->max, shrink = exp(s->max - max);
    double sum = s->sum * shrink + (sinks ? exp((double)sinks[head] - max) : 0);

    for (uint32_t c = 0; c < v_dim; c++)
        put(out, TN_BF16, at + c, (float)(s->value[c] * shrink / sum));
}

static void attend_row(const cuda_attention_args *a, const cuda_attention_task *task, uint32_t i, uint32_t head)
{
    const uint64_t row = task->row + i, v_dim = a->kv.v_dim;
    uint32_t position = task->position + i, first = task->span_first * a->span_tokens;
    uint32_t end = first + task->span_count * a->span_tokens;
    softmax s = {.max = -INFINITY};

    if (a->window && position >= a->window && position - a->window + 1 > first)
        first = position - a->window + 1;
    for (uint32_t key = first; key < end && key <= position; key++)
        attend_key(a, row * a->q_stride + head * (uint64_t)a->kv.head_dim, task->slot, head, key, &s);
    if (task->partial == CUDA_NO_ROW) {
        finish_head(&s, a->sinks, head, (uint32_t)v_dim, a->out, row * a->out_stride + head * v_dim);
        return;
    }
    float *partial = a->partial + ((task->partial + i) * (uint64_t)a->heads + head) * (v_dim + 2);
    for (uint32_t c = 0; c < v_dim; c++)
        partial[c] = (float)s.value[c];
    partial[v_dim] = (float)s.max;
    partial[v_dim + 1] = (float)s.sum;
}

tn_status cuda_attention(const cuda_attention_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint32_t t = 0; t < *a->task_count; t++)
        for (uint32_t i = 0; i < a->task[t].rows; i++)
            for (uint32_t head = 0; head < a->heads; head++)
                attend_row(a, &a->task[t], i, head);
    return TN_OK;
}

static void merge_head(const cuda_attention_merge_args *a, uint32_t item, uint32_t head)
{
    softmax s = {.max = -INFINITY};

    for (uint32_t p = a->item_partial[item]; p < a->item_partial[item + 1]; p++) {
        const float *partial = a->partial + (p * (uint64_t)a->heads + head) * (a->v_dim + 2ull);
        double max = fmax(s.max, (double)partial[a->v_dim]), shrink = exp(s.max - max);
        double weight = exp((double)partial[a->v_dim] - max);
        for (uint32_t c = 0; c < a->v_dim; c++)
            s.value[c] = s.value[c] * shrink + weight * (double)partial[c];
        s.sum = s.sum * shrink + weight * (double)partial[a->v_dim + 1];
        s.max = max;
    }
    finish_head(&s, a->sinks, head, a->v_dim, a->out,
                a->item[item] * (uint64_t)a->out_stride + head * (uint64_t)a->v_dim);
}

tn_status cuda_attention_merge(const cuda_attention_merge_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint32_t item = 0; item < *a->item_count; item++)
        for (uint32_t head = 0; head < a->heads; head++)
            merge_head(a, item, head);
    return TN_OK;
}

/* ---- products ---- */

/* One output of a row. */
static double dot(const float *weight, const void *x, uint64_t x_at, uint32_t columns)
{
    double sum = 0;
    for (uint32_t k = 0; k < columns; k++)
        sum += (double)weight[k] * (double)get(x, TN_BF16, x_at + k);
    return sum;
}

/* Scratch is asked for and overwritten where the kernels would, so that nothing else may lie there. */
tn_status cuda_linear(const cuda_linear_args *a, cuda_stream stream)
{
    const cuda_weight *w = a->weight;
    uint64_t split = cuda_linear_split_floats(a->rows, w->rows);
    float *row;

    if (is_off(stream))
        return TN_OK;
    row = malloc(w->columns * sizeof *row);
    if (!row)
        return TN_E_MEMORY;
    TN_ASSERT(a->partial_floats >= split && (a->partial || !split));
    if (split)
        memset(a->partial, 0xff, split * sizeof *a->partial);
    for (uint32_t n = 0; n < w->rows; n++) {
        plain_weight_row(w, n, row);
        for (uint64_t r = 0; r < a->rows; r++)
            put(a->y, a->y_type, r * a->y_stride + n,
                (float)((a->bias ? (double)a->bias[n] : 0) + dot(row, a->x, r * a->x_stride, w->columns)));
    }
    free(row);
    return TN_OK;
}

tn_status cuda_expert_linear(const cuda_expert_linear_args *a, cuda_stream stream)
{
    float *row;

    if (is_off(stream))
        return TN_OK;
    row = malloc(a->weight->columns * sizeof *row);
    if (!row)
        return TN_E_MEMORY;
    for (uint64_t n = 0; n < (uint64_t)a->experts * a->n; n++) {
        const uint64_t expert = n / a->n;
        plain_weight_row(a->weight, n, row);
        for (uint64_t place = a->expert_start[expert]; place < a->expert_start[expert + 1]; place++) {
            uint64_t from = a->place_row ? a->place_row[place] : place;
            put(a->y, a->y_type, place * a->y_stride + n % a->n,
                (float)((a->bias ? (double)a->bias[n] : 0) + dot(row, a->x, from * a->x_stride, a->weight->columns)));
        }
    }
    free(row);
    return TN_OK;
}

/* ---- experts ---- */

tn_status cuda_moe_route(const cuda_moe_route_args *a, cuda_stream stream)
{
    double weight[CUDA_EXPERTS_MAX];

    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++) {
        if (a->row_count && r >= *a->row_count) {
            for (uint32_t i = 0; i < a->chosen; i++)
                a->expert[r * a->chosen + i] = CUDA_NO_ROW;
            continue;
        }
        expert_route(a->logits + r * a->logits_stride, a->experts, a->chosen, a->normalised != 0,
                     a->expert + r * a->chosen, weight);
        for (uint32_t i = 0; i < a->chosen; i++)
            a->weight[r * a->chosen + i] = (float)weight[i];
    }
    return TN_OK;
}

uint32_t cuda_moe_tile_rows(uint32_t choices, uint32_t experts)
{
    (void)choices, (void)experts;
    return 8;
}

tn_status cuda_moe_sort(const cuda_moe_sort_args *a, cuda_stream stream)
{
    uint32_t place = 0;

    if (is_off(stream))
        return TN_OK;
    for (uint32_t c = 0; c < a->choices; c++)
        a->place[c] = CUDA_NO_ROW;
    for (uint32_t e = 0; e < a->experts; e++) {
        a->expert_start[e] = place;
        for (uint32_t c = 0; c < a->choices; c++) {
            if (a->expert[c] != a->expert_first + e)
                continue;
            a->place[c] = place;
            a->place_row[place++] = c / a->chosen;
        }
    }
    a->expert_start[a->experts] = place;
    return TN_OK;
}

tn_status cuda_moe_combine(const cuda_moe_combine_args *a, cuda_stream stream)
{
    if (is_off(stream))
        return TN_OK;
    for (uint64_t r = 0; r < a->rows; r++) {
        for (uint32_t c = 0; c < a->columns; c++) {
            double sum = 0;
            for (uint32_t i = 0; i < a->chosen; i++)
                if (a->place[r * a->chosen + i] != CUDA_NO_ROW)
                    sum += (double)a->weight[r * a->chosen + i] *
                           (double)get(a->y, a->y_type, a->place[r * a->chosen + i] * (uint64_t)a->y_stride + c);
            put(a->out, a->out_type, r * a->out_stride + c, (float)sum);
        }
    }
    return TN_OK;
}

/* ---- sampling ---- */

tn_status cuda_sample(const cuda_sample_args *a, cuda_stream stream)
{
    void *scratch;
    tn_result result = {.struct_size = sizeof result,
                        .out_count = a->rows,
                        .id = a->id,
                        .logprob = a->logprob,
                        .target_logprob = a->target_logprob,
                        .top_id = a->top_id,
                        .top_logprob = a->top_logprob};

    if (is_off(stream))
        return TN_OK;
    scratch = malloc(sampler_scratch_bytes(a->vocab));
    if (!scratch)
        return TN_E_MEMORY;
    for (uint32_t r = 0; r < a->rows; r++) {
        float *row = a->work + (uint64_t)r * a->stride;
        memcpy(row, a->logits + (uint64_t)r * a->stride, a->vocab * sizeof *row);
        sampler_row(a->sample, r, a->position[r], a->want[r], row, a->vocab, scratch, &result);
    }
    free(scratch);
    return TN_OK;
}
