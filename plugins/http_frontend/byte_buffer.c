/* byte_buffer.c: doubling growth, so that appending costs O(1) amortised. */
#include "byte_buffer.h"

#include "base/size.h"
#include "tenon/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 256 };

char *byte_buffer_reserve(byte_buffer *buffer, size_t n)
{
    uint64_t needed;
    if (buffer->failed || !size_add(buffer->count, n, &needed)) {
        buffer->failed = true;
        return NULL;
    }
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity ? buffer->capacity : CAPACITY_MIN;
        while (capacity < needed)
            capacity = capacity > SIZE_MAX / 2 ? (size_t)needed : capacity * 2;
        char *bytes = realloc(buffer->bytes, capacity);
        if (!bytes) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->count;
}

void byte_buffer_append(byte_buffer *buffer, const void *bytes, size_t n)
{
    if (n == 0)
        return;
    char *room = byte_buffer_reserve(buffer, n);
    if (room) {
        memcpy(room, bytes, n);
        buffer->count += n;
    }
}

void byte_buffer_text(byte_buffer *buffer, const char *text)
{
    byte_buffer_append(buffer, text, strlen(text));
}

void byte_buffer_print(byte_buffer *buffer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    TN_ASSERT(n >= 0);

    char *room = byte_buffer_reserve(buffer, (size_t)n + 1);
    if (!room)
        return;
    va_start(args, format);
    vsnprintf(room, (size_t)n + 1, format, args);
    va_end(args);
    buffer->count += (size_t)n;
}

void byte_buffer_join(byte_buffer *buffer, const byte_buffer *from)
{
    byte_buffer_append(buffer, from->bytes, from->count);
    buffer->failed |= from->failed;
}

void byte_buffer_clear(byte_buffer *buffer)
{
    buffer->count = 0;
    buffer->failed = false;
}

void byte_buffer_finish(byte_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (byte_buffer){0};
}
