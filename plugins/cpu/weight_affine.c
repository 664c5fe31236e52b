/* plugins/cpu/weight_affine.c: weights of integers (AFFINE, LUT, MX) in the panels of kernels/kernels.h. */
#include "weight_kinds.h"

#include <string.h>

static tn_status codes_check(const tn_enc *enc, const char *name, tn_error *err)
{
    bool table = enc->family != TN_ENC_AFFINE;
    uint32_t type = enc->qtype;

    if (!table && type != TN_Q_UNSIGNED && type != TN_Q_SIGNED)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: affine codes of type %u; the CPU takes integer codes", name, type);
    if (!table && (enc->bits < 2 || enc->bits > 8))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: %u-bit affine codes; the CPU takes 2 to 8 bits", name, enc->bits);
    if (table && (enc->bits != 4 || type != (enc->family == TN_ENC_MX ? TN_Q_E2M1 : TN_F32)))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: %u-bit codes of type %u; the CPU looks up e2m1 or float32 by 4 bits",
                       name, enc->bits, type);
    if (enc->zero_type > (table ? TN_ZERO_NONE : TN_ZERO_FLOAT))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: zero points of type %u", name, enc->zero_type);
    return TN_OK;
}

static bool is_scale_type(const tn_enc *enc)
{
    if (enc->family == TN_ENC_MX)
        return enc->scale_type == TN_E8M0;
    if (enc->group2_k)
        return enc->scale_type == TN_U8 || enc->scale_type == TN_S8;
    return enc->scale_type == TN_F32 || enc->scale_type == TN_F16 || enc->scale_type == TN_BF16;
}

static tn_status groups_check(const tn_enc *enc, uint64_t k, const char *name, tn_error *err)
{
    if (enc->group_n > 1 && (enc->family != TN_ENC_AFFINE || enc->group2_k))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: scales shared by %u rows", name, enc->group_n);
    if (!enc->group_k || (enc->group_k < k && enc->group_k % 16))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: groups of %u; the CPU takes multiples of 16", name, enc->group_k);
    if (enc->group2_k && (enc->group2_k % enc->group_k || enc->family == TN_ENC_MX))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: super-groups of %u over groups of %u", name, enc->group2_k,
                       enc->group_k);
    if (!is_scale_type(enc))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: scales of type %u", name, enc->scale_type);
    if (enc->group2_k && enc->scale2_type != TN_F32 && enc->scale2_type != TN_F16)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: second-level scales of type %u", name, enc->scale2_type);
    return TN_OK;
}

/* Twice the e2m1 numbers. */
static const int8_t mx_table[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

tn_status affine_init(weight *w, const char *name, tn_error *err)
{
    affine_weight *a = &w->affine;
    const tn_enc *enc = &w->enc;

    tn_status status = codes_check(enc, name, err);
    if (status == TN_OK)
        status = groups_check(enc, w->k, name, err);
    if (status != TN_OK)
        return status;
    uint32_t scale_bytes = (uint32_t)tn_scalar_bytes(enc->scale_type);
    uint32_t min_bytes = enc->zero_type == TN_ZERO_FLOAT ? scale_bytes : enc->zero_type == TN_ZERO_POINT ? 1 : 0;
    bool one_group = enc->group_k >= w->k;
    bool one_group2 = enc->group2_k >= w->k;

    a->n = w->n;
    a->k = w->k;
    a->panels = round_up(w->n, LANES) / LANES;
    a->k_pad = round_up(w->k, K_BLOCK);
    a->bits = enc->bits;
    a->block = one_group || enc->group_k % 32 == 0 ? 32 : 16;
    uint32_t blocks = a->k_pad / a->block;
    a->group_blocks = one_group ? blocks : enc->group_k / a->block;
    a->group2_blocks = !enc->group2_k ? 0 : one_group2 ? blocks : enc->group2_k / a->block;
    a->scale_type = enc->scale_type;
    a->scale2_type = enc->scale2_type;
    a->zero_type = enc->zero_type;
    a->looked_up = enc->family != TN_ENC_AFFINE;
    a->offset = a->looked_up ? 128 : enc->qtype == TN_Q_SIGNED ? 1 << (enc->bits - 1) : 0;
    for (uint32_t i = 0; enc->family == TN_ENC_MX && i < LANES; i++)
        a->table[i] = (uint8_t)(mx_table[i] + a->offset);

    uint32_t groups = (blocks + a->group_blocks - 1) / a->group_blocks;
    uint32_t groups2 = a->group2_blocks ? (blocks + a->group2_blocks - 1) / a->group2_blocks : 0;
    uint32_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
    a->scale2_at = 0;
    a->scale_at = groups2 * factors * LANES * (uint32_t)tn_scalar_bytes(enc->scale2_type);
    a->min_at = a->scale_at + groups * LANES * scale_bytes;
    a->code_at = round_up(a->min_at + groups * LANES * min_bytes, 64);
    a->panel_bytes = a->code_at + (uint64_t)(a->k_pad / K_BLOCK) * 64 * a->bits;
    w->bytes = a->panels * a->panel_bytes;
    return TN_OK;
}

/* ---- packing ---- */

/* Codes [k, k + count) of a bit stream, one per byte. */
static void codes_unpack(const uint8_t *row, uint32_t bits, uint64_t k, uint32_t count, uint8_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bit = (k + i) * bits;
        uint32_t word = row[bit / 8];
        if (bit % 8 + bits > 8)
            word |= (uint32_t)row[bit / 8 + 1] << 8;
        out[i] = (uint8_t)((word >> bit % 8) & ((1u << bits) - 1));
    }
}

