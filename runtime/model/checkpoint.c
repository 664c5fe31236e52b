/* runtime/model/checkpoint.c: one view over both containers: detection, the tn_source table, release of file pages. */
#include "model/container.h"
#include "model/gguf_reader.h"

#include "base/size.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- the plugin's view ---- */

static const checkpoint *checkpoint_of(const tn_source *source)
{
    return source->ctx;
}

/* Copies as much of a struct as its receiver knows; the receiver's struct_size stays. */
static tn_status hand_out(void *ret, const void *from, uint32_t size, uint32_t size_min)
{
    uint32_t room;
    memcpy(&room, ret, sizeof room);
    if (room < size_min)
        return TN_E_ARGUMENT;
    memcpy((char *)ret + sizeof room, (const char *)from + sizeof room, (room < size ? room : size) - sizeof room);
    return TN_OK;
}

static tn_status source_tensor_at(const tn_source *source, uint32_t index, tn_tensor_src *ret_tensor)
{
    const checkpoint *view = checkpoint_of(source);
    if (index >= view->tensor_count)
        return TN_E_NOT_FOUND;
    return hand_out(ret_tensor, &view->tensors[index], sizeof *ret_tensor, TN_END(tn_tensor_src, bytes));
}

static tn_status source_tensor(const tn_source *source, const char *name, tn_tensor_src *ret_tensor)
{
    uint32_t index = name_order_find(&checkpoint_of(source)->tensor_names, name);
    return index == NAME_ORDER_NONE ? TN_E_NOT_FOUND : source_tensor_at(source, index, ret_tensor);
}

static const meta_entry *find_meta(const tn_source *source, const char *key)
{
    const checkpoint *view = checkpoint_of(source);
    uint32_t index = name_order_find(&view->meta_names, key);
    return index == NAME_ORDER_NONE ? NULL : &view->metas[index];
}

static tn_status source_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const meta_entry *entry = find_meta(source, key);
    if (!entry)
        return TN_E_NOT_FOUND;
    return hand_out(ret_meta, &entry->value, sizeof *ret_meta, TN_END(tn_meta, string));
}

static tn_status source_meta_element(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta)
{
    tn_meta meta = {.struct_size = sizeof meta};
    const meta_entry *entry = find_meta(source, key);
    if (!entry || entry->value.kind != TN_META_ARRAY || index >= entry->value.count)
        return TN_E_NOT_FOUND;
    gguf_array_element(entry, index, &meta);
    return hand_out(ret_meta, &meta, sizeof meta, TN_END(tn_meta, string));
}

static const char *source_meta_key(const tn_source *source, uint32_t index)
{
    const checkpoint *view = checkpoint_of(source);
    return index < view->meta_count ? view->metas[index].key : NULL;
}

/* ---- filling ---- */

tn_status checkpoint_create(const char *container, const char *path, uint32_t maps, uint32_t tensors, uint32_t metas,
                            checkpoint **ret_checkpoint, tn_error *err)
{
    checkpoint *created = calloc(1, sizeof *created);
    if (!created)
        return tn_fail(err, TN_E_MEMORY, "checkpoint");
    created->path = strdup(path);
    created->maps = calloc(maps ? maps : 1, sizeof *created->maps);
    created->tensors = calloc(tensors ? tensors : 1, sizeof *created->tensors);
    created->metas = calloc(metas ? metas : 1, sizeof *created->metas);
    created->tensor_capacity = tensors;
    created->meta_capacity = metas;
    if (!created->path || !created->maps || !created->tensors || !created->metas) {
        checkpoint_close(created);
        return tn_fail(err, TN_E_MEMORY, "checkpoint of %u tensors", tensors);
    }
    created->source = (tn_source){
        .struct_size = sizeof created->source,
        .ctx = created,
        .container = container,
        .path = created->path,
        .tensor_at = source_tensor_at,
        .tensor = source_tensor,
        .meta = source_meta,
        .meta_element = source_meta_element,
        .meta_key = source_meta_key,
    };
    *ret_checkpoint = created;
    return TN_OK;
}

static bool has_control_characters(const uint8_t *bytes, uint64_t n_bytes)
{
    for (uint64_t i = 0; i < n_bytes; i++)
        if (bytes[i] < 0x20 || bytes[i] == 0x7f)
            return true;
    return false;
}

