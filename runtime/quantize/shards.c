/* runtime/quantize/shards.c: see shards.h. */
#include "quantize/shards.h"

#include "model/dtype.h"
#include "model/graph.h"
#include "quantize/pack_awq.h"
#include "quantize/tensor_floats.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_SIZE_MOST = 128, GROUP_SIZE_LEAST = 8 };

/* ---- which weights ---- */

static int compare_names(const void *left, const void *right)
{
    const shard_item *const *a = left, *const *b = right;
    return strcmp((*a)->tensor.name, (*b)->tensor.name);
}

static shard_item *find_item(const shard_plan *plan, const char *name)
{
    const shard_item wanted = {.tensor.name = name}, *key = &wanted;
    shard_item **found = bsearch(&key, plan->by_name, plan->item_count, sizeof *plan->by_name, compare_names);
    return found ? *found : NULL;
}

const shard_item *shard_plan_find(const shard_plan *plan, const char *name)
{
    return find_item(plan, name);
}

static bool is_in_groups(quantize_method method)
{
    return method == QUANTIZE_AWQ || method == QUANTIZE_INT4;
}

static tn_status missing(const weight_part *part, const char *path, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "%s: tensor %s is missing", path, part->tensor);
}

static tn_status mark_embedding(shard_plan *plan, const tn_graph *graph, uint32_t value_id, const char *path,
                                tn_error *err)
{
    tn_value value = {.struct_size = sizeof value};
    weight_part part;

    model_graph_api(graph)->value(graph, value_id, &value);
    model_graph_part(graph, value.weight_id, 0, &part);
    shard_item *item = find_item(plan, part.tensor);
    if (!item)
        return missing(&part, path, err);
    item->embedding = true;
    return TN_OK;
}

/* Marks the tensor that holds a weight, or rows of several. */
static tn_status mark_tensor(shard_plan *plan, const quantize_request *request, const weight_part *part,
                             const char *path, tn_error *err)
{
    shard_item *item = find_item(plan, part->tensor);
    size_t bytes = strlen(part->tensor), tail = strlen(".weight");

    if (!item)
        return missing(part, path, err);
    if (item->type || bytes <= tail || strcmp(part->tensor + bytes - tail, ".weight") != 0)
        return TN_OK;
    if (item->tensor.rank != 2 || (uint64_t)item->tensor.dim[0] != part->tensor_rows ||
        (uint64_t)item->tensor.dim[1] != part->tensor_columns)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor %s is not [%" PRIu64 ", %" PRIu64 "], as config.json has it",
                       path, part->tensor, part->tensor_rows, part->tensor_columns);
    item->type = tensor_float_type(&item->tensor);
    if (!item->type)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tensor %s is not F32, F16 or BF16", path, part->tensor);
    if (request->method == QUANTIZE_AWQ && part->tensor_rows % 8)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: tensor %s has %" PRIu64 " outputs, AWQ holds multiples of 8: use --method int4", path,
                       part->tensor, part->tensor_rows);
    plan->quantized++;
    return TN_OK;
}

/* A stack whose parts are whole tensors, one for each expert. */
static bool is_one_tensor_per_expert(const tn_graph *graph, uint32_t weight_id)
{
    weight_part part;

    model_graph_part(graph, weight_id, 0, &part);
    return part.tensor_rows == part.rows && !part.transposed && part.row_step == 1 && part.column_step == 1;
}

bool shard_plan_has_experts(const shard_plan *plan, const tn_graph *graph, uint32_t weight_id)
{
    weight_part part;

    model_graph_part(graph, weight_id, 0, &part);
    const shard_item *item = find_item(plan, part.tensor);
    return item && item->type && is_one_tensor_per_expert(graph, weight_id);
}

