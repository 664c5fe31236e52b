/* plugins/cpu/weight.c: see weight.h. Packing is done once per load, in plain C. */
#include "weight_kinds.h"

#include "base/size.h"
#include "base/small_float.h"

#include <string.h>

float weight_scalar(const uint8_t *p, uint32_t type, uint64_t index)
{
    uint16_t half;
    float value;

    switch (type) {
    case TN_F16:
        memcpy(&half, p + index * 2, sizeof half);
        return float_from_f16(half);
    case TN_BF16:
        memcpy(&half, p + index * 2, sizeof half);
        return float_from_bf16(half);
    case TN_U8:
        return p[index];
    case TN_S8:
        return (int8_t)p[index];
    case TN_E8M0:
        return float_from_e8m0(p[index]);
    default:
        memcpy(&value, p + index * 4, sizeof value);
        return value;
    }
}

/* ---- layout ---- */

/* The permutations of the parts follow the panels. */
static void perm_init(weight *w)
{
    uint64_t parts = w->enc.part_n ? tn_group_count(w->n, w->enc.part_n) : 1;

    if (!weight_is_permuted(w))
        return;
    w->perm_at = w->bytes;
    w->bytes += (parts * w->k * sizeof *w->perm + 63) & ~UINT64_C(63);
}

static bool holds_floats(const tn_enc *enc)
{
    return enc->family == TN_ENC_FLOAT || (enc->family == TN_ENC_AFFINE && enc->qtype == TN_Q_E4M3);
}

tn_status weight_init(weight *w, const tn_enc *enc, uint64_t n, uint64_t k, bool vector, const char *name,
                      tn_error *err)
{
    tn_status status = TN_OK;

    if (!n || !k || n > INT32_MAX / 2 || k > INT32_MAX / 64)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: a weight of %llu x %llu is out of range", name,
                       (unsigned long long)n, (unsigned long long)k);
    if (enc->family < TN_ENC_FLOAT || enc->family > TN_ENC_LUT)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: unknown encoding family %u", name, enc->family);
    if (vector && enc->family != TN_ENC_FLOAT)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: quantized vectors", name);
    if ((enc->flags & ~(uint32_t)(TN_ENC_PERM_K | TN_ENC_PARTS)) || (enc->flags && enc->family == TN_ENC_FLOAT))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: encoding flags 0x%x", name, enc->flags);
    if (!(enc->flags & TN_ENC_PARTS) != !enc->part_n)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: parts of %u rows with encoding flags 0x%x", name, enc->part_n,
                       enc->flags);
    *w = (weight){.kind = vector              ? WEIGHT_VECTOR
                          : holds_floats(enc) ? WEIGHT_FLOAT
                                              : WEIGHT_AFFINE,
                  .n = (uint32_t)n,
                  .k = (uint32_t)k,
                  .enc = *enc};
    status = w->kind == WEIGHT_AFFINE ? affine_init(w, name, err) : float_init(w, name, err);
    if (status != TN_OK)
        return status;
    perm_init(w);
    if (vector)
        w->bytes = (n * k * sizeof(float) + 63) & ~UINT64_C(63);
    return status;
}

void weight_place(weight *w, uint8_t *data)
{
    w->data = data;
    w->affine.data = data;
    w->matrix.data = data;
    w->perm = weight_is_permuted(w) ? (uint32_t *)(void *)(data + w->perm_at) : NULL;
}

/* ---- packing ---- */

static tn_status planes_check(const weight *w, const tn_planes *planes, const char *name, tn_error *err)
{
    const tn_enc *enc = &w->enc;
    uint64_t end = planes->k0 + planes->n_k;

    if (!size_within(planes->row0, planes->n_rows, w->n) || !size_within(planes->k0, planes->n_k, w->k))
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block outside the weight's %u x %u", name, w->n, w->k);
    if (enc->family != TN_ENC_FLOAT) {
        uint32_t unit = enc->group2_k ? enc->group2_k : enc->group_k;
        if (planes->k0 % unit || planes->k0 % 8 || (end != w->k && (end % unit || end % 8)))
            return tn_fail(err, TN_E_ARGUMENT, "%s: a block that cuts a group of %u", name, unit);
    }
    uint64_t row_end = planes->row0 + planes->n_rows;
    if (enc->group_n > 1 && (planes->row0 % enc->group_n || (row_end != w->n && row_end % enc->group_n)))
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block that cuts a group of %u rows", name, enc->group_n);
    if (weight_is_permuted(w) && planes->n_k != w->k)
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block of part of a permuted row", name);
    if (enc->part_n && planes->row0 % enc->part_n + planes->n_rows > enc->part_n)
        return tn_fail(err, TN_E_ARGUMENT, "%s: a block of more than one part of %u rows", name, enc->part_n);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        uint64_t want = tn_plane_bytes(enc, p, planes->n_rows, planes->n_k);
        if (want && (p >= planes->plane_count || !planes->plane[p] || planes->plane_bytes[p] < want))
            return tn_fail(err, TN_E_ARGUMENT, "%s: plane %u has fewer than its %llu bytes", name, p,
                           (unsigned long long)want);
    }
    return TN_OK;
}

/* Kernels index rows with it, so it is held to its range. */
static tn_status perm_store(weight *w, const tn_planes *planes, const char *name, tn_error *err)
{
    if (!w->perm)
        return TN_OK;
    uint32_t *perm = w->perm + (w->enc.part_n ? planes->row0 / w->enc.part_n * w->k : 0);
    memcpy(perm, planes->plane[TN_PLANE_PERM], w->k * sizeof *perm);
    for (uint32_t k = 0; k < w->k; k++)
        if (perm[k] >= w->k)
            return tn_fail(err, TN_E_ARGUMENT, "%s: column %u multiplies input %u of %u", name, k, perm[k], w->k);
    return TN_OK;
}

static void vector_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row)
{
    const uint8_t *from = planes->plane[TN_PLANE_CODES];
    float *to = (float *)(void *)w->data + n * w->k + planes->k0;

    for (uint64_t k = 0; k < planes->n_k; k++)
        to[k] = weight_scalar(from, w->enc.qtype, row * planes->n_k + k);
}

tn_status weight_store(weight *w, const tn_planes *planes, const char *name, tn_error *err)
{
    TN_ASSERT(w->data);
    tn_status status = planes_check(w, planes, name, err);
    if (status == TN_OK)
        status = perm_store(w, planes, name, err);
    if (status == TN_OK)
        status = affine_table_store(w, planes, name, err);
    if (status != TN_OK)
        return status;
    for (uint64_t i = 0; i < planes->n_rows && status == TN_OK; i++) {
        uint64_t n = planes->row0 + i;
        if (w->kind == WEIGHT_AFFINE)
            affine_row_store(w, n, planes, i);
        else if (w->kind == WEIGHT_FLOAT)
            status = float_row_store(w, n, planes, i, name, err);
        else
            vector_row_store(w, n, planes, i);
    }
    if (status == TN_OK && planes->k0 + planes->n_k == w->k)
        w->rows_loaded += planes->n_rows;
    return status;
}

void weight_row(const weight *w, uint64_t row, float *out)
{
    TN_ASSERT(row < w->n);
    if (w->kind == WEIGHT_AFFINE)
        affine_row(w, row, out);
    else if (w->kind == WEIGHT_FLOAT)
        float_row(w, row, out);
    else
        memcpy(out, weight_vector(w) + row * w->k, w->k * sizeof(float));
}
