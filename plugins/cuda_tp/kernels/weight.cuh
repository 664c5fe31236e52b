/* plugins/cuda_tp/kernels/weight.cuh: how quantized weights lie in memory and how they become mma fragments.
 *
 * Outputs go in panels of 16, inputs in blocks of 64; a block is 128 * bits bytes and holds its codes in the order in
 * which mma.m16n8k16 wants them as operand A, so that a lane's 32 codes are a few wide loads and no shuffle. Step s (of
 * 4) covers inputs 16 s .. 16 s + 15; lane 4 g + t holds of rows g and g + 8 the inputs 16 s + 4 t + e, e = 0..3, as
 * columns 2t, 2t + 1 (e = 0, 1) and 2t + 8, 2t + 9 (e = 2, 3): the order of K within a step is ours to choose as long
 * as the other operand follows, and four in a row make its loads 8 bytes. Register `reg` = row / 8 + e / 2 * 2, half h
 * = e % 2.
 *
 * Codes are cut into bit planes of 8, or 4 + 2 + 1 bits, widest first, lowest bits of the code in the first:
 *   8: [2][32 lanes][4 words]  word 2 s + reg / 2, byte reg % 2 * 2 + h
 *   4: [32 lanes][4 words]     word s, bits 4 reg + 16 h
 *   2: [32 lanes][2 words]     word s / 2, bits 2 (s % 2 * 4 + reg) + 16 h
 *   1: [32 lanes][1 word]      bit 4 s + reg + 16 h
 * so that a shift and a mask leave two codes in the halves of a register. 0x4300 | q is the bf16 128 + q; subtracting
 * 128 + z is exact. Products are taken of the integers q - z, exact in bf16; a group's scale multiplies the f32 sum.
 */
#ifndef CUDA_WEIGHT_CUH
#define CUDA_WEIGHT_CUH

#include "kernels/mma.cuh"

/* What the kernels are instantiated for: the bits of integer codes, or one of these. */
enum { CODE_FLOAT = 16, CODE_E4M3 = 18, CODE_E2M1 = 19, CODE_LUT4 = 20, CODE_MIN = 32 /* plus bits: TN_ZERO_FLOAT */ };

template <int CODE> struct code_traits {
    static constexpr int bits = CODE == CODE_E4M3 ? 8 : CODE == CODE_E2M1 || CODE == CODE_LUT4 ? 4 : CODE % CODE_MIN;
    static constexpr bool is_float = CODE == CODE_FLOAT;
    static constexpr bool has_min = CODE >= CODE_MIN;
    /* Words of a lane in one block. */
    static constexpr int words = is_float ? 16 : bits;
    /* Elements between tokens in shared memory: no two lanes of a 16-byte (float) or 8-byte access share a bank. */
    static constexpr int token_stride = is_float ? 72 : 80;
};

/* Instance for an encoding that cuda_weight_layout has accepted. */
static inline int code_of(const tn_enc *enc)
{
    switch (enc->family) {
    case TN_ENC_FLOAT:
        return CODE_FLOAT;
    case TN_ENC_MX:
        return CODE_E2M1;
    case TN_ENC_LUT:
        return CODE_LUT4;
    default:
        if (enc->qtype == TN_Q_E4M3)
            return CODE_E4M3;
        return (int)enc->bits + (enc->zero_type == TN_ZERO_FLOAT ? (int)CODE_MIN : 0);
    }
}

static __device__ __forceinline__ float scalar_at(const void *plane, uint32_t type, uint64_t index)
{
    switch (type) {
    case TN_F32:
        return static_cast<const float *>(plane)[index];
    case TN_F16:
        return float_of_f16(static_cast<const uint16_t *>(plane)[index]);
    case TN_BF16:
        return float_of_bf16(static_cast<const bf16 *>(plane)[index]);
    case TN_S8:
        return (float)static_cast<const int8_t *>(plane)[index];
    case TN_E8M0: {
        unsigned code = static_cast<const uint8_t *>(plane)[index];
        return __uint_as_float(code == 255 ? 0x7fc00000u : code ? code << 23 : 0x00400000u);
    }
    default:
        return (float)static_cast<const uint8_t *>(plane)[index];
    }
}

/* w = scale * (q - zero) + min for one row and group. */
struct group_scale {
    float scale, min, zero;
};

