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

/* To the nearest, ties to even; beyond 448 it stays there. NaN is not asked for. */
static inline uint8_t e4m3_from_float(float value)
{
    uint32_t bits = bits_from_float(value), magnitude = bits & 0x7fffffffu;
    uint8_t sign = (uint8_t)(bits >> 24 & 0x80u);

    if (magnitude >= 0x43e00000u) /* 448 */
        return sign | 0x7eu;
    if (magnitude < 0x3c800000u) { /* subnormal: let float addition round at 2^-9 */
        float rounded = float_from_bits(magnitude) + 0x1p+14f;
        return (uint8_t)(sign | (bits_from_float(rounded) - bits_from_float(0x1p+14f)));
    }
    magnitude += 0x7ffffu + ((magnitude >> 20) & 1u);
    magnitude = (magnitude >> 20) - (120u << 3);
    return (uint8_t)(sign | (magnitude > 0x7eu ? 0x7eu : magnitude));
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
