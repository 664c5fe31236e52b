/* plugins/cpu/weight_float.c: float matrices, e4m3 with scales among them, in the panels of kernels/kernels.h. */
#include "weight_kinds.h"

#include "base/small_float.h"

#include <string.h>

enum { E4M3_SCALE = 256 }; /* what scales are multiplied with and kernels divide numbers by */

static uint32_t store_of(uint32_t type)
{
    return type == TN_F32 ? STORE_F32 : type == TN_F16 ? STORE_F16 : type == TN_BF16 ? STORE_BF16 : STORE_E4M3;
}

/* Planes are measured by `bits`, rows read by the type. */
static bool is_float(const tn_enc *enc)
{
    return enc->family == TN_ENC_FLOAT && (enc->qtype == TN_F32 || enc->qtype == TN_F16 || enc->qtype == TN_BF16) &&
           enc->bits == tn_scalar_bytes(enc->qtype) * 8;
}

static tn_status e4m3_check(const tn_enc *enc, uint64_t k, const char *name, tn_error *err)
{
    if (enc->bits != 8 || enc->zero_type != TN_ZERO_NONE || enc->group2_k)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: e4m3 numbers of %u bits, zero type %u, super-groups of %u", name,
                       enc->bits, enc->zero_type, enc->group2_k);
    if (!enc->group_k || (enc->group_k < k && enc->group_k % K_BLOCK))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: e4m3 numbers in groups of %u; the CPU takes multiples of %d", name,
                       enc->group_k, K_BLOCK);
    if (enc->scale_type != TN_F32 && enc->scale_type != TN_F16 && enc->scale_type != TN_BF16)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: scales of type %u", name, enc->scale_type);
    return TN_OK;
}

static void e4m3_init(weight *w)
{
    float_weight *f = &w->matrix;

    f->group = w->enc.group_k < w->k ? w->enc.group_k : f->k_pad;
    f->run = f->group % K_SUM == 0 || f->group == f->k_pad ? K_SUM : K_BLOCK;
    f->scale_at = f->k_pad * LANES;
    f->panel_bytes = f->scale_at + tn_group_count(w->k, f->group) * LANES * sizeof(float);
}

tn_status float_init(weight *w, const char *name, tn_error *err)
{
    float_weight *f = &w->matrix;
    uint32_t type = w->enc.qtype;

    if (!is_float(&w->enc) && !(w->enc.family == TN_ENC_AFFINE && type == TN_Q_E4M3))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: float weights of type %u and %u bits", name, type, w->enc.bits);
    tn_status status = type == TN_Q_E4M3 ? e4m3_check(&w->enc, w->k, name, err) : TN_OK;
    if (status != TN_OK)
        return status;
    f->n = w->n;
    f->k = w->k;
    f->panels = round_up(w->n, LANES) / LANES;
    f->store = store_of(type);
    f->k_pad = round_up(w->k, K_BLOCK);
    uint32_t k_stored = f->store == STORE_BF16 ? f->k_pad : round_up(w->k, 2); /* kernels read two k at a time */
    f->panel_bytes = (uint64_t)k_stored * LANES * tn_scalar_bytes(type);
    if (f->store == STORE_E4M3)
        e4m3_init(w);
    w->bytes = f->panels * f->panel_bytes;
    return TN_OK;
}

/* Where element (lane, k) of a panel is, in elements. */
static uint64_t float_index(const float_weight *f, uint64_t k, uint32_t lane)
{
    return f->store == STORE_BF16 ? k / 2 * 2 * LANES + lane * 2 + k % 2 : k * LANES + lane;
}

static float *e4m3_scales(const weight *w, uint8_t *panel, uint32_t lane)
{
    return (float *)(void *)(panel + w->matrix.scale_at) + lane;
}

/* One NaN would poison every answer, and kernels read numbers only. */
static tn_status e4m3_row_store(weight *w, uint8_t *panel, uint32_t lane, const tn_planes *planes, uint64_t row,
                                const char *name, tn_error *err)
{
    const uint8_t *from = (const uint8_t *)planes->plane[TN_PLANE_CODES] + row * planes->n_k;
    uint64_t groups = tn_group_count(planes->n_k, w->enc.group_k), first = planes->k0 / w->enc.group_k;
    uint64_t shared = w->enc.group_n > 1 ? row / w->enc.group_n : row;
    float *scale = e4m3_scales(w, panel, lane);

    for (uint64_t k = 0; k < planes->n_k; k++) {
        if ((from[k] & 0x7f) == 0x7f)
            return tn_fail(err, TN_E_CORRUPT, "%s: the weight of output %llu, input %llu is not a number", name,
                           (unsigned long long)(planes->row0 + row),
                           (unsigned long long)weight_input(w, planes->row0 + row, (uint32_t)(planes->k0 + k)));
        panel[(planes->k0 + k) * LANES + lane] = from[k];
    }
    for (uint64_t g = 0; g < groups; g++)
        scale[(first + g) * LANES] =
            weight_scalar(planes->plane[TN_PLANE_SCALE], w->enc.scale_type, shared * groups + g) * E4M3_SCALE;
    return TN_OK;
}

tn_status float_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row, const char *name, tn_error *err)
{
    const uint64_t bytes = tn_scalar_bytes(w->enc.qtype);
    const uint8_t *from = (const uint8_t *)planes->plane[TN_PLANE_CODES] + row * planes->n_k * bytes;
    const uint32_t lane = (uint32_t)(n % LANES);
    uint8_t *panel = w->data + n / LANES * w->matrix.panel_bytes;

    if (w->matrix.store == STORE_E4M3)
        return e4m3_row_store(w, panel, lane, planes, row, name, err);
    for (uint64_t k = 0; k < planes->n_k; k++)
        memcpy(panel + float_index(&w->matrix, planes->k0 + k, lane) * bytes, from + k * bytes, bytes);
    return TN_OK;
}

void float_row(const weight *w, uint64_t row, float *out)
{
    const float_weight *f = &w->matrix;
    const uint32_t lane = (uint32_t)(row % LANES);
    uint8_t *panel = w->data + row / LANES * f->panel_bytes;

    for (uint32_t k = 0; k < w->k; k++) {
        const uint64_t at = float_index(f, k, lane);
        if (f->store == STORE_E4M3)
            out[weight_input(w, row, k)] = e4m3_scales(w, panel, lane)[(uint64_t)(k / f->group) * LANES] *
                                           (float_from_e4m3(panel[at]) / E4M3_SCALE);
        else
            out[k] = weight_scalar(panel, w->enc.qtype, at);
    }
}
