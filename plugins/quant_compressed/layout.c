/* plugins/quant_compressed/layout.c: which kind of weight the tensors make up, and whether a scheme fits them. */
#include "quant_compressed.h"

#include "quant/bit_stream.h"
#include "quant/group_order.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MX_GROUP = 32, MX_BLOCK_BYTES = 16 };

/* ---- the scales that a scheme wants ---- */

typedef struct scale_grid {
    uint64_t rows, columns; /* 1, 1 for STRATEGY_TENSOR */
    uint32_t group_k, group_n;
} scale_grid;

static scale_grid grid_of(const scheme *scheme, uint64_t n, uint64_t k)
{
    scale_grid grid = {.rows = n, .columns = 1, .group_k = (uint32_t)k, .group_n = 1};

    if (scheme->strategy == STRATEGY_TENSOR)
        grid.rows = 1;
    if (scheme->strategy == STRATEGY_GROUP || scheme->strategy == STRATEGY_BLOCK) {
        grid.group_k = scheme->group_k < k ? scheme->group_k : (uint32_t)k;
        grid.columns = tn_group_count(k, grid.group_k);
    }
    if (scheme->strategy == STRATEGY_BLOCK) {
        grid.group_n = scheme->group_n;
        grid.rows = tn_group_count(n, grid.group_n);
    }
    return grid;
}

/* A column of scales may be written without its second dimension, a single one as a vector or a square of one. */
static bool has_grid(const tn_tensor_src *tensor, const scale_grid *grid)
{
    uint64_t columns = tensor->rank > 1 ? (uint64_t)tensor->dim[1] : 1;
    return tensor->rank <= 2 && (uint64_t)tensor->dim[0] == grid->rows && columns == grid->columns;
}

static tn_status refuse_scales(const packed_weight *weight, const scheme *scheme, tn_error *err)
{
    const tn_tensor_src *scale = &weight->part[PART_SCALE];
    scale_grid grid = grid_of(scheme, weight->rows, weight->columns);
    return tn_fail(err, TN_E_CORRUPT,
                   "%s: tensor '%s' is [%" PRId64 ", %" PRId64 "]; a weight [%" PRIu64 ", %" PRIu64
                   "] by quantization_config's groups needs [%" PRIu64 ", %" PRIu64 "]",
                   weight->path, scale->name, scale->dim[0], scale->dim[1], weight->rows, weight->columns, grid.rows,
                   grid.columns);
}

/* The first scheme of this type and width whose scales have the shape of those present; one that has zero points or
 * none as the tensors do goes before others. */
static tn_status choose_scheme(const compressed_settings *settings, const tn_source *source,
                               const packed_weight *weight, bool is_float, uint32_t bits, const scheme **ret_scheme,
                               tn_error *err)
{
    const scheme *candidate = NULL, *fitting = NULL;
    tn_tensor_src zero;
    bool symmetric = !packed_part(source, weight->name, "weight_zero_point", &zero);

    for (uint32_t i = 0; i < settings->count; i++) {
        const scheme *scheme = &settings->schemes[i];
        if (scheme->is_float != is_float || scheme->bits != bits)
            continue;
        scale_grid grid = grid_of(scheme, weight->rows, weight->columns);
        if (has_grid(&weight->part[PART_SCALE], &grid) &&
            (!fitting || (fitting->symmetric != symmetric && scheme->symmetric == symmetric)))
            fitting = scheme;
        candidate = candidate ? candidate : scheme;
    }
    if (fitting) {
        *ret_scheme = fitting;
        return TN_OK;
    }
    if (candidate)
        return refuse_scales(weight, candidate, err);
    return tn_fail(err, TN_E_CORRUPT,
                   "%s: weight '%s' is stored in %s codes of %u bits, which no group of "
                   "quantization_config describes",
                   weight->path, weight->name, is_float ? "float" : "integer", bits);
}

