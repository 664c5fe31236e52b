/* test_cuda_attention.c: rotation, KV pages and attention, against plain loops in double. */
#include "cuda_rig.h"

enum { SLOTS = 3, PAGES = 64, TABLE = 40 };

/* A model's attention, and one batch of it. Sequences lie in slots 2, 0, 1. */
typedef struct rig_case {
    uint32_t heads, kv_heads, head_dim, v_dim, page_tokens, window, span_tokens, type;
    uint32_t length[SLOTS], rows[SLOTS]; /* of each sequence: tokens at the end, the last `rows` of which are queries */
    float softcap;
    bool sinks, split;
} rig_case;

typedef struct rig_state {
    cuda_kv kv;
    uint32_t *table;            /* [SLOTS * TABLE] */
    float *k[SLOTS], *v[SLOTS]; /* [length, G * D] as stored */
    uint16_t *q, *out;
    float *sinks;
    uint32_t total;
} rig_state;

/* Puts a value into a page and returns what is left of it. */
static float store(float value, uint32_t type, void *page, uint64_t at)
{
    uint16_t bits = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);

    if (type == TN_F32) {
        ((float *)page)[at] = value;
        return value;
    }
    ((uint16_t *)page)[at] = bits;
    return type == TN_F16 ? float_from_f16(bits) : float_from_bf16(bits);
}

static float load(uint32_t type, const void *page, uint64_t at)
{
    if (type == TN_F16)
        return float_from_f16(((const uint16_t *)page)[at]);
    return rig_at(page, type, at);
}

/* Fills the pages of one sequence, in a scattered order; pages that a window has left behind do not exist. */
static void fill_sequence(const rig_case *c, rig_state *s, uint32_t seq, uint32_t *next_page, uint32_t *state)
{
    const uint32_t k_width = c->kv_heads * c->head_dim, v_width = c->kv_heads * c->v_dim;
    const uint32_t first_row = c->length[seq] - c->rows[seq];
    const uint32_t first = c->window && first_row >= c->window ? first_row - c->window + 1 : 0;

    s->k[seq] = rig_floats(c->length[seq] * k_width, 1, state);
    s->v[seq] = rig_floats(c->length[seq] * v_width, 1, state);
    for (uint32_t p = 0; p < TABLE; p++)
        s->table[seq * TABLE + p] = 0x7fffffff; /* faults if it is followed */
    for (uint32_t t = first; t < c->length[seq]; t++) {
        uint32_t *page = &s->table[seq * TABLE + t / c->page_tokens];
        if (*page == 0x7fffffff)
            *page = (*next_page)++ * 5 % PAGES;
        void *base = (char *)s->kv.pages + *page * s->kv.page_stride;
        for (uint32_t i = 0; i < k_width; i++) {
            float *value = &s->k[seq][t * k_width + i];
            *value = store(*value, c->type, base,
                           (i / c->head_dim * c->page_tokens + t % c->page_tokens) * c->head_dim + i % c->head_dim);
        }
        for (uint32_t i = 0; i < v_width; i++) {
            float *value = &s->v[seq][t * v_width + i];
            *value = store(*value, c->type, base,
                           c->kv_heads * c->page_tokens * c->head_dim +
                               (i / c->v_dim * c->page_tokens + t % c->page_tokens) * c->v_dim + i % c->v_dim);
        }
    }
}

static void set_up(const rig_case *c, rig_state *s)
{
    uint32_t state = c->heads * 7 + c->head_dim, next_page = 1;

    *s = (rig_state){.table = rig_alloc(SLOTS * TABLE * sizeof *s->table)};
    s->kv =
        (cuda_kv){.page_stride = cuda_kv_page_bytes(c->type, c->kv_heads, c->head_dim, c->v_dim, c->page_tokens) + 16,
                  .table = s->table,
                  .table_stride = TABLE,
                  .page_tokens = c->page_tokens,
                  .kv_heads = c->kv_heads,
                  .head_dim = c->head_dim,
                  .v_dim = c->v_dim,
                  .type = c->type};
    s->kv.pages = rig_alloc(PAGES * s->kv.page_stride);
    for (uint32_t seq = 0; seq < SLOTS; seq++) {
        fill_sequence(c, s, seq, &next_page, &state);
        s->total += c->rows[seq];
    }
    s->q = rig_bf16(s->total * c->heads * c->head_dim, 2, &state);
    s->out = rig_alloc(s->total * c->heads * c->v_dim * 2);
    s->sinks = rig_floats(c->heads, 2, &state);
}

