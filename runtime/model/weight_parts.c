/* weight_parts.c: see weight_parts.h.
 *
 * Planes are row-major, so rows of several tensors land behind each other in one block. Whole columns only exist in the
 * FLOAT family; a part that takes some columns, or a transposed one, is read as a block of its tensor into scratch and
 * picked from there.
 */
#include "model/weight_parts.h"

#include <string.h>

#include "base/weight_block.h"

enum { COLUMN_UNIT = 8 }; /* what tenon/encoding.h cuts K at */

/* Some rows of one part: the first is row `from` of the part. */
typedef struct part_rows {
    const weight_source *source;
    tn_enc enc; /* the part's own */
    weight_part part;
    uint64_t columns; /* of the weight */
    uint64_t from, count;
} part_rows;

static bool is_picked(const weight_part *part, uint64_t columns)
{
    return part->transposed || part->column0 != 0 || part->column_step != 1 || part->tensor_columns != columns;
}

tn_status weight_parts_check(const weight_source *source, const tn_graph *graph, uint32_t id, tn_error *err)
{
    for (uint32_t i = 0; i < model_graph_part_count(graph, id); i++) {
        weight_part part;
        uint64_t n, k;
        model_graph_part(graph, id, i, &part);
        tn_status status = source->quant->shape(source->qmodel, part.tensor, &n, &k, err);
        if (status == TN_E_NOT_FOUND)
            return tn_fail(err, TN_E_CORRUPT, "tensor %s is missing; the model's configuration needs it as %llu x %llu",
                           part.tensor, (unsigned long long)part.tensor_rows, (unsigned long long)part.tensor_columns);
        if (status != TN_OK)
            return status;
        if (n != part.tensor_rows || k != part.tensor_columns)
            return tn_fail(err, TN_E_CORRUPT, "tensor %s is %llu x %llu, the model's configuration needs %llu x %llu",
                           part.tensor, (unsigned long long)n, (unsigned long long)k,
                           (unsigned long long)part.tensor_rows, (unsigned long long)part.tensor_columns);
    }
    return TN_OK;
}

/* ---- encodings ---- */

static tn_status part_produces(const weight_source *source, const char *tensor, const tn_enc *wanted, bool *ret_found,
                               tn_error *err)
{
    *ret_found = false;
    for (uint32_t index = 0; !*ret_found; index++) {
        tn_enc enc = {.struct_size = sizeof enc};
        tn_status status = source->quant->produces(source->qmodel, tensor, index, &enc, err);
        if (status == TN_E_NOT_FOUND)
            return TN_OK;
        if (status != TN_OK)
            return status;
        *ret_found = enc_equal(&enc, wanted);
    }
    return TN_OK;
}

/* False where the encoding would be torn: columns picked from a row of codes, rows that share a scale and would be
 * parted, or parts of unequal size with a permutation or an input scale each. */
static bool survives(const tn_enc *enc, const weight_part *part, uint32_t parts, uint64_t columns)
{
    if (is_picked(part, columns) && enc->family != TN_ENC_FLOAT)
        return false;
    if (enc->part_n && part->rows != enc->part_n)
        return false;
    return enc->group_n <= 1 ||
           (part->row_step == 1 && part->row0 % enc->group_n == 0 &&
            (part->rows % enc->group_n == 0 || (parts == 1 && part->row0 + part->rows == part->tensor_rows)));
}

static bool is_permuted(const tn_enc *enc)
{
    return enc->flags & TN_ENC_PERM_K;
}

/* How a part is read for a weight in enc: as a whole weight and, where the plugin has its columns in order, without a
 * permutation. *ret_found is false, and *ret_own of no use, if it cannot be. */
static tn_status part_encoding(const weight_source *source, const char *tensor, const tn_enc *enc, tn_enc *ret_own,
                               bool *ret_found, tn_error *err)
{
    *ret_own = *enc;
    ret_own->flags &= ~(uint32_t)TN_ENC_PARTS;
    ret_own->part_n = 0;
    tn_status status = part_produces(source, tensor, ret_own, ret_found, err);
    if (status != TN_OK || *ret_found || !enc->part_n || !is_permuted(enc))
        return status;
    ret_own->flags &= ~(uint32_t)TN_ENC_PERM_K;
    return part_produces(source, tensor, ret_own, ret_found, err);
}

