/* program.c: see program.h. Weights are laid out first, then nodes are lowered (lower.c), then buffers get lifetimes
 * and offsets. */
#include "planes.h"

#include <stdlib.h>
#include <string.h>

/* ---- for lower.c ---- */

static void *grow(void *array, uint32_t count, uint32_t *capacity, size_t element)
{
    if (count < *capacity)
        return array;
    uint32_t wanted = *capacity ? 2 * *capacity : 256;
    void *grown = realloc(array, wanted * element);
    if (grown)
        *capacity = wanted;
    return grown;
}

static uint32_t append_buffer(builder *b, const buffer *made)
{
    program *p = b->p;
    buffer *grown = grow(p->buffers, p->buffer_count, &b->buffer_capacity, sizeof *grown);

    if (!grown) {
        b->failed = true;
        return 0;
    }
    p->buffers = grown;
    p->buffers[p->buffer_count] = *made;
    return p->buffer_count++;
}

uint32_t buffer_add(builder *b, uint32_t type, uint32_t columns, uint32_t rows, uint32_t each)
{
    const tn_compile *c = b->view->compile;
    uint64_t count = rows == ROWS_OUTPUTS ? c->max_outputs : c->max_tokens;
    uint32_t stride = (columns + 7) / 8 * 8;
    buffer made = {.type = type,
                   .columns = columns,
                   .stride = stride,
                   .first = NONE,
                   .bytes = align_up(count * each * stride * tn_scalar_bytes(type))};
    return append_buffer(b, &made);
}

uint32_t buffer_add_bytes(builder *b, uint64_t bytes)
{
    buffer made = {.first = NONE, .bytes = align_up(bytes)};
    return append_buffer(b, &made);
}

step *step_add(builder *b, uint32_t kind, uint32_t rows)
{
    static step sink; /* written, never read, after memory ran out */
    program *p = b->p;
    step *grown = grow(p->steps, p->step_count, &b->step_capacity, sizeof *grown);

    if (!grown) {
        b->failed = true;
        return &sink;
    }
    p->steps = grown;
    step *s = &p->steps[p->step_count++];
    *s = (step){.kind = kind,
                .rows = rows,
                .in = {{.buffer = NONE}, {.buffer = NONE}, {.buffer = NONE}},
                .out = NONE,
                .sum = NONE,
                .weight = NONE,
                .bias = NONE,
                .shape = NONE,
                .rope = NONE,
                .moe = {NONE, NONE, NONE, NONE, NONE, NONE, NONE}};
    return s;
}

/* ---- weights and KV ---- */

/* Rows of all runs together. */
static uint64_t local_rows(const program_weight *w)
{
    return w->cut.rows * w->cut.runs;
}

/* Orders of columns differ between experts at most, so that a product has one. */
static tn_status check_parts(const weight_view *w, tn_error *err)
{
    uint64_t orders = perm_count(&w->enc, (uint64_t)w->value.dim[0]);

    return orders <= 1 || orders == w->experts
               ? TN_OK
               : tn_fail(err, TN_E_UNSUPPORTED,
                         "%s: %llu parts with columns in orders of their own, which are no experts", w->value.name,
                         (unsigned long long)orders);
}

static tn_status lay_out_weight(program *p, uint32_t id, tn_error *err)
{
    const weight_view *from = &p->view.weight[id];
    program_weight *w = &p->weights[id];

    *w = (program_weight){.name = from->value.name,
                          .enc = from->enc,
                          .rows = (uint64_t)from->value.dim[0],
                          .columns = (uint64_t)from->value.dim[1],
                          .roles = from->roles};
    tn_status status = check_parts(from, err);
    if (status == TN_OK)
        status = partition_weight(&p->view, id, p->world, &w->cut, err);
    w->own = w->enc;
    if (status == TN_OK && w->cut.shard == TN_SHARD_ROWS && w->own.group_n > w->cut.rows)
        w->own.group_n = (uint32_t)w->cut.rows;
    if (status == TN_OK && !(w->roles & ROLE_VECTOR)) {
        status = cuda_weight_layout(&w->own, local_rows(w), w->cut.columns, &w->layout, &w->size);
        if (status != TN_OK)
            return tn_fail(err, status, "%s: there are no kernels for its encoding", w->name);
        w->perm_at = align_up(w->size.total);
        w->bytes = w->perm_at + align_up(perm_count(&w->enc, w->rows) * w->cut.columns * sizeof(uint32_t));
    } else if (status == TN_OK) {
        w->bytes = align_up(local_rows(w) * w->cut.columns * sizeof(float));
    }
    return status;
}