/* Fills enc from the scheme; zero points and act-order come later. */
static tn_status take_scheme(const tn_source *source, const scheme *scheme, packed_weight *weight, tn_error *err)
{
    scale_grid grid = grid_of(scheme, weight->rows, weight->columns);
    uint32_t scale_type = 0;

    tn_status status = packed_float_type(weight, &weight->part[PART_SCALE], &scale_type, err);
    if (status != TN_OK)
        return status;
    weight->enc = (tn_enc){.struct_size = sizeof weight->enc,
                           .family = TN_ENC_AFFINE,
                           .qtype = scheme->is_float ? TN_Q_E4M3 : TN_Q_SIGNED,
                           .bits = scheme->bits,
                           .group_k = grid.group_k,
                           .group_n = grid.group_n,
                           .scale_type = scale_type,
                           .act_scheme = scheme->act_scheme,
                           .act_type = scheme->act_type};
    if (scheme->strategy == STRATEGY_TENSOR)
        weight->variant |= ONE_SCALE;
    if (scheme->act_scheme != TN_INPUT_STATIC)
        return TN_OK;
    if (!packed_part(source, weight->name, "input_scale", &weight->part[PART_INPUT_SCALE]))
        return packed_missing(weight, "input_scale", "its inputs are quantized statically", err);
    tn_tensor_src *input = &weight->part[PART_INPUT_SCALE];
    if (input->rank != 1 || input->dim[0] != 1)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must hold one number", weight->path, input->name);
    return packed_float_type(weight, input, &scale_type, err);
}

static tn_status find_scale(const tn_source *source, const char *part, packed_weight *weight, tn_error *err)
{
    if (packed_part(source, weight->name, part, &weight->part[PART_SCALE]))
        return TN_OK;
    return packed_missing(weight, part, "quantized weights have scales", err);
}

/* ---- kinds ---- */

/* weight_shape holds [N, K]; the packed tensor must have N rows of as many words as K codes fill. */
static tn_status read_packed_shape(const tn_source *source, packed_weight *weight, tn_error *err)
{
    const tn_tensor_src *codes = &weight->part[PART_CODES];
    tn_tensor_src shape;
    int64_t dims[2] = {0, 0};

    if (!packed_part(source, weight->name, "weight_shape", &shape))
        return packed_missing(weight, "weight_shape", "it says how many inputs there are", err);
    bool wide = shape.dtype == TN_DTYPE_I64;
    if (shape.rank != 1 || shape.dim[0] != 2 || (!wide && shape.dtype != TN_DTYPE_I32))
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be I64 [2]", weight->path, shape.name);
    for (int i = 0; i < 2; i++) {
        int32_t narrow;
        memcpy(&narrow, (const uint8_t *)shape.data + 4 * i, sizeof narrow);
        dims[i] = narrow;
    }
    if (wide)
        memcpy(dims, shape.data, sizeof dims);
    if (codes->rank != 2 || dims[0] != codes->dim[0] || dims[0] < 1 || dims[0] > INT32_MAX || dims[1] < 1 ||
        dims[1] > INT32_MAX / 8)
        return tn_fail(err, TN_E_CORRUPT, "%s: '%s' says [%" PRId64 ", %" PRId64 "], but '%s' has %" PRId64 " rows",
                       weight->path, shape.name, dims[0], dims[1], codes->name, codes->dim[0]);
    weight->rows = (uint64_t)dims[0];
    weight->columns = (uint64_t)dims[1];
    return TN_OK;
}

/* The width whose codes fill the packed rows, among those that the schemes name; 0: none. */
static uint32_t packed_bits(const compressed_settings *settings, const packed_weight *weight)
{
    for (uint32_t i = 0; i < settings->count; i++) {
        uint64_t words = (weight->columns * settings->schemes[i].bits + 31) / 32;
        if (!settings->schemes[i].is_float && words == (uint64_t)weight->part[PART_CODES].dim[1])
            return settings->schemes[i].bits;
    }
    return 0;
}

