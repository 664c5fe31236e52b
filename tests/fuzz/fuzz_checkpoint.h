/* tests/fuzz/fuzz_checkpoint.h: uses an opened checkpoint as the core and its plugins would, so that a lie which the
 * container let pass is found where it hurts.
 */
#ifndef TESTS_FUZZ_CHECKPOINT_H
#define TESTS_FUZZ_CHECKPOINT_H

#include "model/config.h"
#include "model/container.h"
#include "model/describe.h"
#include "model/graph.h"
#include "tenon/quant.h"

#include <stdlib.h>

enum { FUZZ_ROW_ELEMENTS_MAX = 1 << 16, FUZZ_LAYERS_MAX = 16 };

static inline void fuzz_describe(const checkpoint *opened)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    TN_ASSERT(to);
    checkpoint_describe(opened, to, false);
    checkpoint_describe(opened, to, true);
    fclose(to);
    free(text);
}

static inline void fuzz_row(const tn_quant_table *quant, const tn_qmodel *qmodel, const char *name, const tn_enc *enc,
                            uint64_t row, uint64_t columns)
{
    void *planes[TN_PLANE_LIMIT] = {0};
    uint64_t bytes[TN_PLANE_LIMIT];
    float *values = malloc(columns * sizeof *values);

    TN_ASSERT(values);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++) {
        bytes[p] = tn_plane_bytes(enc, p, 1, columns);
        planes[p] = bytes[p] ? malloc(bytes[p]) : NULL;
    }
    tn_status status = quant->transcode(qmodel, name, enc, row, 1, 0, columns, planes, bytes, NULL);
    TN_ASSERT(status == TN_OK || status == TN_E_CORRUPT);
    TN_ASSERT(quant->reference(qmodel, name, row, 1, values, NULL) == TN_OK);
    for (uint32_t p = 0; p < TN_PLANE_LIMIT; p++)
        free(planes[p]);
    free(values);
}

/* First and last row of every weight, in every encoding. */
static inline void fuzz_weights(const tn_source *source, const tn_quant_table *quant)
{
    tn_qmodel *qmodel = NULL;
    if (quant->open(source, &qmodel, NULL) != TN_OK)
        return;
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        tn_enc enc = {.struct_size = sizeof enc};
        uint64_t rows, columns;
        TN_ASSERT(source->tensor_at(source, i, &tensor) == TN_OK);
        TN_ASSERT(quant->shape(qmodel, tensor.name, &rows, &columns, NULL) == TN_OK);
        for (uint32_t e = 0; columns <= FUZZ_ROW_ELEMENTS_MAX; e++) {
            if (quant->produces(qmodel, tensor.name, e, &enc, NULL) != TN_OK)
                break;
            fuzz_row(quant, qmodel, tensor.name, &enc, 0, columns);
            fuzz_row(quant, qmodel, tensor.name, &enc, rows - 1, columns);
        }
    }
    quant->close(qmodel);
}

static inline void fuzz_graph(const model_config *config)
{
    tn_graph *graph = NULL;
    TN_ASSERT(model_graph_build(config, &graph, NULL) == TN_OK);
    model_graph_free(graph);
}

static inline void fuzz_checkpoint(checkpoint *opened)
{
    const tn_source *source = checkpoint_source(opened);
    model_config config;

    fuzz_describe(opened);
    fuzz_weights(source, tn_plugin_entry()->get_interface(TN_QUANT_ID));
    if (model_config_read(source, &config, NULL) == TN_OK && config.layers <= FUZZ_LAYERS_MAX)
        fuzz_graph(&config);
    checkpoint_close(opened);
}

#endif
