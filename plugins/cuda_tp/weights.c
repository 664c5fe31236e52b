/* weights.c: blocks of weights on their way to the ranks: each rank's rows and columns are picked on the host, copied
 * to a staging buffer on its device and repacked there by a kernel. Memory beyond the weights themselves: one staging
 * buffer per rank.
 */
#include "model.h"
#include "planes.h"

#include "base/half.h"

#include <string.h>

/* Whether the block is the first of those that share an order of columns. */
static bool begins_part(const tn_enc *enc, const tn_planes *planes)
{
    return enc->part_n ? planes->row0 % enc->part_n == 0 : planes->row0 == 0;
}

/* Some rows of a block, and where they go on a rank. */
typedef struct piece {
    uint64_t from, rows; /* rows of the block */
    uint64_t to;         /* local row */
    uint64_t column0;
} piece;

/* Copies the piece's planes one behind the other; at[]: their offsets. Returns the bytes. */
static uint64_t pack(const program_weight *w, const tn_planes *planes, const piece *piece, uint8_t *out,
                     uint64_t at[TN_PLANE_LIMIT])
{
    const tn_enc *enc = &w->enc;
    uint64_t used = 0;

    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        at[p] = used;
        const uint8_t *plane = planes->plane[p];
        if (!plane || p == TN_PLANE_PERM || p == TN_PLANE_INPUT_SCALE)
            continue;
        if (p >= TN_PLANE_COUNT) {
            memcpy(out + used, plane, planes->plane_bytes[p]);
            used += align_up(planes->plane_bytes[p]);
            continue;
        }
        uint64_t all = plane_row_bytes(enc, p, w->columns), own = plane_row_bytes(enc, p, w->cut.columns);
        uint64_t skip = plane_skip_bytes(enc, p, piece->column0), rows = plane_rows(&w->own, p, piece->rows);
        uint64_t first = plane_rows_before(enc, p, piece->from);
        for (uint64_t r = 0; r < rows; r++)
            memcpy(out + used + r * own, plane + (first + r) * all + skip, own);
        used += align_up(rows * own);
    }
    return used;
}

static tn_status store_piece(rank *r, uint32_t id, const tn_planes *planes, const piece *piece, tn_error *err)
{
    const program_weight *w = &r->model->p->weights[id];
    const device_api *api = r->model->dev->api;
    cuda_weight placed = w->layout;
    uint64_t at[TN_PLANE_LIMIT];

    cuda_weight_place(&placed, &w->size, r->memory.weights + w->offset);
    uint64_t bytes = pack(w, planes, piece, r->host_staging, at);
    tn_status status = api->copy(r->staging, r->host_staging, bytes, r->load_stream, err);
    if (status != TN_OK)
        return status;
    cuda_repack_args args = {.weight = &placed, .row0 = piece->to, .n_rows = piece->rows, .n_k = w->cut.columns};
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        args.plane[p] = planes->plane[p] ? r->staging + at[p] : NULL;
    status = cuda_repack(&args, r->load_stream);
    if (status != TN_OK)
        return tn_fail(err, status, "%s: rows %llu to %llu cannot be repacked", w->name, (unsigned long long)piece->to,
                       (unsigned long long)(piece->to + piece->rows));
    return api->stream_wait(r->load_stream, err);
}

/* ---- a rank's part of a block ---- */

/* The order of the rank's columns, when the first block of it arrives. */
static tn_status store_perm(rank *r, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const program_weight *w = &r->model->p->weights[id];
    const uint64_t part = w->enc.part_n ? planes->row0 / w->enc.part_n : 0;
    const uint64_t bytes = w->cut.columns * sizeof(uint32_t);

    if (!columns_are_permuted(&w->enc) || !begins_part(&w->enc, planes))
        return TN_OK;
    const uint32_t *from = planes->plane[TN_PLANE_PERM];
    memcpy(r->host_staging, from + cut_first_column(&w->cut, r->index), bytes);
    tn_status status = r->model->dev->api->copy(r->memory.weights + w->offset + w->perm_at + part * bytes,
                                                r->host_staging, bytes, r->load_stream, err);
    return status == TN_OK ? r->model->dev->api->stream_wait(r->load_stream, err) : status;
}

static tn_status store_matrix(rank *r, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const program_weight *w = &r->model->p->weights[id];
    const weight_cut *cut = &w->cut;
    const uint64_t end = planes->row0 + planes->n_rows, unit = plane_row_unit(&w->own);
    uint64_t step = r->model->staging_bytes / planes_packed_bytes(&w->own, unit, cut->columns) * unit;
    tn_status status = TN_OK;

    for (uint64_t run = planes->row0 / cut->run_rows; run < cut->runs && run * cut->run_rows < end; run++) {
        uint64_t first = run * cut->run_rows + cut_first_row(cut, r->index), last = first + cut->rows;
        uint64_t limit = (run + 1) * cut->run_rows, from = planes->row0 > first ? planes->row0 : first;
        last = last < limit ? last : limit;
        last = last < end ? last : end;
        for (; from < last && status == TN_OK; from += step) {
            piece piece = {.from = from - planes->row0,
                           .rows = step < last - from ? step : last - from,
                           .to = run * cut->rows + from - first,
                           .column0 = cut_first_column(cut, r->index)};
            status = store_piece(r, id, planes, &piece, err);
        }
    }
    return status;
}

