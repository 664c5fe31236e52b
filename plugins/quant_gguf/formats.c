/* plugins/quant_gguf/formats.c: the table of GGUF tensor types and the canonical encoding of each.
 *
 * One scale: {F16 scale, codes}; with minimum: {F16 scale, F16 minimum, codes}; K-quants: super-blocks of 256 whose
 * integer scales share one or two F16 factors. Source: the block layouts of ggml (ggml-common.h), described in
 * README.md.
 */
#include "quant_gguf.h"

#define FLOAT_FORMAT(number, text, width, type)                                                  \
    {                                                                                            \
        .dtype = TN_DTYPE_GGUF + (number), .name = text, .elements = 1, .bytes = width, .enc = { \
            .struct_size = sizeof(tn_enc),                                                       \
            .family = TN_ENC_FLOAT,                                                              \
            .qtype = type,                                                                       \
            .bits = 8 * (width)                                                                  \
        }                                                                                        \
    }

/* Groups of 32 with their own F16 scale, and perhaps an F16 minimum right behind it. */
#define AFFINE_FORMAT(number, text, block_bytes, type, width, zero, function)                                     \
    {                                                                                                             \
        .dtype = TN_DTYPE_GGUF + (number), .name = text, .elements = 32, .bytes = block_bytes,                    \
        .enc = {.struct_size = sizeof(tn_enc),                                                                    \
                .family = TN_ENC_AFFINE,                                                                          \
                .qtype = type,                                                                                    \
                .bits = width,                                                                                    \
                .group_k = 32,                                                                                    \
                .scale_type = TN_F16,                                                                             \
                .zero_type = zero},                                                                               \
        .factor_at = {0, (zero) == TN_ZERO_FLOAT ? 2 : 0}, .split = split_##function, .decode = decode_##function \
    }

#define SUPER_FORMAT(number, text, block_bytes, type, width, group, scale, zero, at, at2, function) \
    {                                                                                               \
        .dtype = TN_DTYPE_GGUF + (number), .name = text, .elements = 256, .bytes = block_bytes,     \
        .enc = {.struct_size = sizeof(tn_enc),                                                      \
                .family = TN_ENC_AFFINE,                                                            \
                .qtype = type,                                                                      \
                .bits = width,                                                                      \
                .group_k = group,                                                                   \
                .scale_type = scale,                                                                \
                .zero_type = zero,                                                                  \
                .group2_k = 256,                                                                    \
                .scale2_type = TN_F16},                                                             \
        .factor_at = {at, at2}, .split = split_##function, .decode = decode_##function              \
    }

/* The code book of IQ4_NL and IQ4_XS: uneven steps, finer around zero. */
static const float iq4_table[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static const block_format formats[] = {
    FLOAT_FORMAT(0, "F32", 4, TN_F32),
    FLOAT_FORMAT(1, "F16", 2, TN_F16),
    FLOAT_FORMAT(30, "BF16", 2, TN_BF16),
    AFFINE_FORMAT(2, "Q4_0", 18, TN_Q_SIGNED, 4, TN_ZERO_NONE, q4_0),
    AFFINE_FORMAT(3, "Q4_1", 20, TN_Q_UNSIGNED, 4, TN_ZERO_FLOAT, q4_1),
    AFFINE_FORMAT(6, "Q5_0", 22, TN_Q_SIGNED, 5, TN_ZERO_NONE, q5_0),
    AFFINE_FORMAT(7, "Q5_1", 24, TN_Q_UNSIGNED, 5, TN_ZERO_FLOAT, q5_1),
    AFFINE_FORMAT(8, "Q8_0", 34, TN_Q_SIGNED, 8, TN_ZERO_NONE, q8_0),
    SUPER_FORMAT(10, "Q2_K", 84, TN_Q_UNSIGNED, 2, 16, TN_U8, TN_ZERO_FLOAT, 80, 82, q2_k),
    SUPER_FORMAT(11, "Q3_K", 110, TN_Q_SIGNED, 3, 16, TN_S8, TN_ZERO_NONE, 108, 108, q3_k),
    SUPER_FORMAT(12, "Q4_K", 144, TN_Q_UNSIGNED, 4, 32, TN_U8, TN_ZERO_FLOAT, 0, 2, q4_k),
    SUPER_FORMAT(13, "Q5_K", 176, TN_Q_UNSIGNED, 5, 32, TN_U8, TN_ZERO_FLOAT, 0, 2, q5_k),
    SUPER_FORMAT(14, "Q6_K", 210, TN_Q_SIGNED, 6, 16, TN_S8, TN_ZERO_NONE, 208, 208, q6_k),
    {.dtype = TN_DTYPE_GGUF + 20,
     .name = "IQ4_NL",
     .elements = 32,
     .bytes = 18,
     .enc = {.struct_size = sizeof(tn_enc),
             .family = TN_ENC_LUT,
             .qtype = TN_F32,
             .bits = 4,
             .group_k = 32,
             .scale_type = TN_F16},
     .table = iq4_table,
     .split = split_q4_0, /* the same block */
     .decode = decode_iq4_nl},
    {.dtype = TN_DTYPE_GGUF + 23,
     .name = "IQ4_XS",
     .elements = 256,
     .bytes = 136,
     .enc = {.struct_size = sizeof(tn_enc),
             .family = TN_ENC_LUT,
             .qtype = TN_F32,
             .bits = 4,
             .group_k = 32,
             .scale_type = TN_S8,
             .group2_k = 256,
             .scale2_type = TN_F16},
     .table = iq4_table,
     .split = split_iq4_xs,
     .decode = decode_iq4_xs},
    {.dtype = TN_DTYPE_GGUF + 39,
     .name = "MXFP4",
     .elements = 32,
     .bytes = 17,
     .enc = {.struct_size = sizeof(tn_enc),
             .family = TN_ENC_MX,
             .qtype = TN_Q_E2M1,
             .bits = 4,
             .group_k = 32,
             .scale_type = TN_E8M0},
     .split = split_mxfp4,
     .decode = decode_mxfp4},
};

/* Types that files may hold and this plugin does not read. */
static const struct {
    uint32_t number;
    const char *name;
} unread[] = {{16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},
              {22, "IQ2_S"},   {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},
              {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {40, "NVFP4"}};

const block_format *block_format_find(uint32_t dtype)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
        if (formats[i].dtype == dtype)
            return &formats[i];
    return NULL;
}

const char *block_format_name(uint32_t dtype)
{
    const block_format *format = block_format_find(dtype);

    if (format)
        return format->name;
    for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++)
        if (TN_DTYPE_GGUF + unread[i].number == dtype)
            return unread[i].name;
    return "of an unknown number";
}