static __device__ __forceinline__ group_scale group_at(const cuda_weight &w, uint32_t row, uint32_t group)
{
    const tn_enc &e = w.enc;
    uint32_t panel = row / CUDA_PANEL, in_panel = row % CUDA_PANEL;
    uint64_t at = e.group_n > 1 ? (uint64_t)(row / e.group_n) * w.groups + group
                                : ((uint64_t)panel * w.groups + group) * CUDA_PANEL + in_panel;
    group_scale s = {scalar_at(w.scale, e.scale_type, at), 0.0f,
                     e.qtype == TN_Q_SIGNED ? (float)(1u << (e.bits - 1)) : 0.0f};
    uint64_t at2 = 0;

    if (e.group2_k) {
        uint32_t factors = e.zero_type == TN_ZERO_FLOAT ? 2 : 1;
        at2 =
            ((uint64_t)panel * w.groups2 + (uint64_t)group * e.group_k / e.group2_k) * factors * CUDA_PANEL + in_panel;
        s.scale *= scalar_at(w.scale2, e.scale2_type, at2);
    }
    if (e.zero_type == TN_ZERO_POINT) {
        s.zero += scalar_at(w.min, TN_U8, at);
    } else if (e.zero_type == TN_ZERO_FLOAT) {
        s.min = scalar_at(w.min, e.scale_type, at);
        if (e.group2_k)
            s.min *= scalar_at(w.scale2, e.scale2_type, at2 + CUDA_PANEL);
    }
    return s;
}

/* ---- one element, for embeddings and conversions ---- */

static __device__ __forceinline__ float number_of_code(const cuda_weight &w, uint32_t code)
{
    switch (w.enc.qtype) {
    case TN_Q_E4M3: /* the bits, moved, are a bf16 too small by 2^120 */
        return (code & 0x7f) == 0x7f ? __uint_as_float(0x7fc00000u)
                                     : float_of_bf16((bf16)((code & 0x80) << 8 | (code & 0x7f) << 4)) * 0x1p120f;
    case TN_Q_E2M1:
        return float_of_bf16((bf16)((code & 8) << 12 | (code & 7) << 6)) * 0x1p126f;
    case TN_Q_UNSIGNED:
    case TN_Q_SIGNED:
        return (float)code;
    default:
        return w.lut[code];
    }
}

static __device__ __forceinline__ uint32_t code_at(const cuda_weight &w, uint32_t row, uint32_t k)
{
    const uint32_t bits = w.enc.bits, r = row % CUDA_PANEL, kk = k % CUDA_K_BLOCK;
    const uint32_t s = kk / 16, t = kk % 16 / 4, e = kk % 4, reg = r / 8 + e / 2 * 2, h = e % 2;
    const uint32_t lane = r % 8 * 4 + t;
    const uint32_t *words = static_cast<const uint32_t *>(w.codes) +
                            ((uint64_t)(row / CUDA_PANEL) * w.k_blocks + k / CUDA_K_BLOCK) * (32 * bits);

    if (bits == 8) {
        uint32_t word = 2 * s + reg / 2;
        return words[word / 4 * 128 + lane * 4 + word % 4] >> (8 * (reg % 2 * 2 + h)) & 0xff;
    }
    uint32_t code = 0, have = 0;
    if (bits & 4) {
        code = words[lane * 4 + s] >> (4 * reg + 16 * h) & 15;
        words += 128, have = 4;
    }
    if (bits & 2) {
        code |= (words[lane * 2 + s / 2] >> (2 * (s % 2 * 4 + reg) + 16 * h) & 3) << have;
        words += 64, have += 2;
    }
    if (bits & 1)
        code |= (words[lane] >> (4 * s + reg + 16 * h) & 1) << have;
    return code;
}

static __device__ __forceinline__ float weight_at(const cuda_weight &w, uint32_t row, uint32_t k)
{
    if (w.enc.family == TN_ENC_FLOAT)
        return load_float(w.codes, w.enc.qtype, (uint64_t)row * w.stride + k);
    group_scale s = group_at(w, row, k / w.enc.group_k);
    return __fadd_rn(__fmul_rn(s.scale, number_of_code(w, code_at(w, row, k)) - s.zero), s.min);
}

/* ---- fragments ---- */

/* The words of one lane in block `block` of a panel. */
template <int CODE>
static __device__ __forceinline__ void load_codes(const cuda_weight &w, uint32_t panel, uint32_t block, uint32_t *word)
{
    constexpr int bits = code_traits<CODE>::bits;
    const unsigned lane = threadIdx.x % WARP;
    const uint32_t *at = static_cast<const uint32_t *>(w.codes) + ((uint64_t)panel * w.k_blocks + block) * (32 * bits);

    if (bits >= 4) {
        for (int i = 0; i < bits / 4; i++) {
            uint4 v = reinterpret_cast<const uint4 *>(at)[lane];
            word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
            word += 4, at += 128;
        }
    }
    if (bits & 2) {
        uint2 v = reinterpret_cast<const uint2 *>(at)[lane];
        word[0] = v.x, word[1] = v.y;
        word += 2, at += 64;
    }
    if (bits & 1)
        word[0] = at[lane];
}

/* The same of a bf16 matrix. Without groups a lane may take 16 inputs in a row: k = 16 t + 4 s + e of the block. Rows
 * and columns beyond the matrix are zero. */
