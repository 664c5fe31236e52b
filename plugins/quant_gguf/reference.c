/* plugins/quant_gguf/reference.c: the value of every element of a block, written straight from the format's definition.
 *
 * The oracle for transcode.c, which it shares nothing with: one element at a time, float32, in the order of operations
 * that the canonical encodings prescribe. Products and sums are separate statements so that no compiler fuses them.
 */
#include "quant_gguf.h"

#include "base/half.h"

#include <math.h>

static float f16_at(const uint8_t *bytes)
{
    return float_from_f16((uint16_t)(bytes[0] | bytes[1] << 8));
}

static float scaled(float scale, int code, float min)
{
    float product = scale * (float)code;
    return product + min;
}

/* Code j of the 32 in 16 bytes: low nibbles first. */
static int nibble(const uint8_t *bytes, int j)
{
    return j < 16 ? bytes[j] & 15 : bytes[j - 16] >> 4;
}

static int fifth_bit(const uint8_t *bytes, int j)
{
    return (bytes[j / 8] >> (j % 8)) & 1;
}

void decode_q8_0(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++)
        ret_values[j] = f16_at(block) * (float)(int8_t)block[2 + j];
}

void decode_q4_0(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++)
        ret_values[j] = f16_at(block) * (float)(nibble(block + 2, j) - 8);
}

void decode_q4_1(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++)
        ret_values[j] = scaled(f16_at(block), nibble(block + 4, j), f16_at(block + 2));
}

void decode_q5_0(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++) {
        int code = nibble(block + 6, j) + 16 * fifth_bit(block + 2, j);
        ret_values[j] = f16_at(block) * (float)(code - 16);
    }
}

void decode_q5_1(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++) {
        int code = nibble(block + 8, j) + 16 * fifth_bit(block + 4, j);
        ret_values[j] = scaled(f16_at(block), code, f16_at(block + 2));
    }
}

/* 6-bit scale and minimum of group `group` (0..7) in the 12 bytes that hold them. */
static void group_scale(const uint8_t *packed, int group, int *ret_scale, int *ret_min)
{
    if (group < 4) {
        *ret_scale = packed[group] & 63;
        *ret_min = packed[group + 4] & 63;
    } else {
        *ret_scale = (packed[group + 4] & 15) + 16 * (packed[group - 4] >> 6);
        *ret_min = (packed[group + 4] >> 4) + 16 * (packed[group] >> 6);
    }
}

/* Q4_K and Q5_K: groups of 32, two to 32 bytes of nibbles; Q5_K has a plane of fifth bits, a bit position per group. */
static void decode_super(const uint8_t *block, const uint8_t *fifths, const uint8_t *nibbles, float *ret_values)
{
    for (int j = 0; j < 256; j++) {
        int group = j / 32, within = j % 32, scale, min;
        uint8_t byte = nibbles[32 * (group / 2) + within];
        int code = group % 2 ? byte >> 4 : byte & 15;
        if (fifths)
            code += 16 * ((fifths[within] >> group) & 1);
        group_scale(block + 4, group, &scale, &min);
        float group_factor = f16_at(block) * (float)scale;
        float group_min = f16_at(block + 2) * (float)min;
        ret_values[j] = scaled(group_factor, code, -group_min);
    }
}

void decode_q4_k(const uint8_t *block, float *ret_values)
{
    decode_super(block, NULL, block + 16, ret_values);
}

void decode_q5_k(const uint8_t *block, float *ret_values)
{
    decode_super(block, block + 16, block + 48, ret_values);
}

/* Two halves of 128: four runs of 32, low nibbles of 64 bytes, then their high nibbles; bit pairs likewise in 32 bytes.
 */
void decode_q6_k(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 256; j++) {
        int half = j / 128, run = j % 128 / 32, within = j % 32;
        uint8_t byte = block[64 * half + 32 * (run % 2) + within];
        int low = run < 2 ? byte & 15 : byte >> 4;
        int high = (block[128 + 32 * half + within] >> (2 * run)) & 3;
        float scale = f16_at(block + 208) * (float)(int8_t)block[192 + j / 16];
        ret_values[j] = scale * (float)(low + 16 * high - 32);
    }
}

/* Two halves of 128: four runs of 32, pairs of bits of the same 32 bytes. A scale and a minimum of four bits per 16. */
void decode_q2_k(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 256; j++) {
        int half = j / 128, run = j % 128 / 32, within = j % 32;
        int code = (block[16 + 32 * half + within] >> (2 * run)) & 3;
        float scale = f16_at(block + 80) * (float)(block[j / 16] & 15);
        float min = f16_at(block + 82) * (float)(block[j / 16] >> 4);
        ret_values[j] = scaled(scale, code, -min);
    }
}

void decode_q3_k(const uint8_t *block, float *ret_values)
{
    const uint8_t *packed = block + 96;

    for (int j = 0; j < 256; j++) {
        int half = j / 128, run = j % 128 / 32, within = j % 32, group = j / 16;
        int low = (block[32 + 32 * half + within] >> (2 * run)) & 3;
        int high = (block[within] >> (4 * half + run)) & 1;
        int nibble_of = group < 8 ? packed[group] & 15 : packed[group - 8] >> 4;
        int scale = nibble_of + 16 * ((packed[8 + group % 4] >> (2 * (group / 4))) & 3) - 32;
        ret_values[j] = f16_at(block + 108) * (float)scale * (float)(low + 4 * high - 4);
    }
}

static const int iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

void decode_iq4_nl(const uint8_t *block, float *ret_values)
{
    for (int j = 0; j < 32; j++)
        ret_values[j] = f16_at(block) * (float)iq4_values[nibble(block + 2, j)];
}

void decode_iq4_xs(const uint8_t *block, float *ret_values)
{
    int high = block[2] + 256 * block[3];

    for (int j = 0; j < 256; j++) {
        int group = j / 32, low = group % 2 ? block[4 + group / 2] >> 4 : block[4 + group / 2] & 15;
        int scale = low + 16 * ((high >> (2 * group)) & 3) - 32;
        ret_values[j] = f16_at(block) * (float)scale * (float)iq4_values[nibble(block + 8 + 16 * group, j % 32)];
    }
}

/* Twice the values, half the scale, as ggml has it. */
void decode_mxfp4(const uint8_t *block, float *ret_values)
{
    static const int doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    for (int j = 0; j < 32; j++)
        ret_values[j] = ldexpf((float)doubled[nibble(block + 1, j)], block[0] - 128);
}
