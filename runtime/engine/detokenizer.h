/* runtime/engine/detokenizer.h: from token bytes to text that may be shown: whole UTF-8, stop strings found and cut.
 *
 * Bytes arrive token by token. A sequence of UTF-8 that is cut by a token border waits for its rest; ill-formed bytes
 * become U+FFFD. Text that could be the beginning of a stop string is held back until it is decided. The result depends
 * on the bytes alone, not on where tokens end: the match whose last byte comes first wins, the longest among those.
 */
#ifndef ENGINE_DETOKENIZER_H
#define ENGINE_DETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DETOKENIZER_NO_STOP UINT32_MAX

typedef struct stop_string {
    const char *text; /* whole UTF-8, not empty */
    uint32_t bytes;
} stop_string;

typedef struct detokenizer {
    char *held;           /* [capacity] text not yet shown */
    uint32_t held_bytes;  /* of which nothing matches a stop string yet */
    uint32_t ready_bytes; /* front of held that may be shown now */
    uint32_t partial_bytes;
    char partial[4]; /* beginning of a UTF-8 sequence */
    uint64_t shown_bytes;
} detokenizer;

/* Bytes of `held` that suffice for pieces of at most piece_bytes and stop strings of at most stop_bytes. */
uint64_t detokenizer_capacity(uint32_t piece_bytes, uint32_t stop_bytes);
/* Adds the bytes of one token. match: look for stop strings from here on. Returns the index of the stop string found
 * or DETOKENIZER_NO_STOP; found, the text ends before it (keep_stop: behind it) and all of it is ready. */
uint32_t detokenizer_push(detokenizer *text, const char *bytes, uint32_t n, const stop_string *stop,
                          uint32_t stop_count, bool match, bool keep_stop);
/* Ends the text: everything held is ready, an unfinished sequence as U+FFFD. */
void detokenizer_end(detokenizer *text);
/* Moves the ready text to out, terminated; returns its length. out must hold detokenizer_capacity bytes. */
uint32_t detokenizer_take(detokenizer *text, char *out);

#endif