static tn_status mark_weight(shard_plan *plan, const quantize_request *request, const tn_graph *graph,
                             uint32_t value_id, const char *path, tn_error *err)
{
    tn_value value = {.struct_size = sizeof value};
    tn_status status = model_graph_api(graph)->value(graph, value_id, &value);

    TN_ASSERT(status == TN_OK && value.kind == TN_VALUE_WEIGHT);
    for (uint32_t p = 0; p < model_graph_part_count(graph, value.weight_id) && status == TN_OK; p++) {
        weight_part part;
        model_graph_part(graph, value.weight_id, p, &part);
        status = mark_tensor(plan, request, &part, path, err);
    }
    return status;
}

/* Experts that have biases or lie in one tensor stay: no loader of these layouts takes them. */
static tn_status mark_experts(shard_plan *plan, const quantize_request *request, const tn_graph *graph,
                              const tn_node *node, const char *path, tn_error *err)
{
    tn_status status = TN_OK;

    if (node->in_count > TN_MOE_IN_ROUTER_BIAS)
        return TN_OK;
    for (uint32_t input = TN_MOE_IN_GATE; input <= TN_MOE_IN_DOWN; input++) {
        tn_value value = {.struct_size = sizeof value};
        model_graph_api(graph)->value(graph, node->in[input], &value);
        if (!is_one_tensor_per_expert(graph, value.weight_id))
            return TN_OK;
    }
    for (uint32_t input = TN_MOE_IN_GATE; input <= TN_MOE_IN_DOWN && status == TN_OK; input++)
        status = mark_weight(plan, request, graph, node->in[input], path, err);
    return status;
}

/* Weights of LINEAR nodes and experts; embeddings, the head and routers stay as they are. */
static tn_status mark_weights(shard_plan *plan, const quantize_request *request, const tn_graph *graph,
                              const char *path, tn_error *err)
{
    const tn_graph_api *api = model_graph_api(graph);
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < api->node_count && status == TN_OK; i++) {
        tn_node node = {.struct_size = sizeof node};
        api->node(graph, i, &node);
        if (node.op == TN_OP_EMBED)
            status = mark_embedding(plan, graph, node.in[0], path, err);
        else if (node.op == TN_OP_LINEAR)
            status = mark_weight(plan, request, graph, node.in[1], path, err);
        else if (node.op == TN_OP_MOE)
            status = mark_experts(plan, request, graph, &node, path, err);
    }
    return status;
}

/* ---- groups of inputs ---- */

/* The first tensor whose inputs groups of this size do not divide; NULL: they divide all. */
static const shard_item *undivided(const shard_plan *plan, uint32_t group_size)
{
    for (uint32_t i = 0; i < plan->item_count; i++)
        if (plan->items[i].type && (uint64_t)plan->items[i].tensor.dim[1] % group_size)
            return &plan->items[i];
    return NULL;
}

/* Powers of two that divide all inputs: "8, 16, 32". */
static void list_group_sizes(const shard_plan *plan, char *ret_text, size_t capacity)
{
    size_t at = 0;

    ret_text[0] = '\0';
    for (uint32_t size = GROUP_SIZE_LEAST; size <= 1024 && at + 8 < capacity; size *= 2)
        if (!undivided(plan, size))
            at += (size_t)snprintf(ret_text + at, capacity - at, "%s%u", at ? ", " : "", size);
}

static tn_status choose_group_size(shard_plan *plan, const quantize_request *request, const char *path, tn_error *err)
{
    char sizes[96];

    plan->group_size = request->group_size ? request->group_size : GROUP_SIZE_MOST;
    while (!request->group_size && plan->group_size > GROUP_SIZE_LEAST && undivided(plan, plan->group_size))
        plan->group_size /= 2;
    const shard_item *item = undivided(plan, plan->group_size);
    if (!item)
        return TN_OK;
    list_group_sizes(plan, sizes, sizeof sizes);
    return tn_fail(err, TN_E_ARGUMENT,
                   "%s: tensor %s has %" PRIu64 " inputs, which groups of %u do not divide: --group-size %s%s", path,
                   item->tensor.name, (uint64_t)item->tensor.dim[1], plan->group_size, sizes[0] ? "can be " : "",
                   sizes[0] ? sizes : "cannot be met; use --method int8");
}

