/* runtime/model/gguf_reader.c: checked little-endian reads, and the metadata values made of them.
 *
 * Source: the GGUF specification (ggml, docs/gguf.md). Strings inside arrays get an index of offsets when the file is
 * opened, so that a token's text is found in constant time; lengths are taken from that index, never read twice.
 */
#include "model/gguf_reader.h"

#include "base/size.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

tn_status gguf_refuse(const gguf_reader *reader, const char *format, ...)
{
    char text[384];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (reader->name[0])
        return tn_fail(reader->err, TN_E_CORRUPT, "%s: %s '%.100s': %s", reader->path, reader->part, reader->name,
                       text);
    return tn_fail(reader->err, TN_E_CORRUPT, "%s: %s: %s", reader->path, reader->part, text);
}

tn_status gguf_read_bytes(gguf_reader *reader, const char *what, uint64_t n_bytes, const uint8_t **ret_bytes)
{
    if (!size_within(reader->at, n_bytes, reader->size))
        return gguf_refuse(reader,
                           "%s of %" PRIu64 " bytes at offset %" PRIu64 " runs past the end of the file (%" PRIu64
                           " bytes); at least %" PRIu64 " bytes are missing",
                           what, n_bytes, reader->at, reader->size, n_bytes - (reader->size - reader->at));
    *ret_bytes = reader->bytes + reader->at;
    reader->at += n_bytes;
    return TN_OK;
}

/* The formats are little-endian, and so is every host we build for. */
static uint64_t load_le(const uint8_t *bytes, uint32_t width)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

tn_status gguf_read_u32(gguf_reader *reader, const char *what, uint32_t *ret_value)
{
    const uint8_t *bytes;
    tn_status status = gguf_read_bytes(reader, what, 4, &bytes);
    if (status == TN_OK)
        *ret_value = (uint32_t)load_le(bytes, 4);
    return status;
}

tn_status gguf_read_u64(gguf_reader *reader, const char *what, uint64_t *ret_value)
{
    const uint8_t *bytes;
    tn_status status = gguf_read_bytes(reader, what, 8, &bytes);
    if (status == TN_OK)
        *ret_value = load_le(bytes, 8);
    return status;
}

tn_status gguf_read_string(gguf_reader *reader, const char *what, const uint8_t **ret_bytes, uint64_t *ret_n_bytes)
{
    uint64_t n_bytes;
    tn_status status = gguf_read_u64(reader, "a string's length", &n_bytes);
    if (status == TN_OK)
        status = gguf_read_bytes(reader, what, n_bytes, ret_bytes);
    if (status == TN_OK)
        *ret_n_bytes = n_bytes;
    return status;
}

/* ---- metadata values ---- */

enum { GGUF_BOOL = 7, GGUF_STRING = 8, GGUF_ARRAY = 9, GGUF_TYPE_COUNT = 13 };

/* Value types in the order of their numbers. width 0: of variable length. */
static const struct {
    uint32_t kind, width;
} value_types[GGUF_TYPE_COUNT] = {
    {TN_META_UINT, 1}, {TN_META_INT, 1},   {TN_META_UINT, 2},  {TN_META_INT, 2},    {TN_META_UINT, 4},
    {TN_META_INT, 4},  {TN_META_FLOAT, 4}, {TN_META_BOOL, 1},  {TN_META_STRING, 0}, {TN_META_ARRAY, 0},
    {TN_META_UINT, 8}, {TN_META_INT, 8},   {TN_META_FLOAT, 8},
};

static void scalar_from_bytes(uint32_t kind, uint32_t width, const uint8_t *bytes, tn_meta *meta)
{
    uint64_t bits = load_le(bytes, width);

    meta->kind = kind;
    meta->count = 1;
    if (kind == TN_META_UINT || kind == TN_META_BOOL) {
        meta->u = bits;
    } else if (kind == TN_META_INT) {
        uint64_t sign = (uint64_t)1 << (8 * width - 1);
        meta->i = (int64_t)((bits ^ sign) - sign);
    } else if (width == 4) {
        float value;
        memcpy(&value, bytes, sizeof value);
        meta->f = value;
    } else {
        memcpy(&meta->f, bytes, sizeof meta->f);
    }
}