tn_status checkpoint_copy_name(const checkpoint *view, const char *what, const void *bytes, uint64_t n_bytes,
                               char **ret_name, tn_error *err)
{
    if (n_bytes == 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is empty", view->path, what);
    if (n_bytes > CHECKPOINT_NAME_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is %" PRIu64 " bytes long; the limit is %d", view->path, what,
                       n_bytes, CHECKPOINT_NAME_BYTES_MAX);
    if (has_control_characters(bytes, n_bytes) || !utf8_is_valid(bytes, n_bytes))
        return tn_fail(err, TN_E_CORRUPT, "%s: %s contains control characters or invalid UTF-8", view->path, what);
    char *name = strndup(bytes, n_bytes);
    if (!name)
        return tn_fail(err, TN_E_MEMORY, "%s", what);
    *ret_name = name;
    return TN_OK;
}

static tn_status index_names(checkpoint *view, tn_error *err)
{
    uint32_t twin;
    const char *const *first_tensor = (const char *const *)&view->tensors[0].name;
    const char *const *first_key = (const char *const *)&view->metas[0].key;

    if (name_order_init(&view->tensor_names, first_tensor, sizeof view->tensors[0], view->tensor_count, &twin) != TN_OK)
        return tn_fail(err, TN_E_MEMORY, "index of %u tensors", view->tensor_count);
    if (twin != NAME_ORDER_NONE)
        return tn_fail(err, TN_E_CORRUPT, "%s: there are two tensors named '%s'", view->path, view->tensors[twin].name);
    if (name_order_init(&view->meta_names, first_key, sizeof view->metas[0], view->meta_count, &twin) != TN_OK)
        return tn_fail(err, TN_E_MEMORY, "index of %u keys", view->meta_count);
    if (twin != NAME_ORDER_NONE)
        return tn_fail(err, TN_E_CORRUPT, "%s: the metadata key '%s' is there twice", view->path,
                       view->metas[twin].key);
    return TN_OK;
}

tn_status checkpoint_finish(checkpoint *view, tn_error *err)
{
    tn_status status = index_names(view, err);
    if (status != TN_OK)
        return status;
    view->source.tensor_count = view->tensor_count;
    for (uint32_t i = 0; i < view->tensor_count; i++)
        if (!size_add(view->tensor_bytes, view->tensors[i].bytes, &view->tensor_bytes))
            return tn_fail(err, TN_E_CORRUPT, "%s: its tensors add up to more than 64 bits of bytes", view->path);
    return TN_OK;
}

/* ---- the seam ---- */

/* True for the start of a safetensors file: a header length that may be one, then the brace that opens the header. */
static bool looks_like_safetensors(const file_map *map)
{
    return map->size > 8 && map->bytes[8] == '{';
}

static tn_status open_file(const char *path, checkpoint **ret_checkpoint, tn_error *err)
{
    file_map map;
    tn_status status = file_map_open(path, &map, err);
    if (status != TN_OK)
        return status;
    bool gguf = map.size >= 4 && memcmp(map.bytes, "GGUF", 4) == 0;
    bool pickle = map.size >= 4 && memcmp(map.bytes, "PK\3\4", 4) == 0;
    bool safetensors = looks_like_safetensors(&map);
    uint64_t size = map.size;
    file_map_close(&map);

    if (gguf)
        return gguf_open(path, ret_checkpoint, err);
    if (safetensors)
        return safetensors_open(path, ret_checkpoint, err);
    if (pickle)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: PyTorch pickle files can run code and are not read; convert it to safetensors", path);
    if (size == 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: the file is empty", path);
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: this is neither a GGUF nor a safetensors file", path);
}

tn_status checkpoint_open(const char *path, checkpoint **ret_checkpoint, tn_error *err)
{
    struct stat stat_buffer;
    if (stat(path, &stat_buffer) != 0)
        return tn_fail(err, errno == ENOENT ? TN_E_NOT_FOUND : TN_E_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(stat_buffer.st_mode))
        return safetensors_open(path, ret_checkpoint, err);
    return open_file(path, ret_checkpoint, err);
}

void checkpoint_close(checkpoint *view)
{
    if (!view)
        return;
    for (uint32_t i = 0; i < view->tensor_count; i++)
        free((char *)(uintptr_t)view->tensors[i].name);
    for (uint32_t i = 0; i < view->meta_count; i++) {
        free(view->metas[i].key);
        free(view->metas[i].string_at);
    }
    for (uint32_t i = 0; i < view->map_count; i++)
        file_map_close(&view->maps[i]);
    name_order_finish(&view->tensor_names);
    name_order_finish(&view->meta_names);
    free(view->tensors);
    free(view->metas);
    free(view->maps);
    free(view->path);
    free(view);
}

const tn_source *checkpoint_source(const checkpoint *view)
{
    return &view->source;
}

void checkpoint_release(const checkpoint *view, const void *data, uint64_t bytes)
{
    for (uint32_t i = 0; i < view->map_count; i++)
        file_map_release(&view->maps[i], data, bytes);
}

uint64_t checkpoint_tensor_bytes(const checkpoint *view)
{
    return view->tensor_bytes;
}