/* Adds K_BLOCK codes of one lane to the bit planes of a storage block, bits other than 4 and 8. */
static void codes_place(uint8_t *block, uint32_t bits, uint32_t lane, const uint8_t *codes)
{
    uint32_t shift = 0;

    for (uint32_t width = 4; width; width /= 2) {
        if (!(bits & width))
            continue;
        uint32_t per_half = 16 / width, mask = (1u << width) - 1;
        for (uint32_t k = 0; k < K_BLOCK; k += 2 * per_half, block += 64) {
            for (uint32_t half = 0; half < 2; half++) {
                uint32_t word = 0;
                for (uint32_t i = 0; i < per_half; i++)
                    word |= ((codes[k + 2 * i + half] >> shift) & mask) << (width * i);
                uint16_t stored;
                uint8_t *at = block + lane * 4 + half * 2;
                memcpy(&stored, at, sizeof stored);
                stored = (uint16_t)(stored | word);
                memcpy(at, &stored, sizeof stored);
            }
        }
        shift += width;
    }
}

/* Eight 4-bit codes k..k+7 in the order of a stored word: even k in the low half, odd k in the high half. */
static uint32_t nibbles_ordered(uint32_t codes)
{
    uint32_t even = codes & 0x0F0F0F0F, odd = codes >> 4 & 0x0F0F0F0F;

    even = (even | even >> 4) & 0x00FF00FF;
    odd = (odd | odd >> 4) & 0x00FF00FF;
    return ((even | even >> 8) & 0xFFFF) | (odd | odd >> 8) << 16;
}

/* Widths of one plane: 32-bit words of a row are permuted and stand 64 bytes apart, one of each lane side by side.
 * first: a multiple of 8 codes. */
static void nibbles_store(uint8_t *codes, uint32_t lane, const uint8_t *row, uint64_t first, uint64_t bytes)
{
    uint8_t *out = codes + first / 8 * 64 + lane * 4;

    for (uint64_t i = 0; i < bytes; i += 4, out += 64) {
        uint32_t word = 0;
        memcpy(&word, row + i, bytes - i < 4 ? bytes - i : 4);
        word = nibbles_ordered(word);
        memcpy(out, &word, sizeof word);
    }
}

/* Eight 8-bit codes k..k+7, less 128, are two words: k + {0, 4, 1, 5}, then two more each. */
static void bytes_store(uint8_t *codes, uint32_t lane, const uint8_t *row, uint64_t first, uint64_t bytes)
{
    uint8_t *out = codes + first / 4 * 64 + lane * 4;

    for (uint64_t i = 0; i < bytes; i += 8, out += 128) {
        uint8_t k[8] = {0};
        memcpy(k, row + i, bytes - i < 8 ? bytes - i : 8);
        const uint8_t words[2][4] = {{k[0], k[4], k[1], k[5]}, {k[2], k[6], k[3], k[7]}};
        for (uint32_t t = 0; t < 2; t++) {
            uint32_t word;
            memcpy(&word, words[t], sizeof word);
            word ^= 0x80808080;
            memcpy(out + 64 * t, &word, sizeof word);
        }
    }
}