static tn_status read_string_array(gguf_reader *reader, meta_entry *entry)
{
    uint64_t count = entry->value.count, start = reader->at;
    tn_status status = TN_OK;

    if (count > GGUF_ARRAY_STRINGS_MAX)
        return gguf_refuse(reader, "an array of %" PRIu64 " strings is longer than the limit of %d", count,
                           GGUF_ARRAY_STRINGS_MAX);
    uint64_t *string_at = malloc((count + 1) * sizeof *string_at);
    if (!string_at)
        return tn_fail(reader->err, TN_E_MEMORY, "index of %" PRIu64 " strings", count);
    entry->string_at = string_at;
    for (uint64_t i = 0; i < count && status == TN_OK; i++) {
        const uint8_t *bytes;
        uint64_t n_bytes;
        string_at[i] = reader->at - start;
        status = gguf_read_string(reader, "a string of the array", &bytes, &n_bytes);
    }
    string_at[count] = reader->at - start;
    return status;
}

static tn_status read_scalar_array(gguf_reader *reader, meta_entry *entry)
{
    const uint8_t *bytes;
    /* The caller has bounded count by the bytes left, so the product fits. */
    tn_status status = gguf_read_bytes(reader, "an array", entry->value.count * entry->scalar_width, &bytes);
    if (status != TN_OK || entry->value.element != TN_META_BOOL)
        return status;
    for (uint64_t i = 0; i < entry->value.count; i++)
        if (bytes[i] > 1)
            return gguf_refuse(reader, "element %" PRIu64 " is %u, which is no boolean", i, bytes[i]);
    return TN_OK;
}

static tn_status read_array(gguf_reader *reader, meta_entry *entry)
{
    uint32_t type;
    uint64_t count, left;
    tn_status status = gguf_read_u32(reader, "an array's element type", &type);
    if (status == TN_OK)
        status = gguf_read_u64(reader, "an array's length", &count);
    if (status != TN_OK)
        return status;
    if (type >= GGUF_TYPE_COUNT)
        return gguf_refuse(reader, "array elements have unknown value type %u", type);
    if (type == GGUF_ARRAY)
        return gguf_refuse(reader, "arrays inside arrays are not supported");

    uint32_t width = value_types[type].width, bytes_min = width ? width : 8;
    left = reader->size - reader->at;
    if (count > left / bytes_min)
        return gguf_refuse(reader,
                           "an array of %" PRIu64
                           " elements of %u bytes or more runs past the end of the file, which has %" PRIu64
                           " bytes left",
                           count, bytes_min, left);
    entry->value.element = value_types[type].kind;
    entry->value.count = count;
    entry->scalar_width = width;
    entry->elements = reader->bytes + reader->at;
    return width ? read_scalar_array(reader, entry) : read_string_array(reader, entry);
}

tn_status gguf_read_value(gguf_reader *reader, meta_entry *entry)
{
    uint32_t type;
    const uint8_t *bytes;
    tn_status status = gguf_read_u32(reader, "a value's type", &type);
    if (status != TN_OK)
        return status;
    if (type >= GGUF_TYPE_COUNT)
        return gguf_refuse(reader, "unknown value type %u", type);

    entry->value.kind = value_types[type].kind;
    entry->scalar_width = value_types[type].width;
    if (type == GGUF_ARRAY)
        return read_array(reader, entry);
    if (type == GGUF_STRING) {
        status = gguf_read_string(reader, "a string", &bytes, &entry->value.count);
        if (status == TN_OK)
            entry->value.string = (const char *)bytes;
        return status;
    }
    status = gguf_read_bytes(reader, "a value", value_types[type].width, &bytes);
    if (status != TN_OK)
        return status;
    if (type == GGUF_BOOL && bytes[0] > 1)
        return gguf_refuse(reader, "%u is no boolean", bytes[0]);
    scalar_from_bytes(value_types[type].kind, value_types[type].width, bytes, &entry->value);
    return TN_OK;
}

void gguf_array_element(const meta_entry *entry, uint64_t index, tn_meta *ret_meta)
{
    TN_ASSERT(entry->value.kind == TN_META_ARRAY);
    TN_ASSERT(index < entry->value.count);
    if (entry->value.element == TN_META_STRING) {
        uint64_t start = entry->string_at[index] + 8;
        ret_meta->kind = TN_META_STRING;
        ret_meta->string = (const char *)entry->elements + start;
        ret_meta->count = entry->string_at[index + 1] - start;
        return;
    }
    scalar_from_bytes(entry->value.element, entry->scalar_width, entry->elements + index * entry->scalar_width,
                      ret_meta);
}
