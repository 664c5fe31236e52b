/* plugins/quant_compressed/quant_compressed.h: compressed-tensors checkpoints, and the two methods whose tensors look
 * the same: fp8 (DeepSeek, Qwen) and mxfp4 (gpt-oss).
 *
 * N outputs, K inputs, b bits; scales [N, G], [N, 1], [1], or [N/bn, K/bk] by blocks:
 *   packed    weight_packed i32 [N, ceil(K b / 32)]: a bit stream per row of q + 2^(b-1); weight_shape i64 [2];
 *             weight_zero_point i32 [ceil(N b / 32), G]: packed the same way, down the columns; weight_g_idx i32 [K]
 *   int8      weight i8 [N, K]; weight_zero_point i8, shaped like the scales
 *   fp8       weight f8_e4m3 [N, K]; weight_scale, or weight_scale_inv, which is a factor too
 *   mxfp4     weight_packed u8 [N, K/2], weight_scale u8 [N, K/32]; experts: X_blocks u8 [E, N, K/32, 16], X_scales u8
 *             [E, N, K/32]
 */
#ifndef QUANT_COMPRESSED_H
#define QUANT_COMPRESSED_H

#include "quant/packed_model.h"

/* packed_weight.part */
enum { PART_CODES, PART_SCALE, PART_ZERO, PART_G_IDX, PART_INPUT_SCALE };

/* packed_weight.variant: how codes and zero points lie, and a bit for scales that the whole tensor shares. */
enum { KIND_PACKED, KIND_INT8, KIND_FP8, KIND_MXFP4, KIND_MASK = 7, ONE_SCALE = 8 };

enum { STRATEGY_TENSOR, STRATEGY_CHANNEL, STRATEGY_GROUP, STRATEGY_BLOCK };

/* One way in which weights may be quantized. */
typedef struct scheme {
    bool is_float, symmetric;
    uint32_t bits, strategy;
    uint32_t group_k, group_n;     /* of STRATEGY_GROUP, STRATEGY_BLOCK */
    uint32_t act_scheme, act_type; /* as in tn_enc */
} scheme;

enum { SCHEMES_MAX = 32 };

typedef struct compressed_settings {
    uint32_t count;
    scheme schemes[SCHEMES_MAX];
    const char *scale_part; /* "weight_scale" or "weight_scale_inv" */
} compressed_settings;

tn_status compressed_read_settings(const quant_config *config, void *ret_settings, tn_error *err); /* settings.c */
tn_status compressed_find(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                          tn_error *err);                                                              /* layout.c */
tn_status compressed_transcode(const packed_weight *weight, const weight_block *block, tn_error *err); /* transcode.c */
void compressed_decode(const packed_weight *weight, uint64_t row, float *ret_row);                     /* reference.c */

#endif
