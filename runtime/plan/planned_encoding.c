/* planned_encoding.c: see planned_encoding.h. The encodings are those that quantization plugins produce for checkpoints
 * of these methods.
 */
#include "plan/planned_encoding.h"

#include "base/edit_distance.h"

#include <stdbool.h>
#include <string.h>

enum { GROUP_MAX = 128, GROUP_MIN = 8 };

static const struct method {
    const char *name;
    uint32_t qtype, bits, scale_type, zero_type;
    bool grouped;
} methods[] = {
    {"awq", TN_Q_UNSIGNED, 4, TN_F16, TN_ZERO_POINT, true},
    {"int4", TN_Q_SIGNED, 4, TN_BF16, TN_ZERO_NONE, true},
    {"int8", TN_Q_SIGNED, 8, TN_BF16, TN_ZERO_NONE, false},
    {"fp8", TN_Q_E4M3, 8, TN_BF16, TN_ZERO_NONE, false},
};
enum { METHODS = sizeof methods / sizeof *methods };

static tn_status find_method(const char *name, const struct method **ret_method, tn_error *err)
{
    const char *names[METHODS];
    for (int i = 0; i < METHODS; i++) {
        names[i] = methods[i].name;
        if (strcmp(methods[i].name, name) == 0) {
            *ret_method = &methods[i];
            return TN_OK;
        }
    }
    const char *nearest = nearest_name(name, names, METHODS);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "--quant %.40s: did you mean %s?", name, nearest);
    return tn_fail(err, TN_E_ARGUMENT, "--quant %.40s: it is one of %s", name, PLANNED_ENCODINGS);
}

/* The largest group up to 128 that divides all inputs. */
static uint32_t group_of(uint64_t inputs)
{
    uint32_t group = GROUP_MAX;
    while (group > GROUP_MIN && inputs % group)
        group /= 2;
    return group;
}

static tn_enc encoding_of(const struct method *method, uint64_t inputs)
{
    return (tn_enc){.struct_size = sizeof(tn_enc),
                    .family = TN_ENC_AFFINE,
                    .qtype = method->qtype,
                    .bits = method->bits,
                    .group_k = method->grouped ? group_of(inputs) : (uint32_t)inputs,
                    .scale_type = method->scale_type,
                    .zero_type = method->zero_type};
}

typedef struct application {
    const struct method *method;
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
    const tn_enc wanted = encoding_of(a->method, (uint64_t)weight.dim[1]);
    if (a->enc[weight.weight_id].family != TN_ENC_FLOAT)
        return tn_fail(err, TN_E_ARGUMENT, "--quant %s: %.80s is quantized already", a->method->name, weight.name);
    status = a->backend->accepts(a->device, a->graph, a->api, value, &wanted, &cost, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "--quant %s: the backend does not keep %.80s so: %.200s", a->method->name,
                       weight.name, reason.msg);
    a->enc[weight.weight_id] = wanted;
    return TN_OK;
}

tn_status planned_encoding_apply(const char *name, const tn_backend *backend, const tn_devinfo *device,
                                 const tn_graph *graph, const tn_graph_api *api, const tn_enc *from, tn_enc *ret,
                                 tn_error *err)
{
    application a = {.backend = backend, .device = device, .graph = graph, .api = api, .enc = ret};
    tn_status status = find_method(name, &a.method, err);

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