/* True if every part can be had in enc. */
static tn_status all_produce(const weight_source *source, const tn_graph *graph, uint32_t id, const tn_enc *enc,
                             bool *ret_all, tn_error *err)
{
    const uint32_t parts = model_graph_part_count(graph, id);
    uint64_t n, k;
    tn_status status = TN_OK;

    model_graph_weight_shape(graph, id, &n, &k);
    *ret_all = true;
    for (uint32_t i = 0; i < parts && *ret_all && status == TN_OK; i++) {
        weight_part part;
        tn_enc own;
        model_graph_part(graph, id, i, &part);
        if (survives(enc, &part, parts, k))
            status = part_encoding(source, part.tensor, enc, &own, ret_all, err);
        else
            *ret_all = false;
    }
    return status;
}

static void set_parts(tn_enc *enc, const weight_part *part)
{
    enc->flags |= TN_ENC_PARTS;
    enc->part_n = (uint32_t)part->rows;
}

/* Turns an encoding of the first part into one of the weight, if all parts can be had in it. The first part's columns
 * may be in order, and others' not. */
static tn_status join_parts(const weight_source *source, const tn_graph *graph, uint32_t id, tn_enc *enc, bool *ret_all,
                            tn_error *err)
{
    bool several = model_graph_part_count(graph, id) > 1;
    weight_part first;

    model_graph_part(graph, id, 0, &first);
    if (several && (is_permuted(enc) || enc->act_scheme == TN_INPUT_STATIC))
        set_parts(enc, &first);
    tn_status status = all_produce(source, graph, id, enc, ret_all, err);
    if (status != TN_OK || *ret_all || !several || is_permuted(enc) || enc->family == TN_ENC_FLOAT)
        return status;
    enc->flags |= TN_ENC_PERM_K;
    set_parts(enc, &first);
    return all_produce(source, graph, id, enc, ret_all, err);
}

tn_status weight_parts_produces(const weight_source *source, const tn_graph *graph, uint32_t id, uint32_t index,
                                tn_enc *ret_enc, tn_error *err)
{
    weight_part first;

    model_graph_part(graph, id, 0, &first);
    for (uint32_t of_first = 0, found = 0;; of_first++) {
        tn_enc enc = {.struct_size = sizeof enc};
        bool all;
        tn_status status = source->quant->produces(source->qmodel, first.tensor, of_first, &enc, err);
        if (status == TN_OK)
            status = join_parts(source, graph, id, &enc, &all, err);
        if (status != TN_OK)
            return status;
        if (!all || found++ < index)
            continue;
        *ret_enc = enc;
        return TN_OK;
    }
}

/* ---- reading ---- */

/* The block of the tensor that holds what a picked part needs for `count` rows from `from` on. */
typedef struct tensor_block {
    uint64_t row0, n_rows, k0, n_k;
} tensor_block;

static tensor_block block_of(const weight_part *part, uint64_t columns, uint64_t from, uint64_t count)
{
    uint64_t across = part->transposed ? count : columns, start = part->transposed ? from : 0;
    uint64_t first = part->column0 + start * part->column_step;
    uint64_t end = first + (across - 1) * part->column_step + 1;
    tensor_block block = {.row0 = part->transposed ? part->row0 : part->row0 + from,
                          .n_rows = part->transposed ? columns : count,
                          .k0 = first / COLUMN_UNIT * COLUMN_UNIT};

    end = (end + COLUMN_UNIT - 1) / COLUMN_UNIT * COLUMN_UNIT;
    end = end < part->tensor_columns ? end : part->tensor_columns;
    block.n_k = end - block.k0;
    return block;
}

uint64_t weight_parts_scratch_bytes(const tn_graph *graph, uint32_t id, const tn_enc *enc, uint64_t n_rows)
{
    uint64_t n, k, most = 0;

    model_graph_weight_shape(graph, id, &n, &k);
    for (uint32_t i = 0; i < model_graph_part_count(graph, id); i++) {
        weight_part part;
        model_graph_part(graph, id, i, &part);
        if (!is_picked(&part, k))
            continue;
        uint64_t rows = part.transposed ? k : n_rows, across = part.transposed ? n_rows : k;
        uint64_t bytes = rows * (across * part.column_step + 2 * COLUMN_UNIT) * tn_scalar_bytes(enc->qtype);
        most = bytes > most ? bytes : most;
    }
    return (most + 63) / 64 * 64;
}

