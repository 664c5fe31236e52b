/* runtime/chat/jinja_state.c: the arena, the limits and the error jump of one compilation or rendering.
 *
 * The arena is a list of chunks of at least 32 KiB; a larger request gets its own chunk. Text buffers grow by doubling
 * outside of it, because a grown arena block would leave its old copies behind.
 */
#include "jinja_state.h"

#include "base/size.h"
#include "base/utf8.h"

#include <string.h>

enum { CHUNK_BYTES = 32 * 1024, BUFFER_BYTES_MIN = 256, ALIGNMENT = 16 };

struct jinja_chunk {
    jinja_chunk *next;
    uint64_t used, capacity;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

const jinja_limits jinja_limits_default = {
    .steps = 20u * 1000 * 1000,
    .memory_bytes = 64u << 20,
    .text_bytes = 16u << 20,
    .depth = 1000,
    .range_items = 100000,
};

void jinja_state_init(jinja_state *state, const jinja_limits *limits, tn_error *err)
{
    memset(state, 0, sizeof *state);
    state->limits = *limits;
    state->err = err;
}

void jinja_state_finish(jinja_state *state)
{
    while (state->buffers)
        jinja_buffer_close(state, state->buffers);
    while (state->chunks) {
        jinja_chunk *next = state->chunks->next;
        free(state->chunks);
        state->chunks = next;
    }
}

tn_status jinja_state_run(jinja_state *state, void (*work)(jinja_state *state, void *argument), void *argument)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* numbers and dates print alike everywhere */
    if (plain == (locale_t)0)
        return tn_fail(state->err, TN_E_MEMORY, "chat template: out of memory");
    state->locale_before = uselocale(plain);
    state->status = TN_OK;
    if (setjmp(state->escape) == 0)
        work(state, argument);
    freelocale(uselocale(state->locale_before));
    return state->status;
}

_Noreturn void jinja_fail(jinja_state *state, const char *format, ...)
{
    char message[sizeof state->err->msg];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    utf8_repair(message); /* names are quoted up to some byte, which may lie within a character */

    if (state->line)
        tn_fail(state->err, TN_E_ARGUMENT, "chat template, line %u: %s", state->line, message);
    else
        tn_fail(state->err, TN_E_ARGUMENT, "chat template: %s", message);
    state->status = TN_E_ARGUMENT;
    longjmp(state->escape, 1);
}

static _Noreturn void memory_fail(jinja_state *state)
{
    state->status = tn_fail(state->err, TN_E_MEMORY, "chat template: out of memory");
    longjmp(state->escape, 1);
}

void jinja_work(jinja_state *state, uint64_t units)
{
    if (units > state->limits.steps - state->steps)
        jinja_fail(state, "more than %llu steps; the template or the request is too large",
                   (unsigned long long)state->limits.steps);
    state->steps += units;
}

void jinja_depth_enter(jinja_state *state)
{
    if (state->depth >= state->limits.depth)
        jinja_fail(state, "nested deeper than %u levels", state->limits.depth);
    state->depth++;
}

static void memory_charge(jinja_state *state, uint64_t bytes)
{
    if (bytes > state->limits.memory_bytes - state->memory_bytes)
        jinja_fail(state, "needs more than %llu bytes of memory", (unsigned long long)state->limits.memory_bytes);
    state->memory_bytes += bytes;
}

static void chunk_add(jinja_state *state, uint64_t bytes)
{
    uint64_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
    memory_charge(state, capacity);
    jinja_chunk *chunk = malloc(sizeof *chunk + capacity);
    if (!chunk)
        memory_fail(state);
    chunk->used = 0;
    chunk->capacity = capacity;
    chunk->next = state->chunks;
    state->chunks = chunk;
}

