/* node_list.c: see node_list.h. Brackets are written out by recursion, one level for each.
 *
 * Source: the hostlist expressions of `scontrol show hostnames`.
 */
#include "group/node_list.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

enum { DIGITS_MAX = 9 };

typedef struct node_parser {
    const char *what;
    node_list list;
    char name[NODE_NAME_MAX + 1]; /* written so far */
    tn_error *err;
} node_parser;

static tn_status refuse(const node_parser *parser, const char *fault, const char *at)
{
    return tn_fail(parser->err, TN_E_CORRUPT,
                   "%s is no list of nodes: %s at \"%.40s\"; expected something like gpu[01-03,7],login", parser->what,
                   fault, at);
}

static bool is_name_byte(char c)
{
    return isalnum((unsigned char)c) || c == '-' || c == '.' || c == '_';
}

static tn_status add_name(node_parser *parser, size_t n)
{
    node_list *list = &parser->list;
    if (list->count == NODE_LIST_MAX)
        return tn_fail(parser->err, TN_E_CORRUPT, "%s lists more than %d nodes", parser->what, NODE_LIST_MAX);
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 16;
        void *grown = realloc(list->name, capacity * sizeof *list->name);
        if (!grown)
            return tn_fail(parser->err, TN_E_MEMORY, "%s: out of memory for %u nodes", parser->what, capacity);
        list->name = grown;
        list->capacity = capacity;
    }
    memcpy(list->name[list->count], parser->name, n);
    list->name[list->count++][n] = 0;
    return TN_OK;
}

/* Digits at `at`, which must be a number. */
static tn_status take_number(const node_parser *parser, const char **at, uint32_t *ret_value, uint32_t *ret_digits)
{
    uint32_t value = 0, digits = 0;
    for (; isdigit((unsigned char)(*at)[digits]) && digits <= DIGITS_MAX; digits++)
        value = value * 10 + (uint32_t)((*at)[digits] - '0');
    if (digits == 0 || digits > DIGITS_MAX)
        return refuse(parser, "expected a number of at most 9 digits", *at);
    *at += digits;
    *ret_value = value;
    *ret_digits = digits;
    return TN_OK;
}

/* "01-03" or "7": bounds, and the digits that zeros fill up. */
static tn_status take_range(const node_parser *parser, const char **at, uint32_t *ret_low, uint32_t *ret_high,
                            uint32_t *ret_width)
{
    const char *begin = *at;
    uint32_t high_digits;
    tn_status status = take_number(parser, at, ret_low, ret_width);
    if (status != TN_OK)
        return status;
    *ret_high = *ret_low;
    if (**at != '-')
        return TN_OK;
    ++*at;
    status = take_number(parser, at, ret_high, &high_digits);
    if (status != TN_OK)
        return status;
    if (*ret_high < *ret_low)
        return refuse(parser, "a range that runs backwards", begin);
    if (*begin == '0' && *ret_width > 1 && high_digits != *ret_width)
        return refuse(parser, "a range padded to different widths", begin);
    return TN_OK;
}

static tn_status write_out(node_parser *parser, size_t n, const char *rest, uint32_t brackets);

/* Every number of the bracket that begins at `at`, each followed by what comes after the bracket. */
static tn_status write_bracket(node_parser *parser, size_t n, const char *at, uint32_t brackets)
{
    const char *close = strchr(at, ']');
    if (!close)
        return refuse(parser, "a bracket without its ']'", at);
    if (brackets == NODE_BRACKETS_MAX)
        return refuse(parser, "too many brackets", at);
    do {
        uint32_t low, high, width;
        at++;
        tn_status status = take_range(parser, &at, &low, &high, &width);
        for (uint32_t i = low; status == TN_OK && i <= high; i++) {
            size_t bytes = (size_t)snprintf(parser->name + n, sizeof parser->name - n, "%0*u", (int)width, i);
            if (bytes >= sizeof parser->name - n)
                return refuse(parser, "a name of more than 255 bytes", at);
            status = write_out(parser, n + bytes, close + 1, brackets + 1);
        }
        if (status != TN_OK)
            return status;
    } while (*at == ',');
    return at == close ? TN_OK : refuse(parser, "expected ',' or ']'", at);
}

/* The names that begin with parser->name[0..n) and go on with rest, up to a comma outside of brackets. */
static tn_status write_out(node_parser *parser, size_t n, const char *rest, uint32_t brackets)
{
    for (; is_name_byte(*rest); rest++, n++) {
        if (n == NODE_NAME_MAX)
            return refuse(parser, "a name of more than 255 bytes", rest);
        parser->name[n] = *rest;
    }
    if (*rest == '[')
        return write_bracket(parser, n, rest, brackets);
    if (*rest && *rest != ',')
        return refuse(parser, "an unexpected character", rest);
    return n ? add_name(parser, n) : refuse(parser, "an empty name", rest);
}

/* The comma that ends the name at `at`, or the end of the text. */
static const char *end_of_name(const char *at)
{
    for (bool inside = false; *at && (inside || *at != ','); at++)
        inside = *at == '[' || (inside && *at != ']');
    return at;
}

tn_status node_list_parse(const char *what, const char *text, node_list *ret_list, tn_error *err)
{
    node_parser parser = {.what = what, .err = err};
    tn_status status;
    do {
        status = write_out(&parser, 0, text, 0);
        text = end_of_name(text);
    } while (status == TN_OK && *text++ == ',');
    if (status != TN_OK) {
        node_list_finish(&parser.list);
        return status;
    }
    *ret_list = parser.list;
    return TN_OK;
}

void node_list_finish(node_list *list)
{
    free(list->name);
    *list = (node_list){0};
}