static tn_status read_picked(const part_rows *rows, void *codes, void *scratch, tn_error *err)
{
    const weight_part *part = &rows->part;
    uint64_t width = tn_scalar_bytes(rows->enc.qtype);
    tensor_block block = block_of(part, rows->columns, rows->from, rows->count);
    void *plane[TN_PLANE_LIMIT] = {scratch};
    uint64_t bytes[TN_PLANE_LIMIT] = {block.n_rows * block.n_k * width};

    tn_status status = rows->source->quant->transcode(rows->source->qmodel, part->tensor, &rows->enc, block.row0,
                                                      block.n_rows, block.k0, block.n_k, plane, bytes, err);
    if (status != TN_OK)
        return status;
    for (uint64_t r = 0; r < rows->count; r++) {
        for (uint64_t c = 0; c < rows->columns; c++) {
            uint64_t row = part->transposed ? c : r, across = part->transposed ? rows->from + r : c;
            uint64_t column = part->column0 + across * part->column_step - block.k0;
            memcpy((unsigned char *)codes + (r * rows->columns + c) * width,
                   (const unsigned char *)scratch + (row * block.n_k + column) * width, width);
        }
    }
    return TN_OK;
}

/* Rows that lie step by step are read one by one. */
static tn_status read_rows(const part_rows *rows, void *const *plane, tn_error *err)
{
    const weight_part *part = &rows->part;
    uint64_t run = part->row_step == 1 ? rows->count : 1, bytes[TN_PLANE_LIMIT];
    void *at[TN_PLANE_LIMIT];
    tn_status status = TN_OK;

    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        bytes[p] = tn_plane_bytes(&rows->enc, p, run, rows->columns);
    for (uint64_t done = 0; done < rows->count && status == TN_OK; done += run) {
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
            at[p] = bytes[p] ? (unsigned char *)plane[p] + (p < TN_PLANE_COUNT ? done / run * bytes[p] : 0) : NULL;
        status = rows->source->quant->transcode(rows->source->qmodel, part->tensor, &rows->enc,
                                                part->row0 + (rows->from + done) * part->row_step, run, 0,
                                                rows->columns, at, bytes, err);
    }
    return status;
}

/* What a part whose own columns are in order lacks in a weight of others. */
static void fill_order(const tn_enc *enc, const tn_enc *own, uint32_t *perm, uint64_t columns)
{
    for (uint32_t k = 0; is_permuted(enc) && !is_permuted(own) && k < columns; k++)
        perm[k] = k;
}

/* plane: of the rows alone. */
static tn_status read_part(part_rows *rows, const tn_enc *enc, void *const *plane, void *scratch, tn_error *err)
{
    bool found = true;
    tn_status status = TN_OK;

    rows->enc = *enc;
    if (enc->part_n)
        status = part_encoding(rows->source, rows->part.tensor, enc, &rows->enc, &found, err);
    if (status != TN_OK)
        return status;
    TN_ASSERT(found);
    fill_order(enc, &rows->enc, plane[TN_PLANE_PERM], rows->columns);
    if (is_picked(&rows->part, rows->columns))
        return read_picked(rows, plane[TN_PLANE_CODES], scratch, err);
    return read_rows(rows, plane, err);
}

tn_status weight_parts_read(const weight_source *source, const tn_graph *graph, uint32_t id, const tn_enc *enc,
                            uint64_t row0, uint64_t n_rows, void *const *plane, void *scratch, tn_error *err)
{
    part_rows rows = {.source = source};
    uint64_t n, start = 0;
    tn_status status = TN_OK;

    model_graph_weight_shape(graph, id, &n, &rows.columns);
    for (uint32_t i = 0; i < model_graph_part_count(graph, id) && status == TN_OK; i++, start += rows.part.rows) {
        void *at[TN_PLANE_LIMIT];
        model_graph_part(graph, id, i, &rows.part);
        uint64_t end = start + rows.part.rows, first = row0 > start ? row0 : start;
        uint64_t last = row0 + n_rows < end ? row0 + n_rows : end;
        if (first >= last)
            continue;
        rows.from = first - start;
        rows.count = last - first;
        for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
            at[p] = !plane[p] || p >= TN_PLANE_COUNT
                        ? plane[p]
                        : (unsigned char *)plane[p] + tn_plane_bytes(enc, p, first - row0, rows.columns);
        status = read_part(&rows, enc, at, scratch, err);
    }
    return status;
}