void *jinja_alloc(jinja_state *state, uint64_t count, uint64_t size)
{
    uint64_t bytes;
    if (!size_mul(count, size, &bytes) || !size_align(bytes, ALIGNMENT, &bytes))
        jinja_fail(state, "needs more memory than there can be");
    jinja_work(state, 1 + bytes / 256);
    jinja_chunk *chunk = state->chunks;
    if (!chunk || chunk->capacity - chunk->used < bytes) {
        chunk_add(state, bytes);
        chunk = state->chunks;
        jinja_chunk *previous = chunk->next;
        if (bytes > CHUNK_BYTES / 4 && previous) { /* keep filling the older, smaller chunk */
            chunk->next = previous->next;
            previous->next = chunk;
            state->chunks = previous;
        }
    }
    void *block = chunk->bytes + chunk->used;
    chunk->used += bytes;
    memset(block, 0, bytes);
    return block;
}

jinja_buffer *jinja_buffer_open(jinja_state *state)
{
    memory_charge(state, sizeof(jinja_buffer));
    jinja_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        memory_fail(state);
    buffer->next = state->buffers;
    if (buffer->next)
        buffer->next->previous = buffer;
    state->buffers = buffer;
    return buffer;
}

void jinja_buffer_close(jinja_state *state, jinja_buffer *buffer)
{
    if (buffer->next)
        buffer->next->previous = buffer->previous;
    if (buffer->previous)
        buffer->previous->next = buffer->next;
    else
        state->buffers = buffer->next;
    state->memory_bytes -= buffer->capacity + sizeof *buffer;
    free(buffer->bytes);
    free(buffer);
}

/* Makes room for count more bytes and one terminator. */
static void buffer_reserve(jinja_state *state, jinja_buffer *buffer, uint64_t count)
{
    if (count > state->limits.text_bytes - buffer->count)
        jinja_fail(state, "a text of more than %llu bytes", (unsigned long long)state->limits.text_bytes);
    uint64_t needed = buffer->count + count + 1;
    if (needed <= buffer->capacity)
        return;
    uint64_t capacity = buffer->capacity * 2;
    if (capacity < needed)
        capacity = needed > BUFFER_BYTES_MIN ? needed : BUFFER_BYTES_MIN;
    memory_charge(state, capacity - buffer->capacity);
    char *bytes = realloc(buffer->bytes, capacity);
    if (!bytes) {
        state->memory_bytes -= capacity - buffer->capacity;
        memory_fail(state);
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
}

void jinja_buffer_add(jinja_state *state, jinja_buffer *buffer, const char *bytes, uint64_t count)
{
    if (count == 0)
        return;
    buffer_reserve(state, buffer, count);
    jinja_work(state, count / 64);
    memcpy(buffer->bytes + buffer->count, bytes, count);
    buffer->count += count;
}

void jinja_buffer_add_text(jinja_state *state, jinja_buffer *buffer, const char *text)
{
    jinja_buffer_add(state, buffer, text, strlen(text));
}

void jinja_buffer_add_char(jinja_state *state, jinja_buffer *buffer, char byte)
{
    jinja_buffer_add(state, buffer, &byte, 1);
}

void jinja_buffer_add_codepoint(jinja_state *state, jinja_buffer *buffer, uint32_t codepoint)
{
    char bytes[4];
    jinja_buffer_add(state, buffer, bytes, utf8_encode(codepoint, bytes));
}

void jinja_buffer_add_repeated(jinja_state *state, jinja_buffer *buffer, char byte, uint64_t count)
{
    if (count == 0)
        return;
    buffer_reserve(state, buffer, count);
    jinja_work(state, count / 64);
    memset(buffer->bytes + buffer->count, byte, count);
    buffer->count += count;
}

void jinja_buffer_add_format(jinja_state *state, jinja_buffer *buffer, const char *format, ...)
{
    char text[400]; /* the widest: %f of the largest double */
    va_list args;
    va_start(args, format);
    int count = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    TN_ASSERT(count >= 0 && (size_t)count < sizeof text);
    jinja_buffer_add(state, buffer, text, (uint64_t)count);
}
