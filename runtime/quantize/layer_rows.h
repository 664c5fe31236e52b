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
    uint32_t layer; /* that the rows enter */
    float *rows;    /* [sequences][tokens][width], owned */
} layer_rows;

/* What the file holds, or the embeddings of the text's tokens. A file is as none if it is not whole, not of these
 * sizes, or was written when the log had more than `groups` whole groups. */
tn_status layer_rows_open(layer_rows *rows, const quantize_text *text, const tn_graph *graph, const tn_source *source,
                          const char *directory, uint32_t groups, tn_error *err);
void layer_rows_close(layer_rows *rows);
float *layer_rows_of(const layer_rows *rows, uint32_t sequence); /* [tokens][width] */
/* Writes the rows as those that enter `layer`, when the log has `groups` whole groups. */
tn_status layer_rows_keep(layer_rows *rows, const char *directory, uint32_t layer, uint32_t groups, tn_error *err);
tn_status layer_rows_remove(const char *directory, tn_error *err);

#endif
