/* program_memory.c: where a program's buffers, rotation tables and threads lie in the activation arena.
 *
 * A buffer lives from the first step that names it to the last; buffers that are never alive at once share memory.
 * Placing is quadratic in the number of buffers, a few hundred for a deep model.
 */
#include "program_builder.h"

#include "base/sampler.h"

static uint32_t round_up(uint32_t x, uint32_t unit)
{
    return (x + unit - 1) / unit * unit;
}

static uint64_t round_up64(uint64_t x)
{
    return (x + 63) & ~UINT64_C(63);
}

/* ---- one buffer ---- */

/* Arrays of prepared rows in their order, each on a cache line; returns the bytes. */
static uint64_t rows_carve(const buffer *n, uint8_t *base, quant_rows *ret)
{
    uint64_t at = 0, blocks = n->form == FORM_SPLIT ? 0 : n->stride / (16u << n->form);

    *ret = (quant_rows){.k_pad = n->stride,
                        .block = 16u << n->form,
                        .blocks = (uint32_t)blocks,
                        .form = n->form,
                        .tile_stride = n->tile_stride};
#define CARVE(member, size)                          \
    ret->member = (void *)(base ? base + at : NULL); \
    at += round_up64((size)*n->rows)
    if (n->form != FORM_SPLIT) {
        CARVE(q, (uint64_t)n->stride * 2);
        CARVE(scale, blocks * 4);
        CARVE(sum, blocks * 4);
        CARVE(isum, blocks * 4);
    }
    if (n->tile_stride) {
        CARVE(tiles, (uint64_t)n->tile_stride);
    }
#undef CARVE
    return at;
}

quant_rows buffer_rows(const buffer *n, uint8_t *base)
{
    quant_rows rows;
    rows_carve(n, base, &rows);
    return rows;
}

/* 2 or 4 bytes an element, and an odd number of cache lines. */
static uint32_t tile_stride_of(uint32_t k_pad, uint32_t form)
{
    uint32_t lines = k_pad * (form == FORM_SPLIT ? 4 : 2) / 64;
    return (lines | 1) * 64;
}

buffer buffer_lay_out(uint32_t columns, uint32_t form, uint32_t rows, bool tiles)
{
    buffer n = {.form = form,
                .columns = columns,
                .stride = round_up(columns, form == FORM_FLOAT ? LANES : K_BLOCK),
                .rows = tiles ? round_up(rows, TILE_ROWS) : rows, /* the last tile of rows is read whole */
                .first = NONE};
    quant_rows counted;

    if (tiles && form != FORM_FLOAT)
        n.tile_stride = tile_stride_of(n.stride, form);
    n.bytes = form == FORM_FLOAT ? round_up64((uint64_t)n.stride * 4 * n.rows) : rows_carve(&n, NULL, &counted);
    return n;
}

/* ---- lifetimes and places ---- */

static void touch(program *p, uint32_t buffer_index, uint32_t step_index)
{
    if (buffer_index == NONE)
        return;
    buffer *n = &p->buffers[buffer_index];
    n->first = n->first == NONE ? step_index : n->first;
    n->last = step_index;
}

static void lifetimes(program *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const step *s = &p->steps[i];
        for (uint32_t j = 0; j < 3; j++)
            touch(p, s->in[j], i);
        touch(p, s->out, i);
        for (uint32_t j = 0; j < FORM_COUNT; j++)
            touch(p, s->quant[j], i);
        for (uint32_t j = 0; j < s->part_count; j++) {
            touch(p, s->part[j].in, i);
            touch(p, s->part[j].residual, i);
            touch(p, s->part[j].out, i);
        }
    }
    p->buffers[p->hidden].last = p->step_count; /* read by wait */
}

static bool overlaps(const buffer *a, const buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* First fit in step order: the lowest offset at which no buffer alive at the same time lies. */
static uint64_t buffers_place(program *p)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < p->buffer_count; i++) {
        buffer *n = &p->buffers[i];
        if (i == p->logits || n->first == NONE)
            continue;
        for (bool moved = true; moved;) {
            moved = false;
            for (uint32_t j = 0; j < i; j++) {
                const buffer *o = &p->buffers[j];
                if (j != p->logits && o->first != NONE && overlaps(n, o) && n->offset < o->offset + o->bytes &&
                    o->offset < n->offset + n->bytes) {
                    n->offset = o->offset + o->bytes;
                    moved = true;
                }
            }
        }
        end = n->offset + n->bytes > end ? n->offset + n->bytes : end;
    }
    return end;
}

uint64_t program_partial_floats(const program *p)
{
    uint64_t spans = (p->limits.max_model_len + SPAN_TOKENS - 1) / SPAN_TOKENS;
    return (uint64_t)SPLIT_ITEMS * p->limits.threads * spans * SPLIT_QUERIES * (p->v_pad_max + 2);
}

void program_thread_layout(const program *p, thread_layout *ret)
{
    uint64_t at = 0;
#define PLACE(member, size) \
    ret->member = at;       \
    at += round_up64(size)
    PLACE(kernel, sizeof(kernel_scratch));
    PLACE(tile, TILE_FLOATS * sizeof(float));
    PLACE(second_tile, TILE_FLOATS * sizeof(float));
    PLACE(row, ((uint64_t)p->columns_max + K_BLOCK) * sizeof(float));
    PLACE(query, (uint64_t)QUERIES_MAX * p->head_dim_max * sizeof(float));
    PLACE(state, 2 * QUERIES_MAX * sizeof(softmax_state));
    PLACE(span_out, (uint64_t)2 * QUERIES_MAX * p->v_pad_max * sizeof(float));
    PLACE(sampler, sampler_scratch_bytes(p->vocab));
    PLACE(sample_row, (uint64_t)p->vocab * sizeof(float));
#undef PLACE
    ret->bytes = (at + 4095) & ~UINT64_C(4095); /* threads share no page */
}

void memory_plan(program *p)
{
    thread_layout thread;

    lifetimes(p);
    p->activation_bytes = buffers_place(p);
    p->attend_rows = ATTEND_ROWS_MAX;
    for (uint32_t i = 0; i < p->step_count; i++) {
        const step *s = &p->steps[i];
        p->columns_max = s->columns > p->columns_max ? s->columns : p->columns_max;
        if (s->kind != STEP_ATTEND)
            continue;
        uint32_t heads = s->heads / s->kv_heads, v_pad = round_up(s->v_dim, LANES);
        heads = heads > ATTEND_HEADS_MAX ? ATTEND_HEADS_MAX : heads;
        p->attend_rows = QUERIES_MAX / heads < p->attend_rows ? QUERIES_MAX / heads : p->attend_rows;
        p->v_pad_max = v_pad > p->v_pad_max ? v_pad : p->v_pad_max;
        uint32_t k_columns = s->kv_heads * s->head_dim;
        p->columns_max = k_columns > p->columns_max ? k_columns : p->columns_max;
        p->head_dim_max = s->head_dim > p->head_dim_max ? s->head_dim : p->head_dim_max;
    }
    for (uint32_t i = 0; i < p->rope_count; i++) {
        p->rope[i].offset = p->activation_bytes;
        p->activation_bytes += round_up64((uint64_t)p->limits.max_tokens * p->rope[i].half * 2 * sizeof(float));
    }
    program_thread_layout(p, &thread);
    p->logits_bytes = p->buffers[p->logits].bytes;
}
