/* sdk/base/wire/frame_fail.h: what the frame readers share: refusals, and texts that are copied. */
#ifndef BASE_WIRE_FRAME_FAIL_H
#define BASE_WIRE_FRAME_FAIL_H

#include "base/wire/wire.h"

#include <string.h>

static inline tn_status frame_fail(const uint8_t *frame, size_t n, const char *what, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT,
                   "a frame of kind %u, %zu bytes long, %s: the other side is no Tenon, or another one",
                   n ? frame[0] : 0, n, what);
}

/* Copies a blob to *at, terminated, and moves *at behind it. */
static inline char *frame_place_text(char **at, wire_blob blob)
{
    char *text = *at;
    memcpy(text, blob.bytes, blob.n);
    text[blob.n] = '\0';
    *at += blob.n + (size_t)1;
    return text;
}

#endif
