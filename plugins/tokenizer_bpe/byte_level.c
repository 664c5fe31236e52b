/* byte_level.c: arithmetic instead of tables: the alphabet has three runs of displaced bytes. */
#include "byte_level.h"

#include "base/utf8.h"

static uint32_t char_of_byte(uint8_t byte)
{
    if (byte < 33)
        return 256u + byte;
    if (byte >= 127 && byte <= 160)
        return 256u + 33 + (byte - 127u);
    if (byte == 173)
        return 256u + 33 + 34;
    return byte;
}

/* -1: not a character of the alphabet. */
static int byte_of_char(uint32_t codepoint)
{
    if (codepoint < 256)
        return char_of_byte((uint8_t)codepoint) == codepoint ? (int)codepoint : -1;
    if (codepoint < 256 + 33)
        return (int)codepoint - 256;
    if (codepoint < 256 + 33 + 34)
        return (int)codepoint - (256 + 33) + 127;
    return codepoint == 256 + 33 + 34 ? 173 : -1;
}

size_t byte_level_char(uint8_t byte, char out[2])
{
    char utf8[4];
    size_t n = utf8_encode(char_of_byte(byte), utf8);
    out[0] = utf8[0];
    out[1] = n > 1 ? utf8[1] : 0;
    return n;
}

size_t byte_level_encode(const char *bytes, size_t n, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        char utf8[2];
        size_t length = byte_level_char((uint8_t)bytes[i], utf8);
        out[at++] = utf8[0];
        if (length > 1)
            out[at++] = utf8[1];
    }
    return at;
}

bool byte_level_decode(const char *text, size_t n, char *out, size_t *ret_n)
{
    size_t count = 0;
    for (size_t at = 0; at < n;) {
        uint32_t codepoint;
        bool valid;
        at += utf8_decode(text + at, n - at, &codepoint, &valid);
        int byte = valid ? byte_of_char(codepoint) : -1;
        if (byte < 0)
            return false;
        if (out)
            out[count] = (char)byte;
        count++;
    }
    *ret_n = count;
    return true;
}
