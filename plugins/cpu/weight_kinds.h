/* plugins/cpu/weight_kinds.h: what weight.c asks of the two kinds of matrices (weight_affine.c, weight_float.c): to lay
 * out a weight, to store one row of a block, to read a row back.
 */
#ifndef CPU_WEIGHT_KINDS_H
#define CPU_WEIGHT_KINDS_H

#include "weight.h"

/* Element `index` of an array of scalars that may be unaligned, as float32. */
float weight_scalar(const uint8_t *p, uint32_t type, uint64_t index);

static inline uint32_t round_up(uint32_t x, uint32_t unit)
{
    return (x + unit - 1) / unit * unit;
}

/* The input that stored column k of row n multiplies. */
static inline uint32_t weight_input(const weight *w, uint64_t n, uint32_t k)
{
    const uint32_t *perm = weight_perm(w, n);
    return perm ? perm[k] : k;
}

/* Sets bytes and the layout from n, k and enc. TN_E_UNSUPPORTED as for weight_init. */
tn_status affine_init(weight *w, const char *name, tn_error *err);
tn_status float_init(weight *w, const char *name, tn_error *err);
/* Row `row` of a checked block becomes row n of the weight. */
void affine_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row);
/* TN_E_CORRUPT names an e4m3 code that is NaN. */
tn_status float_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row, const char *name,
                          tn_error *err);
/* Takes the table of a LUT weight; nothing to do for others. */
tn_status affine_table_store(weight *w, const tn_planes *planes, const char *name, tn_error *err);
/* out: [k], in the order of the inputs. */
void affine_row(const weight *w, uint64_t row, float *out);
void float_row(const weight *w, uint64_t row, float *out);

#endif
