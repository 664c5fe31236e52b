/* sdk/base/small_float.h: numbers of eight bits and fewer to float32; every one is exact there. */
#ifndef BASE_SMALL_FLOAT_H
#define BASE_SMALL_FLOAT_H

#include "base/half.h"

/* OCP 8-bit e4m3 ("e4m3fn"): no infinities, one NaN per sign. */
static inline float float_from_e4m3(uint8_t code)
{
    uint32_t sign = (uint32_t)(code & 0x80u) << 24, exponent = (code >> 3) & 0xfu, mantissa = code & 7u;

    if ((code & 0x7fu) == 0x7fu)
        return float_from_bits(sign | 0x7fc00000u);
    if (exponent == 0) { /* mantissa * 2^-9 */
        float value = (float)mantissa * 0x1p-9f;
        return sign ? -value : value;
    }
    return float_from_bits(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

/* OCP 4-bit e2m1, code below 16. */
static inline float float_from_e2m1(uint8_t code)
{
    static const float magnitudes[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
    return code & 8 ? -magnitudes[code & 7] : magnitudes[code & 7];
}

/* OCP 8-bit power of two; 255 is NaN, 0 the subnormal 2^-127. */
static inline float float_from_e8m0(uint8_t code)
{
    if (code == 255)
        return float_from_bits(0x7fc00000u);
    return float_from_bits(code ? (uint32_t)code << 23 : 0x00400000u);
}

#endif
