/* tenon/encoding.h: canonical weight encodings, the meeting point of N checkpoint formats and M backends.
 *
 * A weight is a matrix W [N, K], N outputs by K inputs, row-major (a vector is [1, K]). A quantization plugin
 * transcodes its checkpoint layout into the planes described here without loss; a backend repacks planes into whatever
 * its kernels like. Neither knows the other.
 *
 * Value of element (n, k), with c its code, g = k / group_k its group, m = n / group_n its scale row and b = bits:
 *
 *   FLOAT   w = c, of type qtype
 *   AFFINE  w = scale(m,g) * q + min(m,g)          q = c                (TN_Q_UNSIGNED)
 *                                                  q = c - 2^(b-1)      (TN_Q_SIGNED)
 *                                                  q = the e4m3 number c (TN_Q_E4M3; b = 8, no zeros)
 *           zero_type TN_ZERO_NONE   min = 0
 *           zero_type TN_ZERO_FLOAT  min is plane TN_PLANE_MIN, of type scale_type
 *           zero_type TN_ZERO_POINT  w = scale * (q - z), z the unsigned code in plane TN_PLANE_MIN (one byte each)
 *           With a second level (group2_k > 0) the group's scale is s1(n,g) * s2(n, k / group2_k), both multiplied
 *           in float32, s1 being an integer of scale_type and s2 of scale2_type; likewise min with its own second
 *           factor. Plane TN_PLANE_SCALE2 then holds per super-group {scale factor} or, when zero_type is
 *           TN_ZERO_FLOAT, {scale factor, min factor}.
 *   MX      w = scale(n,g) * q                     q = the e2m1 number c (TN_Q_E2M1, b = 4), scale_type TN_E8M0
 *   LUT     w = scale(n,g) * lut[c]                lut is plane TN_PLANE_LUT, 2^b float32; scales as for AFFINE
 *
 * All arithmetic above is float32, product first, then one addition, each rounded; q - z is exact.
 *
 * Planes of a block (row-major over rows row0..row0+n_rows and columns k0..k0+n_k of the call):
 *   codes   each row is a little-endian bit stream, element i in bits [i*b, (i+1)*b), padded to a whole byte;
 *           4 bits: low nibble first. 16- and 32-bit floats are plain little-endian arrays.
 *   scales, mins   [n_rows / group_n, n_k / group_k]       scale2   [n_rows, n_k / group2_k] or [.., 2]
 * k0 and n_k are multiples of group_k, of group2_k, and of 8, unless they reach the row's end; row0 and n_rows are
 * multiples of group_n, unless they reach the last row.
 *
 * Planes of a whole weight, the same in every block of it or, with flag TN_ENC_PARTS, of a part:
 *   perm    with flag TN_ENC_PERM_K: K uint32, a permutation of 0..K-1. Column k as stored, with its code and group,
 *           multiplies input perm[k]: W[n, perm[k]] = w(n, k). Blocks of such a weight are whole rows.
 *   lut     2^b float32
 *   input scale   with act_scheme TN_INPUT_STATIC: one float32
 * With flag TN_ENC_PARTS the weight is a stack of parts of part_n rows each (experts) that were quantized on their own.
 * Each has its own perm and input scale, lut is common to all, and a block lies within one part.
 */
#ifndef TENON_ENCODING_H
#define TENON_ENCODING_H

#include "tenon/abi.h"

TN_BEGIN_DECLS

/* Families. Append-only. */
enum { TN_ENC_FLOAT = 1, TN_ENC_AFFINE = 2, TN_ENC_MX = 3, TN_ENC_LUT = 4 };

/* Scalar types, used for codes of the FLOAT family, scales and activations. Append-only. */
enum {
    TN_F32 = 1,
    TN_F16 = 2,
    TN_BF16 = 3,
    TN_U8 = 4,
    TN_S8 = 5,
    TN_I32 = 6,
    TN_E8M0 = 7,        /* scales: 2^(byte - 127) */
    TN_Q_UNSIGNED = 16, /* AFFINE codes */
    TN_Q_SIGNED = 17,
    TN_Q_E4M3 = 18, /* 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7f and 0xff are NaN, no infinity */
    TN_Q_E2M1 = 19  /* MX codes: 0 0.5 1 1.5 2 3 4 6, then the same negative */
};

enum { TN_ZERO_NONE = 0, TN_ZERO_POINT = 1, TN_ZERO_FLOAT = 2 };

/* Bits of tn_enc.flags. A backend refuses encodings with a bit that it does not know. Append-only. */
enum { TN_ENC_PERM_K = 1u << 0, TN_ENC_PARTS = 1u << 1 };

/* How the checkpoint's maker quantized the inputs of this weight. Information: a backend may take the inputs as they
 * are. Append-only. */
