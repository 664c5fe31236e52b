/* sdk/client/whole_json.h: a JSON value as text, whole or not at all.
 *
 * jansson's json_dumps drops pieces of the text when its buffer cannot grow; json_dumpb writes into one that is large
 * enough.
 */
#ifndef CLIENT_WHOLE_JSON_H
#define CLIENT_WHOLE_JSON_H

#include <jansson.h>
#include <stdlib.h>

/* malloc'd and terminated; NULL: out of memory. flags: of json_dumps. */
static inline char *whole_json(const json_t *value, size_t flags)
{
    size_t bytes = json_dumpb(value, NULL, 0, flags);
    char *text = bytes > 0 ? malloc(bytes + 1) : NULL;

    if (!text)
        return NULL;
    if (json_dumpb(value, text, bytes, flags) != bytes) {
        free(text);
        return NULL;
    }
    text[bytes] = '\0';
    return text;
}

#endif
