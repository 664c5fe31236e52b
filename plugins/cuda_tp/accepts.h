/* plugins/cuda_tp/accepts.h: which weights there are kernels for, in which encodings. */
#ifndef CUDA_TP_ACCEPTS_H
#define CUDA_TP_ACCEPTS_H

#include "tenon/backend.h"

/* tn_backend.accepts; the cost is bytes per thousand values. [probe] */
tn_status accepts_weight(const tn_devinfo *info, const tn_graph *graph, const tn_graph_api *api, uint32_t value,
                         const tn_enc *enc, uint32_t *ret_cost, tn_error *err);

#endif
