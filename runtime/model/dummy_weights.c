/* dummy_weights.c: see dummy_weights.h.
 *
 * An element is a bf16 number of random sign and mantissa and one exponent per tensor: four of them cost one step of
 * splitmix64, so a core fills several GB/s; codes are random bytes under one scale per tensor. Tensor names are sorted
 * once; several weights may read one tensor.
 */
#include "model/dummy_weights.h"

#include "base/half.h"
#include "base/small_float.h"
#include "base/weight_block.h"
#include "model/config_json.h"
#include "model/quant_method.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct dummy_tensor {
    const char *name; /* borrowed from the graph */
    uint64_t n, k;
    tn_enc enc;
} dummy_tensor;

struct tn_qmodel {
    dummy_tensor *tensors; /* owned, sorted by name, each once */
    uint32_t count;
};

/* ---- which tensors there are ---- */

static int by_name(const void *left, const void *right)
{
    return strcmp(((const dummy_tensor *)left)->name, ((const dummy_tensor *)right)->name);
}

static dummy_tensor *find(const tn_qmodel *qmodel, const char *name)
{
    dummy_tensor key = {.name = name};
    return bsearch(&key, qmodel->tensors, qmodel->count, sizeof key, by_name);
}

static tn_status no_tensor(const char *name, tn_error *err)
{
    return tn_fail(err, TN_E_NOT_FOUND, "there is no tensor '%s'", name);
}

static uint32_t count_parts(const tn_graph *graph)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++)
        count += model_graph_part_count(graph, id);
    return count;
}

/* Whether the weight is a matrix of a product or of experts. */
static bool is_multiplied(const tn_graph *graph, uint32_t id)
{
    const tn_graph_api *api = model_graph_api(graph);

    for (uint32_t i = 0; i < api->node_count; i++) {
        tn_node node = {.struct_size = sizeof node};
        api->node(graph, i, &node);
        uint32_t first = node.op == TN_OP_LINEAR ? 1 : TN_MOE_IN_GATE,
                 last = node.op == TN_OP_LINEAR ? 1 : TN_MOE_IN_DOWN;
        for (uint32_t in = first; in <= last && (node.op == TN_OP_LINEAR || node.op == TN_OP_MOE); in++) {
            tn_value value = {.struct_size = sizeof value};
            api->value(graph, node.in[in], &value);
            if (value.kind == TN_VALUE_WEIGHT && value.weight_id == id)
                return true;
        }
    }
    return false;
}

static tn_status choose_encodings(tn_qmodel *qmodel, const tn_graph *graph, const char *method, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count && status == TN_OK; id++) {
        if (!is_multiplied(graph, id))
            continue;
        for (uint32_t i = 0; i < model_graph_part_count(graph, id) && status == TN_OK; i++) {
            weight_part part;
            model_graph_part(graph, id, i, &part);
            dummy_tensor *tensor = find(qmodel, part.tensor);
            status = quant_method_encoding(method, tensor->k, "model.quantization", &tensor->enc, err);
        }
    }
    return status;
}

static void list_tensors(tn_qmodel *qmodel, const tn_graph *graph)
{
    uint32_t listed = 0;
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        for (uint32_t i = 0; i < model_graph_part_count(graph, id); i++) {
            weight_part part;
            model_graph_part(graph, id, i, &part);
            qmodel->tensors[listed++] =
                (dummy_tensor){part.tensor, part.tensor_rows, part.tensor_columns, enc_float(TN_BF16)};
        }
    }
    qsort(qmodel->tensors, listed, sizeof *qmodel->tensors, by_name);
    for (uint32_t i = 0; i < listed; i++)
        if (i == 0 || strcmp(qmodel->tensors[i].name, qmodel->tensors[qmodel->count - 1].name) != 0)
            qmodel->tensors[qmodel->count++] = qmodel->tensors[i];
}

