/* runtime/quantize/layer_model.h: one layer of the model, alone in the reference interpreter.
 *
 * Holds the layer's weights in float32 and scratch for one sequence; nothing of other layers.
 */
#ifndef QUANTIZE_LAYER_MODEL_H
#define QUANTIZE_LAYER_MODEL_H

#include "quantize/quantize.h"

typedef struct layer_model {
    const tn_backend *backend;
    tn_graph *graph;
    tn_enc *enc; /* [weight_count], owned */
    tn_dev *dev;
    tn_model *model;
    uint32_t tokens, delta_count;
    int32_t *token, *position, *sampled; /* [tokens], owned, as are the rest */
    uint32_t *row, *want;                /* [tokens] */
    uint32_t *delta;                     /* four arrays of delta_count */
    bool started;                        /* pages have been entered */
} layer_model;

/* Loads the layer's weights. Runs over input_tap's ops. Errors name the tensor. */
tn_status layer_model_open(layer_model *model, const quantize_text *text, uint32_t layer, tn_error *err);
void layer_model_close(layer_model *model); /* half-open is fine */
/* rows: [text->tokens, M], what enters the layer from an empty context, then what leaves it. */
tn_status layer_model_run(layer_model *model, float *rows, tn_error *err);

#endif
