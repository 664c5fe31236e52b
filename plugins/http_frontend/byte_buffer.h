/* byte_buffer.h: growing bytes, reused from answer to answer. A failed allocation is remembered, not reported at each
 * call: writers append freely and whoever sends the bytes checks `failed` once. */
#ifndef HTTP_BYTE_BUFFER_H
#define HTTP_BYTE_BUFFER_H

#include "tenon/abi.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct byte_buffer {
    char *bytes; /* owned, malloc'ed; NULL while empty */
    size_t count, capacity;
    bool failed; /* memory ran out: the content is incomplete and stays so until clear */
} byte_buffer;

void byte_buffer_append(byte_buffer *buffer, const void *bytes, size_t n);
void byte_buffer_text(byte_buffer *buffer, const char *text);
void byte_buffer_print(byte_buffer *buffer, const char *format, ...) TN_PRINTF(2, 3);
/* Room for n more bytes after count, which the caller then raises; NULL when memory ran out. */
char *byte_buffer_reserve(byte_buffer *buffer, size_t n);
/* Appends all of `from`, and its failure. */
void byte_buffer_join(byte_buffer *buffer, const byte_buffer *from);
void byte_buffer_clear(byte_buffer *buffer); /* keeps the memory */
void byte_buffer_finish(byte_buffer *buffer);

#endif
