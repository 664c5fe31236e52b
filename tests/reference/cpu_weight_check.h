/* tests/reference/cpu_weight_check.h: a weight in the encoding that a plugin lists first, as the CPU backend keeps it:
 * codes stay codes, and its rows are the plugin's reference.
 */
#ifndef TESTS_CPU_WEIGHT_CHECK_H
#define TESTS_CPU_WEIGHT_CHECK_H

#include "tenon/quant.h"
#include "weight.h"

#include <stdlib.h>
#include <string.h>

/* Rows [row0, row0 + n_rows) on their way through the canonical planes. */
static inline void cpu_weight_store_rows(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name,
                                         const tn_enc *enc, weight *w, uint64_t row0, uint64_t n_rows)
{
    void *plane[TN_PLANE_LIMIT];
    uint64_t bytes[TN_PLANE_LIMIT];
    tn_error err = TN_ERROR_INIT;

    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(enc, p, n_rows, w->k);
        plane[p] = bytes[p] ? malloc(bytes[p]) : NULL;
    }
    const tn_planes planes = {.struct_size = sizeof planes,
                              .plane_count = TN_PLANE_LIMIT,
                              .row0 = row0,
                              .n_rows = n_rows,
                              .n_k = w->k,
                              .plane = (const void *const *)plane,
                              .plane_bytes = bytes};
    if (quant->transcode(qmodel, name, enc, row0, n_rows, 0, w->k, plane, bytes, &err) != TN_OK ||
        weight_store(w, &planes, name, &err) != TN_OK)
        fail_msg("%s: %s", name, err.msg);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(plane[p]);
}

/* In two blocks of rows where scales allow. Two bits a weight more than the codes have is room for scales. */
static inline void cpu_weight_check(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name)
{
    tn_enc enc = {.struct_size = sizeof enc};
    tn_error err = TN_ERROR_INIT;
    uint64_t rows, columns;
    weight w;

    assert_int_equal(quant->shape(qmodel, name, &rows, &columns, &err), TN_OK);
    assert_int_equal(quant->produces(qmodel, name, 0, &enc, &err), TN_OK);
    if (weight_init(&w, &enc, rows, columns, false, name, &err) != TN_OK)
        fail_msg("%s", err.msg);
    uint64_t padded = (rows + 15) / 16 * 16 * ((columns + 31) / 32 * 32);
    uint64_t perm = enc.flags & TN_ENC_PERM_K ? columns * sizeof(uint32_t) + 64 : 0;
    assert_true(w.bytes <= padded * (enc.bits + 2) / 8 + padded / 16 + perm);
    uint8_t *data = aligned_alloc(64, w.bytes);
    weight_place(&w, memset(data, 0, w.bytes));
    uint64_t step = enc.group_n > 1 ? enc.group_n : 16, first = rows > step ? step : rows;
    cpu_weight_store_rows(quant, qmodel, name, &enc, &w, 0, first);
    if (first < rows)
        cpu_weight_store_rows(quant, qmodel, name, &enc, &w, first, rows - first);
    assert_true(w.rows_loaded == rows);

    float *row = malloc(columns * sizeof *row), *reference = malloc(columns * sizeof *reference);
    for (uint64_t n = 0; n < rows; n++) {
        assert_int_equal(quant->reference(qmodel, name, n, 1, reference, &err), TN_OK);
        weight_row(&w, n, row);
        for (uint64_t k = 0; k < columns; k++)
            if (row[k] != reference[k])
                fail_msg("%s [%llu, %llu]: the CPU keeps %a, the checkpoint has %a", name, (unsigned long long)n,
                         (unsigned long long)k, (double)row[k], (double)reference[k]);
    }
    free(row);
    free(reference);
    free(data);
}

#endif