/* The bias of the output matrix is whole on every rank; the last ones read as far as their rows are padded. */
static void pad_logits_bias(program *p)
{
    for (uint32_t i = 0; i < p->view.api->node_count; i++) {
        const tn_node *n = &p->view.node[i];
        uint32_t bias = n->op == TN_OP_LOGITS ? graph_view_weight(&p->view, n, 2) : NONE;
        if (bias == NONE)
            continue;
        uint64_t rows = p->world * p->weights[graph_view_weight(&p->view, n, 1)].cut.rows;
        if (p->weights[bias].bytes < rows * sizeof(float))
            p->weights[bias].bytes = align_up(rows * sizeof(float));
    }
}

static tn_status lay_out_weights(program *p, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t id = 0; status == TN_OK && id < p->view.api->weight_count; id++)
        status = lay_out_weight(p, id, err);
    if (status != TN_OK)
        return status;
    pad_logits_bias(p);
    for (uint32_t id = 0; id < p->view.api->weight_count; id++) {
        p->weights[id].offset = p->weight_bytes;
        p->weight_bytes += p->weights[id].bytes;
    }
    return TN_OK;
}

static tn_status lay_out_kv(program *p, tn_error *err)
{
    uint32_t type = p->view.compile->kv_dtype ? p->view.compile->kv_dtype : TN_BF16;
    uint64_t entries = 0; /* of page tables */

    if (type != TN_BF16 && type != TN_F16 && type != TN_F32)
        return tn_fail(err, TN_E_UNSUPPORTED, "engine.kv_cache_dtype: keys and values of type %u", type);
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++) {
        kv_layout *kv = &p->kv[g];
        kv->shape = p->view.kv[g];
        kv->type = type;
        kv->kv_heads = kv->shape.kv_heads < p->world ? 1 : kv->shape.kv_heads / p->world;
        kv->table_stride = (p->view.compile->max_model_len + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        kv->table_first = (uint32_t)entries;
        entries += (uint64_t)p->view.compile->max_seqs * kv->table_stride;
        if (entries > UINT32_MAX)
            return tn_fail(err, TN_E_UNSUPPORTED, "page tables of %u sequences of %u tokens; 2^32 pages are numbered",
                           p->view.compile->max_seqs, p->view.compile->max_model_len);
        kv->layer_page_bytes =
            cuda_kv_page_bytes(type, kv->kv_heads, kv->shape.head_dim, kv->shape.v_dim, KV_PAGE_TOKENS);
        kv->page_bytes = kv->layer_page_bytes * kv->shape.layer_count;
    }
    return TN_OK;
}

/* ---- memory ---- */

static void touch(program *p, uint32_t index, uint32_t step_index)
{
    if (index == NONE)
        return;
    buffer *n = &p->buffers[index];
    n->first = n->first == NONE ? step_index : n->first;
    n->last = step_index;
}

static void find_lifetimes(program *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const step *s = &p->steps[i];
        const uint32_t moe[] = {s->moe.expert,    s->moe.weight, s->moe.expert_start, s->moe.place,
                                s->moe.place_row, s->moe.task,   s->moe.task_count};
        for (uint32_t j = 0; j < 3; j++)
            touch(p, s->in[j].buffer, i);
        for (size_t j = 0; j < sizeof moe / sizeof *moe; j++)
            touch(p, moe[j], i);
        touch(p, s->out, i);
        touch(p, s->sum, i);
    }
    touch(p, p->hidden, p->step_count); /* copied out after the last step */
}

static bool overlaps(const buffer *a, const buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* First fit in order: the lowest offset at which no buffer alive at the same time lies. */
static void place_buffers(program *p)
{
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
        if (n->offset + n->bytes > p->activation_bytes)
            p->activation_bytes = n->offset + n->bytes;
    }
}

