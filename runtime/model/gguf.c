/* runtime/model/gguf.c: the GGUF container, versions 2 and 3, little-endian.
 *
 * Layout: magic, version, tensor count, key count; keys with values; tensor descriptions; padding to general.alignment;
 * the tensors' bytes, each at a multiple of the alignment. Opening costs one pass over the metadata (2 ms for a
 * vocabulary of 49k tokens) and reads no tensor. Every number is checked before it is used; file dims run fastest first
 * and are turned round here. Source: the GGUF specification (ggml, docs/gguf.md).
 */
#include "model/dtype.h"
#include "model/gguf_reader.h"

#include "base/size.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    GGUF_KEYS_MAX = 1 << 16,
    GGUF_KEY_BYTES_MIN = 8 + 1 + 4 + 1,            /* name of one byte, type, the smallest value */
    GGUF_TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8, /* name of one byte, rank, one dim, type, offset */
    GGUF_ALIGNMENT = 32,
    GGUF_ALIGNMENT_MIN = 8,
    GGUF_ALIGNMENT_MAX = 1 << 20
};

typedef struct gguf_header {
    uint32_t tensor_count, key_count;
} gguf_header;

static tn_status check_version(gguf_reader *reader, uint32_t version)
{
    if (version == 2 || version == 3)
        return TN_OK;
    if ((version & 0xffff) == 0 && version != 0)
        return tn_fail(reader->err, TN_E_UNSUPPORTED,
                       "%s: big-endian GGUF files are not supported; convert it to little-endian", reader->path);
    if (version == 1)
        return tn_fail(reader->err, TN_E_UNSUPPORTED,
                       "%s: GGUF version 1 is not supported (versions 2 and 3 are); convert the model again",
                       reader->path);
    return tn_fail(reader->err, TN_E_UNSUPPORTED, "%s: GGUF version %u is unknown (versions 2 and 3 are supported)",
                   reader->path, version);
}

/* Refuses a count that the limit or the bytes left rule out, so that nothing is allocated for it. */
static tn_status check_count(const gguf_reader *reader, const char *what, uint64_t count, uint64_t bytes_min,
                             uint64_t limit)
{
    uint64_t left = reader->size - reader->at;
    if (count > limit)
        return gguf_refuse(reader, "%s count %" PRIu64 " is beyond the limit of %" PRIu64, what, count, limit);
    if (count > left / bytes_min)
        return gguf_refuse(reader, "%s count %" PRIu64 " needs %" PRIu64 " bytes or more, but only %" PRIu64 " follow",
                           what, count, count * bytes_min, left);
    return TN_OK;
}

static tn_status read_header(gguf_reader *reader, gguf_header *ret_header)
{
    uint32_t magic, version;
    uint64_t tensors = 0, keys = 0;
    tn_status status = gguf_read_u32(reader, "the magic number", &magic);
    if (status == TN_OK && magic != 0x46554747u) /* "GGUF" */
        return gguf_refuse(reader, "this is not a GGUF file");
    if (status == TN_OK)
        status = gguf_read_u32(reader, "the version", &version);
    if (status == TN_OK)
        status = check_version(reader, version);
    if (status == TN_OK)
        status = gguf_read_u64(reader, "the tensor count", &tensors);
    if (status == TN_OK)
        status = gguf_read_u64(reader, "the key count", &keys);
    if (status == TN_OK)
        status = check_count(reader, "tensor", tensors, GGUF_TENSOR_BYTES_MIN, CHECKPOINT_TENSORS_MAX);
    if (status == TN_OK)
        status = check_count(reader, "key", keys, GGUF_KEY_BYTES_MIN, GGUF_KEYS_MAX);
    if (status == TN_OK)
        *ret_header = (gguf_header){(uint32_t)tensors, (uint32_t)keys};
    return status;
}

