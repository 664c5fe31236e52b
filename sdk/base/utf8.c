/* utf8.c: table-free decoder after Unicode 15, table 3-7 (well-formed byte sequences). */
#include "base/utf8.h"

#include <string.h>

/* Length of the sequence a lead byte announces and the bounds of its second byte; 0: not a lead byte. */
static size_t sequence_bounds(unsigned char lead, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = 0x80;
    *ret_high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *ret_low = 0xA0;
        if (lead == 0xED)
            *ret_high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *ret_low = 0x90;
        if (lead == 0xF4)
            *ret_high = 0x8F;
        return 4;
    }
    return 0;
}

/* Well-formed bytes at the start of a sequence, at most `length`. */
static size_t matched_bytes(const unsigned char *bytes, size_t n, size_t length, unsigned char low, unsigned char high)
{
    size_t i = 1;
    while (i < length && i < n && bytes[i] >= low && bytes[i] <= high) {
        low = 0x80;
        high = 0xBF;
        i++;
    }
    return i;
}

size_t utf8_decode(const char *text, size_t n, uint32_t *ret_codepoint, bool *ret_valid)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char low, high;
    size_t length = sequence_bounds(bytes[0], &low, &high);
    size_t matched = length ? matched_bytes(bytes, n, length, low, high) : 1;

    if (matched != length) {
        *ret_codepoint = UTF8_REPLACEMENT;
        *ret_valid = false;
        return matched;
    }
    uint32_t codepoint = length == 1 ? bytes[0] : bytes[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++)
        codepoint = codepoint << 6 | (bytes[i] & 0x3Fu);
    *ret_codepoint = codepoint;
    *ret_valid = true;
    return length;
}

size_t utf8_encode(uint32_t codepoint, char out[4])
{
    if (codepoint < 0x80) {
        out[0] = (char)codepoint;
        return 1;
    }
    if (codepoint < 0x800) {
        out[0] = (char)(0xC0 | codepoint >> 6);
        out[1] = (char)(0x80 | (codepoint & 0x3F));
        return 2;
    }
    if (codepoint < 0x10000) {
        out[0] = (char)(0xE0 | codepoint >> 12);
        out[1] = (char)(0x80 | (codepoint >> 6 & 0x3F));
        out[2] = (char)(0x80 | (codepoint & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | codepoint >> 18);
    out[1] = (char)(0x80 | (codepoint >> 12 & 0x3F));
    out[2] = (char)(0x80 | (codepoint >> 6 & 0x3F));
    out[3] = (char)(0x80 | (codepoint & 0x3F));
    return 4;
}

bool utf8_is_valid(const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(bytes + at, n - at, &codepoint, &valid);
        if (!valid)
            return false;
    }
    return true;
}

size_t utf8_whole_prefix(const char *text, size_t n)
{
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char low, high;
        size_t length = sequence_bounds(bytes[n - back], &low, &high);
        if (length == 0)
            continue; /* a continuation byte: look further back for its lead */
        if (length > back && matched_bytes(bytes + n - back, back, length, low, high) == back)
            return n - back;
        break;
    }
    return n;
}

void utf8_repair(char *text)
{
    const size_t n = strlen(text);

    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        size_t used = utf8_decode(text + at, n - at, &codepoint, &valid);
        if (!valid)
            memset(text + at, '?', used);
        at += used;
    }
}