static void affine_codes_store(const affine_weight *a, uint8_t *panel, uint32_t lane, const tn_planes *planes,
                               uint64_t row_in_block)
{
    uint64_t row_bytes = (planes->n_k * a->bits + 7) / 8;
    const uint8_t *row = (const uint8_t *)planes->plane[TN_PLANE_CODES] + row_in_block * row_bytes;
    uint64_t end = planes->k0 + planes->n_k;

    if (a->bits == 4) {
        nibbles_store(panel + a->code_at, lane, row, planes->k0, row_bytes);
        return;
    }
    if (a->bits == 8) {
        bytes_store(panel + a->code_at, lane, row, planes->k0, row_bytes);
        return;
    }
    for (uint64_t k = planes->k0; k < end;) {
        uint8_t codes[K_BLOCK] = {0};
        uint32_t at = (uint32_t)(k % K_BLOCK);
        uint32_t count = end - k < K_BLOCK - at ? (uint32_t)(end - k) : K_BLOCK - at;
        codes_unpack(row, a->bits, k - planes->k0, count, codes + at);
        codes_place(panel + a->code_at + k / K_BLOCK * 64 * a->bits, a->bits, lane, codes);
        k += count;
    }
}

/* Copies `count` scalars of `bytes` each to [first + i][lane], reading every `stride`th. */
static void scalars_store(uint8_t *array, uint64_t first, uint32_t lane, const uint8_t *from, uint64_t count,
                          uint32_t stride, uint64_t bytes)
{
    for (uint64_t i = 0; i < count; i++)
        memcpy(array + ((first + i) * LANES + lane) * bytes, from + i * stride * bytes, bytes);
}

static uint64_t groups_in(uint64_t k, uint32_t group)
{
    return (k + group - 1) / group;
}

static void affine_scales_store(const weight *w, uint8_t *panel, uint32_t lane, const tn_planes *planes, uint64_t row)
{
    const affine_weight *a = &w->affine;
    const tn_enc *enc = &w->enc;
    uint64_t bytes = tn_scalar_bytes(enc->scale_type), groups = groups_in(planes->n_k, enc->group_k);
    uint64_t first = planes->k0 / enc->group_k, shared = enc->group_n > 1 ? row / enc->group_n : row;

    scalars_store(panel + a->scale_at, first, lane,
                  (const uint8_t *)planes->plane[TN_PLANE_SCALE] + shared * groups * bytes, groups, 1, bytes);
    if (enc->zero_type != TN_ZERO_NONE) {
        uint64_t min_bytes = enc->zero_type == TN_ZERO_POINT ? 1 : bytes;
        scalars_store(panel + a->min_at, first, lane,
                      (const uint8_t *)planes->plane[TN_PLANE_MIN] + shared * groups * min_bytes, groups, 1, min_bytes);
    }
    if (enc->group2_k) {
        uint32_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
        uint64_t bytes2 = tn_scalar_bytes(enc->scale2_type), groups2 = groups_in(planes->n_k, enc->group2_k);
        uint64_t first2 = planes->k0 / enc->group2_k, all2 = groups_in(w->k, enc->group2_k);
        const uint8_t *from = (const uint8_t *)planes->plane[TN_PLANE_SCALE2] + row * groups2 * factors * bytes2;
        for (uint32_t f = 0; f < factors; f++)
            scalars_store(panel + a->scale2_at, f * all2 + first2, lane, from + f * bytes2, groups2, factors, bytes2);
    }
}

void affine_row_store(weight *w, uint64_t n, const tn_planes *planes, uint64_t row)
{
    uint8_t *panel = w->data + n / LANES * w->affine.panel_bytes;

    affine_codes_store(&w->affine, panel, (uint32_t)(n % LANES), planes, row);
    affine_scales_store(w, panel, (uint32_t)(n % LANES), planes, row);
}

