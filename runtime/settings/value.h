/* runtime/settings/value.h: one setting's text against its declared type.
 *
 * A type is one or more alternatives joined by '|': the names string, path, model (a path, or registry:NAME), bool,
 * integer, number, size, list, or any other word, which stands for itself ("auto|size", "gguf|safetensors|auto"). Sizes
 * follow vLLM: a lower-case suffix is decimal (8k = 8000), an upper-case one binary (8K = 8192); KiB, MiB, GiB, TiB and
 * kB, MB, GB, TB say it outright.
 */
#ifndef SETTINGS_VALUE_H
#define SETTINGS_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind {
    VALUE_WORD, /* a literal alternative such as "auto" */
    VALUE_STRING,
    VALUE_PATH,
    VALUE_MODEL,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_NUMBER,
    VALUE_SIZE,
    VALUE_LIST
};

typedef struct value {
    enum value_kind kind; /* the alternative that matched, words first */
    bool boolean;
    int64_t integer; /* integers and sizes */
    double number;   /* integers, sizes and numbers: for range checks too */
} value;

/* False when no alternative of `type` fits `text`; *ret_value is then untouched. */
bool value_parse(const char *type, const char *text, value *ret_value);
/* Whether `type` has the alternative `name`. */
bool value_type_has(const char *type, const char *name);
enum { VALUE_SHOWN_BYTES = 64 };
/* The text, or in `out` its first characters where it is long, for messages. */
const char *value_shown(const char *text, char out[VALUE_SHOWN_BYTES]);
/* "auto or a size such as 8k, 8K or 2GiB": what value_parse would have taken, for messages. Cut at cap. */
void value_type_describe(const char *type, char *out, size_t cap);

#endif
