/* attention.c: paged attention on the host. Pages lie as tenon/ops.h says: page_tokens rows of k, then as many of v.
 *
 * A tile of query rows walks the pages of its sequence in ascending order; each row keeps a running softmax per head,
 * so the order of additions depends on absolute positions only.
 */
#include "interp/kernels.h"
#include "interp/model.h"

typedef struct attention_call {
    tn_model *model;
    const interp_kv *kv;
    uint64_t layer;
    uint32_t heads, kv_heads, head_dim, v_dim, window;
    double scale, softcap;
    const float *q, *k, *v, *sinks;
    float *y;
    tn_error *err;
} attention_call;

/* One sequence of the batch. */
typedef struct attention_rows {
    uint32_t row, count; /* rows of the batch */
    uint32_t position;   /* of the first */
    const uint32_t *table;
} attention_rows;

static tn_status find_page(const attention_call *call, const attention_rows *rows, uint32_t index, tn_buf *ret_page)
{
    uint32_t page = rows->table[index];

    if (page >= call->kv->pages)
        return tn_fail(call->err, TN_E_ARGUMENT, "batch: position %u of row %u has no page", index * INTERP_PAGE_TOKENS,
                       rows->row);
    uint64_t at = (call->layer * call->kv->pages + page) * call->kv->layer_page_bytes;
    *ret_page = (tn_buf){call->kv->handle, at};
    return TN_OK;
}

static tn_status write_run(const attention_call *call, tn_buf page, uint64_t offset, const float *from, uint64_t floats)
{
    page.offset += offset * sizeof(float);
    return call->model->ops->put(call->model->dev, page, from, floats * sizeof(float), call->err);
}