static tn_status choose_parts(shard_plan *plan, const quantize_request *request, const char *path, tn_error *err)
{
    if (is_in_groups(request->method)) {
        tn_status status = choose_group_size(plan, request, path, err);
        if (status != TN_OK)
            return status;
    }
    for (uint32_t i = 0; i < plan->item_count; i++) {
        shard_item *item = &plan->items[i];
        uint64_t n = (uint64_t)item->tensor.dim[0], k = (uint64_t)item->tensor.dim[1];
        if (!item->type)
            continue;
        if (request->method == QUANTIZE_AWQ)
            item->part_count = pack_awq_parts(plan->group_size, n, k, item->parts);
        else
            item->part_count = pack_parts(request->method, plan->group_size, item->type, n, k, item->parts);
    }
    return TN_OK;
}

static tn_status list_items(shard_plan *plan, const tn_source *source, tn_error *err)
{
    plan->items = calloc(source->tensor_count ? source->tensor_count : 1, sizeof *plan->items);
    plan->by_name = calloc(source->tensor_count ? source->tensor_count : 1, sizeof(shard_item *));
    if (!plan->items || !plan->by_name)
        return tn_fail(err, TN_E_MEMORY, "%u tensors", source->tensor_count);
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        tn_status status = source->tensor_at(source, i, &tensor);
        TN_ASSERT(status == TN_OK);
        plan->items[i].tensor = tensor;
        plan->by_name[i] = &plan->items[i];
        plan->item_count++;
    }
    qsort(plan->by_name, plan->item_count, sizeof *plan->by_name, compare_names);
    return TN_OK;
}

/* ---- files ---- */

static uint64_t item_bytes(const shard_item *item)
{
    uint64_t bytes = item->type ? 0 : item->tensor.bytes;
    for (uint32_t p = 0; p < item->part_count; p++)
        bytes += item->parts[p].bytes;
    return bytes;
}

static tn_status cut_shards(shard_plan *plan, const quantize_request *request, tn_error *err)
{
    plan->shards = calloc(plan->item_count ? plan->item_count : 1, sizeof *plan->shards);
    if (!plan->shards)
        return tn_fail(err, TN_E_MEMORY, "%u shards", plan->item_count);
    for (uint32_t i = 0; i < plan->item_count; i++) {
        shard *last = plan->shard_count ? &plan->shards[plan->shard_count - 1] : NULL;
        if (!last || last->data_bytes >= request->shard_bytes) {
            last = &plan->shards[plan->shard_count++];
            last->first = i;
        }
        last->count++;
        last->data_bytes += item_bytes(&plan->items[i]);
        plan->data_bytes += item_bytes(&plan->items[i]);
    }
    for (uint32_t i = 0; i < plan->shard_count; i++) {
        if (plan->shard_count == 1)
            snprintf(plan->shards[i].name, sizeof plan->shards[i].name, "model.safetensors");
        else
            snprintf(plan->shards[i].name, sizeof plan->shards[i].name, "model-%05u-of-%05u.safetensors", i + 1,
                     plan->shard_count);
    }
    return TN_OK;
}

/* "x.weight" with its last word replaced. */
static void part_name(const shard_item *item, const pack_part *part, char *ret_name, size_t capacity)
{
    snprintf(ret_name, capacity, "%.*s%s", (int)(strlen(item->tensor.name) - strlen("weight")), item->tensor.name,
             part->suffix);
}

static bool add_entry(json_t *header, const char *name, const char *dtype, uint32_t rank, const uint64_t *dim,
                      uint64_t bytes, uint64_t *at)
{
    json_t *shape = json_array();
    bool whole = shape != NULL;
    for (uint32_t d = 0; d < rank && whole; d++)
        whole = json_array_append_new(shape, json_integer((json_int_t)dim[d])) == 0;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets", (json_int_t)*at,
                              (json_int_t)(*at + bytes));
    *at += bytes;
    return json_object_set_new(header, name, entry) == 0 && whole;
}

