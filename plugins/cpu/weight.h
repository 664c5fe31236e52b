/* plugins/cpu/weight.h: weights as the kernels want them, made from the canonical planes of tenon/encoding.h.
 *
 * Codes keep their width and scales their type, so a packed matrix is as large as its planes but for outputs padded to
 * 16 and K padded to 32. Layouts are described in kernels/kernels.h. Columns stay in the order in which they are
 * stored; where that is not the order of the inputs, rows are permuted before they are multiplied (STEP_PERMUTE).
 */
#ifndef CPU_WEIGHT_H
#define CPU_WEIGHT_H

#include "kernels/kernels.h"
#include "tenon/backend.h"

/* Matrices of integers (AFFINE, LUT, MX), of floats (FLOAT, AFFINE of e4m3 numbers); plain float32. */
enum { WEIGHT_AFFINE = 1, WEIGHT_FLOAT = 2, WEIGHT_VECTOR = 3 };

typedef struct weight {
    uint32_t kind; /* WEIGHT_* */
    uint32_t n, k;
    tn_enc enc;
    uint64_t bytes;       /* of data, a multiple of 64 */
    uint64_t rows_loaded; /* rows that weight_store has seen */
    uint8_t *data;        /* NULL until placed; borrowed */
    uint64_t perm_at;     /* byte offset in data of perm, if TN_ENC_PERM_K */
    uint32_t *perm;       /* [parts, k] the input that each stored column multiplies; NULL: in order, or not placed */
    affine_weight affine;
    float_weight matrix;
} weight;

/* Lays out weight [n, k] arriving in `enc`. vector: kept as plain float32 (gains, biases, sinks). data stays NULL.
 * TN_E_UNSUPPORTED says which property of enc the kernels cannot take. */
tn_status weight_init(weight *w, const tn_enc *enc, uint64_t n, uint64_t k, bool vector, const char *name,
                      tn_error *err);
/* Gives it w->bytes of zeroed, 64-byte aligned memory. */
void weight_place(weight *w, uint8_t *data);
/* Repacks one block. Rows in ascending order, each with all its K or in ranges of K. TN_E_ARGUMENT if the block does
 * not fit the weight. */
tn_status weight_store(weight *w, const tn_planes *planes, const char *name, tn_error *err);
/* Row `row` as float32, exactly as the encoding defines it. out: [k]. */
void weight_row(const weight *w, uint64_t row, float *out);
static inline bool weight_is_permuted(const weight *w)
{
    return w->enc.flags & TN_ENC_PERM_K;
}
/* The inputs that the stored columns of row n multiply, [k]; NULL: they are in order. */
static inline const uint32_t *weight_perm(const weight *w, uint64_t n)
{
    return w->perm && w->enc.part_n ? w->perm + n / w->enc.part_n * w->k : w->perm;
}
/* The values of a vector, [n * k]. */
static inline const float *weight_vector(const weight *w)
{
    return (const float *)(const void *)w->data;
}

#endif