static tn_status take_zeros(const tn_source *source, const scheme *scheme, packed_weight *weight, tn_error *err)
{
    tn_tensor_src *zero = &weight->part[PART_ZERO];
    scale_grid grid = grid_of(scheme, weight->rows, weight->columns);

    if (scheme->symmetric)
        return TN_OK;
    if (!packed_part(source, weight->name, "weight_zero_point", zero))
        return packed_missing(weight, "weight_zero_point", "its scheme is not symmetric", err);
    weight->enc.qtype = TN_Q_UNSIGNED;
    weight->enc.zero_type = TN_ZERO_POINT;
    if ((weight->variant & KIND_MASK) == KIND_PACKED && scheme->strategy != STRATEGY_TENSOR)
        return packed_expect(weight, zero, TN_DTYPE_I32, (weight->rows * scheme->bits + 31) / 32, grid.columns,
                             "packed down the columns of scales", err);
    if (zero->dtype != TN_DTYPE_I8 || !has_grid(zero, &grid))
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tensor '%s' must be I8 and shaped like the scales, it is %s [%" PRId64 ", %" PRId64 "]",
                       weight->path, zero->name, packed_dtype_name(zero->dtype), zero->dim[0], zero->dim[1]);
    return TN_OK;
}

/* Writers leave an unused g_idx filled with -1. */
static tn_status take_order(const tn_source *source, packed_weight *weight, tn_error *err)
{
    tn_tensor_src *g_idx = &weight->part[PART_G_IDX];

    if (!packed_part(source, weight->name, "weight_g_idx", g_idx))
        return TN_OK;
    tn_status status = packed_expect(weight, g_idx, TN_DTYPE_I32, weight->columns, 0, "the group of each input", err);
    if (status != TN_OK || word_at(g_idx->data, 0) == UINT32_MAX)
        return status;
    return group_order_check(weight, g_idx, err);
}

static tn_status find_packed(const compressed_settings *settings, const tn_source *source, packed_weight *weight,
                             tn_error *err)
{
    const scheme *scheme = NULL;
    tn_status status = read_packed_shape(source, weight, err);

    if (status == TN_OK)
        status = find_scale(source, settings->scale_part, weight, err);
    if (status != TN_OK)
        return status;
    uint32_t bits = packed_bits(settings, weight);
    if (!bits)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tensor '%s' has %" PRId64 " words per row; %" PRIu64
                       " inputs fill another number in every width of quantization_config",
                       weight->path, weight->part[PART_CODES].name, weight->part[PART_CODES].dim[1], weight->columns);
    weight->variant = KIND_PACKED;
    status = choose_scheme(settings, source, weight, false, bits, &scheme, err);
    if (status == TN_OK)
        status = take_scheme(source, scheme, weight, err);
    if (status == TN_OK)
        status = take_zeros(source, scheme, weight, err);
    return status == TN_OK ? take_order(source, weight, err) : status;
}

