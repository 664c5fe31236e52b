/* detokenizer.c: a short buffer scanned byte by byte; stop strings are few and short, so comparing each is cheapest. */
#include "engine/detokenizer.h"

#include "base/utf8.h"
#include "tenon/error.h"

#include <string.h>

enum { REPLACEMENT_BYTES = 3, SEQUENCE_BYTES_MAX = 4 };

uint64_t detokenizer_capacity(uint32_t piece_bytes, uint32_t stop_bytes)
{
    return (uint64_t)stop_bytes + REPLACEMENT_BYTES * ((uint64_t)piece_bytes + SEQUENCE_BYTES_MAX) + 1;
}

/* Appends bytes that are whole, replacing what is ill-formed. */
static void append_text(detokenizer *text, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(bytes + at, n - at, &codepoint, &valid);
        text->held_bytes += (uint32_t)utf8_encode(codepoint, text->held + text->held_bytes);
    }
}

/* Joins what waited with the new bytes; keeps an unfinished end waiting. */
static void append_bytes(detokenizer *text, const char *bytes, uint32_t n)
{
    /* Bytes go one by one only while an older sequence is open: at most three times. */
    while (n > 0 && text->partial_bytes > 0) {
        text->partial[text->partial_bytes++] = *bytes++;
        n--;
        size_t whole = utf8_whole_prefix(text->partial, text->partial_bytes);
        if (whole > 0) {
            append_text(text, text->partial, whole);
            text->partial_bytes -= (uint32_t)whole;
            memmove(text->partial, text->partial + whole, text->partial_bytes);
        }
    }
    size_t whole = utf8_whole_prefix(bytes, n);
    append_text(text, bytes, whole);
    TN_ASSERT(text->partial_bytes + n - whole < sizeof text->partial);
    memcpy(text->partial + text->partial_bytes, bytes + whole, n - whole);
    text->partial_bytes += (uint32_t)(n - whole);
}

/* The longest stop string that ends at byte `end` of held; DETOKENIZER_NO_STOP if none. */
static uint32_t stop_ending_at(const detokenizer *text, uint32_t end, const stop_string *stop, uint32_t stop_count)
{
    uint32_t found = DETOKENIZER_NO_STOP;
    for (uint32_t i = 0; i < stop_count; i++) {
        uint32_t bytes = stop[i].bytes;
        if (bytes <= end && memcmp(text->held + end - bytes, stop[i].text, bytes) == 0 &&
            (found == DETOKENIZER_NO_STOP || bytes > stop[found].bytes))
            found = i;
    }
    return found;
}

/* Bytes at the end of held that could be the beginning of a stop string. */
static uint32_t undecided_bytes(const detokenizer *text, const stop_string *stop, uint32_t stop_count)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < stop_count; i++) {
        uint32_t bytes = stop[i].bytes - 1 < text->held_bytes ? stop[i].bytes - 1 : text->held_bytes;
        for (; bytes > most; bytes--)
            if (memcmp(text->held + text->held_bytes - bytes, stop[i].text, bytes) == 0)
                most = bytes;
    }
    return most;
}

uint32_t detokenizer_push(detokenizer *text, const char *bytes, uint32_t n, const stop_string *stop,
                          uint32_t stop_count, bool match, bool keep_stop)
{
    uint32_t scanned = text->held_bytes;

    append_bytes(text, bytes, n);
    if (!match) {
        text->ready_bytes = text->held_bytes;
        return DETOKENIZER_NO_STOP;
    }
    for (uint32_t end = scanned + 1; end <= text->held_bytes; end++) {
        uint32_t found = stop_ending_at(text, end, stop, stop_count);
        if (found == DETOKENIZER_NO_STOP)
            continue;
        text->held_bytes = text->ready_bytes = keep_stop ? end : end - stop[found].bytes;
        text->partial_bytes = 0;
        return found;
    }
    text->ready_bytes = text->held_bytes - undecided_bytes(text, stop, stop_count);
    return DETOKENIZER_NO_STOP;
}

void detokenizer_end(detokenizer *text)
{
    append_text(text, text->partial, text->partial_bytes);
    text->partial_bytes = 0;
    text->ready_bytes = text->held_bytes;
}

uint32_t detokenizer_take(detokenizer *text, char *out)
{
    uint32_t ready = text->ready_bytes;
    memcpy(out, text->held, ready);
    out[ready] = 0;
    text->held_bytes -= ready;
    memmove(text->held, text->held + ready, text->held_bytes);
    text->ready_bytes = 0;
    text->shown_bytes += ready;
    return ready;
}
