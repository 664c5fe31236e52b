/* json_writer.c: the escape rules of RFC 8259, section 7. Runs of plain bytes are copied whole. */
#include "json_writer.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_escape(byte_buffer *out, unsigned char byte)
{
    switch (byte) {
    case '"':
        byte_buffer_append(out, "\\\"", 2);
        break;
    case '\\':
        byte_buffer_append(out, "\\\\", 2);
        break;
    case '\n':
        byte_buffer_append(out, "\\n", 2);
        break;
    case '\r':
        byte_buffer_append(out, "\\r", 2);
        break;
    case '\t':
        byte_buffer_append(out, "\\t", 2);
        break;
    default:
        byte_buffer_print(out, "\\u%04x", byte);
    }
}

void json_write_string(byte_buffer *out, const char *bytes, size_t n)
{
    size_t run = 0; /* start of the bytes not yet copied */

    if (n == 0) { /* bytes may be NULL */
        byte_buffer_append(out, "\"\"", 2);
        return;
    }
    byte_buffer_append(out, "\"", 1);
    for (size_t at = 0; at < n;) {
        unsigned char byte = (unsigned char)bytes[at];
        if (byte < 0x80) {
            /* DEL is legal in JSON, but trips terminals and some parsers. */
            if (byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f) {
                byte_buffer_append(out, bytes + run, at - run);
                write_escape(out, byte);
                run = at + 1;
            }
            at++;
            continue;
        }
        uint32_t codepoint;
        bool valid;
        size_t length = utf8_decode(bytes + at, n - at, &codepoint, &valid);
        if (!valid) {
            byte_buffer_append(out, bytes + run, at - run);
            byte_buffer_text(out, "\xEF\xBF\xBD");
            run = at + length;
        }
        at += length;
    }
    byte_buffer_append(out, bytes + run, n - run);
    byte_buffer_append(out, "\"", 1);
}

void json_write_text(byte_buffer *out, const char *text)
{
    if (text)
        json_write_string(out, text, strlen(text));
    else
        byte_buffer_text(out, "null");
}

void json_write_integer(byte_buffer *out, int64_t value)
{
    byte_buffer_print(out, "%" PRId64, value);
}

void json_write_logprob(byte_buffer *out, float value)
{
    char digits[32];

    if (!isfinite(value))
        value = -9999.0f;
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (strtof(digits, NULL) == value)
            break;
    }
    byte_buffer_text(out, digits);
}
