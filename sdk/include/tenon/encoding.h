/* tenon/encoding.h: canonical weight encodings, the meeting point of N checkpoint formats and M backends.
 *
 * A weight is a matrix W [N, K], N outputs by K inputs, row-major (a vector is [1, K]). A quantization plugin
 * transcodes its checkpoint layout into the planes described here without loss; a backend repacks planes into whatever
 * its kernels like. Neither knows the other.
 *
 * Value of element (n, k), with c its code, g = k / group_k its group and b = bits:
 *
 *   FLOAT   w = c, of type qtype
 *   AFFINE  w = scale(n,g) * q + min(n,g)          q = c                (TN_Q_UNSIGNED)
 *                                                  q = c - 2^(b-1)      (TN_Q_SIGNED)
 *           zero_type TN_ZERO_NONE   min = 0
 *           zero_type TN_ZERO_FLOAT  min is plane TN_PLANE_MIN, of type scale_type
 *           zero_type TN_ZERO_POINT  min = -scale * z, z the unsigned code in plane TN_PLANE_MIN (one byte each)
 *           With a second level (group2_k > 0) the group's scale is s1(n,g) * s2(n, k / group2_k), both multiplied
 *           in float32, s1 being an integer of scale_type and s2 of scale2_type; likewise min with its own second
 *           factor. Plane TN_PLANE_SCALE2 then holds per super-group {scale factor} or, when zero_type is
 *           TN_ZERO_FLOAT, {scale factor, min factor}.
 *
 * All arithmetic above is float32, product first, then one addition, each rounded.
 *
 * Planes (row-major over rows row0..row0+n_rows and columns k0..k0+n_k of the call):
 *   codes   each row is a little-endian bit stream, element i in bits [i*b, (i+1)*b), padded to a whole byte;
 *           4 bits: low nibble first. 16- and 32-bit floats are plain little-endian arrays.
 *   scales, mins   [n_rows, n_k / group_k]       scale2   [n_rows, n_k / group2_k] or [.., 2]
 * k0 and n_k are multiples of group_k, of group2_k, and of 8, unless they reach the row's end.
 */
#ifndef TENON_ENCODING_H
#define TENON_ENCODING_H

#include "tenon/abi.h"

TN_BEGIN_DECLS

/* Families. Append-only. */
enum { TN_ENC_FLOAT = 1, TN_ENC_AFFINE = 2 };

/* Scalar types, used for codes of the FLOAT family, scales and activations. Append-only. */
enum {
    TN_F32 = 1,
    TN_F16 = 2,
    TN_BF16 = 3,
    TN_U8 = 4,
    TN_S8 = 5,
    TN_I32 = 6,
    TN_Q_UNSIGNED = 16, /* AFFINE codes */
    TN_Q_SIGNED = 17
};

enum { TN_ZERO_NONE = 0, TN_ZERO_POINT = 1, TN_ZERO_FLOAT = 2 };

typedef struct tn_enc {
    uint32_t struct_size;
    uint32_t family;      /* TN_ENC_* */
    uint32_t qtype;       /* type of a code */
    uint32_t bits;        /* width of a code: 2..8 (AFFINE), 16 or 32 (FLOAT) */
    uint32_t group_k;     /* elements of K per scale; 0 for FLOAT */
    uint32_t scale_type;  /* TN_F32, TN_F16, TN_BF16; TN_U8 or TN_S8 under a second level; 0 for FLOAT */
    uint32_t zero_type;   /* TN_ZERO_* */
    uint32_t group2_k;    /* elements of K per second-level factor; 0: one level */
    uint32_t scale2_type; /* TN_F32 or TN_F16; 0: one level */
    uint32_t flags;       /* 0 */
} tn_enc;
TN_SEALED(tn_enc, flags);

enum { TN_PLANE_CODES = 0, TN_PLANE_SCALE = 1, TN_PLANE_MIN = 2, TN_PLANE_SCALE2 = 3, TN_PLANE_COUNT = 4 };

/* A block of one weight on its way into a backend. Everything is borrowed for the call. */
typedef struct tn_planes {
    uint32_t struct_size, plane_count; /* TN_PLANE_COUNT or more; absent planes are NULL with 0 bytes */
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
        return 1;
    default:
        return 0;
    }
}

/* Bytes of `plane` for a block of n_rows x n_k; 0 when the encoding has no such plane. The caller keeps
 * n_rows * n_k * 4 below 2^63. */
static inline uint64_t tn_plane_bytes(const tn_enc *enc, uint32_t plane, uint64_t n_rows, uint64_t n_k)
{
    uint64_t min_width = enc->zero_type == TN_ZERO_POINT ? 1 : tn_scalar_bytes(enc->scale_type);
    uint64_t factors = enc->zero_type == TN_ZERO_FLOAT ? 2 : 1;

    switch (plane) {
    case TN_PLANE_CODES:
        return n_rows * ((n_k * enc->bits + 7) / 8);
    case TN_PLANE_SCALE:
        return enc->group_k ? n_rows * ((n_k + enc->group_k - 1) / enc->group_k) * tn_scalar_bytes(enc->scale_type) : 0;
    case TN_PLANE_MIN:
        return enc->group_k && enc->zero_type ? n_rows * ((n_k + enc->group_k - 1) / enc->group_k) * min_width : 0;
    case TN_PLANE_SCALE2:
        return enc->group2_k
                   ? n_rows * ((n_k + enc->group2_k - 1) / enc->group2_k) * factors * tn_scalar_bytes(enc->scale2_type)
                   : 0;
    default:
        return 0;
    }
}

TN_END_DECLS
#endif
