/* runtime/model/safetensors_file.c: eight bytes of header length, a JSON object, the tensors' bytes without gaps.
 *
 * jansson parses the header: it bounds the depth (2048), checks UTF-8 and finds duplicate keys. Offsets are checked as
 * the format demands: the tensors cover the bytes after the header exactly, so nothing can hide between them. Data may
 * be unaligned in old files. Source: the safetensors format description (huggingface/safetensors, README).
 */
#include "model/safetensors_file.h"

#include "model/dtype.h"

#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

tn_status safetensors_json_load(const char *path, const void *bytes, uint64_t n_bytes, json_t **ret_json, tn_error *err)
{
    json_error_t error;
    json_t *json = json_loadb(bytes, n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json && !error.text[0]) /* how jansson says that memory ran out, most of the time */
        return tn_fail(err, TN_E_MEMORY, "%s: JSON of %" PRIu64 " bytes", path, n_bytes);
    if (!json)
        return tn_fail(err, TN_E_CORRUPT, "%s: bad JSON at byte %d: %s", path, error.position, error.text);
    *ret_json = json;
    return TN_OK;
}

static tn_status read_header(const char *path, const file_map *map, json_t **ret_header, uint64_t *ret_data_at,
                             tn_error *err)
{
    uint64_t length;
    json_t *header = NULL;

    if (map->size < sizeof length)
        return tn_fail(err, TN_E_CORRUPT, "%s: %" PRIu64 " bytes are too few for a safetensors file", path, map->size);
    memcpy(&length, map->bytes, sizeof length);
    if (length > SAFETENSORS_JSON_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: header length %" PRIu64 " is beyond the format's limit of %d", path,
                       length, SAFETENSORS_JSON_BYTES_MAX);
    if (!size_within(sizeof length, length, map->size))
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: the file is cut short: its header ends at byte %" PRIu64 ", but it has %" PRIu64 " bytes",
                       path, length + sizeof length, map->size);
    if (length == 0 || map->bytes[8] != '{')
        return tn_fail(err, TN_E_CORRUPT, "%s: the header is no JSON object", path);
    tn_status status = safetensors_json_load(path, map->bytes + sizeof length, length, &header, err);
    if (status != TN_OK)
        return status;
    *ret_header = header;
    *ret_data_at = sizeof length + length;
    return TN_OK;
}

/* "__metadata__" holds free text for people; anything but strings there hides a writer's mistake. */
static tn_status check_metadata(const char *path, json_t *metadata, tn_error *err)
{
    const char *key;
    json_t *value;

    if (!json_is_object(metadata))
        return tn_fail(err, TN_E_CORRUPT, "%s: __metadata__ is no JSON object", path);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return tn_fail(err, TN_E_CORRUPT, "%s: __metadata__ '%.100s' is no string", path, key);
    }
    return TN_OK;
}

tn_status safetensors_file_open(const char *path, file_map map, safetensors_file *ret_file, tn_error *err)
{
    safetensors_file file = {.path = strdup(path), .map = map};
    tn_status status = file.path ? TN_OK : tn_fail(err, TN_E_MEMORY, "%s", path);

    if (status == TN_OK)
        status = read_header(path, &map, &file.header, &file.data_at, err);
    size_t entries = status == TN_OK ? json_object_size(file.header) : 0;
    json_t *metadata = status == TN_OK ? json_object_get(file.header, "__metadata__") : NULL;
    if (status == TN_OK && metadata)
        status = check_metadata(path, metadata, err);
    if (status == TN_OK && entries > CHECKPOINT_TENSORS_MAX)
        status = tn_fail(err, TN_E_CORRUPT, "%s: %zu tensors are beyond the limit of %d", path, entries,
                         CHECKPOINT_TENSORS_MAX);
    if (status != TN_OK) {
        safetensors_file_close(&file);
        return status;
    }
    file.tensor_count = (uint32_t)(entries - (metadata != NULL));
    *ret_file = file;
    return TN_OK;
}

void safetensors_file_close(safetensors_file *file)
{
    free(file->path);
    json_decref(file->header);
    file_map_close(&file->map);
    *file = (safetensors_file){0};
}

/* ---- tensors ---- */

static tn_status refuse_tensor(const safetensors_file *file, const char *name, const char *reason, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%.100s': %s", file->path, name, reason);
}

static tn_status read_shape(const safetensors_file *file, json_t *shape, tn_tensor_src *tensor, tn_error *err)
{
    size_t rank = json_array_size(shape); /* 0 if it is no array */

    if (!json_is_array(shape))
        return refuse_tensor(file, tensor->name, "its shape is no array", err);
    if (rank > 4)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tensor '%.100s' has %zu dimensions; up to 4 are supported",
                       file->path, tensor->name, rank);
    for (size_t i = 0; i < 4; i++)
        tensor->dim[i] = 1;
    for (size_t i = 0; i < rank; i++) {
        json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) <= 0)
            return refuse_tensor(file, tensor->name, "a dimension is not a positive integer", err);
        tensor->dim[i] = json_integer_value(dim);
    }
    tensor->rank = rank ? (uint32_t)rank : 1; /* a scalar is a vector of one */
    return TN_OK;
}

