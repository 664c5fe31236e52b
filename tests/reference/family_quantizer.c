/* family_quantizer.c: see family_quantizer.h. */
#include "family_quantizer.h"

#include "unit/canonical.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const tn_quant_table *plain; /* where the floats are */
static tn_enc encoding;
static float number[256]; /* of each code, unscaled; NaN: of none */

static const float uneven_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void family_quantizer_begin(const tn_quant_table *floats)
{
    plain = floats;
}

void family_quantizer_choose(tn_enc enc)
{
    encoding = enc;
    encoding.struct_size = sizeof encoding;
    void *lut[TN_PLANE_LIMIT] = {[TN_PLANE_LUT] = (void *)(uintptr_t)uneven_table};
    for (uint32_t code = 0; code < 1u << enc.bits; code++)
        number[code] = enc.qtype == TN_Q_E4M3 && (code & 0x7f) == 0x7f ? NAN : canonical_number(&enc, lut, code);
}

static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    return plain->open(source, ret_qmodel, err);
}

static void quant_close(tn_qmodel *qmodel)
{
    plain->close(qmodel);
}

static tn_status quant_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    return plain->shape(qmodel, name, ret_n, ret_k, err);
}

/* The columns of one expert in each layer are in order by chance, the first's or another's. */
static bool is_permuted(const char *name)
{
    return encoding.flags & TN_ENC_PERM_K && !strstr(name, "layers.0.block_sparse_moe.experts.1.") &&
           !strstr(name, "layers.1.block_sparse_moe.experts.0.");
}

static tn_status quant_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    const uint32_t own = encoding.group_n > 1 ? 2 : 1; /* with the scales that rows share, and by rows */
    uint64_t n, k;
    tn_status status = plain->shape(qmodel, name, &n, &k, err);

    if (status != TN_OK || n == 1)
        return status != TN_OK ? status : plain->produces(qmodel, name, index, ret_enc, err);
    if (index >= own)
        return plain->produces(qmodel, name, index - own, ret_enc, err);
    *ret_enc = encoding;
    ret_enc->flags = is_permuted(name) ? TN_ENC_PERM_K : 0;
    ret_enc->group_n = index == 0 ? encoding.group_n : 1;
    return TN_OK;
}

/* 3 is prime to every width here; every matrix gets a permutation of its own. */
static uint32_t input_of(const char *name, uint32_t column, uint64_t columns)
{
    uint32_t shift = 0;

    for (const char *at = name; *at; at++)
        shift += (unsigned char)*at;
    return is_permuted(name) ? (uint32_t)((column * 3 + shift) % columns) : column;
}

static void scalar_store(uint32_t type, uint8_t *plane, uint64_t index, float value)
{
    uint16_t half = type == TN_F16 ? f16_from_float(value) : bf16_from_float(value);
    int power;

    if (type == TN_E8M0)
        plane[index] = frexpf(value, &power) > 0 ? (uint8_t)(power + 127) : 0;
    else if (type == TN_F32)
        memcpy(plane + 4 * index, &value, sizeof value);
    else
        memcpy(plane + 2 * index, &half, sizeof half);
}

static uint32_t nearest_code(float value)
{
    uint32_t best = 0;
    float least = INFINITY;

    for (uint32_t code = 0; code < 1u << encoding.bits; code++) { /* a NaN is never nearer */
        float distance = fabsf(number[code] - value);
        best = distance < least ? code : best;
        least = distance < least ? distance : least;
    }
    return best;
}

static float largest_number(void)
{
    float most = 0;
    for (uint32_t code = 0; code < 1u << encoding.bits; code++)
        most = fmaxf(most, fabsf(number[code]));
    return most;
}

typedef struct block {
    const char *name;
    const float *value; /* [rows, columns] */
    uint64_t rows, columns;
    void *const *plane;
} block;

/* Rows [row, row_end) and stored columns [k, k_end), which share scale `group`. */
typedef struct span {
    uint64_t row, row_end, k, k_end, group;
} span;

static float value_at(const block *b, uint64_t row, uint64_t k)
{
    return b->value[row * b->columns + input_of(b->name, (uint32_t)k, b->columns)];
}

