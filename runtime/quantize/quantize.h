/* runtime/quantize/quantize.h: an unquantized checkpoint directory to a quantized one (AWQ, compressed-tensors).
 *
 * Weights of LINEAR nodes of the model's graph are quantized, everything else is copied. Shards appear under their name
 * only when they are whole, config.json last of all; a second run with the same settings keeps the shards it finds.
 */
#ifndef QUANTIZE_QUANTIZE_H
#define QUANTIZE_QUANTIZE_H

#include "model/checkpoint.h"
#include "model/weights.h"
#include "tenon/ops.h"

typedef enum quantize_method {
    QUANTIZE_AWQ,  /* 4 bits, a scale and a zero point per group of inputs, chosen by a text: W4A16 */
    QUANTIZE_INT4, /* 4 bits, a scale per group of inputs: W4A16 */
    QUANTIZE_INT8, /* 8 bits, a scale per output; inputs by token: W8A8 */
    QUANTIZE_FP8   /* e4m3, a scale per output; inputs by token */
} quantize_method;

/* A text as the model reads it: sequences of equal length, each from an empty context. */
typedef struct quantize_text {
    uint32_t sequences, tokens; /* how many; of each, 2 or more */
    uint64_t hash[2];           /* of all tokens */
    /* Runs one sequence through the interpreter over `ops`, every row of it an output row. */
    tn_status (*run)(void *ctx, const tn_ops_table *ops, uint32_t sequence, tn_error *err);
    void *ctx;
} quantize_text;

typedef enum quantize_stage {
    QUANTIZE_STAGE_CALIBRATE, /* sequences */
    QUANTIZE_STAGE_SCALE,     /* groups of weights */
    QUANTIZE_STAGE_WRITE      /* bytes */
} quantize_stage;

typedef struct quantize_request {
    const char *source, *destination; /* directories; the second is made if need be */
    quantize_method method;
    uint32_t group_size;       /* of 4 bits, a multiple of 8; 0: the greatest up to 128 that divides all inputs */
    uint64_t shard_bytes;      /* a shard is closed when it has as many */
    const quantize_text *text; /* QUANTIZE_AWQ: what it is calibrated on */
    /* Begins a stage and returns what is told how far it has come. NULL: nobody is. */
    weights_progress (*begin)(void *ctx, quantize_stage stage);
    void *ctx;
} quantize_request;

/* Errors name the file or tensor. [ctl] */
tn_status quantize_checkpoint(const quantize_request *request, tn_error *err);

#endif