static tn_status refuse_quantized(const tn_source *source, tn_error *err)
{
    json_t *root;

    tn_status status = config_json_load(source, "config.json", &root, err);
    const json_t *quantization = json_object_get(root, "quantization_config");
    const char *method = config_json_quant_method(root);
    if (quantization && !json_is_null(quantization))
        status = tn_fail(err, TN_E_UNSUPPORTED,
                         "%s: config.json says that the model is quantized (%.32s), but dummy weights are made "
                         "without its files; remove quantization_config (and set model.quantization)",
                         source->path, method ? method : "unnamed method");
    json_decref(root);
    return status;
}

static void table_close(tn_qmodel *qmodel)
{
    if (qmodel)
        free(qmodel->tensors);
    free(qmodel);
}

tn_status dummy_weights_open(const tn_source *source, const tn_graph *graph, const char *method, tn_qmodel **ret_qmodel,
                             tn_error *err)
{
    tn_status status = refuse_quantized(source, err);
    if (status != TN_OK)
        return status;
    tn_qmodel *qmodel = calloc(1, sizeof *qmodel);
    if (!qmodel)
        return tn_fail(err, TN_E_MEMORY, "dummy weights");
    qmodel->tensors = calloc(count_parts(graph), sizeof *qmodel->tensors);
    if (!qmodel->tensors) {
        free(qmodel);
        return tn_fail(err, TN_E_MEMORY, "dummy weights");
    }
    list_tensors(qmodel, graph);
    if (method)
        status = choose_encodings(qmodel, graph, method, err);
    if (status != TN_OK) {
        table_close(qmodel);
        return status;
    }
    *ret_qmodel = qmodel;
    return TN_OK;
}

/* ---- the table ---- */

static tn_status table_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    (void)source, (void)ret_qmodel;
    return tn_fail(err, TN_E_UNSUPPORTED, "dummy weights are made from a graph");
}

static tn_status table_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    if (!tensor)
        return no_tensor(name, err);
    *ret_n = tensor->n;
    *ret_k = tensor->k;
    return TN_OK;
}

static tn_status table_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    if (!tensor)
        return no_tensor(name, err);
    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = tensor->enc;
    return TN_OK;
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

/* Splitmix64's output for the counter (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t counter)
{
    uint64_t z = counter * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Exponent bits of numbers in [s, 2s), s a power of two, whose root mean square sqrt(7/3) s is about 1/sqrt(K); 1 to 2
 * for a vector. */
static uint16_t exponent_bits(const dummy_tensor *tensor)
{
    int exponent = tensor->n == 1 ? 0 : (int)lround(-0.5 * log2((double)tensor->k * 7 / 3));
    return (uint16_t)((127 + exponent) << 7);
}

/* Elements k0.. of a row; element k always has the same bits. */
static void fill_row(const dummy_tensor *tensor, uint64_t row, uint64_t k0, uint64_t n_k, uint16_t *out)
{
    uint64_t seed = mix(hash_name(tensor->name) + row);
    uint16_t exponent = exponent_bits(tensor), keep = tensor->n == 1 ? 0x007f : 0x807f;

    for (uint64_t i = 0; i < n_k;) {
        uint64_t lane = (k0 + i) % 4, random = mix(seed + (k0 + i) / 4) >> (16 * lane);
        for (; lane < 4 && i < n_k; lane++, random >>= 16)
            out[i++] = (uint16_t)((random & keep) | exponent);
    }
}

/* Bytes [from, from + count) of a row's codes: a code of any width is as random as its byte; e4m3 numbers lie in [1,
 * 2), of either sign. */
static void fill_codes(const dummy_tensor *tensor, uint64_t row, uint64_t from, uint64_t count, uint8_t *out)
{
    uint64_t seed = mix(hash_name(tensor->name) + row);
    bool e4m3 = tensor->enc.qtype == TN_Q_E4M3;

    for (uint64_t i = 0; i < count;) {
        uint64_t lane = (from + i) % 8, random = mix(seed + (from + i) / 8) >> (8 * lane);
        for (; lane < 8 && i < count; lane++, random >>= 8)
            out[i++] = (uint8_t)(e4m3 ? (random & 0x87) | 0x38 : random);
    }
}

