/* planned_encoding.c: see planned_encoding.h. */
#include "plan/planned_encoding.h"

#include <string.h>

typedef struct application {
    const char *method;
    const tn_backend *backend;
    const tn_devinfo *device;
    const tn_graph *graph;
    const tn_graph_api *api;
    tn_enc *enc;
} application;

static tn_status apply_to(const application *a, uint32_t value, tn_error *err)
{
    tn_value weight = {.struct_size = sizeof weight};
    tn_error reason = TN_ERROR_INIT;
    uint32_t cost;

    tn_status status = a->api->value(a->graph, value, &weight);
    if (status != TN_OK || weight.kind != TN_VALUE_WEIGHT)
        return tn_fail(err, TN_E_INTERNAL, "value %u is not a weight", value);
    tn_enc wanted;
    status = quant_method_encoding(a->method, (uint64_t)weight.dim[1], "--quant", &wanted, err);
    if (status != TN_OK)
        return status;
    if (a->enc[weight.weight_id].family != TN_ENC_FLOAT)
        return tn_fail(err, TN_E_ARGUMENT, "--quant %s: %.80s is quantized already", a->method, weight.name);
    status = a->backend->accepts(a->device, a->graph, a->api, value, &wanted, &cost, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "--quant %s: the backend does not keep %.80s so: %.200s", a->method, weight.name,
                       reason.msg);
    a->enc[weight.weight_id] = wanted;
    return TN_OK;
}

tn_status planned_encoding_apply(const char *name, const tn_backend *backend, const tn_devinfo *device,
                                 const tn_graph *graph, const tn_graph_api *api, const tn_enc *from, tn_enc *ret,
                                 tn_error *err)
{
    application a = {.method = name, .backend = backend, .device = device, .graph = graph, .api = api, .enc = ret};
    tn_enc any;
    tn_status status =
        quant_method_encoding(name, 1, "--quant", &any, err); /* so that a model without products says so */

    if (status == TN_OK)
        memcpy(ret, from, api->weight_count * sizeof *ret);
    for (uint32_t i = 0; i < api->node_count && status == TN_OK; i++) {
        tn_node node = {.struct_size = sizeof node};
        status = api->node(graph, i, &node);
        if (status == TN_OK && node.op == TN_OP_LINEAR)
            status = apply_to(&a, node.in[1], err);
        for (uint32_t j = TN_MOE_IN_GATE; status == TN_OK && node.op == TN_OP_MOE && j <= TN_MOE_IN_DOWN; j++)
            status = apply_to(&a, node.in[j], err);
    }
    return status;
}