static tn_status read_keys(gguf_reader *reader, checkpoint *view)
{
    for (uint32_t i = 0; i < view->meta_capacity; i++) {
        meta_entry *entry = &view->metas[i];
        const uint8_t *name;
        uint64_t n_name;

        reader->part = i ? "metadata after key" : "metadata";
        reader->name = i ? view->metas[i - 1].key : "";
        tn_status status = gguf_read_string(reader, "a key", &name, &n_name);
        if (status == TN_OK)
            status = checkpoint_copy_name(view, "a metadata key", name, n_name, &entry->key, reader->err);
        if (status != TN_OK)
            return status;
        view->meta_count = i + 1;
        entry->value.struct_size = sizeof entry->value;
        reader->part = "key";
        reader->name = entry->key;
        status = gguf_read_value(reader, entry);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* general.alignment must be the unsigned 32-bit kind of value: other readers would take another as absent, and so see
 * other tensor data than we do. */
static tn_status read_alignment(gguf_reader *reader, const checkpoint *view, uint64_t *ret_alignment)
{
    *ret_alignment = GGUF_ALIGNMENT;
    for (uint32_t i = 0; i < view->meta_count; i++) {
        const meta_entry *entry = &view->metas[i];
        if (strcmp(entry->key, "general.alignment") != 0)
            continue;
        uint64_t alignment = entry->value.u;
        reader->part = "key";
        reader->name = entry->key;
        if (entry->value.kind != TN_META_UINT || entry->scalar_width != 4)
            return gguf_refuse(reader, "its value is not of type uint32");
        if (alignment < GGUF_ALIGNMENT_MIN || alignment > GGUF_ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
            return gguf_refuse(reader, "%" PRIu64 " is not a power of two from %d to %d", alignment, GGUF_ALIGNMENT_MIN,
                               GGUF_ALIGNMENT_MAX);
        *ret_alignment = alignment;
    }
    return TN_OK;
}

/* A model split over several files names its parts in each. Half a model would fail later, and less clearly. */
static tn_status refuse_split(const gguf_reader *reader, const checkpoint *view)
{
    for (uint32_t i = 0; i < view->meta_count; i++) {
        const meta_entry *entry = &view->metas[i];
        if (strcmp(entry->key, "split.count") == 0 && entry->value.kind == TN_META_UINT && entry->value.u > 1)
            return tn_fail(reader->err, TN_E_UNSUPPORTED,
                           "%s: this is one of %" PRIu64 " parts of a split model; join them with gguf-split --merge",
                           reader->path, entry->value.u);
    }
    return TN_OK;
}

static tn_status read_dims(gguf_reader *reader, tn_tensor_src *tensor)
{
    tn_status status = gguf_read_u32(reader, "the number of dimensions", &tensor->rank);
    if (status != TN_OK)
        return status;
    if (tensor->rank < 1 || tensor->rank > 4)
        return gguf_refuse(reader, "it has %u dimensions; 1 to 4 are allowed", tensor->rank);
    for (uint32_t i = 0; i < 4; i++)
        tensor->dim[i] = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        uint64_t dim;
        status = gguf_read_u64(reader, "a dimension", &dim);
        if (status != TN_OK)
            return status;
        if (dim == 0 || dim > INT64_MAX)
            return gguf_refuse(reader, "dimension %u is %" PRIu64, i, dim);
        tensor->dim[tensor->rank - 1 - i] = (int64_t)dim;
    }
    return TN_OK;
}

/* Reads one description. The tensor's offset from the start of the data goes to *ret_offset. */
static tn_status read_tensor(gguf_reader *reader, tn_tensor_src *tensor, uint64_t alignment, uint64_t *ret_offset)
{
    uint32_t type;
    const char *reason;
    tn_status status = read_dims(reader, tensor);
    if (status == TN_OK)
        status = gguf_read_u32(reader, "the type", &type);
    if (status == TN_OK)
        status = gguf_read_u64(reader, "the offset", ret_offset);
    if (status != TN_OK)
        return status;

    const dtype_info *info = type < UINT32_MAX - TN_DTYPE_GGUF ? dtype_find(TN_DTYPE_GGUF + type) : NULL;
    if (!info)
        return tn_fail(reader->err, TN_E_UNSUPPORTED, "%s: tensor '%s' has GGUF type number %u, which is not known",
                       reader->path, tensor->name, type);
    tensor->dtype = info->dtype;
    if (!dtype_tensor_bytes(info, tensor->rank, tensor->dim, &tensor->bytes, &reason))
        return gguf_refuse(reader, "%s (type %s)", reason, info->name);
    if (*ret_offset % alignment != 0)
        return gguf_refuse(reader, "offset %" PRIu64 " is not a multiple of the alignment %" PRIu64, *ret_offset,
                           alignment);
    return TN_OK;
}

static tn_status read_tensors(gguf_reader *reader, checkpoint *view, uint64_t alignment, uint64_t *ret_offsets)
{
    for (uint32_t i = 0; i < view->tensor_capacity; i++) {
        tn_tensor_src *tensor = &view->tensors[i];
        const uint8_t *name;
        uint64_t n_name;
        char *copy;

        reader->part = i ? "tensor list after" : "tensor list";
        reader->name = i ? view->tensors[i - 1].name : "";
        tn_status status = gguf_read_string(reader, "a tensor name", &name, &n_name);
        if (status == TN_OK)
            status = checkpoint_copy_name(view, "a tensor name", name, n_name, &copy, reader->err);
        if (status != TN_OK)
            return status;
        tensor->name = copy;
        tensor->struct_size = sizeof *tensor;
        view->tensor_count = i + 1;
        reader->part = "tensor";
        reader->name = copy;
        status = read_tensor(reader, tensor, alignment, &ret_offsets[i]);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* A tensor's place in the data, for sorting. */
typedef struct extent {
    uint64_t offset;
    uint32_t tensor;
} extent;

static int compare_extents(const void *left, const void *right)
{
    const extent *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Walks the tensors in file order: none may overlap another or end past the file. Gaps are harmless and allowed. */
static tn_status place_tensors(gguf_reader *reader, checkpoint *view, extent *extents, uint64_t data_at)
{
    uint64_t end = 0, file_end;

    qsort(extents, view->tensor_count, sizeof *extents, compare_extents);
    for (uint32_t i = 0; i < view->tensor_count; i++) {
        tn_tensor_src *tensor = &view->tensors[extents[i].tensor];
        reader->name = tensor->name;
        if (extents[i].offset < end)
            return gguf_refuse(reader, "its bytes overlap those of tensor '%s'",
                               view->tensors[extents[i - 1].tensor].name);
        if (!size_add(extents[i].offset, tensor->bytes, &end) || !size_add(data_at, end, &file_end))
            return gguf_refuse(reader, "offset %" PRIu64 " is impossible", extents[i].offset);
        if (file_end > reader->size)
            continue;
        tensor->data = reader->bytes + data_at + extents[i].offset;
    }
    if (view->tensor_count && size_add(data_at, end, &file_end) && file_end > reader->size)
        return tn_fail(reader->err, TN_E_CORRUPT,
                       "%s: the file is cut short: its tensors end at byte %" PRIu64 ", but it has %" PRIu64
                       " bytes (%" PRIu64 " are missing); fetch it again",
                       reader->path, file_end, reader->size, file_end - reader->size);
    return TN_OK;
}

static tn_status read_data_section(gguf_reader *reader, checkpoint *view, uint64_t alignment, const uint64_t *offsets)
{
    uint64_t data_at;
    extent *extents = malloc(sizeof *extents * (view->tensor_count + (size_t)1));
    if (!extents)
        return tn_fail(reader->err, TN_E_MEMORY, "%u tensor extents", view->tensor_count);
    for (uint32_t i = 0; i < view->tensor_count; i++)
        extents[i] = (extent){offsets[i], i};
    reader->part = "tensor";
    TN_ASSERT(size_align(reader->at, alignment, &data_at)); /* a position in a file and 1 MiB fit */
    tn_status status = place_tensors(reader, view, extents, data_at);
    free(extents);
    return status;
}

static tn_status read_body(gguf_reader *reader, checkpoint *view)
{
    uint64_t alignment;
    uint64_t *offsets = calloc(view->tensor_capacity + (size_t)1, sizeof *offsets);
    if (!offsets)
        return tn_fail(reader->err, TN_E_MEMORY, "%u tensor offsets", view->tensor_capacity);
    tn_status status = read_keys(reader, view);
    if (status == TN_OK)
        status = refuse_split(reader, view);
    if (status == TN_OK)
        status = read_alignment(reader, view, &alignment);
    if (status == TN_OK)
        status = read_tensors(reader, view, alignment, offsets);
    if (status == TN_OK)
        status = checkpoint_finish(view, reader->err); /* duplicates before overlaps: the better message */
    if (status == TN_OK)
        status = read_data_section(reader, view, alignment, offsets);
    free(offsets);
    return status;
}

/* Takes the map, also on failure. */
static tn_status open_map(const char *path, file_map map, checkpoint **ret_checkpoint, tn_error *err)
{
    gguf_reader reader = {.path = path, .bytes = map.bytes, .size = map.size, .part = "header", .name = "", .err = err};
    gguf_header header = {0};
    checkpoint *opened = NULL;

    tn_status status = read_header(&reader, &header);
    if (status == TN_OK)
        status = checkpoint_create("gguf", path, 1, header.tensor_count, header.key_count, &opened, err);
    if (status != TN_OK) {
        file_map_close(&map);
        return status;
    }
    opened->maps[opened->map_count++] = map;
    status = read_body(&reader, opened);
    if (status != TN_OK) {
        checkpoint_close(opened);
        return status;
    }
    *ret_checkpoint = opened;
    return TN_OK;
}

tn_status gguf_open_memory(const char *path, const void *bytes, uint64_t size, checkpoint **ret_checkpoint,
                           tn_error *err)
{
    return open_map(path, file_map_borrow(bytes, size), ret_checkpoint, err);
}

tn_status gguf_open(const char *path, checkpoint **ret_checkpoint, tn_error *err)
{
    file_map map;
    tn_status status = file_map_open(path, &map, err);
    return status == TN_OK ? open_map(path, map, ret_checkpoint, err) : status;
}