/* What makes the root mean square of a tensor's numbers 1/sqrt(K), as its scale type can have it. */
static float scale_of(const dummy_tensor *tensor)
{
    double spread = tensor->enc.qtype == TN_Q_E4M3 ? 1.5 : (double)(1u << tensor->enc.bits) / sqrt(12);
    float scale = (float)(1 / (spread * sqrt((double)tensor->k)));

    return tensor->enc.scale_type == TN_F16 ? float_from_f16(f16_from_float(scale))
                                            : float_from_bf16(bf16_from_float(scale));
}

/* Zero points in the middle. */
static uint8_t zero_of(const dummy_tensor *tensor)
{
    return (uint8_t)(1u << (tensor->enc.bits - 1));
}

static void fill_scales(const dummy_tensor *tensor, uint64_t count, void *const *plane)
{
    float scale = scale_of(tensor);
    uint16_t bits = tensor->enc.scale_type == TN_F16 ? f16_from_float(scale) : bf16_from_float(scale);

    for (uint64_t i = 0; i < count; i++)
        ((uint16_t *)plane[TN_PLANE_SCALE])[i] = bits;
    if (tensor->enc.zero_type == TN_ZERO_POINT)
        memset(plane[TN_PLANE_MIN], zero_of(tensor), count);
}

static tn_status table_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    if (!tensor)
        return no_tensor(name, err);
    weight_block block = {enc, tensor->n, tensor->k, row0, n_rows, k0, n_k, plane, plane_bytes};
    tn_status status = weight_block_check(&block, 1, err);
    if (status == TN_OK && !enc_equal(enc, &tensor->enc))
        status = tn_fail(err, TN_E_ARGUMENT, "'%s' is not in that encoding", name);
    if (status != TN_OK)
        return status;
    if (enc->family == TN_ENC_FLOAT) {
        for (uint64_t r = 0; r < n_rows; r++)
            fill_row(tensor, row0 + r, k0, n_k, (uint16_t *)plane[TN_PLANE_CODES] + r * n_k);
        return TN_OK;
    }
    const uint64_t bytes = (n_k * enc->bits + 7) / 8;
    for (uint64_t r = 0; r < n_rows; r++)
        fill_codes(tensor, row0 + r, k0 * enc->bits / 8, bytes, (uint8_t *)plane[TN_PLANE_CODES] + r * bytes);
    fill_scales(tensor, n_rows * tn_group_count(n_k, enc->group_k), plane);
    return TN_OK;
}

/* The number that a code stands for; `byte` holds it. */
static float number_at(const dummy_tensor *tensor, uint8_t byte, uint64_t k)
{
    const tn_enc *enc = &tensor->enc;
    uint32_t code = enc->bits == 4 ? byte >> (k % 2 * 4) & 15 : byte;

    if (enc->qtype == TN_Q_E4M3)
        return float_from_e4m3((uint8_t)code);
    return (float)code - (float)(enc->qtype == TN_Q_SIGNED ? 1u << (enc->bits - 1) : zero_of(tensor));
}

static void reference_row(const dummy_tensor *tensor, uint64_t row, float *out)
{
    for (uint64_t k = 0; k < tensor->k; k++) {
        uint16_t bits;
        uint8_t byte;
        if (tensor->enc.family == TN_ENC_FLOAT) {
            fill_row(tensor, row, k, 1, &bits);
            out[k] = float_from_bf16(bits);
        } else {
            fill_codes(tensor, row, k * tensor->enc.bits / 8, 1, &byte);
            out[k] = scale_of(tensor) * number_at(tensor, byte, k);
        }
    }
}

static tn_status table_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    if (!tensor)
        return no_tensor(name, err);
    for (uint64_t r = 0; r < n_rows; r++)
        reference_row(tensor, row0 + r, ret_rows + r * tensor->k);
    return TN_OK;
}

const tn_quant_table dummy_weights_table = {
    .struct_size = sizeof(tn_quant_table),
    .open = table_open,
    .close = table_close,
    .shape = table_shape,
    .produces = table_produces,
    .transcode = table_transcode,
    .reference = table_reference,
};
