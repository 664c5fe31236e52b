/* dummy_weights.c: see dummy_weights.h.
 *
 * An element is a bf16 number of random sign and mantissa and one exponent per tensor: four of them cost one step of
 * splitmix64, so a core fills several GB/s. Tensor names are sorted once; several weights may read one tensor.
 */
#include "model/dummy_weights.h"

#include "base/half.h"
#include "base/weight_block.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct dummy_tensor {
    const char *name; /* borrowed from the graph */
    uint64_t n, k;
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

static const dummy_tensor *find(const tn_qmodel *qmodel, const char *name)
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

static void list_tensors(tn_qmodel *qmodel, const tn_graph *graph)
{
    uint32_t listed = 0;
    for (uint32_t id = 0; id < model_graph_api(graph)->weight_count; id++) {
        for (uint32_t i = 0; i < model_graph_part_count(graph, id); i++) {
            weight_part part;
            model_graph_part(graph, id, i, &part);
            qmodel->tensors[listed++] = (dummy_tensor){part.tensor, part.tensor_rows, part.tensor_columns};
        }
    }
    qsort(qmodel->tensors, listed, sizeof *qmodel->tensors, by_name);
    for (uint32_t i = 0; i < listed; i++)
        if (i == 0 || strcmp(qmodel->tensors[i].name, qmodel->tensors[qmodel->count - 1].name) != 0)
            qmodel->tensors[qmodel->count++] = qmodel->tensors[i];
}

static tn_status refuse_quantized(const tn_source *source, tn_error *err)
{
    tn_meta config = {.struct_size = sizeof config};
    json_error_t error;

    if (source->meta(source, "config.json", &config) != TN_OK || config.kind != TN_META_STRING)
        return TN_OK;
    json_t *json = json_loadb(config.string, config.count, JSON_REJECT_DUPLICATES, &error);
    const json_t *quantization = json_object_get(json, "quantization_config");
    const char *method = json_string_value(json_object_get(quantization, "quant_method"));
    tn_status status = TN_OK;
    if (quantization && !json_is_null(quantization))
        status = tn_fail(err, TN_E_UNSUPPORTED,
                         "%s: config.json says that the model is quantized (%.32s), but dummy weights are bfloat16; "
                         "remove quantization_config",
                         source->path, method ? method : "unnamed method");
    json_decref(json);
    return status;
}

tn_status dummy_weights_open(const tn_source *source, const tn_graph *graph, tn_qmodel **ret_qmodel, tn_error *err)
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
    *ret_qmodel = qmodel;
    return TN_OK;
}

/* ---- the table ---- */

static tn_status table_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    (void)source, (void)ret_qmodel;
    return tn_fail(err, TN_E_UNSUPPORTED, "dummy weights are made from a graph");
}

static void table_close(tn_qmodel *qmodel)
{
    if (qmodel)
        free(qmodel->tensors);
    free(qmodel);
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
    if (!find(qmodel, name))
        return no_tensor(name, err);
    if (index > 0)
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = enc_float(TN_BF16);
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

static tn_status table_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    tn_enc only = enc_float(TN_BF16);
    if (!tensor)
        return no_tensor(name, err);
    weight_block block = {enc, tensor->n, tensor->k, row0, n_rows, k0, n_k, plane, plane_bytes};
    tn_status status = weight_block_check(&block, 1, err);
    if (status == TN_OK && !enc_equal(enc, &only))
        status = tn_fail(err, TN_E_ARGUMENT, "'%s' is bfloat16 only", name);
    for (uint64_t r = 0; r < n_rows && status == TN_OK; r++)
        fill_row(tensor, row0 + r, k0, n_k, (uint16_t *)plane[TN_PLANE_CODES] + r * n_k);
    return status;
}

static tn_status table_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    const dummy_tensor *tensor = find(qmodel, name);
    if (!tensor)
        return no_tensor(name, err);
    for (uint64_t r = 0; r < n_rows; r++) {
        for (uint64_t k = 0; k < tensor->k; k++) {
            uint16_t bits;
            fill_row(tensor, row0 + r, k, 1, &bits);
            ret_rows[r * tensor->k + k] = float_from_bf16(bits);
        }
    }
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
