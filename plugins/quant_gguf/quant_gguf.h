/* plugins/quant_gguf/quant_gguf.h: the block formats of GGUF tensors, seen from both sides: planes and floats. */
#ifndef QUANT_GGUF_H
#define QUANT_GGUF_H

#include "base/weight_block.h"
#include "tenon/quant.h"

enum { GGUF_BLOCK_ELEMENTS_MAX = 256 };

/* Planes of a run of blocks, advancing by whole blocks. Planes that the encoding lacks are NULL. */
typedef struct block_planes {
    uint8_t *codes, *scales, *mins, *factors;
} block_planes;

typedef struct block_format {
    uint32_t dtype; /* TN_DTYPE_GGUF + number */
    const char *name;
    uint32_t elements, bytes; /* of one block */
    tn_enc enc;               /* the lossless encoding */
    /* Float types: the rest is unset. */
    uint32_t factor_at[2]; /* byte offsets of the binary16 factors in a block; equal when there is only one; MX: none */
    const float *table;    /* LUT: what the codes stand for, 2^bits */
    void (*split)(const uint8_t *blocks, uint64_t count, const block_planes *planes); /* transcode.c */
    void (*decode)(const uint8_t *block, float *ret_values);                          /* reference.c */
} block_format;

/* NULL for a type this plugin does not read. [any] */
const block_format *block_format_find(uint32_t dtype);
/* The name of any GGUF tensor type, for messages. [any] */
const char *block_format_name(uint32_t dtype);

/* formats.c lists these. split: one per format, without loss. decode: the value of each element, the oracle. */
void split_q8_0(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q4_0(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q4_1(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q5_0(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q5_1(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q2_k(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q3_k(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q4_k(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q5_k(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_q6_k(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_iq4_xs(const uint8_t *blocks, uint64_t count, const block_planes *planes);
void split_mxfp4(const uint8_t *blocks, uint64_t count, const block_planes *planes);

void decode_q8_0(const uint8_t *block, float *ret_values);
void decode_q4_0(const uint8_t *block, float *ret_values);
void decode_q4_1(const uint8_t *block, float *ret_values);
void decode_q5_0(const uint8_t *block, float *ret_values);
void decode_q5_1(const uint8_t *block, float *ret_values);
void decode_q2_k(const uint8_t *block, float *ret_values);
void decode_q3_k(const uint8_t *block, float *ret_values);
void decode_q4_k(const uint8_t *block, float *ret_values);
void decode_q5_k(const uint8_t *block, float *ret_values);
void decode_q6_k(const uint8_t *block, float *ret_values);
void decode_iq4_nl(const uint8_t *block, float *ret_values);
void decode_iq4_xs(const uint8_t *block, float *ret_values);
void decode_mxfp4(const uint8_t *block, float *ret_values);

#endif
