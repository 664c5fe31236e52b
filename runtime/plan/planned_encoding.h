/* runtime/plan/planned_encoding.h: what a model's weights would be if its matrices were quantized: for planning a
 * checkpoint that has not been made yet.
 */
#ifndef PLAN_PLANNED_ENCODING_H
#define PLAN_PLANNED_ENCODING_H

#include "tenon/backend.h"

/* Methods, for help and messages. */
#define PLANNED_ENCODINGS "awq, int4, int8, fp8"

/* ret[weight_count]: `from`, with the float matrices of LINEAR and MOE nodes (routers, embedding and output matrix stay
 * as they are) in the encoding of a method. awq and int4: 4 bits by groups of 128 inputs, with and without zero points;
 * int8 and fp8: a scale per output. TN_E_ARGUMENT: no such method, or the weights are quantized already;
 * TN_E_UNSUPPORTED: the backend does not keep a matrix so. [any] */
tn_status planned_encoding_apply(const char *method, const tn_backend *backend, const tn_devinfo *device,
                                 const tn_graph *graph, const tn_graph_api *api, const tn_enc *from, tn_enc *ret,
                                 tn_error *err);

#endif