/* i8 and f8 weights keep their matrix shape. */
static tn_status find_bytes(const compressed_settings *settings, const tn_source *source, packed_weight *weight,
                            tn_error *err)
{
    const tn_tensor_src *codes = &weight->part[PART_CODES];
    bool is_float = codes->dtype == TN_DTYPE_F8_E4M3;
    const scheme *scheme = NULL;

    if (codes->rank != 2 || codes->dim[0] > INT32_MAX || codes->dim[1] > INT32_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be a matrix", weight->path, codes->name);
    weight->rows = (uint64_t)codes->dim[0];
    weight->columns = (uint64_t)codes->dim[1];
    weight->variant = is_float ? KIND_FP8 : KIND_INT8;
    tn_status status = find_scale(source, settings->scale_part, weight, err);
    if (status == TN_OK)
        status = choose_scheme(settings, source, weight, is_float, 8, &scheme, err);
    if (status == TN_OK)
        status = take_scheme(source, scheme, weight, err);
    return status == TN_OK && !is_float ? take_zeros(source, scheme, weight, err) : status;
}

static tn_status mx_shape(packed_weight *weight, uint64_t rows, uint64_t groups, tn_error *err)
{
    const tn_tensor_src *scale = &weight->part[PART_SCALE];

    if (rows > INT32_MAX || groups > INT32_MAX / MX_GROUP)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' is too large", weight->path, scale->name);
    weight->rows = rows;
    weight->columns = groups * MX_GROUP;
    weight->variant = KIND_MXFP4;
    weight->enc = (tn_enc){.struct_size = sizeof weight->enc,
                           .family = TN_ENC_MX,
                           .qtype = TN_Q_E2M1,
                           .bits = 4,
                           .group_k = MX_GROUP,
                           .scale_type = TN_E8M0};
    return TN_OK;
}

static bool has_mx_scheme(const compressed_settings *settings)
{
    for (uint32_t i = 0; i < settings->count; i++)
        if (settings->schemes[i].is_float && settings->schemes[i].bits == 4 && settings->schemes[i].group_k == MX_GROUP)
            return true;
    return false;
}

static tn_status find_mx(const compressed_settings *settings, const tn_source *source, packed_weight *weight,
                         tn_error *err)
{
    const tn_tensor_src *codes = &weight->part[PART_CODES];
    uint64_t groups = codes->rank == 2 ? (uint64_t)codes->dim[1] / MX_BLOCK_BYTES : 0;

    if (!has_mx_scheme(settings))
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: weight '%s' is stored in 4-bit floats, but quantization_config does "
                       "not describe MXFP4 (float, 4 bits, groups of 32)",
                       weight->path, weight->name);
    tn_status status = find_scale(source, settings->scale_part, weight, err);
    if (status != TN_OK)
        return status;
    if (!groups || codes->dim[1] % MX_BLOCK_BYTES)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' does not hold whole groups of 32 inputs", weight->path,
                       codes->name);
    status = packed_expect(weight, &weight->part[PART_SCALE], TN_DTYPE_U8, (uint64_t)codes->dim[0], groups,
                           "a power of two per 32 inputs", err);
    return status == TN_OK ? mx_shape(weight, (uint64_t)codes->dim[0], groups, err) : status;
}

/* gpt-oss: all experts of a layer in one tensor of blocks. */
static tn_status find_experts(const tn_source *source, packed_weight *weight, tn_error *err)
{
    const tn_tensor_src *blocks = &weight->part[PART_CODES], *scales = &weight->part[PART_SCALE];

    if (!packed_part(source, weight->name, "_scales", &weight->part[PART_SCALE]))
        return packed_missing(weight, "_scales", "MXFP4 blocks have a scale each", err);
    if (blocks->dtype != TN_DTYPE_U8 || blocks->rank < 3 || blocks->dim[blocks->rank - 1] != MX_BLOCK_BYTES)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be U8 [.., 16]", weight->path, blocks->name);
    uint64_t rows = 1, groups = (uint64_t)blocks->dim[blocks->rank - 2];
    bool same = scales->dtype == TN_DTYPE_U8 && scales->rank == blocks->rank - 1;
    for (uint32_t d = 0; d + 1 < blocks->rank; d++)
        same = same && scales->dim[d] == blocks->dim[d];
    if (!same)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be U8 and have one scale per block of '%s'",
                       weight->path, scales->name, blocks->name);
    for (uint32_t d = 0; d + 2 < blocks->rank; d++)
        rows *= (uint64_t)blocks->dim[d]; /* cannot overflow: the source has checked the product */
    return mx_shape(weight, rows, groups, err);
}

tn_status compressed_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                          tn_error *err)
{
    tn_tensor_src *codes = &ret_weight->part[PART_CODES];

    ret_weight->transcode = compressed_transcode;
    ret_weight->decode = compressed_decode;
    if (packed_part(source, name, "_blocks", codes))
        return find_experts(source, ret_weight, err);
    if (packed_part(source, name, "weight_packed", codes)) {
        if (codes->dtype == TN_DTYPE_U8)
            return find_mx(settings, source, ret_weight, err);
        if (codes->dtype == TN_DTYPE_I32)
            return find_packed(settings, source, ret_weight, err);
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' must be I32 or U8, it is %s", source->path, codes->name,
                       packed_dtype_name(codes->dtype));
    }
    if (source->tensor(source, name, codes) != TN_OK)
        return TN_E_NOT_FOUND;
    if (codes->dtype == TN_DTYPE_I8 || codes->dtype == TN_DTYPE_F8_E4M3)
        return find_bytes(settings, source, ret_weight, err);
    return TN_E_NOT_FOUND;
}