/* Scale and zero of a span. Returns what is taken off a value before it is scaled. */
static float scale_choose(const block *b, const span *s, float *ret_scale)
{
    uint8_t *scales = b->plane[TN_PLANE_SCALE], *mins = b->plane[TN_PLANE_MIN];
    float low = INFINITY, high = -INFINITY, most = (float)((1u << encoding.bits) - 1);

    for (uint64_t r = s->row; r < s->row_end; r++) {
        for (uint64_t c = s->k; c < s->k_end; c++) {
            low = fminf(low, value_at(b, r, c));
            high = fmaxf(high, value_at(b, r, c));
        }
    }
    float magnitude = fmaxf(fabsf(low), fabsf(high)), scale = magnitude > 0 ? magnitude / largest_number() : 1;
    if (encoding.zero_type)
        scale = fmaxf(high, 0) > fminf(low, 0) ? (fmaxf(high, 0) - fminf(low, 0)) / most : 1;
    scalar_store(encoding.scale_type, scales, s->group, scale);
    *ret_scale = canonical_scalar(encoding.scale_type, scales, s->group);
    if (encoding.zero_type == TN_ZERO_POINT) {
        mins[s->group] = (uint8_t)fminf(most, roundf(-fminf(low, 0) / *ret_scale));
        return -*ret_scale * (float)mins[s->group];
    }
    if (encoding.zero_type == TN_ZERO_FLOAT) {
        scalar_store(encoding.scale_type, mins, s->group, fminf(low, 0));
        return canonical_scalar(encoding.scale_type, mins, s->group);
    }
    return 0;
}

static void span_encode(const block *b, const span *s)
{
    uint8_t *codes = b->plane[TN_PLANE_CODES];
    const uint64_t row_bytes = (b->columns * encoding.bits + 7) / 8;
    float scale, zero = scale_choose(b, s, &scale);

    for (uint64_t r = s->row; r < s->row_end; r++) {
        for (uint64_t c = s->k; c < s->k_end; c++) {
            uint32_t code = nearest_code((value_at(b, r, c) - zero) / scale);
            for (uint64_t bit = c * encoding.bits; code; bit++, code >>= 1)
                codes[r * row_bytes + bit / 8] |= (uint8_t)((code & 1) << bit % 8);
        }
    }
}

static tn_status quant_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    if (enc->family == TN_ENC_FLOAT)
        return plain->transcode(qmodel, name, enc, row0, n_rows, k0, n_k, plane, plane_bytes, err);

    const uint64_t group_n = enc->group_n ? enc->group_n : 1, groups = tn_group_count(n_k, enc->group_k);
    float *value = malloc(n_rows * n_k * sizeof *value);
    const block b = {name, value, n_rows, n_k, plane};
    tn_status status = plain->reference(qmodel, name, row0, n_rows, value, err);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        if (plane_bytes[p])
            memset(plane[p], 0, plane_bytes[p]);
    if (enc->family == TN_ENC_LUT)
        memcpy(plane[TN_PLANE_LUT], uneven_table, sizeof uneven_table);
    for (uint32_t k = 0; enc->flags && k < n_k; k++)
        ((uint32_t *)plane[TN_PLANE_PERM])[k] = input_of(name, k, n_k);
    for (uint64_t row = 0, g = 0; row < n_rows && status == TN_OK; row += group_n, g += groups)
        for (uint64_t k = 0; k < n_k; k += enc->group_k)
            span_encode(&b, &(span){row, row + group_n < n_rows ? row + group_n : n_rows, k,
                                    k + enc->group_k < n_k ? k + enc->group_k : n_k, g + k / enc->group_k});
    free(value);
    return status;
}

static tn_status quant_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    return plain->reference(qmodel, name, row0, n_rows, ret_rows, err);
}

const tn_quant_table family_quantizer = {.struct_size = sizeof family_quantizer,
                                         .open = quant_open,
                                         .close = quant_close,
                                         .shape = quant_shape,
                                         .produces = quant_produces,
                                         .transcode = quant_transcode,
                                         .reference = quant_reference};