/* Stores the rows' k and v, one run per page. */
static tn_status store(const attention_call *call, const attention_rows *rows)
{
    uint64_t k_width = (uint64_t)call->kv_heads * call->head_dim, v_width = (uint64_t)call->kv_heads * call->v_dim;
    uint32_t run;

    for (uint32_t i = 0; i < rows->count; i += run) {
        uint32_t position = rows->position + i, in_page = position % INTERP_PAGE_TOKENS;
        uint64_t row = rows->row + i;
        tn_buf page;
        run = INTERP_PAGE_TOKENS - in_page;
        run = run < rows->count - i ? run : rows->count - i;
        tn_status status = find_page(call, rows, position / INTERP_PAGE_TOKENS, &page);
        if (status == TN_OK)
            status = write_run(call, page, in_page * k_width, call->k + row * k_width, run * k_width);
        if (status == TN_OK)
            status = write_run(call, page, INTERP_PAGE_TOKENS * k_width + in_page * v_width, call->v + row * v_width,
                               run * v_width);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* Adds one page to every head of the row at `position`: those of its tokens that the row may see. */
static void attend_page(const attention_call *call, interp_attention_state *states, const float *q, uint32_t position,
                        const float *page, uint32_t page_start)
{
    uint64_t k_width = (uint64_t)call->kv_heads * call->head_dim, v_width = (uint64_t)call->kv_heads * call->v_dim;
    uint32_t first = call->window && position >= call->window ? position - call->window + 1 : 0;
    uint32_t begin = first > page_start ? first - page_start : 0;

    if (page_start > position || begin >= INTERP_PAGE_TOKENS)
        return;
    uint32_t end = position - page_start + 1;
    end = end < INTERP_PAGE_TOKENS ? end : INTERP_PAGE_TOKENS;
    for (uint32_t head = 0; head < call->heads; head++) {
        uint64_t kv_head = head / (call->heads / call->kv_heads);
        const float *k = page + begin * k_width + kv_head * call->head_dim;
        const float *v = page + INTERP_PAGE_TOKENS * k_width + begin * v_width + kv_head * call->v_dim;
        interp_attention_add(&states[head], q + (uint64_t)head * call->head_dim, k, k_width, v, v_width, end - begin,
                             call->head_dim, call->v_dim, call->scale, call->softcap);
    }
}

/* At most INTERP_ROW_TILE rows of one sequence. */
static tn_status attend_tile(const attention_call *call, const attention_rows *rows)
{
    interp_attention_state *states = call->model->attention_state;
    uint64_t q_width = (uint64_t)call->heads * call->head_dim, y_width = (uint64_t)call->heads * call->v_dim;
    uint32_t last = rows->position + rows->count - 1;
    uint32_t first = call->window && rows->position >= call->window ? rows->position - call->window + 1 : 0;

    for (uint32_t i = 0; i < rows->count * call->heads; i++) {
        states[i].acc = call->model->attention_acc + (uint64_t)i * call->v_dim;
        interp_attention_init(&states[i], call->v_dim);
    }
    for (uint32_t index = first / INTERP_PAGE_TOKENS; index <= last / INTERP_PAGE_TOKENS; index++) {
        const void *page = NULL;
        tn_buf at;
        tn_status status = find_page(call, rows, index, &at);
        if (status == TN_OK)
            status = interp_read(call->model, at, call->kv->layer_page_bytes, call->model->page, &page, call->err);
        if (status != TN_OK)
            return status;
        for (uint32_t i = 0; i < rows->count; i++)
            attend_page(call, &states[i * call->heads], call->q + (rows->row + i) * q_width, rows->position + i, page,
                        index * INTERP_PAGE_TOKENS);
    }
    for (uint32_t i = 0; i < rows->count; i++)
        for (uint32_t head = 0; head < call->heads; head++)
            interp_attention_finish(&states[i * call->heads + head], call->sinks ? &call->sinks[head] : NULL,
                                    call->v_dim, call->y + (rows->row + i) * y_width + (uint64_t)head * call->v_dim);
    return TN_OK;
}

static tn_status attend(const attention_call *call, attention_rows rows)
{
    tn_status status = TN_OK;

    for (uint32_t left = rows.count; left > 0 && status == TN_OK; left -= rows.count) {
        rows.count = left < INTERP_ROW_TILE ? left : INTERP_ROW_TILE;
        status = attend_tile(call, &rows);
        rows.row += rows.count;
        rows.position += rows.count;
    }
    return status;
}

tn_status interp_run_attention(tn_model *model, const tn_node *node, const tn_batch *batch, const float *const *x,
                               float *y, tn_error *err)
{
    const int64_t *attr = node->attr;
    attention_call call = {.model = model,
                           .kv = &model->kv[attr[TN_ATTENTION_A_GROUP]],
                           .layer = (uint64_t)attr[TN_ATTENTION_A_LAYER],
                           .heads = (uint32_t)attr[TN_ATTENTION_A_HEADS],
                           .kv_heads = (uint32_t)attr[TN_ATTENTION_A_KV_HEADS],
                           .head_dim = (uint32_t)attr[TN_ATTENTION_A_HEAD_DIM],
                           .v_dim = (uint32_t)attr[TN_ATTENTION_A_V_DIM],
                           .window = (uint32_t)attr[TN_ATTENTION_A_WINDOW],
                           .scale = node->fattr[TN_ATTENTION_F_SCALE],
                           .softcap = node->fattr[TN_ATTENTION_F_SOFTCAP],
                           .q = x[0],
                           .k = x[1],
                           .v = x[2],
                           .sinks = node->in_count > 3 ? x[3] : NULL,
                           .y = y,
                           .err = err};
    tn_status status = TN_OK;

    for (uint32_t seq = 0; seq < batch->seq_count && status == TN_OK; seq++) {
        attention_rows rows = {.row = batch->seq_start[seq],
                               .count = batch->seq_start[seq + 1] - batch->seq_start[seq],
                               .position = batch->cached_len[seq],
                               .table = call.kv->table + (uint64_t)batch->slot[seq] * model->table_stride};
        status = store(&call, &rows);
        if (status == TN_OK && model->mapped)
            status = model->ops->sync(model->dev, err); /* pages are read through the map */
        if (status == TN_OK)
            status = attend(&call, rows);
    }
    return status;
}