static void tear_down(rig_state *s)
{
    for (uint32_t seq = 0; seq < SLOTS; seq++)
        rig_free(s->k[seq]), rig_free(s->v[seq]);
    rig_free(s->kv.pages), rig_free(s->q), rig_free(s->out), rig_free(s->sinks), rig_free(s->table);
}

/* One query vector in double; out: [v_dim]. */
static void reference(const rig_case *c, const rig_state *s, uint32_t seq, uint32_t position, uint32_t row,
                      uint32_t head, double *out)
{
    const uint32_t group = head / (c->heads / c->kv_heads);
    const uint32_t first = c->window && position >= c->window ? position - c->window + 1 : 0;
    const uint16_t *q = s->q + (row * c->heads + head) * c->head_dim;
    double score[1024], max = c->sinks ? (double)s->sinks[head] : -INFINITY, sum = 0;

    for (uint32_t t = first; t <= position; t++) {
        double dot = 0;
        for (uint32_t d = 0; d < c->head_dim; d++)
            dot += (double)float_from_bf16(q[d]) * (double)s->k[seq][(t * c->kv_heads + group) * c->head_dim + d];
        dot *= 0.125;
        score[t] = c->softcap != 0 ? (double)c->softcap * tanh(dot / (double)c->softcap) : dot;
        max = fmax(max, score[t]);
    }
    for (uint32_t d = 0; d < c->v_dim; d++)
        out[d] = 0;
    for (uint32_t t = first; t <= position; t++) {
        double w = exp(score[t] - max);
        sum += w;
        for (uint32_t d = 0; d < c->v_dim; d++)
            out[d] += w * (double)s->v[seq][(t * c->kv_heads + group) * c->v_dim + d];
    }
    sum += c->sinks ? exp((double)s->sinks[head] - max) : 0;
    for (uint32_t d = 0; d < c->v_dim; d++)
        out[d] /= sum;
}

typedef struct rig_tasks {
    cuda_attention_task task[256];
    uint32_t count, item[64], item_partial[65], item_count, partials;
} rig_tasks;

/* Cuts a batch as a host would: rows_max rows a task, and rows of split sequences span by span. */
static void cut_tasks(const rig_case *c, uint32_t rows_max, rig_tasks *t)
{
    uint32_t row = 0;

    *t = (rig_tasks){0};
    for (uint32_t seq = 0; seq < SLOTS; seq++) {
        uint32_t position = c->length[seq] - c->rows[seq];
        for (uint32_t left = c->rows[seq], n; left; left -= n, row += n, position += n) {
            n = c->split ? 1 : left < rows_max ? left : rows_max;
            uint32_t spans = (position + n - 1) / c->span_tokens + 1;
            uint32_t first = c->window && position >= c->window ? (position - c->window + 1) / c->span_tokens : 0;
            if (!c->split) {
                t->task[t->count++] =
                    (cuda_attention_task){row, n, seq, position, first, spans - first, CUDA_NO_ROW, 0};
                continue;
            }
            t->item[t->item_count] = row;
            for (uint32_t span = first; span < spans; span++)
                t->task[t->count++] = (cuda_attention_task){row, 1, seq, position, span, 1, t->partials++, 0};
            t->item_partial[++t->item_count] = t->partials;
        }
    }
}

static void attend(const rig_case *c, rig_state *s, uint32_t rows_max, uint32_t grid)
{
    rig_tasks *t = rig_alloc(sizeof *t);
    cut_tasks(c, rows_max, t);
    float *partial = rig_alloc((uint64_t)t->partials * c->heads * (c->v_dim + 2) * sizeof *partial);
    cuda_attention_args args = {.kv = s->kv,
                                .q = s->q,
                                .out = s->out,
                                .sinks = c->sinks ? s->sinks : NULL,
                                .partial = partial,
                                .task = t->task,
                                .task_count = &t->count,
                                .grid_tasks = grid,
                                .heads = c->heads,
                                .q_stride = c->heads * c->head_dim,
                                .out_stride = c->heads * c->v_dim,
                                .window = c->window,
                                .span_tokens = c->span_tokens,
                                .scale = 0.125f,
                                .softcap = c->softcap,
                                .one_span = c->split};
    cuda_attention_merge_args merge = {partial, t->item, t->item_partial, &t->item_count, args.sinks,
                                       s->out,  3,       c->heads,        c->v_dim,       args.out_stride};
    assert_int_equal(cuda_attention(&args, NULL), TN_OK);
    if (c->split)
        assert_int_equal(cuda_attention_merge(&merge, NULL), TN_OK);
    rig_free(partial), rig_free(t);
}