static __device__ __forceinline__ void load_float_codes(const cuda_weight &w, uint32_t row0, uint32_t row_end,
                                                        uint32_t block, uint32_t *word)
{
    const unsigned lane = threadIdx.x % WARP;
    const uint32_t k = block * CUDA_K_BLOCK + lane % 4 * 16;

    for (unsigned half = 0; half < 2; half++) {
        const uint32_t row = row0 + lane / 4 + half * 8;
        const bf16 *at = static_cast<const bf16 *>(w.codes) + (uint64_t)row * w.stride + k;
        for (unsigned i = 0; i < 2; i++) {
            uint4 v = {0, 0, 0, 0};
            if (row < row_end && k + i * 8 < w.stride)
                v = reinterpret_cast<const uint4 *>(at)[i];
            word[half * 8 + i * 4] = v.x, word[half * 8 + i * 4 + 1] = v.y;
            word[half * 8 + i * 4 + 2] = v.z, word[half * 8 + i * 4 + 3] = v.w;
        }
    }
}

/* What turns codes of a group into numbers, for rows g and g + 8 of a lane. */
struct group_numbers {
    float scale[2], min[2];
    uint32_t offset[2]; /* bf16 pair -(128 + zero), or the float 2^23 + zero for 8 bits */
};

template <int CODE>
static __device__ __forceinline__ group_numbers load_group(const cuda_weight &w, uint32_t row0, uint32_t group)
{
    group_numbers n;
    for (unsigned half = 0; half < 2; half++) {
        uint32_t row = row0 + threadIdx.x % WARP / 4 + half * 8;
        if (row >= w.rows)
            row = w.rows - 1; /* outputs that nobody stores */
        group_scale s = group_at(w, row, group);
        n.scale[half] = s.scale;
        n.min[half] = s.min;
        n.offset[half] = code_traits<CODE>::bits == 8 ? __float_as_uint(8388608.0f + s.zero)
                                                      : (uint32_t)bf16_of_float(-128.0f - s.zero) * 0x10001u;
    }
    return n;
}

/* Fragment A of step s. lut: bf16 [16] shared, for CODE_LUT4. */
template <int CODE>
static __device__ __forceinline__ void fragment_of_codes(const uint32_t *word, int s, const group_numbers &n,
                                                         const bf16 *lut, uint32_t a[4])
{
    constexpr int bits = code_traits<CODE>::bits;

    for (int reg = 0; reg < 4; reg++) {
        if (CODE == CODE_FLOAT) { /* word: [row half][t-run of 16 as 8 pairs]; step s takes pairs 2 s, 2 s + 1 */
            a[reg] = word[reg % 2 * 8 + s * 2 + reg / 2];
        } else if (CODE == CODE_E4M3) {
            uint32_t pair = word[2 * s + reg / 2] >> (16 * (reg % 2)); /* codes in bytes 0 and 1 */
            pair = (pair & 0xff) | (pair & 0xff00) << 8;
            pair = (pair & 0x00800080u) << 8 | (pair & 0x007f007fu) << 4;
            a[reg] = bf16x2_fma(pair, 0x7b807b80u, 0x80008000u); /* times 2^120 */
        } else if (bits == 8) {
            uint32_t v = word[2 * s + reg / 2], low = 0x7650u + reg % 2 * 2;
            float zero = __uint_as_float(n.offset[reg % 2]);
            a[reg] = bf16_pair(__uint_as_float(byte_permute(v, 0x4b000000u, low)) - zero,
                               __uint_as_float(byte_permute(v, 0x4b000000u, low + 1)) - zero);
        } else if (CODE == CODE_E2M1) {
            uint32_t pair = word[s] >> (4 * reg);
            pair = (pair & 0x00080008u) << 12 | (pair & 0x00070007u) << 6;
            a[reg] = bf16x2_fma(pair, 0x7e807e80u, 0x80008000u); /* times 2^126 */
        } else if (CODE == CODE_LUT4) {
            uint32_t pair = word[s] >> (4 * reg);
            a[reg] = (uint32_t)lut[pair & 15] | (uint32_t)lut[pair >> 16 & 15] << 16;
        } else {
            uint32_t pair = 0;
            if (bits & 4)
                pair = word[s] >> (4 * reg) & 0x000f000fu;
            if (bits & 2)
                pair |= (word[(bits & 4) + s / 2] >> (2 * (s % 2 * 4 + reg)) & 0x00030003u) << (bits & 4);
            if (bits & 1)
                pair |= (word[(bits & 6)] >> (4 * s + reg) & 0x00010001u) << (bits & 6);
            a[reg] = bf16x2_fma(pair | 0x43004300u, 0x3f803f80u, n.offset[reg % 2]);
        }
    }
}

#endif
