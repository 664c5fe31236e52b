/* plugins/cpu/weight_float.c: float matrices in the panels of kernels/kernels.h. */
#include "weight_kinds.h"

#include <string.h>

tn_status float_init(weight *w, const char *name, tn_error *err)
{
    float_weight *f = &w->matrix;
    uint32_t type = w->enc.qtype;

    if (type != TN_F32 && type != TN_F16 && type != TN_BF16)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: float weights of type %u", name, type);
    f->n = w->n;
    f->k = w->k;
    f->panels = round_up(w->n, LANES) / LANES;
    f->store = type == TN_F32 ? STORE_F32 : type == TN_F16 ? STORE_F16 : STORE_BF16;
    f->k_pad = round_up(w->k, K_BLOCK);
    uint32_t k_stored = f->store == STORE_BF16 ? f->k_pad : round_up(w->k, 2); /* kernels read two k at a time */
    f->panel_bytes = (uint64_t)k_stored * LANES * tn_scalar_bytes(type);
    w->bytes = f->panels * f->panel_bytes;
    return TN_OK;
}

/* Where element (lane, k) of a panel is, in elements. */
static uint64_t float_index(const float_weight *f, uint64_t k, uint32_t lane)
{
    return f->store == STORE_BF16 ? k / 2 * 2 * LANES + lane * 2 + k % 2 : k * LANES + lane;
}

void float_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row)
{
    uint64_t bytes = tn_scalar_bytes(w->enc.qtype);
    const uint8_t *from = (const uint8_t *)planes->plane[TN_PLANE_CODES] + row * planes->n_k * bytes;

    uint8_t *panel = w->data + n / LANES * w->matrix.panel_bytes;
    for (uint64_t k = 0; k < planes->n_k; k++)
        memcpy(panel + float_index(&w->matrix, planes->k0 + k, (uint32_t)(n % LANES)) * bytes, from + k * bytes, bytes);
}

void float_row(const weight *w, uint64_t row, float *out)
{
    const uint8_t *panel = w->data + row / LANES * w->matrix.panel_bytes;

    for (uint32_t k = 0; k < w->k; k++)
        out[k] = weight_scalar(panel, w->enc.qtype, float_index(&w->matrix, k, (uint32_t)(row % LANES)));
}