/* One rounding of the result, and one of the weights (bf16) that multiply values below 1 and add up to 1. */
static void check_reference(const rig_case *c, const rig_state *s)
{
    uint32_t row = 0;
    for (uint32_t seq = 0; seq < SLOTS; seq++)
        for (uint32_t i = 0; i < c->rows[seq]; i++, row++)
            for (uint32_t head = 0; head < c->heads; head++) {
                double out[CUDA_HEAD_DIM_MAX];
                reference(c, s, seq, c->length[seq] - c->rows[seq] + i, row, head, out);
                for (uint32_t d = 0; d < c->v_dim; d++)
                    rig_near(float_from_bf16(s->out[(row * c->heads + head) * c->v_dim + d]), out[d], 0x1p-8, 0x1p-8);
            }
}

/* Prefill and decode forms, several thread orders: right, and all with the same bits. */
static void check_case(rig_case c)
{
    rig_state s;
    set_up(&c, &s);
    const uint32_t ratio = c.heads / c.kv_heads;
    const size_t bytes = s.total * c.heads * c.v_dim * 2;
    uint16_t *first = rig_alloc(bytes);

    attend(&c, &s, CUDA_TASK_QUERIES / ratio, 4);
    check_reference(&c, &s);
    memcpy(first, s.out, bytes);
    for (uint32_t seed = 0; seed < RIG_SEEDS; seed++) {
        shim_seed(seed);
        memset(s.out, 0xff, bytes);
        c.split = seed == 1;
        attend(&c, &s, seed == 0 ? 3 : CUDA_TASK_QUERIES / ratio, 1 + seed);
        assert_memory_equal(first, s.out, bytes);
    }
    rig_free(first);
    tear_down(&s);
}

static void test_attention_equals_the_definition(void **unused)
{
    (void)unused;
    rig_case base = {.heads = 6,
                     .kv_heads = 2,
                     .head_dim = 64,
                     .v_dim = 64,
                     .page_tokens = 16,
                     .span_tokens = 64,
                     .type = TN_BF16,
                     .length = {1, 70, 201},
                     .rows = {1, 23, 1}};
    check_case(base);
    base.type = TN_F16, base.page_tokens = 8;
    check_case(base);
    base.type = TN_F32;
    check_case(base);
    base.type = TN_BF16, base.window = 50, base.softcap = 5, base.page_tokens = 32;
    check_case(base);
    base.type = TN_F32;
    check_case(base);
    base.sinks = true, base.window = 0, base.head_dim = 40, base.v_dim = 24;
    check_case(base);
    base.type = TN_BF16;
    check_case(base);
}

static void test_attention_of_other_widths(void **unused)
{
    (void)unused;
    rig_case wide = {.heads = 2,
                     .kv_heads = 1,
                     .head_dim = 128,
                     .v_dim = 128,
                     .page_tokens = 16,
                     .span_tokens = 128,
                     .type = TN_BF16,
                     .length = {3, 140, 16},
                     .rows = {3, 2, 16}};
    check_case(wide);
    wide.head_dim = 96, wide.v_dim = 80, wide.window = 130;
    check_case(wide);
    wide.head_dim = wide.v_dim = 256, wide.span_tokens = 64, wide.window = 0;
    check_case(wide);
    wide.heads = 20, wide.head_dim = wide.v_dim = 16; /* 20 heads on one kv head */
    check_case(wide);
}

