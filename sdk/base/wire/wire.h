/* sdk/base/wire/wire.h: frames over a stream of bytes: a 32-bit length, then that many bytes, of which the first is the
 * kind. Numbers are little-endian; a blob is a 32-bit length and its bytes.
 *
 * What is read is foreign: a reader that runs out of bytes breaks, gives zeros from then on, and says so at the end, so
 * that a parser is a list of reads and one question. What is written is ours: a writer that runs out of memory leaves
 * the buffer as it was before the frame.
 */
#ifndef BASE_WIRE_WIRE_H
#define BASE_WIRE_WIRE_H

#include "tenon/error.h"

#include <stdbool.h>

/* Bytes that grow at the end and are taken from the front. Zeroed: empty. */
typedef struct wire_buffer {
    uint8_t *bytes; /* owned */
    size_t begin, end, capacity;
} wire_buffer;

static inline size_t wire_buffer_count(const wire_buffer *buffer)
{
    return buffer->end - buffer->begin;
}
/* Room for n more bytes at bytes + end. TN_E_MEMORY. */
tn_status wire_buffer_reserve(wire_buffer *buffer, size_t n, tn_error *err);
tn_status wire_buffer_append(wire_buffer *buffer, const void *bytes, size_t n, tn_error *err);
void wire_buffer_finish(wire_buffer *buffer);
/* Takes one whole frame, at most limit bytes after its length. TN_OK: *ret_frame is borrowed until the buffer changes;
 * TN_E_AGAIN: not all of it is there yet; TN_E_CORRUPT: empty, or longer than limit. */
tn_status wire_buffer_take_frame(wire_buffer *in, size_t limit, const uint8_t **ret_frame, size_t *ret_n,
                                 tn_error *err);

typedef struct wire_blob {
    const char *bytes; /* not terminated */
    uint32_t n;
} wire_blob;

typedef struct wire_reader {
    const uint8_t *at, *end;
    bool broken;
} wire_reader;

/* Behind the kind. n >= 1. */
wire_reader wire_reader_of(const uint8_t *frame, size_t n);
uint32_t wire_get32(wire_reader *reader);
uint64_t wire_get64(wire_reader *reader);
float wire_get_float(wire_reader *reader);
double wire_get_double(wire_reader *reader);
wire_blob wire_get_blob(wire_reader *reader, uint32_t max);
/* count elements of `size` bytes each as they came; NULL when broken or none. */
const uint8_t *wire_get_array(wire_reader *reader, uint64_t count, size_t size);
/* Everything was there, and nothing is left over. */
bool wire_reader_done(const wire_reader *reader);
uint32_t wire_load32(const uint8_t *at);
uint64_t wire_load64(const uint8_t *at);
float wire_load_float(const uint8_t *at);

/* A frame at the end of a buffer, under way. */
typedef struct wire_writer {
    wire_buffer *out;
    size_t start; /* bytes before it */
    bool failed;
} wire_writer;

wire_writer wire_begin(wire_buffer *out, uint32_t kind);
/* Bytes without length and kind, for a part that is kept. */
wire_writer wire_begin_part(wire_buffer *out);
void wire_put32(wire_writer *writer, uint32_t value);
void wire_put64(wire_writer *writer, uint64_t value);
void wire_put_float(wire_writer *writer, float value);
void wire_put_double(wire_writer *writer, double value);
void wire_put_bytes(wire_writer *writer, const void *bytes, size_t n);
void wire_put_blob(wire_writer *writer, const void *bytes, size_t n); /* n < 2^32 */
void wire_put_text(wire_writer *writer, const char *text);            /* NULL: empty */
void wire_put_ints(wire_writer *writer, const int32_t *values, uint64_t count);
/* TN_E_MEMORY: nothing was written. Asserts that the frame has less than 2^32 bytes. */
tn_status wire_end(wire_writer *writer, tn_error *err);
tn_status wire_end_part(wire_writer *writer, tn_error *err);

#endif
