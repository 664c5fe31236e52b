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

static inline uint64_t planes_packed_bytes(const tn_enc *enc, uint64_t rows, uint64_t columns)
{
    uint64_t bytes = 0;
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        bytes += align_up(p < TN_PLANE_COUNT ? plane_rows(enc, p, rows) * plane_row_bytes(enc, p, columns)
                                             : tn_plane_bytes(enc, p, rows, columns));
    return bytes;
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
