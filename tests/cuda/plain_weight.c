/* plain_weight.c: see plain_weight.h. Rows of codes are bit streams as wide as their padded columns, scales lie [rows
 * or scale rows][groups], second factors [rows][groups][factors].
 */
#include "plain_weight.h"

#include "unit/canonical.h"

#include <stdbool.h>
#include <string.h>

static uint64_t row_bytes(const cuda_weight *w)
{
    return w->enc.family == TN_ENC_FLOAT ? w->stride * tn_scalar_bytes(w->enc.qtype)
                                         : (uint64_t)w->k_blocks * CUDA_K_BLOCK * w->enc.bits / 8;
}

/* Rows of one plane of the block, each `from` bytes, become rows of `to` bytes of the weight. */
static void copy_rows(const void *plane, const void *memory, uint64_t row0, uint64_t rows, uint64_t from, uint64_t to)
{
    for (uint64_t r = 0; r < rows; r++)
        memcpy((uint8_t *)(uintptr_t)memory + (row0 + r) * to, (const uint8_t *)plane + r * from, from);
}

/* Blocks are whole rows here. */
tn_status cuda_repack(const cuda_repack_args *a, cuda_stream stream)
{
    const cuda_weight *w = a->weight;
    const tn_enc *enc = &w->enc;
    const uint64_t shared = enc->group_n > 1 ? enc->group_n : 1;
    const void *const memory[TN_PLANE_COUNT] = {w->codes, w->scale, w->min, w->scale2};

    (void)stream;
    if (a->k0 != 0 || a->n_k != w->columns || a->row0 % shared)
        return TN_E_ARGUMENT;
    for (uint32_t p = 0; p < TN_PLANE_COUNT; p++) {
        const bool scales = p == TN_PLANE_SCALE || p == TN_PLANE_MIN;
        const uint64_t bytes = tn_plane_bytes(enc, p, 1, a->n_k), unit = scales ? shared : 1;
        if (bytes)
            copy_rows(a->plane[p], memory[p], a->row0 / unit, tn_group_count(a->n_rows, (uint32_t)unit), bytes,
                      p == TN_PLANE_CODES ? row_bytes(w) : bytes);
    }
    if (enc->family == TN_ENC_LUT)
        memcpy((float *)(uintptr_t)w->lut, a->plane[TN_PLANE_LUT], sizeof(float) << enc->bits);
    return TN_OK;
}

/* Scale of a group of a row, and what is added to the product. */
static float scale_at(const cuda_weight *w, uint64_t row, uint64_t group, float *ret_min)
{
    const tn_enc *enc = &w->enc;
    const uint64_t scale_row = enc->group_n > 1 ? row / enc->group_n : row, at = scale_row * w->groups + group;
    float scale = canonical_scalar(enc->scale_type, w->scale, at), min = 0;

    if (enc->zero_type == TN_ZERO_FLOAT)
        min = canonical_scalar(enc->scale_type, w->min, at);
    if (enc->group2_k) {
        const uint64_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
        const uint64_t super = (row * w->groups2 + group * enc->group_k / enc->group2_k) * factors;
        scale = scale * canonical_scalar(enc->scale2_type, w->scale2, super);
        min = factors == 2 ? min * canonical_scalar(enc->scale2_type, w->scale2, super + 1) : min;
    }
    *ret_min = min;
    return scale;
}

static uint8_t zero_at(const cuda_weight *w, uint64_t row, uint64_t group)
{
    const uint64_t scale_row = w->enc.group_n > 1 ? row / w->enc.group_n : row;
    return w->enc.zero_type == TN_ZERO_POINT ? ((const uint8_t *)w->min)[scale_row * w->groups + group] : 0;
}

void plain_weight_row(const cuda_weight *w, uint64_t row, float *out)
{
    const tn_enc *enc = &w->enc;
    const uint8_t *codes = (const uint8_t *)w->codes + row * row_bytes(w);
    void *lut[TN_PLANE_LIMIT] = {[TN_PLANE_LUT] = (void *)(uintptr_t)w->lut};
    float scale = 0, min = 0, zero = 0;

    for (uint64_t k = 0; k < w->columns; k++) {
        if (enc->family == TN_ENC_FLOAT) {
            out[k] = canonical_scalar(enc->qtype, codes, k);
            continue;
        }
        if (k % enc->group_k == 0) {
            scale = scale_at(w, row, k / enc->group_k, &min);
            zero = zero_at(w, row, k / enc->group_k);
        }
        float product = scale * (canonical_number(enc, lut, canonical_code(codes, k, enc->bits)) - zero);
        out[k] = enc->zero_type == TN_ZERO_FLOAT ? product + min : product;
    }
}
