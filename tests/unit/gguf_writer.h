/* tests/unit/gguf_writer.h: writes GGUF bytes, well-formed or not, exactly as told. */
#ifndef TESTS_GGUF_WRITER_H
#define TESTS_GGUF_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Value types of the format. */
enum {
    WRITE_U8 = 0,
    WRITE_I8 = 1,
    WRITE_U16 = 2,
    WRITE_I16 = 3,
    WRITE_U32 = 4,
    WRITE_I32 = 5,
    WRITE_F32 = 6,
    WRITE_BOOL = 7,
    WRITE_STRING = 8,
    WRITE_ARRAY = 9,
    WRITE_U64 = 10,
    WRITE_I64 = 11,
    WRITE_F64 = 12
};

typedef struct byte_writer {
    uint8_t *data; /* owned; free it */
    size_t size, capacity;
} byte_writer;

static inline void write_bytes(byte_writer *w, const void *bytes, size_t n)
{
    while (w->size + n > w->capacity) {
        w->capacity = w->capacity ? 2 * w->capacity : 4096;
        w->data = realloc(w->data, w->capacity);
        if (!w->data)
            abort();
    }
    if (n)
        memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

static inline void write_u8(byte_writer *w, uint8_t value)
{
    write_bytes(w, &value, sizeof value);
}

static inline void write_u32(byte_writer *w, uint32_t value)
{
    write_bytes(w, &value, sizeof value);
}

static inline void write_u64(byte_writer *w, uint64_t value)
{
    write_bytes(w, &value, sizeof value);
}

static inline void write_string(byte_writer *w, const char *text)
{
    write_u64(w, strlen(text));
    write_bytes(w, text, strlen(text));
}

static inline void write_zeros(byte_writer *w, size_t n)
{
    while (n--)
        write_u8(w, 0);
}

static inline void write_padding(byte_writer *w, size_t alignment)
{
    while (w->size % alignment)
        write_u8(w, 0);
}

static inline void write_header(byte_writer *w, uint32_t version, uint64_t tensors, uint64_t keys)
{
    write_bytes(w, "GGUF", 4);
    write_u32(w, version);
    write_u64(w, tensors);
    write_u64(w, keys);
}

/* A key and its value's type; the value follows. */
static inline void write_key(byte_writer *w, const char *key, uint32_t type)
{
    write_string(w, key);
    write_u32(w, type);
}

static inline void write_key_u32(byte_writer *w, const char *key, uint32_t value)
{
    write_key(w, key, WRITE_U32);
    write_u32(w, value);
}

/* An array's element type and length; the elements follow. */
static inline void write_key_array(byte_writer *w, const char *key, uint32_t element, uint64_t count)
{
    write_key(w, key, WRITE_ARRAY);
    write_u32(w, element);
    write_u64(w, count);
}

/* dims in the file's order, fastest first. */
static inline void write_tensor(byte_writer *w, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                                uint64_t offset)
{
    write_string(w, name);
    write_u32(w, n_dims);
    for (uint32_t i = 0; i < n_dims; i++)
        write_u64(w, dims[i]);
    write_u32(w, type);
    write_u64(w, offset);
}

#endif
