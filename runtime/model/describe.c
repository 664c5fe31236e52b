/* runtime/model/describe.c: prints a checkpoint. Both forms quote strings as JSON does; invalid UTF-8 shows as U+FFFD.
 */
#include "model/describe.h"

#include "model/dtype.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TEXT_STRING_BYTES = 100, JSON_STRING_BYTES = 1 << 16, ARRAY_ELEMENTS = 8 };

static void print_codepoint(FILE *to, uint32_t codepoint)
{
    char bytes[4];

    if (codepoint == '"' || codepoint == '\\')
        fprintf(to, "\\%c", (char)codepoint);
    else if (codepoint == '\n')
        fputs("\\n", to);
    else if (codepoint < 0x20 || (codepoint >= 0x7f && codepoint < 0xa0)) /* both ranges of control characters */
        fprintf(to, "\\u%04x", codepoint);
    else
        fwrite(bytes, 1, utf8_encode(codepoint, bytes), to);
}

/* Quotes the first `limit` bytes or so; returns how many of n_bytes were shown. */
static uint64_t print_quoted(FILE *to, const char *bytes, uint64_t n_bytes, uint64_t limit)
{
    uint64_t at = 0;

    fputc('"', to);
    while (at < n_bytes && at < limit) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(bytes + at, n_bytes - at, &codepoint, &valid);
        print_codepoint(to, codepoint);
    }
    fputc('"', to);
    return at;
}

static void print_string(FILE *to, const tn_meta *meta, bool json)
{
    if (json && meta->count > JSON_STRING_BYTES) {
        fprintf(to, "{\"bytes\": %" PRIu64 ", \"start\": ", meta->count);
        print_quoted(to, meta->string, meta->count, TEXT_STRING_BYTES);
        fputc('}', to);
        return;
    }
    uint64_t shown = print_quoted(to, meta->string, meta->count, json ? JSON_STRING_BYTES : TEXT_STRING_BYTES);
    if (shown < meta->count)
        fprintf(to, "... (%" PRIu64 " bytes)", meta->count);
}

/* The fewest digits that read back as the same number; as float32 if it came from one. JSON has no word for NaN. */
static void print_float(FILE *to, double value, bool json)
{
    char text[64];
    bool single = (double)(float)value == value;

    if (!isfinite(value)) {
        fputs(json ? "null" : isnan(value) ? "nan" : value > 0 ? "inf" : "-inf", to);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    fputs(text, to);
}

static void print_scalar(FILE *to, const tn_meta *meta, bool json)
{
    switch (meta->kind) {
    case TN_META_UINT:
        fprintf(to, "%" PRIu64, meta->u);
        break;
    case TN_META_INT:
        fprintf(to, "%" PRId64, meta->i);
        break;
    case TN_META_BOOL:
        fputs(meta->u ? "true" : "false", to);
        break;
    case TN_META_FLOAT:
        print_float(to, meta->f, json);
        break;
    default:
        TN_ASSERT(meta->kind == TN_META_STRING);
        print_string(to, meta, json);
    }
}

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"?", "uint", "int", "float", "bool", "string", "array"};
    return kind <= TN_META_ARRAY ? names[kind] : "?";
}

static void print_value(FILE *to, const tn_source *source, const char *key, bool json)
{
    tn_meta meta = {.struct_size = sizeof meta}, element = {.struct_size = sizeof element};

    TN_ASSERT(source->meta(source, key, &meta) == TN_OK);
    if (meta.kind != TN_META_ARRAY) {
        print_scalar(to, &meta, json);
        return;
    }
    if (json)
        fprintf(to, "{\"element\": \"%s\", \"count\": %" PRIu64 ", \"first\": [", kind_name(meta.element), meta.count);
    else
        fprintf(to, "%s[%" PRIu64 "] [", kind_name(meta.element), meta.count);
    for (uint64_t i = 0; i < meta.count && i < ARRAY_ELEMENTS; i++) {
        TN_ASSERT(source->meta_element(source, key, i, &element) == TN_OK);
        fputs(i ? ", " : "", to);
        print_scalar(to, &element, json);
    }
    fputs(!json && meta.count > ARRAY_ELEMENTS ? ", ..." : "", to);
    fputs(json ? "]}" : "]", to);
}

static int key_width(const tn_source *source)
{
    size_t width = 0;
    for (uint32_t i = 0; source->meta_key(source, i); i++) {
        size_t length = strlen(source->meta_key(source, i));
        width = length > width && length <= 48 ? length : width;
    }
    return (int)width;
}

static void print_shape(FILE *to, const tn_tensor_src *tensor)
{
    fputc('[', to);
    for (uint32_t i = 0; i < tensor->rank; i++)
        fprintf(to, "%s%" PRId64, i ? ", " : "", tensor->dim[i]);
    fputc(']', to);
}

static void describe_as_text(const checkpoint *view, FILE *to)
{
    const tn_source *source = checkpoint_source(view);
    int width = key_width(source);

    fprintf(to, "%s: %s, %u tensors, %" PRIu64 " bytes of tensor data\n\n", source->path, source->container,
            source->tensor_count, checkpoint_tensor_bytes(view));
    for (uint32_t i = 0; source->meta_key(source, i); i++) {
        fprintf(to, "%-*s  ", width, source->meta_key(source, i));
        print_value(to, source, source->meta_key(source, i), false);
        fputc('\n', to);
    }
    fputc('\n', to);
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        TN_ASSERT(source->tensor_at(source, i, &tensor) == TN_OK);
        fprintf(to, "%-40s %-7s %12" PRIu64 "  ", tensor.name, dtype_find(tensor.dtype)->name, tensor.bytes);
        print_shape(to, &tensor);
        fputc('\n', to);
    }
}

static void describe_as_json(const checkpoint *view, FILE *to)
{
    const tn_source *source = checkpoint_source(view);

    fputs("{\"path\": ", to);
    print_quoted(to, source->path, strlen(source->path), UINT64_MAX);
    fprintf(to, ", \"container\": \"%s\", \"tensor_bytes\": %" PRIu64 ",\n\"metadata\": {", source->container,
            checkpoint_tensor_bytes(view));
    for (uint32_t i = 0; source->meta_key(source, i); i++) {
        const char *key = source->meta_key(source, i);
        fputs(i ? ",\n" : "\n", to);
        print_quoted(to, key, strlen(key), UINT64_MAX);
        fputs(": ", to);
        print_value(to, source, key, true);
    }
    fputs("},\n\"tensors\": [", to);
    for (uint32_t i = 0; i < source->tensor_count; i++) {
        tn_tensor_src tensor = {.struct_size = sizeof tensor};
        TN_ASSERT(source->tensor_at(source, i, &tensor) == TN_OK);
        fputs(i ? ",\n{\"name\": " : "\n{\"name\": ", to);
        print_quoted(to, tensor.name, strlen(tensor.name), UINT64_MAX);
        fprintf(to, ", \"type\": \"%s\", \"shape\": ", dtype_find(tensor.dtype)->name);
        print_shape(to, &tensor);
        fprintf(to, ", \"bytes\": %" PRIu64 "}", tensor.bytes);
    }
    fputs("]}\n", to);
}

void checkpoint_describe(const checkpoint *view, FILE *to, bool json)
{
    if (json)
        describe_as_json(view, to);
    else
        describe_as_text(view, to);
}