static bool add_item(json_t *header, const shard_item *item, uint64_t *at)
{
    char name[512];
    uint64_t dim[4];
    bool whole = true;

    for (uint32_t p = 0; p < item->part_count; p++) {
        part_name(item, &item->parts[p], name, sizeof name);
        whole = whole && add_entry(header, name, item->parts[p].dtype, item->parts[p].rank, item->parts[p].dim,
                                   item->parts[p].bytes, at);
    }
    for (uint32_t d = 0; d < item->tensor.rank; d++)
        dim[d] = (uint64_t)item->tensor.dim[d];
    if (!item->type)
        whole = whole && add_entry(header, item->tensor.name, dtype_find(item->tensor.dtype)->name, item->tensor.rank,
                                   dim, item->tensor.bytes, at);
    return whole;
}

static tn_status write_header(const shard_plan *plan, const json_t *strings, shard *shard, tn_error *err)
{
    uint64_t at = 0;
    json_t *header = json_object(), *metadata = json_pack("{s:s}", "format", "pt");

    bool whole = metadata && json_object_update(metadata, (json_t *)strings) == 0;
    whole = json_object_set_new(header, "__metadata__", metadata) == 0 && whole;
    for (uint32_t i = 0; i < shard->count && whole; i++)
        whole = add_item(header, &plan->items[shard->first + i], &at);
    char *text = whole ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    uint64_t bytes = text ? strlen(text) : 0, padded = (bytes + 7) / 8 * 8;
    shard->header = text ? malloc(8 + padded) : NULL;
    if (shard->header) {
        memcpy(shard->header, &padded, 8);
        memset(shard->header + 8, ' ', padded);
        memcpy(shard->header + 8, text, bytes);
        shard->header_bytes = 8 + padded;
    }
    free(text);
    return shard->header ? TN_OK : tn_fail(err, TN_E_MEMORY, "header of %s", shard->name);
}

tn_status shard_plan_write_headers(shard_plan *plan, const json_t *strings, tn_error *err)
{
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < plan->shard_count && status == TN_OK; i++)
        status = write_header(plan, strings, &plan->shards[i], err);
    return status;
}

tn_status shard_plan_init(shard_plan *plan, const quantize_request *request, const checkpoint *checkpoint,
                          const tn_graph *graph, tn_error *err)
{
    const tn_source *source = checkpoint_source(checkpoint);

    *plan = (shard_plan){0};
    tn_status status = list_items(plan, source, err);
    if (status == TN_OK)
        status = mark_weights(plan, request, graph, source->path, err);
    if (status == TN_OK)
        status = choose_parts(plan, request, source->path, err);
    if (status == TN_OK)
        status = cut_shards(plan, request, err);
    if (status != TN_OK)
        shard_plan_finish(plan);
    return status;
}

void shard_plan_finish(shard_plan *plan)
{
    for (uint32_t i = 0; i < plan->shard_count; i++)
        free(plan->shards[i].header);
    free(plan->shards);
    free(plan->by_name);
    free(plan->items);
    *plan = (shard_plan){0};
}

static bool map_item(json_t *map, const shard_item *item, const char *file)
{
    char name[512];
    bool whole = true;

    for (uint32_t p = 0; p < item->part_count && whole; p++) {
        part_name(item, &item->parts[p], name, sizeof name);
        whole = json_object_set_new(map, name, json_string(file)) == 0;
    }
    if (!item->type)
        whole = whole && json_object_set_new(map, item->tensor.name, json_string(file)) == 0;
    return whole;
}

char *shard_plan_index(const shard_plan *plan)
{
    json_t *map = json_object();

    if (plan->shard_count < 2) {
        json_decref(map);
        return NULL;
    }
    bool whole = map != NULL;
    for (uint32_t s = 0; s < plan->shard_count; s++)
        for (uint32_t i = 0; i < plan->shards[s].count && whole; i++)
            whole = map_item(map, &plan->items[plan->shards[s].first + i], plan->shards[s].name);
    json_t *index =
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)plan->data_bytes, "weight_map", map);
    char *text = whole ? json_dumps(index, JSON_INDENT(2)) : NULL;
    json_decref(index);
    return text;
}
