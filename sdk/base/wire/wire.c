/* wire.c: see wire.h. Numbers are put together byte by byte; compilers make one load or store of it. */
#include "base/wire/wire.h"

#include <string.h>

enum { LENGTH_BYTES = 4, CAPACITY_MIN = 1024 };

/* ---- buffers ---- */

tn_status wire_buffer_reserve(wire_buffer *buffer, size_t n, tn_error *err)
{
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
    if (buffer->capacity - buffer->end >= n)
        return TN_OK;
    if (buffer->begin) {
        memmove(buffer->bytes, buffer->bytes + buffer->begin, buffer->end - buffer->begin);
        buffer->end -= buffer->begin;
        buffer->begin = 0;
    }
    if (buffer->capacity - buffer->end >= n)
        return TN_OK;
    size_t capacity = buffer->capacity ? buffer->capacity : CAPACITY_MIN;
    while (capacity - buffer->end < n) {
        if (capacity > SIZE_MAX / 2)
            return tn_fail(err, TN_E_MEMORY, "out of memory for %zu bytes of frames", n);
        capacity *= 2;
    }
    uint8_t *grown = realloc(buffer->bytes, capacity);
    if (!grown)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %zu bytes of frames", capacity);
    buffer->bytes = grown;
    buffer->capacity = capacity;
    return TN_OK;
}

tn_status wire_buffer_append(wire_buffer *buffer, const void *bytes, size_t n, tn_error *err)
{
    tn_status status = wire_buffer_reserve(buffer, n, err);
    if (status == TN_OK && n > 0) {
        memcpy(buffer->bytes + buffer->end, bytes, n);
        buffer->end += n;
    }
    return status;
}

void wire_buffer_finish(wire_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (wire_buffer){0};
}

tn_status wire_buffer_take_frame(wire_buffer *in, size_t limit, const uint8_t **ret_frame, size_t *ret_n, tn_error *err)
{
    size_t there = wire_buffer_count(in);
    if (there < LENGTH_BYTES)
        return TN_E_AGAIN;
    const uint8_t *at = in->bytes + in->begin;
    size_t n = wire_load32(at);
    if (n == 0 || n > limit)
        return tn_fail(err, TN_E_CORRUPT, "a frame of %zu bytes where 1 to %zu are allowed: the other side is no Tenon",
                       n, limit);
    if (there - LENGTH_BYTES < n)
        return TN_E_AGAIN;
    *ret_frame = at + LENGTH_BYTES;
    *ret_n = n;
    in->begin += LENGTH_BYTES + n;
    return TN_OK;
}

/* ---- reading ---- */

uint32_t wire_load32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t wire_load64(const uint8_t *at)
{
    return (uint64_t)wire_load32(at) | (uint64_t)wire_load32(at + 4) << 32;
}

float wire_load_float(const uint8_t *at)
{
    uint32_t bits = wire_load32(at);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

wire_reader wire_reader_of(const uint8_t *frame, size_t n)
{
    TN_ASSERT(n >= 1);
    return (wire_reader){.at = frame + 1, .end = frame + n};
}

/* The next n bytes, NULL when there are fewer. */
static const uint8_t *take(wire_reader *reader, uint64_t n)
{
    const uint8_t *at = reader->at;
    if (reader->broken || (uint64_t)(reader->end - at) < n) {
        reader->broken = true;
        return NULL;
    }
    reader->at += n;
    return at;
}

uint32_t wire_get32(wire_reader *reader)
{
    const uint8_t *at = take(reader, 4);
    return at ? wire_load32(at) : 0;
}

uint64_t wire_get64(wire_reader *reader)
{
    const uint8_t *at = take(reader, 8);
    return at ? wire_load64(at) : 0;
}

float wire_get_float(wire_reader *reader)
{
    const uint8_t *at = take(reader, 4);
    return at ? wire_load_float(at) : 0;
}

double wire_get_double(wire_reader *reader)
{
    uint64_t bits = wire_get64(reader);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

wire_blob wire_get_blob(wire_reader *reader, uint32_t max)
{
    uint32_t n = wire_get32(reader);
    if (n > max)
        reader->broken = true;
    const uint8_t *at = take(reader, n);
    return at ? (wire_blob){(const char *)at, n} : (wire_blob){"", 0};
}

const uint8_t *wire_get_array(wire_reader *reader, uint64_t count, size_t size)
{
    if (count > SIZE_MAX / size)
        reader->broken = true;
    return count > 0 ? take(reader, count * size) : NULL;
}

bool wire_reader_done(const wire_reader *reader)
{
    return !reader->broken && reader->at == reader->end;
}

/* ---- writing ---- */

wire_writer wire_begin_part(wire_buffer *out)
{
    return (wire_writer){.out = out, .start = wire_buffer_count(out)};
}

wire_writer wire_begin(wire_buffer *out, uint32_t kind)
{
    wire_writer writer = wire_begin_part(out);
    const uint8_t first = (uint8_t)kind;
    wire_put32(&writer, 0); /* the length, known at the end */
    wire_put_bytes(&writer, &first, 1);
    return writer;
}

void wire_put_bytes(wire_writer *writer, const void *bytes, size_t n)
{
    if (!writer->failed && wire_buffer_append(writer->out, bytes, n, NULL) != TN_OK)
        writer->failed = true;
}

static void store32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void wire_put32(wire_writer *writer, uint32_t value)
{
    uint8_t bytes[4];
    store32(bytes, value);
    wire_put_bytes(writer, bytes, sizeof bytes);
}

void wire_put64(wire_writer *writer, uint64_t value)
{
    uint8_t bytes[8];
    store32(bytes, (uint32_t)value);
    store32(bytes + 4, (uint32_t)(value >> 32));
    wire_put_bytes(writer, bytes, sizeof bytes);
}

void wire_put_float(wire_writer *writer, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_put32(writer, bits);
}

void wire_put_double(wire_writer *writer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    wire_put64(writer, bits);
}

void wire_put_blob(wire_writer *writer, const void *bytes, size_t n)
{
    TN_ASSERT(n <= UINT32_MAX);
    wire_put32(writer, (uint32_t)n);
    wire_put_bytes(writer, bytes, n);
}

void wire_put_text(wire_writer *writer, const char *text)
{
    wire_put_blob(writer, text ? text : "", text ? strlen(text) : 0);
}

void wire_put_ints(wire_writer *writer, const int32_t *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        wire_put32(writer, (uint32_t)values[i]);
}

tn_status wire_end_part(wire_writer *writer, tn_error *err)
{
    if (!writer->failed)
        return TN_OK;
    writer->out->end = writer->out->begin + writer->start;
    return tn_fail(err, TN_E_MEMORY, "out of memory for a frame");
}

tn_status wire_end(wire_writer *writer, tn_error *err)
{
    tn_status status = wire_end_part(writer, err);
    if (status != TN_OK)
        return status;
    uint8_t *at = writer->out->bytes + writer->out->begin + writer->start;
    size_t n = wire_buffer_count(writer->out) - writer->start - LENGTH_BYTES;
    TN_ASSERT(n <= UINT32_MAX);
    store32(at, (uint32_t)n);
    return TN_OK;
}
