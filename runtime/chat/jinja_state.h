/* runtime/chat/jinja_state.h: what one compilation or one rendering owns: its memory, its limits, its error.
 *
 * Everything allocated lives until jinja_state_finish, so values never free each other and a failure may leave from any
 * depth: jinja_fail jumps to the one jinja_state_run above it. The jump never leaves this folder.
 */
#ifndef CHAT_JINJA_STATE_H
#define CHAT_JINJA_STATE_H

#include "tenon/error.h"

#include <locale.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Templates come with model files and values with requests; neither may take the server down. */
typedef struct jinja_limits {
    uint64_t steps;        /* evaluated nodes, plus work in proportion to the size of strings and lists touched */
    uint64_t memory_bytes; /* arena and text buffers together */
    uint64_t text_bytes;   /* one string or the output */
    uint32_t depth;        /* nesting of brackets, blocks, calls, values */
    uint32_t range_items;
} jinja_limits;

extern const jinja_limits jinja_limits_default;

typedef struct jinja_chunk jinja_chunk;
typedef struct jinja_buffer jinja_buffer;

typedef struct jinja_state {
    jinja_limits limits;
    tn_error *err;
    tn_status status;
    jmp_buf escape;
    locale_t locale_before;
    uint32_t line; /* of the template; 0 outside of it */
    uint32_t depth;
    uint64_t steps;
    uint64_t memory_bytes;
    jinja_chunk *chunks;
    jinja_buffer *buffers; /* open text buffers, freed with the state */
    jinja_buffer *out;     /* where the template's output goes */
    struct tm now;         /* what strftime_now tells */
} jinja_state;

/* err: borrowed until finish. */
void jinja_state_init(jinja_state *state, const jinja_limits *limits, tn_error *err);
void jinja_state_finish(jinja_state *state);
/* Calls work(state, argument); returns TN_OK or the status of the jinja_fail that ended it. Does not nest. */
tn_status jinja_state_run(jinja_state *state, void (*work)(jinja_state *state, void *argument), void *argument);

/* Ends the run with TN_E_ARGUMENT and "chat template, line N: ...". */
_Noreturn void jinja_fail(jinja_state *state, const char *format, ...) TN_PRINTF(2, 3);
/* Charges steps; fails once the limit is passed. */
void jinja_work(jinja_state *state, uint64_t units);
/* Every recursion on the template's or a value's shape goes between these two. */
void jinja_depth_enter(jinja_state *state);
static inline void jinja_depth_leave(jinja_state *state)
{
    state->depth--;
}

/* Zeroed, 16-byte aligned, never NULL. */
void *jinja_alloc(jinja_state *state, uint64_t count, uint64_t size);
#define JINJA_NEW(state, type)          ((type *)jinja_alloc((state), 1, sizeof(type)))
#define JINJA_ARRAY(state, type, count) ((type *)jinja_alloc((state), (count), sizeof(type)))

/* A growing text. */
struct jinja_buffer {
    jinja_buffer *next, *previous;
    char *bytes;
    uint64_t count, capacity;
};

jinja_buffer *jinja_buffer_open(jinja_state *state);
void jinja_buffer_close(jinja_state *state, jinja_buffer *buffer);
void jinja_buffer_add(jinja_state *state, jinja_buffer *buffer, const char *bytes, uint64_t count);
void jinja_buffer_add_text(jinja_state *state, jinja_buffer *buffer, const char *text);
void jinja_buffer_add_char(jinja_state *state, jinja_buffer *buffer, char byte);
void jinja_buffer_add_codepoint(jinja_state *state, jinja_buffer *buffer, uint32_t codepoint);
void jinja_buffer_add_repeated(jinja_state *state, jinja_buffer *buffer, char byte, uint64_t count);
void jinja_buffer_add_format(jinja_state *state, jinja_buffer *buffer, const char *format, ...) TN_PRINTF(3, 4);

#endif
