/* runtime/quantize/affine_group.c: see affine_group.h. */
#include "quantize/affine_group.h"

#include "base/weight_block.h"

#include <stddef.h>

/* Adding and taking it away rounds a float below 2^22 to the nearest whole number, ties to even; unlike rintf, in every
 * vector unit. */
static const float whole = 0x1.8p23f;

affine_grid affine_grid_for(const float *values, uint32_t count, float shrink)
{
    float least = 0, greatest = 0, scale;
    uint16_t stored;

    for (uint32_t i = 0; i < count; i++) {
        least = values[i] < least ? values[i] : least;
        greatest = values[i] > greatest ? values[i] : greatest;
    }
    scale = (greatest - least) * shrink / AFFINE_CODE_MAX;
    scale = scale < 0x1p-14f ? 0x1p-14f : scale > 65504.0f ? 65504.0f : scale;
    floats_convert(TN_F16, &stored, TN_F32, &scale, 1);
    floats_convert(TN_F32, &scale, TN_F16, &stored, 1);
    float zero = -least * shrink / scale + whole - whole;
    return (affine_grid){scale, zero > AFFINE_CODE_MAX ? AFFINE_CODE_MAX : zero};
}

void affine_round(affine_grid grid, const float *values, uint32_t count, uint8_t *ret_codes, float *ret_values)
{
    for (uint32_t i = 0; i < count; i++) {
        float code = values[i] / grid.scale + grid.zero;
        code = code < 0 ? 0 : code > AFFINE_CODE_MAX ? AFFINE_CODE_MAX : code;
        code = code + whole - whole;
        if (ret_codes)
            ret_codes[i] = (uint8_t)code;
        if (ret_values)
            ret_values[i] = (code - grid.zero) * grid.scale;
    }
}
