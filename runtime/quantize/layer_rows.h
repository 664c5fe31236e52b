/* runtime/quantize/layer_rows.h: the rows of all sequences between two layers, which a file in the destination keeps.
 *
 * calibration-rows.partial is replaced as a whole after each layer; a run that was stopped begins at the layer that it
 * names.
 */
#ifndef QUANTIZE_LAYER_ROWS_H
#define QUANTIZE_LAYER_ROWS_H

#include "quantize/quantize.h"

typedef struct layer_rows {
    const quantize_text *text; /* borrowed */
    uint64_t width;
    uint32_t layer, groups; /* that the rows enter; of weights in the layers before it */
    float *rows;            /* [sequences][tokens][width], owned */
} layer_rows;

/* What the file holds, or the embeddings of the text's tokens. A file is as none if it is not whole, not of these
 * sizes, or stands behind more than `whole_groups`, those that the log has. */
tn_status layer_rows_open(layer_rows *rows, const quantize_text *text, const tn_graph *graph,
                          const checkpoint *checkpoint, const char *directory, uint32_t whole_groups, tn_error *err);
void layer_rows_close(layer_rows *rows);
float *layer_rows_of(const layer_rows *rows, uint32_t sequence); /* [tokens][width] */
/* Writes the rows as those that enter rows->layer. */
tn_status layer_rows_keep(const layer_rows *rows, const char *directory, tn_error *err);
tn_status layer_rows_remove(const char *directory, tn_error *err);

#endif