static void check_rope(uint32_t rotated, uint32_t style, bool pages, bool separate, uint32_t type)
{
    enum { ROWS = 5, H = 3, G = 2, D = 24, DV = 16, TOKENS = 8 };
    uint32_t state = rotated + style, *table = rig_copy((uint32_t[]){3, 1, 0, 0, 2, 4, 0, 0}, 8 * sizeof *table);
    uint32_t *slot = rig_copy((uint32_t[ROWS]){1, 1, 0, CUDA_NO_ROW, 0}, ROWS * sizeof *slot);
    uint32_t *kv_position = rig_copy((uint32_t[ROWS]){7, 8, 3, 0, 9}, ROWS * sizeof *kv_position);
    int32_t *position = rig_copy((int32_t[ROWS * 2]){0, 7, 0, 8, 0, 30000, 0, 0, 0, 9}, ROWS * 2 * sizeof *position);
    float *inv_freq = rig_floats(rotated / 2 + 1, 1, &state);
    uint16_t *q = rig_bf16(ROWS * H * D, 1, &state), *k = rig_bf16(ROWS * G * D, 1, &state);
    uint16_t *v = rig_bf16(ROWS * G * DV, 1, &state), *out = rig_alloc(ROWS * H * D * 2);
    uint16_t before_q[ROWS * H * D], before_k[ROWS * G * D];
    cuda_rope_kv_args args = {.kv = {.page_stride = cuda_kv_page_bytes(type, G, D, DV, TOKENS),
                                     .table = table,
                                     .table_stride = 4,
                                     .page_tokens = TOKENS,
                                     .kv_heads = G,
                                     .head_dim = D,
                                     .v_dim = DV,
                                     .type = type},
                              .q = q,
                              .k = k,
                              .v = v,
                              .q_out = separate ? out : NULL,
                              .inv_freq = inv_freq,
                              .position = position,
                              .row_slot = slot,
                              .kv_position = kv_position,
                              .q_stride = H * D,
                              .k_stride = G * D,
                              .v_stride = G * DV,
                              .q_out_stride = H * D,
                              .rows = ROWS,
                              .heads = H,
                              .rotated = rotated,
                              .style = style,
                              .axis = 1,
                              .axis_count = 2,
                              .magnitude = 1.25f};

    args.kv.pages = pages ? rig_alloc(5 * args.kv.page_stride) : NULL;
    memcpy(before_q, q, sizeof before_q);
    memcpy(before_k, k, sizeof before_k);
    assert_int_equal(cuda_rope_kv(&args, NULL), TN_OK);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t h = 0; h < H + G; h++)
            for (uint32_t d = 0; d < D; d++) {
                const bool is_q = h < H;
                const uint16_t *x = is_q ? before_q + (r * H + h) * D : before_k + (r * G + h - H) * D;
                const uint32_t half = rotated / 2, i = style == TN_ROPE_HALVES ? d % (half ? half : 1) : d / 2;
                const bool second = style == TN_ROPE_HALVES ? d >= half : d % 2;
                const uint32_t other = style == TN_ROPE_HALVES ? (second ? d - half : d + half) : d ^ 1;
                double expected = (double)float_from_bf16(x[d]);
                if (d < rotated) {
                    float angle = (float)position[r * 2 + 1] * inv_freq[i];
                    expected = 1.25 * (expected * cos((double)angle) +
                                       (second ? 1 : -1) * (double)float_from_bf16(x[other]) * sin((double)angle));
                }
                const uint16_t *got = is_q ? (separate ? out : q) + (r * H + h) * D + d : k + (r * G + h - H) * D + d;
                if (is_q || !pages) {
                    rig_near(float_from_bf16(*got), expected, 0x1p-8, 1e-5);
                    continue;
                }
                assert_int_equal(*got, x[d]);
                if (slot[r] == CUDA_NO_ROW)
                    continue;
                const void *page =
                    (char *)args.kv.pages + table[slot[r] * 4 + kv_position[r] / TOKENS] * args.kv.page_stride;
                rig_near(load(type, page, ((h - H) * TOKENS + kv_position[r] % TOKENS) * D + d), expected,
                         rig_rounding(type), 1e-5);
            }
    for (uint32_t r = 0; pages && r < ROWS; r++)
        for (uint32_t i = 0; i < G * DV && slot[r] != CUDA_NO_ROW; i++) {
            const void *page =
                (char *)args.kv.pages + table[slot[r] * 4 + kv_position[r] / TOKENS] * args.kv.page_stride;
            float value = load(type, page, G * TOKENS * D + (i / DV * TOKENS + kv_position[r] % TOKENS) * DV + i % DV);
            assert_true(value == float_from_bf16(v[r * G * DV + i]));
        }
    rig_free(inv_freq), rig_free(q), rig_free(k), rig_free(v), rig_free(out), rig_free(args.kv.pages);
    rig_free(table), rig_free(slot), rig_free(kv_position), rig_free(position);
}

static void test_rope_turns_and_writes(void **unused)
{
    (void)unused;
    for (uint32_t style = TN_ROPE_HALVES; style <= TN_ROPE_PAIRS; style++) {
        check_rope(24, style, true, false, TN_BF16);
        check_rope(12, style, true, true, TN_F16);
        check_rope(24, style, true, true, TN_F32);
        check_rope(0, style, true, false, TN_BF16);
        check_rope(24, style, false, true, TN_BF16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rope_turns_and_writes),
        cmocka_unit_test(test_attention_equals_the_definition),
        cmocka_unit_test(test_attention_of_other_widths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
