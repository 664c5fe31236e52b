/* runtime/plan/planned_encoding.h: what a model's weights would be if its matrices were quantized: for planning a
 * checkpoint that has not been made yet.
 */
#ifndef PLAN_PLANNED_ENCODING_H
#define PLAN_PLANNED_ENCODING_H

#include "model/quant_method.h"
#include "tenon/backend.h"

/* ret[weight_count]: `from`, with the float matrices of LINEAR and MOE nodes (routers, embedding and output matrix stay
 * as they are) in the encoding of a method (model/quant_method.h). TN_E_ARGUMENT: no such method, or the weights are quantized already;
 * TN_E_UNSUPPORTED: the backend does not keep a matrix so. [any] */
tn_status planned_encoding_apply(const char *method, const tn_backend *backend, const tn_devinfo *device,
                                 const tn_graph *graph, const tn_graph_api *api, const tn_enc *from, tn_enc *ret,
                                 tn_error *err);

#endif
