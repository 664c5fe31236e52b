/* runtime/model/weights.h: chooses an encoding per weight and streams the weights into a backend. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/checkpoint.h"
#include "model/graph.h"
#include "tenon/backend.h"
#include "tenon/quant.h"

/* A quantization plugin's hold on the checkpoint. */
typedef struct weight_source {
    const tn_quant_table *quant;
    tn_qmodel *qmodel;
    uint32_t float_type; /* TN_BF16: unquantized matrices are converted to it; 0: kept as they are */
} weight_source;

/* Checks every weight of the graph against the checkpoint (present, right shape) and fills enc[weight_count] with the
 * first encoding that quant produces and backend accepts. Errors name the tensor, its shape and the expected one. Reads
 * no weight data. [ctl] */
tn_status weights_choose(const weight_source *source, const tn_graph *graph, const tn_backend *backend,
                         const tn_devinfo *device, tn_enc *enc, tn_error *err);

typedef struct weights_progress {
    /* One call at a time, from any loader thread; bytes as encoded for the backend. */
    void (*report)(void *ctx, uint64_t bytes_done, uint64_t bytes_total);
    void *ctx;
} weights_progress;

/* Bytes of staging that weights_load allocates at its peak, a line of the plan. */
uint64_t weights_staging_bytes(const tn_graph *graph, const tn_enc *enc, uint32_t threads);

/* Transcodes every weight in row blocks on `threads` threads (the caller's included) and hands them to backend->weight,
 * dropping file pages behind itself. A scale that is not finite is TN_E_CORRUPT. checkpoint may be NULL (nothing to
 * drop), progress too. Does not seal. [ctl] */
tn_status weights_load(const weight_source *source, const checkpoint *checkpoint, const tn_graph *graph,
                       const tn_enc *enc, const tn_backend *backend, tn_model *model, uint32_t threads,
                       const weights_progress *progress, tn_error *err);

#endif
