/* runtime/quantize/quantize.h: an unquantized checkpoint directory to a quantized one (AWQ, compressed-tensors).
 *
 * Weights of the graph's LINEAR nodes and experts are quantized, everything else is copied. Shards appear under their
 * name only when they are whole, config.json last of all; a second run of the same source, text and settings keeps the
 * shards it finds, and one of others is refused.
 */
#ifndef QUANTIZE_QUANTIZE_H
#define QUANTIZE_QUANTIZE_H

#include "model/checkpoint.h"
#include "model/weights.h"

typedef enum quantize_method {
    QUANTIZE_AWQ,  /* 4 bits, a scale and a zero point per group of inputs, chosen by a text: W4A16 */
    QUANTIZE_INT4, /* 4 bits, a scale per group of inputs: W4A16 */
    QUANTIZE_INT8, /* 8 bits, a scale per output; inputs by token: W8A8 */
    QUANTIZE_FP8   /* e4m3, a scale per output; inputs by token */
} quantize_method;
const char *quantize_method_name(quantize_method method); /* "awq" */

/* A text as the model reads it, and the model that does: the source again, through a quantization plugin. Borrowed. */
typedef struct quantize_text {
    const int32_t *ids; /* [count] */
    uint64_t count;
    uint32_t sequences, tokens; /* how many, evenly spread over ids, each from an empty context; of each, 2 or more */
    const model_config *config;
    weight_source weights;
    const checkpoint *checkpoint; /* that the weights are read from */
} quantize_text;

typedef enum quantize_stage {
    QUANTIZE_STAGE_READ,      /* bytes */
    QUANTIZE_STAGE_CALIBRATE, /* sequences through layers, and groups of weights */
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

/* Errors name the file or tensor, or what another run's directory was made from. [ctl] */
tn_status quantize_checkpoint(const quantize_request *request, tn_error *err);

#endif
