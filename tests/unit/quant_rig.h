/* tests/unit/quant_rig.h: what every quantization plugin must hold: the planes of each encoding it lists decode, by the
 * letter of tenon/encoding.h and by the interpreter, to the bits of `reference`; whole, by rows and by columns.
 */
#ifndef TESTS_QUANT_RIG_H
#define TESTS_QUANT_RIG_H

#include "canonical.h"
#include "interp/decode.h"
#include "tenon/quant.h"

#include <stdbool.h>
#include <stdlib.h>

typedef struct rig_planes {
    void *plane[TN_PLANE_LIMIT];
    uint64_t bytes[TN_PLANE_LIMIT];
} rig_planes;

static inline void rig_planes_free(rig_planes *planes)
{
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(planes->plane[p]);
}

/* Exact-size planes, so that a sanitizer sees every byte written past them. Freed by the caller in any case. */
static inline tn_status rig_transcode(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name,
                                      const tn_enc *enc, uint64_t row0, uint64_t n_rows, uint64_t k0, uint64_t n_k,
                                      rig_planes *ret_planes, tn_error *err)
{
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        ret_planes->bytes[p] = tn_plane_bytes(enc, p, n_rows, n_k);
        ret_planes->plane[p] = ret_planes->bytes[p] ? malloc(ret_planes->bytes[p]) : NULL;
    }
    return quant->transcode(qmodel, name, enc, row0, n_rows, k0, n_k, ret_planes->plane, ret_planes->bytes, err);
}

static inline float rig_expected(const tn_enc *enc, float reference)
{
    bool rounded = enc->family == TN_ENC_FLOAT && enc->qtype == TN_BF16;
    return rounded ? float_from_bf16(bf16_from_float(reference)) : reference;
}

/* The interpreter's decoding of the same block, a second reading of encoding.h. */
static inline void rig_check_interp(const tn_enc *enc, const rig_planes *planes, uint64_t n_rows, uint64_t n_k)
{
    float *row = malloc(n_k * sizeof *row);
    tn_planes block = {.struct_size = sizeof block,
                       .plane_count = TN_PLANE_LIMIT,
                       .n_rows = n_rows,
                       .n_k = n_k,
                       .plane = (const void *const *)planes->plane,
                       .plane_bytes = planes->bytes};

    assert_int_equal(interp_decode_check(enc, NULL), TN_OK);
    for (uint64_t r = 0; r < n_rows; r++) {
        interp_decode_row(enc, &block, r, row);
        for (uint64_t k = 0; k < n_k; k++)
            assert_int_equal(bits_from_float(row[k]), bits_from_float(canonical_value(enc, planes->plane, n_k, r, k)));
    }
    free(row);
}

/* reference: the whole weight [rows, columns]. */
static inline void rig_check_block(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name,
                                   const tn_enc *enc, uint64_t row0, uint64_t n_rows, uint64_t k0, uint64_t n_k,
                                   const float *reference, uint64_t columns)
{
    tn_error err = TN_ERROR_INIT;
    rig_planes planes;

    if (rig_transcode(quant, qmodel, name, enc, row0, n_rows, k0, n_k, &planes, &err) != TN_OK)
        fail_msg("%s: %s", name, err.msg);
    for (uint64_t row = 0; row < n_rows; row++) {
        for (uint64_t k = 0; k < n_k; k++) {
            float expected = rig_expected(enc, reference[(row0 + row) * columns + k0 + k]);
            float value = canonical_value(enc, planes.plane, n_k, row, k);
            if (bits_from_float(value) != bits_from_float(expected))
                fail_msg("%s [%llu, %llu]: %a, expected %a", name, (unsigned long long)(row0 + row),
                         (unsigned long long)(k0 + k), (double)value, (double)expected);
        }
    }
    rig_check_interp(enc, &planes, n_rows, n_k);
    rig_planes_free(&planes);
}

/* Every encoding of a weight: whole; a block of inner rows; and, if groups allow, inner columns. Returns the number of
 * encodings. */
static inline uint32_t rig_check_weight(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name)
{
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    uint64_t rows, columns;
    uint32_t count = 0;

    assert_int_equal(quant->shape(qmodel, name, &rows, &columns, &err), TN_OK);
    float *reference = malloc(rows * columns * sizeof *reference);
    assert_int_equal(quant->reference(qmodel, name, 0, rows, reference, &err), TN_OK);
    for (; quant->produces(qmodel, name, count, &enc, &err) == TN_OK; count++) {
        uint64_t unit = enc.group_k > 8 ? enc.group_k : 8, step = enc.group_n > 1 ? enc.group_n : 1;
        rig_check_block(quant, qmodel, name, &enc, 0, rows, 0, columns, reference, columns);
        if (rows > 2 * step) /* inner rows, or all but the first group of rows */
            rig_check_block(quant, qmodel, name, &enc, step, rows - (step > 1 ? step : 2), 0, columns, reference,
                            columns);
        if (!enc.flags && unit % 8 == 0 && unit < columns)
            rig_check_block(quant, qmodel, name, &enc, 0, rows, unit, columns - unit, reference, columns);
        if (!enc.flags && unit % 8 == 0 && 2 * unit < columns)
            rig_check_block(quant, qmodel, name, &enc, step, step, unit, unit, reference, columns);
    }
    assert_int_equal(enc.family, TN_ENC_FLOAT);
    assert_int_equal(enc.qtype, TN_BF16);
    free(reference);
    return count;
}

#endif