static tn_status read_offsets(const safetensors_file *file, json_t *offsets, const char *name, uint64_t *ret_begin,
                              uint64_t *ret_end, tn_error *err)
{
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);

    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return refuse_tensor(file, name, "its data_offsets are not two integers", err);
    if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return refuse_tensor(file, name, "its data_offsets are negative or reversed", err);
    *ret_begin = (uint64_t)json_integer_value(begin);
    *ret_end = (uint64_t)json_integer_value(end);
    return TN_OK;
}

/* A tensor's place in the data, for sorting. */
typedef struct extent {
    uint64_t begin, end;
    tn_tensor_src *tensor;
} extent;

static tn_status read_tensor(const safetensors_file *file, json_t *json, tn_tensor_src *tensor, extent *ret_extent,
                             tn_error *err)
{
    json_error_t error;
    json_t *shape, *offsets;
    const char *dtype, *reason;
    uint64_t begin = 0, end = 0;

    if (json_unpack_ex(json, &error, JSON_STRICT, "{s:s, s:o, s:o}", "dtype", &dtype, "shape", &shape, "data_offsets",
                       &offsets) != 0)
        return refuse_tensor(file, tensor->name, error.text, err);
    const dtype_info *info = dtype_of_safetensors(dtype);
    if (!info)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tensor '%.100s' has type '%.32s', which is not supported",
                       file->path, tensor->name, dtype);
    tensor->dtype = info->dtype;
    tn_status status = read_shape(file, shape, tensor, err);
    if (status == TN_OK)
        status = read_offsets(file, offsets, tensor->name, &begin, &end, err);
    if (status != TN_OK)
        return status;
    if (!dtype_tensor_bytes(info, tensor->rank, tensor->dim, &tensor->bytes, &reason))
        return refuse_tensor(file, tensor->name, reason, err);
    if (end - begin != tensor->bytes)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tensor '%.100s': its shape and type %s need %" PRIu64
                       " bytes, but its data_offsets hold %" PRIu64,
                       file->path, tensor->name, info->name, tensor->bytes, end - begin);
    *ret_extent = (extent){begin, end, tensor};
    return TN_OK;
}

static int compare_extents(const void *left, const void *right)
{
    const extent *a = left, *b = right;
    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static tn_status place_tensors(const safetensors_file *file, extent *extents, tn_error *err)
{
    uint64_t at = 0, data_bytes = file->map.size - file->data_at;

    qsort(extents, file->tensor_count, sizeof *extents, compare_extents);
    for (uint32_t i = 0; i < file->tensor_count; i++) {
        const char *name = extents[i].tensor->name;
        if (extents[i].begin < at)
            return refuse_tensor(file, name, "its bytes overlap those of another tensor", err);
        if (extents[i].begin > at)
            return refuse_tensor(file, name, "there is a gap before its bytes, which the format forbids", err);
        extents[i].tensor->data = file->map.bytes + file->data_at + at; /* within the map, or refused below */
        at = extents[i].end;
        if (at > data_bytes)
            break;
    }
    for (uint32_t i = 0; i < file->tensor_count; i++)
        at = extents[i].end > at ? extents[i].end : at;
    if (at > data_bytes)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: the file is cut short: its tensors need %" PRIu64 " bytes after the header, but %" PRIu64
                       " are there (%" PRIu64 " are missing); fetch it again",
                       file->path, at, data_bytes, at - data_bytes);
    if (at < data_bytes)
        return tn_fail(err, TN_E_CORRUPT, "%s: %" PRIu64 " bytes follow the last tensor, which the format forbids",
                       file->path, data_bytes - at);
    return TN_OK;
}

static tn_status read_tensors(const safetensors_file *file, checkpoint *view, extent *extents, tn_error *err)
{
    const char *key;
    json_t *value;
    uint32_t count = 0;

    json_object_foreach(file->header, key, value)
    {
        char *name;
        if (strcmp(key, "__metadata__") == 0)
            continue;
        tn_status status = checkpoint_copy_name(view, "a tensor name", key, strlen(key), &name, err);
        if (status != TN_OK)
            return status;
        TN_ASSERT(view->tensor_count < view->tensor_capacity);
        tn_tensor_src *tensor = &view->tensors[view->tensor_count++];
        tensor->struct_size = sizeof *tensor;
        tensor->name = name;
        status = read_tensor(file, value, tensor, &extents[count++], err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

tn_status safetensors_file_add(safetensors_file *file, checkpoint *view, tn_error *err)
{
    extent *extents = calloc(file->tensor_count + (size_t)1, sizeof *extents);
    if (!extents)
        return tn_fail(err, TN_E_MEMORY, "%u tensor extents", file->tensor_count);
    tn_status status = read_tensors(file, view, extents, err);
    if (status == TN_OK)
        status = place_tensors(file, extents, err);
    free(extents);
    if (status != TN_OK)
        return status;
    view->maps[view->map_count++] = file->map;
    file->map = (file_map){0};
    return TN_OK;
}