enum {
    TN_INPUT_FLOAT = 0,  /* not at all */
    TN_INPUT_TOKEN = 1,  /* each token row by its own maximum */
    TN_INPUT_GROUP = 2,  /* each group_k columns of a token row by their own maximum */
    TN_INPUT_TENSOR = 3, /* the whole batch by its maximum */
    TN_INPUT_STATIC = 4  /* by the scale in plane TN_PLANE_INPUT_SCALE */
};

typedef struct tn_enc {
    uint32_t struct_size;
    uint32_t family;      /* TN_ENC_* */
    uint32_t qtype;       /* type of a code */
    uint32_t bits;        /* width of a code: 2..8 (AFFINE, LUT), 4 (MX), 16 or 32 (FLOAT) */
    uint32_t group_k;     /* elements of K per scale; 0 for FLOAT */
    uint32_t scale_type;  /* TN_F32, TN_F16, TN_BF16; TN_U8 or TN_S8 under a second level; TN_E8M0; 0 for FLOAT */
    uint32_t zero_type;   /* TN_ZERO_* */
    uint32_t group2_k;    /* elements of K per second-level factor; 0: one level */
    uint32_t scale2_type; /* TN_F32 or TN_F16; 0: one level */
    uint32_t flags;       /* TN_ENC_* bits */
    /* Younger than the first release: */
    uint32_t group_n;    /* rows that share a scale; 0 or 1: each row has its own */
    uint32_t act_scheme; /* TN_INPUT_* */
    uint32_t act_type;   /* of quantized inputs: TN_S8 or TN_Q_E4M3; 0 for TN_INPUT_FLOAT */
    uint32_t part_n;     /* rows of a part; 0 without TN_ENC_PARTS */
} tn_enc;
TN_SEALED(tn_enc, part_n);

enum {
    TN_PLANE_CODES = 0,
    TN_PLANE_SCALE = 1,
    TN_PLANE_MIN = 2,
    TN_PLANE_SCALE2 = 3,
    TN_PLANE_COUNT = 4, /* those above come in rows; those below belong to a whole weight */
    TN_PLANE_PERM = 4,
    TN_PLANE_LUT = 5,
    TN_PLANE_INPUT_SCALE = 6
};
/* Length of an array of planes as this header knows them. */
#define TN_PLANE_LIMIT 7

/* A block of one weight on its way into a backend. Everything is borrowed for the call. */
typedef struct tn_planes {
    uint32_t struct_size, plane_count; /* TN_PLANE_LIMIT or more; absent planes are NULL with 0 bytes */
    uint64_t row0, n_rows, k0, n_k;
    const void *const *plane;
    const uint64_t *plane_bytes;
} tn_planes;
TN_SEALED(tn_planes, plane_bytes);

/* Bytes of one scalar; 0 for an unknown type. */
static inline uint64_t tn_scalar_bytes(uint32_t type)
{
    switch (type) {
    case TN_F32:
    case TN_I32:
        return 4;
    case TN_F16:
    case TN_BF16:
        return 2;
    case TN_U8:
    case TN_S8:
    case TN_E8M0:
        return 1;
    default:
        return 0;
    }
}

/* Groups of `group` that it takes to hold `elements`. */
static inline uint64_t tn_group_count(uint64_t elements, uint32_t group)
{
    return (elements + group - 1) / group;
}

/* Bytes of `plane` for a block of n_rows x n_k; 0 when the encoding has no such plane. The caller keeps
 * n_rows * n_k * 4 below 2^63. */
static inline uint64_t tn_plane_bytes(const tn_enc *enc, uint32_t plane, uint64_t n_rows, uint64_t n_k)
{
    uint64_t min_width = enc->zero_type == TN_ZERO_POINT ? 1 : tn_scalar_bytes(enc->scale_type);
    uint64_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;
    uint32_t group_n = TN_HAS(enc, tn_enc, group_n) && enc->group_n ? enc->group_n : 1;
    uint64_t groups = enc->group_k ? tn_group_count(n_rows, group_n) * tn_group_count(n_k, enc->group_k) : 0;

    switch (plane) {
    case TN_PLANE_CODES:
        return n_rows * ((n_k * enc->bits + 7) / 8);
    case TN_PLANE_SCALE:
        return groups * tn_scalar_bytes(enc->scale_type);
    case TN_PLANE_MIN:
        return enc->zero_type ? groups * min_width : 0;
    case TN_PLANE_SCALE2:
        return enc->group2_k ? n_rows * tn_group_count(n_k, enc->group2_k) * factors * tn_scalar_bytes(enc->scale2_type)
                             : 0;
    case TN_PLANE_PERM:
        return enc->flags & TN_ENC_PERM_K ? n_k * sizeof(uint32_t) : 0;
    case TN_PLANE_LUT:
        return enc->family == TN_ENC_LUT && enc->bits <= 8 ? sizeof(float) << enc->bits : 0;
    case TN_PLANE_INPUT_SCALE:
        return TN_HAS(enc, tn_enc, act_scheme) && enc->act_scheme == TN_INPUT_STATIC ? sizeof(float) : 0;
    default:
        return 0;
    }
}

TN_END_DECLS
#endif
