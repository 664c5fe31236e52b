/* sdk/base/json_text.h: JSON as Python writes it: with integers of any length.
 *
 * tokenizer_config.json of many models says that "model_max_length" is 1000000000000000019884624838656, which is
 * Python's int(1e30) and means "no limit". jansson knows 64 bits and refuses the file, so such a file is parsed again
 * with its long integers spelled as reals: the last two digits become "e2". Seventeen digits or more are left, as many
 * as a double holds. Everything else stays jansson's.
 */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_TEXT_DIGITS_MAX = 18 }; /* that always fit 64 bits */

/* Length of the string that begins at text, with both quotes; n bytes are left. */
static inline size_t json_text_string(const char *text, size_t n)
{
    size_t i = 1;

    while (i < n && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
    return i < n ? i + 1 : n;
}

static inline void json_text_shorten(char *text, size_t n)
{
    static const char number[] = "0123456789+-.eE";

    for (size_t i = 0; i < n;) {
        size_t digits = 0, length = 0;
        if (text[i] == '"') {
            i += json_text_string(text + i, n - i);
            continue;
        }
        while (i + length < n && text[i + length] != '\0' && strchr(number, text[i + length])) {
            digits += text[i + length] >= '0' && text[i + length] <= '9';
            length++;
        }
        size_t sign = length > 0 && text[i] == '-';
        if (digits > JSON_TEXT_DIGITS_MAX && digits + sign == length)
            memcpy(text + i + length - 2, "e2", 2);
        i += length > 0 ? length : 1;
    }
}

/* json_loadb for the files of a checkpoint. NULL: ret_error says why. */
static inline json_t *json_text_load(const char *text, size_t n, size_t flags, json_error_t *ret_error)
{
    json_t *root = json_loadb(text, n, flags, ret_error);

    if (root || json_error_code(ret_error) != json_error_numeric_overflow)
        return root;
    char *copy = malloc(n);
    if (!copy) {
        snprintf(ret_error->text, sizeof ret_error->text, "out of memory");
        return NULL;
    }
    memcpy(copy, text, n);
    json_text_shorten(copy, n);
    root = json_loadb(copy, n, flags, ret_error);
    free(copy);
    return root;
}

#endif
