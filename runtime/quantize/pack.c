/* runtime/quantize/pack.c: rounding to nearest, scales first rounded to the type they are stored in.
 *
 * Each group or row: scale = greatest magnitude / 7.5 (int4: codes -8 to 7), / 127 (int8) or / 448 (fp8), all without
 * zero points. Source: compressed-tensors' layouts and calculate_qparams; see README.md.
 */
#include "quantize/pack.h"

#include "base/small_float.h"

#include <math.h>
#include <string.h>

enum { PART_CODES, PART_SCALE, PART_SHAPE };

static const char *dtype_name(uint32_t type)
{
    return type == TN_F32 ? "F32" : type == TN_F16 ? "F16" : "BF16";
}

static pack_part part(const char *suffix, const char *dtype, uint64_t rows, uint64_t columns, uint64_t width)
{
    return (pack_part){suffix, dtype, columns ? 2 : 1, {rows, columns}, rows * (columns ? columns : 1) * width};
}

uint32_t pack_parts(quantize_method method, uint32_t group_size, uint32_t type, uint64_t n, uint64_t k,
                    pack_part ret_parts[PACK_PARTS_MAX])
{
    uint64_t width = tn_scalar_bytes(type);

    if (method == QUANTIZE_INT4) {
        ret_parts[PART_CODES] = part("weight_packed", "I32", n, (k + 7) / 8, 4);
        ret_parts[PART_SCALE] = part("weight_scale", dtype_name(type), n, k / group_size, width);
        ret_parts[PART_SHAPE] = part("weight_shape", "I64", 2, 0, 8);
        return 3;
    }
    ret_parts[PART_CODES] = part("weight", method == QUANTIZE_INT8 ? "I8" : "F8_E4M3", n, k, 1);
    ret_parts[PART_SCALE] = part("weight_scale", dtype_name(type), n, 1, width);
    return 2;
}

/* Rounds a scale to its stored type and puts it there; never zero. */
static float store_scale(uint32_t type, void *scales, uint64_t index, float scale)
{
    const float least = type == TN_F16 ? 0x1p-14f : 0x1p-100f; /* normal numbers */
    uint8_t *at = (uint8_t *)scales + index * tn_scalar_bytes(type);

    scale = scale < least ? least : scale;
    floats_convert(type, at, TN_F32, &scale, 1);
    floats_convert(TN_F32, &scale, type, at, 1);
    return scale;
}

static float clamp(float value, float least, float most)
{
    return value < least ? least : value > most ? most : value;
}

static float greatest_magnitude(const float *values, uint64_t count)
{
    float greatest = 0;
    for (uint64_t i = 0; i < count; i++)
        greatest = fabsf(values[i]) > greatest ? fabsf(values[i]) : greatest;
    return greatest;
}

static void pack_int4_row(const float *row, uint64_t n, uint64_t k, uint32_t group_size, uint32_t type,
                          void *const data[PACK_PARTS_MAX])
{
    uint64_t groups = k / group_size;
    uint8_t *codes = (uint8_t *)data[PART_CODES] + n * ((k + 7) / 8 * 4);

    for (uint64_t g = 0; g < groups; g++) {
        const float *values = row + g * group_size;
        float greatest = greatest_magnitude(values, group_size);
        float scale = store_scale(type, data[PART_SCALE], n * groups + g, greatest / 7.5f);
        for (uint64_t i = 0; i < group_size; i++) {
            uint32_t code = (uint32_t)(clamp(rintf(values[i] / scale), -8.0f, 7.0f) + 8.0f);
            codes[(g * group_size + i) / 2] |= (uint8_t)(code << (i % 2 * 4));
        }
    }
}

static void pack_byte_row(quantize_method method, const float *row, uint64_t n, uint64_t k, uint32_t type,
                          void *const data[PACK_PARTS_MAX])
{
    uint8_t *codes = (uint8_t *)data[PART_CODES] + n * k;
    float most = method == QUANTIZE_INT8 ? 127.0f : 448.0f;
    float scale = store_scale(type, data[PART_SCALE], n, greatest_magnitude(row, k) / most);

    for (uint64_t i = 0; i < k; i++)
        codes[i] = method == QUANTIZE_INT8 ? (uint8_t)(int8_t)clamp(rintf(row[i] / scale), -127.0f, 127.0f)
                                           : e4m3_from_float(row[i] / scale);
}

static bool is_finite_row(const float *row, uint64_t k)
{
    uint32_t bad = 0;
    for (uint64_t i = 0; i < k; i++)
        bad |= (bits_from_float(row[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

bool pack_weight(quantize_method method, uint32_t group_size, uint32_t type, const void *matrix, uint64_t n, uint64_t k,
                 float *row, void *const data[PACK_PARTS_MAX])
{
    for (uint64_t i = 0; i < n; i++) {
        floats_convert(TN_F32, row, type, (const uint8_t *)matrix + i * k * tn_scalar_bytes(type), k);
        if (!is_finite_row(row, k))
            return false;
        if (method == QUANTIZE_INT4)
            pack_int4_row(row, i, k, group_size, type, data);
        else
            pack_byte_row(method, row, i, k, type, data);
    }
    if (method == QUANTIZE_INT4)
        memcpy(data[PART_SHAPE], (int64_t[]){(int64_t)n, (int64_t)k}, 2 * sizeof(int64_t));
    return true;
}