static float float_at(const void *values, uint32_t type, uint64_t index)
{
    if (type == TN_F32) {
        float value;
        memcpy(&value, (const uint8_t *)values + index * sizeof value, sizeof value);
        return value;
    }
    uint16_t bits;
    memcpy(&bits, (const uint8_t *)values + index * sizeof bits, sizeof bits);
    return type == TN_F16 ? float_from_f16(bits) : float_from_bf16(bits);
}

/* Vectors become f32; one of few rows fits the staging buffer. */
static tn_status store_vector(rank *r, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const program_weight *w = &r->model->p->weights[id];
    const device_api *api = r->model->dev->api;
    uint64_t first = cut_first_column(&w->cut, r->index), columns = w->cut.columns;
    float *values = (float *)(void *)r->host_staging;

    for (uint64_t row = 0; row < planes->n_rows; row++)
        for (uint64_t c = 0; c < columns; c++)
            values[row * columns + c] =
                float_at(planes->plane[TN_PLANE_CODES], w->enc.qtype, row * w->columns + first + c);
    uint8_t *to = r->memory.weights + w->offset + planes->row0 * columns * sizeof(float);
    tn_status status = api->copy(to, values, planes->n_rows * columns * sizeof(float), r->load_stream, err);
    return status == TN_OK ? api->stream_wait(r->load_stream, err) : status;
}

/* Kernels index rows with it. */
static tn_status check_perm(const program_weight *w, const tn_planes *planes, tn_error *err)
{
    const uint32_t *perm = planes->plane[TN_PLANE_PERM];

    for (uint64_t k = 0; k < w->columns; k++)
        if (perm[k] >= w->columns)
            return tn_fail(err, TN_E_ARGUMENT, "%s: column %llu multiplies input %u of %llu", w->name,
                           (unsigned long long)k, perm[k], (unsigned long long)w->columns);
    return TN_OK;
}

/* Products would take a NaN for 480. */
static tn_status check_numbers(const program_weight *w, const tn_planes *planes, tn_error *err)
{
    const uint8_t *codes = planes->plane[TN_PLANE_CODES];
    const uint64_t count = planes->n_rows * planes->n_k;
    uint64_t nans = 0;

    for (uint64_t i = 0; i < count; i++)
        nans += (codes[i] & 0x7f) == 0x7f;
    for (uint64_t i = 0; nans && i < count; i++)
        if ((codes[i] & 0x7f) == 0x7f)
            return tn_fail(err, TN_E_CORRUPT, "%s: row %llu, column %llu is NaN", w->name,
                           (unsigned long long)(planes->row0 + i / planes->n_k), (unsigned long long)(i % planes->n_k));
    return TN_OK;
}

static tn_status check_contents(const program_weight *w, const tn_planes *planes, tn_error *err)
{
    if (columns_are_permuted(&w->enc) && begins_part(&w->enc, planes)) {
        tn_status status = check_perm(w, planes, err);
        if (status != TN_OK)
            return status;
    }
    return w->enc.qtype == TN_Q_E4M3 ? check_numbers(w, planes, err) : TN_OK;
}

static tn_status check_block(const tn_model *m, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const program_weight *w = &m->p->weights[id];

    if (planes->k0 != 0 || planes->n_k != w->columns)
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block must have whole rows of %llu columns", w->name,
                       (unsigned long long)w->columns);
    if (planes->row0 != m->rows_loaded[id] || planes->n_rows == 0 || planes->n_rows > w->rows - planes->row0)
        return tn_fail(err, TN_E_ARGUMENT, "%s: rows %llu to %llu, but row %llu of %llu is next", w->name,
                       (unsigned long long)planes->row0, (unsigned long long)(planes->row0 + planes->n_rows),
                       (unsigned long long)m->rows_loaded[id], (unsigned long long)w->rows);
    if (planes->n_rows % plane_row_unit(&w->enc) && planes->row0 + planes->n_rows != w->rows)
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block of %llu rows; multiples of %llu, or to the end", w->name,
                       (unsigned long long)planes->n_rows, (unsigned long long)plane_row_unit(&w->enc));
    if (w->enc.part_n && planes->row0 % w->enc.part_n + planes->n_rows > w->enc.part_n)
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block of more than one part of %u rows", w->name, w->enc.part_n);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        uint64_t bytes = tn_plane_bytes(&w->enc, p, planes->n_rows, planes->n_k);
        if (p < planes->plane_count && planes->plane_bytes[p] == bytes && (!bytes || planes->plane[p]))
            continue;
        return tn_fail(err, TN_E_ARGUMENT, "%s: plane %u must have %llu bytes", w->name, p, (unsigned long long)bytes);
    }
    return TN_OK;
}

tn_status weights_store(tn_model *m, uint32_t id, const tn_planes *planes, tn_error *err)
{
    const program_weight *w = &m->p->weights[id];
    tn_status status = check_block(m, id, planes, err);

    if (status == TN_OK)
        status = check_contents(w, planes, err);
    for (uint32_t i = 0; i < m->dev->count && status == TN_OK; i++) {
        rank *r = &m->ranks[i];
        pthread_mutex_lock(&r->load_lock);
        status = m->dev->api->use(m->dev->ordinal[i], err);
        if (status == TN_OK)
            status = store_perm(r, id, planes, err);
        if (status == TN_OK)
            status = w->roles & ROLE_VECTOR ? store_vector(r, id, planes, err) : store_matrix(r, id, planes, err);
        pthread_mutex_unlock(&r->load_lock);
    }
    if (status == TN_OK)
        m->rows_loaded[id] += planes->n_rows;
    return status;
}