/* The encoding does not say what a table holds, so this is the first occasion to see it. */
tn_status affine_table_store(weight *w, const tn_planes *planes, const char *name, tn_error *err)
{
    const uint8_t *plane = planes->plane[TN_PLANE_LUT];

    for (uint32_t i = 0; w->enc.family == TN_ENC_LUT && i < LANES; i++) {
        float entry = weight_scalar(plane, TN_F32, i);
        if (!(entry >= -128 && entry <= 127) || entry != (float)(int32_t)entry)
            return tn_fail(err, TN_E_UNSUPPORTED,
                           "%s: a table with an entry of %g; the CPU takes whole numbers from -128 to 127", name,
                           (double)entry);
        w->affine.table[i] = (uint8_t)((int32_t)entry + w->affine.offset);
    }
    return TN_OK;
}

/* ---- reading a row back ---- */

static void affine_bytes_block(const uint8_t *block, uint32_t lane, uint8_t *codes)
{
    static const uint8_t order[4] = {0, 4, 1, 5};

    for (uint32_t row = 0; row < K_BLOCK / 4; row++)
        for (uint32_t i = 0; i < 4; i++)
            codes[row / 2 * 8 + row % 2 * 2 + order[i]] = block[row * 64 + lane * 4 + i] ^ 0x80;
}

static void affine_codes_block(const affine_weight *a, const uint8_t *block, uint32_t lane, uint8_t *codes)
{
    uint32_t shift = 0;

    if (a->bits == 8) {
        affine_bytes_block(block, lane, codes);
        return;
    }
    memset(codes, 0, K_BLOCK);
    for (uint32_t width = 4; width; width /= 2) {
        if (!(a->bits & width))
            continue;
        uint32_t per_half = 16 / width, mask = (1u << width) - 1;
        for (uint32_t k = 0; k < K_BLOCK; k += 2 * per_half, block += 64) {
            for (uint32_t half = 0; half < 2; half++) {
                uint16_t word;
                memcpy(&word, block + lane * 4 + half * 2, sizeof word);
                for (uint32_t i = 0; i < per_half; i++)
                    codes[k + 2 * i + half] |= (uint8_t)(((word >> (width * i)) & mask) << shift);
            }
        }
        shift += width;
    }
}

/* w = scale * (q - zero) + min */
typedef struct block_scale {
    float scale, min, zero;
} block_scale;

static block_scale affine_scale(const affine_weight *a, const uint8_t *panel, uint32_t lane, uint32_t b)
{
    uint32_t group = b / a->group_blocks, blocks = a->k_pad / a->block;
    float scale = weight_scalar(panel + a->scale_at, a->scale_type, (uint64_t)group * LANES + lane), min = 0;

    if (a->scale_type == TN_E8M0)
        scale *= 0.5f;
    if (a->zero_type == TN_ZERO_FLOAT)
        min = weight_scalar(panel + a->min_at, a->scale_type, (uint64_t)group * LANES + lane);
    if (a->group2_blocks) {
        uint64_t group2 = b / a->group2_blocks, groups2 = (blocks + a->group2_blocks - 1) / a->group2_blocks;
        scale *= weight_scalar(panel + a->scale2_at, a->scale2_type, group2 * LANES + lane);
        if (a->zero_type == TN_ZERO_FLOAT)
            min *= weight_scalar(panel + a->scale2_at, a->scale2_type, (groups2 + group2) * LANES + lane);
    }
    return (block_scale){scale, min, a->zero_type == TN_ZERO_POINT ? panel[a->min_at + group * LANES + lane] : 0};
}

void affine_row(const weight *w, uint64_t row, float *out)
{
    const affine_weight *a = &w->affine;
    const uint8_t *panel = a->data + row / LANES * a->panel_bytes;
    uint32_t lane = (uint32_t)(row % LANES);

    for (uint32_t k0 = 0; k0 < a->k; k0 += K_BLOCK) {
        uint8_t codes[K_BLOCK];
        block_scale s = {0};
        affine_codes_block(a, panel + a->code_at + (uint64_t)(k0 / K_BLOCK) * 64 * a->bits, lane, codes);
        for (uint32_t i = 0; i < K_BLOCK && k0 + i < a->k; i++) {
            if (i % a->block == 0)
                s = affine_scale(a, panel, lane, (k0 + i) / a->block);
            uint32_t code = a->looked_up ? a->table[codes[i]] : codes[i];
            float product = s.scale * ((float)((int32_t)code - a->offset) - s.zero);
            out[weight_input(w, row, k0 + i)] = a->zero_type == TN_ZERO_FLOAT ? product + s.min : product;
        }
    }
}