static tn_status measure_attention(program *p, tn_error *err)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const step *s = &p->steps[i];
        if (s->kind != STEP_ATTEND)
            continue;
        kv_layout *kv = &p->kv[s->group];
        uint32_t v_dim = kv->shape.v_dim, rows = CUDA_TASK_QUERIES / (s->heads / s->kv_heads);
        kv->task_rows = kv->task_rows && kv->task_rows < rows ? kv->task_rows : rows;
        p->heads_max = s->heads > p->heads_max ? s->heads : p->heads_max;
        p->v_dim_max = v_dim > p->v_dim_max ? v_dim : p->v_dim_max;
    }
    for (uint32_t g = 0; g < p->view.api->kv_group_count; g++)
        if (!p->kv[g].task_rows)
            return tn_fail(err, TN_E_UNSUPPORTED, "KV group %u, which no ATTENTION reads", g);
    return TN_OK;
}

static uint32_t rows_max(const program *p, const step *s)
{
    return s->rows == ROWS_OUTPUTS ? p->request.max_outputs : p->request.max_tokens;
}

static void measure_products(program *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const step *s = &p->steps[i];
        if (s->kind != STEP_LINEAR)
            continue;
        uint64_t floats = cuda_linear_split_floats_max(rows_max(p, s), p->weights[s->weight].layout.rows);
        p->split_floats = floats > p->split_floats ? floats : p->split_floats;
    }
}

/* ---- products that cuBLASLt may do ---- */

static matmul_shape shape_of(const program *p, const step *s)
{
    const cuda_weight *w = &p->weights[s->weight].layout;

    return (matmul_shape){.n = w->rows,
                          .k = w->columns,
                          .w_stride = w->stride,
                          .x_stride = p->buffers[s->in[0].buffer].stride,
                          .y_stride = p->buffers[s->out].stride,
                          .y_type = p->buffers[s->out].type};
}

static bool same_shape(const matmul_shape *a, const matmul_shape *b)
{
    return a->n == b->n && a->k == b->k && a->w_stride == b->w_stride && a->x_stride == b->x_stride &&
           a->y_stride == b->y_stride && a->y_type == b->y_type;
}

/* A bias is added by our kernels alone, and matrices in codes are theirs too. */
static bool is_dense(const program *p, const step *s)
{
    if (s->kind != STEP_LINEAR || s->bias != NONE || rows_max(p, s) <= CUDA_FEW_ROWS)
        return false;
    const tn_enc *enc = &p->weights[s->weight].layout.enc;
    return enc->family == TN_ENC_FLOAT && enc->qtype == TN_BF16;
}

static tn_status find_shapes(program *p, tn_error *err)
{
    if (p->request.batch_invariant) /* its choice changes with the number of rows, and bits with it */
        return TN_OK;
    p->shapes = calloc(p->step_count + 1, sizeof *p->shapes);
    if (!p->shapes)
        return tn_fail(err, TN_E_MEMORY, "the execution plan");
    for (uint32_t i = 0; i < p->step_count; i++) {
        step *s = &p->steps[i];
        if (!is_dense(p, s))
            continue;
        matmul_shape shape = shape_of(p, s);
        s->shape = 0;
        while (s->shape < p->shape_count && !same_shape(&p->shapes[s->shape].shape, &shape))
            s->shape++;
        if (s->shape == p->shape_count)
            p->shapes[p->shape_count++].shape = shape;
        product_shape *of = &p->shapes[s->shape];
        if (rows_max(p, s) > of->shape.rows_max) {
            of->shape.rows_max = rows_max(p, s);
            of->step = i;
        }
    }
    return TN_OK;
}

/* ---- building ---- */

