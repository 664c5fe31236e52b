/* runtime/settings/value.c: see value.h. Text has no NUL and is short (a line of the file); nothing is allocated. */
#include "settings/value.h"

#include "base/utf8.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_bool(const char *text, value *ret_value)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) && strcmp(text, no[i]))
            continue;
        ret_value->boolean = !strcmp(text, yes[i]);
        return true;
    }
    return false;
}

static bool parse_integer(const char *text, value *ret_value)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || text[strspn(text, "+-0123456789")])
        return false;
    ret_value->integer = number;
    ret_value->number = (double)number;
    return true;
}

/* A plain decimal number; *ret_end is its first byte after. No hexadecimal, "inf" or "nan", which strtod would take,
 * and a point in every locale: an embedding program's may have a comma. */
static bool parse_decimal(const char *text, const char *allowed, double *ret_number, const char **ret_end)
{
    size_t digits = strspn(text, allowed);
    char copy[64];
    if (!digits || digits >= sizeof copy)
        return false;
    memcpy(copy, text, digits);
    copy[digits] = 0;
    char *end;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's own: nothing is allocated */
    double number = strtod_l(copy, &end, plain);
    freelocale(plain);
    if (*end || !isfinite(number))
        return false;
    *ret_number = number;
    *ret_end = text + digits;
    return true;
}

static bool parse_number(const char *text, value *ret_value)
{
    const char *end;
    return parse_decimal(text, "+-.0123456789eE", &ret_value->number, &end) && !*end;
}

static double suffix_unit(const char *suffix)
{
    static const char letters[] = "kmgt";
    if (!*suffix || !strcmp(suffix, "B"))
        return 1;
    const char *letter = strchr(letters, *suffix | 0x20);
    if (!letter)
        return 0;
    double power = (double)(letter - letters + 1);
    if (!strcmp(suffix + 1, "iB") || (!suffix[1] && *suffix < 'a'))
        return pow(1024, power);
    if (!strcmp(suffix + 1, "B") || !suffix[1])
        return pow(1000, power);
    return 0;
}

static bool parse_size(const char *text, value *ret_value)
{
    const char *suffix;
    double number;
    if (!parse_decimal(text, ".0123456789", &number, &suffix))
        return false;
    while (*suffix == ' ')
        suffix++;
    double bytes = number * suffix_unit(suffix);
    /* 2^53: above it a double no longer tells neighbouring integers apart. */
    if (bytes != floor(bytes) || bytes > 9007199254740992.0 || !suffix_unit(suffix))
        return false;
    ret_value->integer = (int64_t)bytes;
    ret_value->number = bytes;
    return true;
}

static bool parse_any(const char *text, value *ret_value)
{
    (void)ret_value;
    return *text != 0;
}

/* In the order they are tried; words come before all of them. */
static const struct kind_row {
    const char *name, *description;
    enum value_kind kind;
    bool (*parse)(const char *text, value *ret_value);
} kind_rows[] = {
    {"bool", "true or false", VALUE_BOOL, parse_bool},
    {"integer", "an integer", VALUE_INTEGER, parse_integer},
    {"number", "a number", VALUE_NUMBER, parse_number},
    {"size", "a size such as 8k, 8K or 2GiB", VALUE_SIZE, parse_size},
    {"path", "a path", VALUE_PATH, parse_any},
    {"model", "a path or registry:NAME", VALUE_MODEL, parse_any},
    {"list", "a comma-separated list", VALUE_LIST, parse_any},
    {"string", "text", VALUE_STRING, parse_any},
};

static const struct kind_row *kind_of(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof kind_rows / sizeof *kind_rows; i++) {
        if (strlen(kind_rows[i].name) == n && !memcmp(kind_rows[i].name, name, n))
            return &kind_rows[i];
    }
    return NULL;
}

/* Steps through "a|b|c"; *type moves past the alternative that is returned, NULL at the end. */
static const char *next_alternative(const char **type, size_t *ret_n)
{
    const char *at = *type;
    if (!at || !*at)
        return NULL;
    *ret_n = strcspn(at, "|");
    *type = at[*ret_n] ? at + *ret_n + 1 : at + *ret_n;
    return at;
}

static bool has_word(const char *type, const char *text)
{
    size_t n, text_n = strlen(text);
    for (const char *at; (at = next_alternative(&type, &n));) {
        if (!kind_of(at, n) && n == text_n && !memcmp(at, text, n))
            return true;
    }
    return false;
}

bool value_type_has(const char *type, const char *name)
{
    size_t n, name_n = strlen(name);
    for (const char *at; (at = next_alternative(&type, &n));) {
        if (n == name_n && !memcmp(at, name, n))
            return true;
    }
    return false;
}

bool value_parse(const char *type, const char *text, value *ret_value)
{
    value parsed = {.kind = VALUE_WORD};
    if (has_word(type, text)) {
        *ret_value = parsed;
        return true;
    }
    for (size_t i = 0; i < sizeof kind_rows / sizeof *kind_rows; i++) {
        if (!value_type_has(type, kind_rows[i].name) || !kind_rows[i].parse(text, &parsed))
            continue;
        parsed.kind = kind_rows[i].kind;
        *ret_value = parsed;
        return true;
    }
    return false;
}

void value_type_describe(const char *type, char *out, size_t cap)
{
    size_t n, used = 0;
    const char *join = "";
    *out = 0;
    for (const char *at; (at = next_alternative(&type, &n)) && used < cap;) {
        const struct kind_row *row = kind_of(at, n);
        const char *text = row ? row->description : at;
        int length = row ? (int)strlen(text) : (int)n;
        used += (size_t)snprintf(out + used, cap - used, "%s%.*s", join, length, text);
        const char *rest = type;
        size_t rest_n;
        bool last = next_alternative(&rest, &rest_n) && !*rest;
        join = last ? " or " : ", ";
    }
}

const char *value_shown(const char *text, char out[VALUE_SHOWN_BYTES])
{
    size_t n = strlen(text);
    if (n < VALUE_SHOWN_BYTES)
        return text;
    n = utf8_whole_prefix(text, VALUE_SHOWN_BYTES - 4);
    memcpy(out, text, n);
    strcpy(out + n, "...");
    return out;
}
