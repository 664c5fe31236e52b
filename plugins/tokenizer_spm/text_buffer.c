/* text_buffer.c: grows by doubling. */
#include "text_buffer.h"

#include "base/tokenizer/white_space.h"
#include "base/utf8.h"

#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 30 };

tn_status text_buffer_append(text_buffer *out, const char *text, size_t n, tn_error *err)
{
    if (n > TEXT_BYTES_MAX || out->n > TEXT_BYTES_MAX - n)
        return tn_fail(err, TN_E_ARGUMENT, "the normalised text is longer than %d bytes", TEXT_BYTES_MAX);
    if (out->capacity - out->n < n) {
        size_t capacity = 2 * (out->n + n) + 256;
        char *grown = realloc(out->text, capacity);
        if (!grown)
            return tn_fail(err, TN_E_MEMORY, "no memory to normalise a text");
        out->text = grown;
        out->capacity = capacity;
    }
    if (n > 0)
        memcpy(out->text + out->n, text, n);
    out->n += n;
    return TN_OK;
}

tn_status text_buffer_replace(text_buffer *out, const char *from, size_t from_n, const char *to, size_t to_n,
                              const char *text, size_t n, tn_error *err)
{
    tn_status status = TN_OK;
    while (status == TN_OK && n > 0) {
        const char *found = memmem(text, n, from, from_n);
        size_t plain = found ? (size_t)(found - text) : n;
        status = text_buffer_append(out, text, plain, err);
        if (status == TN_OK && found)
            status = text_buffer_append(out, to, to_n, err);
        plain += found ? from_n : 0;
        text += plain;
        n -= plain;
    }
    return status;
}

size_t text_space_width(const char *text, size_t n)
{
    uint32_t codepoint;
    bool valid;
    size_t width = utf8_decode(text, n, &codepoint, &valid);
    return is_white_space(codepoint) ? width : 0;
}