static tn_status check_nodes(const graph_view *view, uint32_t *bad, uint32_t *bad_count, tn_error *err)
{
    uint32_t capacity = bad_count ? *bad_count : 0, found = 0, rotations = 0;
    tn_status first = TN_OK;

    for (uint32_t i = 0; i < view->api->node_count; i++) {
        tn_status status = node_check(view, i, first == TN_OK ? err : NULL);
        if (status == TN_OK)
            continue;
        if (bad && found < capacity)
            bad[found] = i;
        found++;
        first = first == TN_OK ? status : first;
    }
    for (uint32_t i = 0; i < view->api->value_count; i++)
        rotations += view->value[i].kind == TN_VALUE_CONSTANT;
    if (first == TN_OK && rotations > CONSTANTS_MAX)
        first = tn_fail(err, TN_E_UNSUPPORTED, "%u different rotations; up to %d run", rotations, CONSTANTS_MAX);
    if (bad_count)
        *bad_count = found;
    return first;
}

/* What is worth a graph: up to GRAPHS_MAX of the sizes that were asked for, and no more rows than a batch has. */
static tn_status take_buckets(program *p, const tn_compile *compile, tn_error *err)
{
    for (uint32_t i = 0; i < compile->bucket_count; i++) {
        uint32_t tokens = compile->bucket[i];
        if (tokens == 0 || tokens > compile->max_tokens || (i && tokens <= compile->bucket[i - 1]))
            return tn_fail(err, TN_E_ARGUMENT, "buckets must ascend up to %u rows, but number %u is of %u",
                           compile->max_tokens, i, tokens);
        if (p->bucket_count < GRAPHS_MAX)
            p->bucket[p->bucket_count++] = tokens;
    }
    return TN_OK;
}

static tn_status create(const tn_compile *compile, uint32_t world, program **ret_program, tn_error *err)
{
    program *p = calloc(1, sizeof *p);

    *ret_program = p;
    if (!p)
        return tn_fail(err, TN_E_MEMORY, "the execution plan");
    if (compile->api->kv_group_count > GROUPS_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "%u KV groups; up to %d run", compile->api->kv_group_count, GROUPS_MAX);
    p->request = *compile;
    p->world = world;
    p->vocab = compile->api->vocab_size;
    p->width = compile->api->model_width;
    p->reduce_type = world > 1 ? TN_BF16 : TN_F32;
    p->hidden = p->logits = NONE;
    p->weights = calloc(compile->api->weight_count + 1, sizeof *p->weights);
    p->kv = calloc(compile->api->kv_group_count + 1, sizeof *p->kv);
    if (!p->weights || !p->kv)
        return tn_fail(err, TN_E_MEMORY, "the execution plan");
    tn_status status = take_buckets(p, compile, err);
    return status == TN_OK ? graph_view_init(&p->view, &p->request, err) : status;
}

static tn_status lower(program *p, tn_error *err)
{
    builder b = {.p = p, .view = &p->view};

    b.place = calloc(p->view.api->value_count + 1, sizeof *b.place);
    b.done = calloc(p->view.api->node_count + 1, sizeof *b.done);
    b.failed = !b.place || !b.done;
    lower_graph(&b);
    free(b.place);
    free(b.done);
    if (b.failed)
        return tn_fail(err, TN_E_MEMORY, "the execution plan");
    if (p->logits == NONE)
        return tn_fail(err, TN_E_UNSUPPORTED, "a graph without LOGITS");
    find_lifetimes(p);
    place_buffers(p);
    measure_products(p);
    tn_status status = find_shapes(p, err);
    return status == TN_OK ? measure_attention(p, err) : status;
}

tn_status program_build(const tn_compile *compile, uint32_t world, uint32_t *bad, uint32_t *bad_count,
                        program **ret_program, tn_error *err)
{
    program *p;

    tn_status status = create(compile, world, &p, err);
    if (status == TN_OK)
        status = check_nodes(&p->view, bad, bad_count, err);
    if (status == TN_OK)
        status = partition_check(&p->view, world, err);
    if (status == TN_OK)
        status = lay_out_weights(p, err);
    if (status == TN_OK)
        status = lay_out_kv(p, err);
    if (status == TN_OK)
        status = lower(p, err);
    if (status != TN_OK) {
        program_free(p);
        return status;
    }
    *ret_program = p;
    return TN_OK;
}

void program_free(program *p)
{
    if (!p)
        return;
    graph_view_finish(&p->view);
    free(p->steps);
    free(p->shapes);
    free(p->buffers);
    free(p->weights);
    free(p->kv);
    free(p);
}
