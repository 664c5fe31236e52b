/* plugins/cuda_tp/planes.h: bytes of the planes (tenon/encoding.h) of some rows and columns of a weight. */
#ifndef CUDA_TP_PLANES_H
#define CUDA_TP_PLANES_H

#include "program.h"

static inline uint64_t plane_rows_per_scale(const tn_enc *enc)
{
    return enc->group_n > 1 ? enc->group_n : 1;
}

/* Rows that a plane has for `rows` rows of the matrix. */
static inline uint64_t plane_rows(const tn_enc *enc, uint32_t plane, uint64_t rows)
{
    bool shared = plane == TN_PLANE_SCALE || plane == TN_PLANE_MIN;
    return shared ? tn_group_count(rows, (uint32_t)plane_rows_per_scale(enc)) : rows;
}

/* Bytes of one of them for `columns` columns of the matrix. */
static inline uint64_t plane_row_bytes(const tn_enc *enc, uint32_t plane, uint64_t columns)
{
    return columns ? tn_plane_bytes(enc, plane, 1, columns) : 0;
}

/* Bytes of a row before the element, or before the group, that a column has its place in. */
static inline uint64_t plane_skip_bytes(const tn_enc *enc, uint32_t plane, uint64_t column)
{
    uint64_t group = plane == TN_PLANE_CODES ? 1 : plane == TN_PLANE_SCALE2 ? enc->group2_k : enc->group_k;
    return group ? plane_row_bytes(enc, plane, column / group * group) : 0;
}

/* Rows of a plane before the one that row `row` of the matrix has its place in. */
static inline uint64_t plane_rows_before(const tn_enc *enc, uint32_t plane, uint64_t row)
{
    bool shared = plane == TN_PLANE_SCALE || plane == TN_PLANE_MIN;
    return shared ? row / plane_rows_per_scale(enc) : row;
}

static inline uint64_t planes_packed_bytes(const tn_enc *enc, uint64_t rows, uint64_t columns)
{
    uint64_t bytes = 0;
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        bytes += align_up(p < TN_PLANE_COUNT ? plane_rows(enc, p, rows) * plane_row_bytes(enc, p, columns)
                                             : tn_plane_bytes(enc, p, rows, columns));
    return bytes;
}

static inline bool columns_are_permuted(const tn_enc *enc)
{
    return enc->flags & TN_ENC_PERM_K;
}

/* Orders of columns that `rows` rows have: one for each part. */
static inline uint64_t perm_count(const tn_enc *enc, uint64_t rows)
{
    return !columns_are_permuted(enc) ? 0 : enc->part_n ? rows / enc->part_n : 1;
}

/* Rows are handled in multiples of this. */
static inline uint64_t plane_row_unit(const tn_enc *enc)
{
    uint64_t unit = plane_rows_per_scale(enc);
    while (unit % CUDA_PANEL)
        unit += plane_rows_per_scale(enc);
    return unit;
}

#endif
