/* runtime/quantize/quantize.h: an unquantized checkpoint directory to a quantized one (compressed-tensors).
 *
 * Weights of LINEAR nodes of the model's graph are quantized, everything else is copied. Shards appear under their name
 * only when they are whole, config.json last of all; a second run with the same settings keeps the shards it finds.
 */
#ifndef QUANTIZE_QUANTIZE_H
#define QUANTIZE_QUANTIZE_H

#include "model/checkpoint.h"
#include "model/weights.h"

typedef enum quantize_method {
    QUANTIZE_INT4, /* 4 bits, a scale per group of inputs: W4A16 */
    QUANTIZE_INT8, /* 8 bits, a scale per output; inputs by token: W8A8 */
    QUANTIZE_FP8   /* e4m3, a scale per output; inputs by token */
} quantize_method;

typedef struct quantize_request {
    const char *source, *destination; /* directories; the second is made if need be */
    quantize_method method;
    uint32_t group_size;  /* of QUANTIZE_INT4, a multiple of 8 */
    uint64_t shard_bytes; /* a shard is closed when it has as many */
    weights_progress progress;
} quantize_request;

/* Errors name the file or tensor. [ctl] */
tn_status quantize_checkpoint(const quantize_request *request, tn_error *err);

#endif
