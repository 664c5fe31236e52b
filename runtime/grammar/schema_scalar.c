/* schema_scalar.c: null, booleans, numbers, strings, and fixed values. */
#include "grammar/number.h"
#include "grammar/regex.h"
#include "grammar/schema.h"

#include <string.h>

/* ---- formats ---- */

#define DAY_TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define DATE \
    "[1-9]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
#define BYTE_NUMBER      "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define UUID_OF(version) "[0-9a-f]{8}-[0-9a-f]{4}-" version "[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
#define LABEL            "[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?"

/* All of these texts obey the format; not every text that obeys it is among them. */
static const struct {
    const char *name, *regex;
} formats[] = {
    {"date", DATE},
    {"time", DAY_TIME},
    {"date-time", DATE "T" DAY_TIME},
    {"duration", "P(\\d{1,4}W|\\d{1,4}D(T\\d{1,4}H(\\d{1,4}M(\\d{1,4}S)?)?)?|T(\\d{1,4}H(\\d{1,4}M(\\d{1,4}S)?)?|"
                 "\\d{1,4}M(\\d{1,4}S)?|\\d{1,4}S)|\\d{1,4}Y(\\d{1,4}M(\\d{1,4}D)?)?|\\d{1,4}M(\\d{1,4}D)?)"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"uuid1", UUID_OF("1")}, /* Pydantic writes these, and path */
    {"uuid3", UUID_OF("3")},
    {"uuid4", UUID_OF("4")},
    {"uuid5", UUID_OF("5")},
    {"password", "[^]*"}, /* a hint for forms */
    {"binary", "[^]*"},
    {"path", "[^\\0]+"},
    {"ipv4", BYTE_NUMBER "(\\." BYTE_NUMBER "){3}"},
    {"ipv6", "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}"},
    {"email", "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32}){0,2}@(" LABEL "\\.){1,3}[A-Za-z]{2,12}"},
    {"hostname", LABEL "(\\." LABEL "){0,3}"},
    {"uri", "[a-z][a-z0-9+.-]{0,11}://[A-Za-z0-9.-]{1,64}(:\\d{1,4})?(/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*"
            "(\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?"},
};

static const char *format_regex(schema_compiler *c, const json_t *schema)
{
    const char *name = json_string_value(json_object_get(schema, "format"));
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].regex;
    schema_fail(c, schema, "format",
                "'%.32s' is not supported; date, time, date-time, duration, uuid, uuid1 to uuid5, ipv4, ipv6, email, "
                "hostname, uri, password, binary and path are",
                name);
    return "";
}

/* ---- strings ---- */

/* Narrows *sum, which has states after the first time, to the strings of an expression. */
static void narrow(schema_compiler *c, dfa *sum, const char *regex, size_t n, bool search)
{
    nfa *nfa = c->nfa;
    dfa one, both;
    uint32_t start = nfa_node(nfa), at = nfa_text(nfa, start, "\"", 1);

    at = regex_add(nfa, TEXT_JSON, at, regex, n, search, "json_schema");
    dfa_build(nfa, start, nfa_text(nfa, at, "\"", 1), &one);
    if (sum->state_count == 0 || nfa->status != TN_OK) {
        dfa_finish(sum);
        *sum = one;
        return;
    }
    dfa_intersect(nfa, sum, &one, &both);
    dfa_finish(&one);
    dfa_finish(sum);
    *sum = both;
}

static void narrow_member(schema_compiler *c, dfa *sum, const json_t *schema)
{
    const json_t *pattern = json_object_get(schema, "pattern");

    if (pattern && c->nfa->status == TN_OK) {
        narrow(c, sum, json_string_value(pattern), json_string_length(pattern), true);
        schema_locate(c, schema, "pattern");
    }
    if (json_object_get(schema, "format")) {
        const char *regex = format_regex(c, schema);
        narrow(c, sum, regex, strlen(regex), false);
    }
}

static uint32_t add_length(schema_compiler *c, uint32_t from, uint32_t min, uint32_t max)
{
    uint32_t at = nfa_text(c->nfa, from, "\"", 1);
    at = text_any(c->nfa, TEXT_JSON, at, min, max);
    return nfa_text(c->nfa, at, "\"", 1);
}

static void add_string(schema_compiler *c, uint32_t from, const schema_list *list, uint32_t to)
{
    nfa *nfa = c->nfa;
    uint32_t min = 0, max = UINT32_MAX, count;
    dfa sum = {0}, length, both;

    for (uint32_t i = 0; i < list->count; i++) {
        if (schema_count(c, list->member[i], "minLength", &count) && count > min)
            min = count;
        if (schema_count(c, list->member[i], "maxLength", &count) && count < max)
            max = count;
        narrow_member(c, &sum, list->member[i]);
    }
    if (min > max) {
        dfa_finish(&sum);
        return;
    }
    if (sum.state_count == 0) {
        nfa_empty(nfa, add_length(c, from, min, max), to);
        return;
    }
    if (min > 0 || max < UINT32_MAX) {
        uint32_t start = nfa_node(nfa);
        dfa_build(nfa, start, add_length(c, start, min, max), &length);
        dfa_intersect(nfa, &sum, &length, &both);
        dfa_finish(&length);
        dfa_finish(&sum);
        sum = both;
    }
    nfa_empty(nfa, nfa_add_dfa(nfa, from, &sum), to);
    dfa_finish(&sum);
}

/* ---- numbers ---- */

static void add_number(schema_compiler *c, uint32_t from, const schema_branch *branch, uint32_t to)
{
    number_bound low[2 * SCHEMA_MEMBERS_MAX], high[2 * SCHEMA_MEMBERS_MAX];
    uint32_t lows = 0, highs = 0;

    for (uint32_t i = 0; i < branch->list.count; i++) {
        const json_t *schema = branch->list.member[i];
        const char *names[] = {"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"};
        for (int k = 0; k < 4; k++) {
            const json_t *value = json_object_get(schema, names[k]);
            number_bound bound = {value, k % 2 == 1};
            if (value && k < 2)
                low[lows++] = bound;
            else if (value)
                high[highs++] = bound;
        }
    }
    uint32_t end =
        number_add(c->nfa, from, (branch->types & TYPE_FRACTION) == 0, low, lows, high, highs, "json_schema");
    nfa_empty(c->nfa, end, to);
}

void schema_scalars(schema_compiler *c, uint32_t from, const schema_branch *branch, uint32_t to)
{
    nfa *nfa = c->nfa;

    if (branch->types & TYPE_NULL)
        nfa_empty(nfa, nfa_text(nfa, from, "null", 4), to);
    if (branch->types & TYPE_BOOLEAN) {
        nfa_empty(nfa, nfa_text(nfa, from, "true", 4), to);
        nfa_empty(nfa, nfa_text(nfa, from, "false", 5), to);
    }
    if (branch->types & (TYPE_INTEGER | TYPE_FRACTION))
        add_number(c, from, branch, to);
    if (branch->types & TYPE_STRING)
        add_string(c, from, &branch->list, to);
}

/* ---- fixed values ---- */

static uint32_t add_quoted(nfa *nfa, uint32_t from, const char *text, size_t n)
{
    uint32_t at = nfa_text(nfa, from, "\"", 1);
    at = text_literal(nfa, TEXT_JSON, at, text, n);
    return nfa_text(nfa, at, "\"", 1);
}

static uint32_t add_constant(schema_compiler *c, uint32_t from, const json_t *value, uint32_t depth)
{
    nfa *nfa = c->nfa;
    const char *key;
    json_t *item;
    size_t i;
    bool more = false;
    char number[40];

    if (depth == 0) {
        nfa_fail(nfa, TN_E_ARGUMENT, "json_schema: a constant is nested too deeply");
        return from;
    }
    switch (json_typeof(value)) {
    case JSON_STRING:
        return add_quoted(nfa, from, json_string_value(value), json_string_length(value));
    case JSON_OBJECT:
        from = nfa_text(nfa, from, "{", 1);
        json_object_foreach((json_t *)value, key, item)
        {
            from = schema_space(c, more ? nfa_text(nfa, from, ",", 1) : from);
            from = nfa_text(nfa, add_quoted(nfa, from, key, strlen(key)), ":", 1);
            from = add_constant(c, schema_blank(c, from), item, depth - 1);
            more = true;
        }
        return nfa_text(nfa, more ? schema_space(c, from) : from, "}", 1);
    case JSON_ARRAY:
        from = nfa_text(nfa, from, "[", 1);
        json_array_foreach(value, i, item)
        {
            from = schema_space(c, i > 0 ? nfa_text(nfa, from, ",", 1) : from);
            from = add_constant(c, from, item, depth - 1);
        }
        return nfa_text(nfa, i > 0 ? schema_space(c, from) : from, "]", 1);
    case JSON_INTEGER:
    case JSON_REAL:
        number_text(value, number);
        return nfa_text(nfa, from, number, strlen(number));
    case JSON_TRUE:
        return nfa_text(nfa, from, "true", 4);
    case JSON_FALSE:
        return nfa_text(nfa, from, "false", 5);
    default:
        return nfa_text(nfa, from, "null", 4);
    }
}

uint32_t schema_constant(schema_compiler *c, uint32_t from, const json_t *value)
{
    return add_constant(c, from, value, 32);
}

static uint32_t type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return TYPE_OBJECT;
    case JSON_ARRAY:
        return TYPE_ARRAY;
    case JSON_STRING:
        return TYPE_STRING;
    case JSON_INTEGER:
        return TYPE_INTEGER;
    case JSON_REAL:
        return json_real_value(value) ==
                       (double)(int64_t)(json_real_value(value) < 9e18 && json_real_value(value) > -9e18
                                             ? json_real_value(value)
                                             : 0.5)
                   ? TYPE_INTEGER
                   : TYPE_FRACTION;
    case JSON_NULL:
        return TYPE_NULL;
    default:
        return TYPE_BOOLEAN;
    }
}

bool schema_equal(schema_compiler *c, const json_t *a, const json_t *b)
{
    const char *key;
    json_t *item;
    size_t i;

    if (!nfa_spend(c->nfa, 1))
        return false;
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_is_array(a) && json_is_array(b) && json_array_size(a) == json_array_size(b)) {
        json_array_foreach(a, i, item)
        {
            if (!schema_equal(c, item, json_array_get(b, i)))
                return false;
        }
        return true;
    }
    if (json_is_object(a) && json_is_object(b) && json_object_size(a) == json_object_size(b)) {
        json_object_foreach((json_t *)a, key, item)
        {
            const json_t *other = json_object_get(b, key);
            if (!other || !schema_equal(c, item, other))
                return false;
        }
        return true;
    }
    return !json_is_object(a) && !json_is_array(a) && json_equal(a, b) != 0;
}

/* value is one of the list that from is. */
static bool allows(schema_compiler *c, const json_t *schema, const json_t *value, const json_t *from)
{
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    bool found = !list || list == from;

    for (size_t i = 0; !found && i < json_array_size(list) && c->nfa->status == TN_OK; i++)
        found = schema_equal(c, json_array_get(list, i), value);
    return found && (!constant || schema_equal(c, constant, value));
}

/* Whether a value obeys the bounds that a schema has for its type. */
static bool is_within(schema_compiler *c, const json_t *schema, const json_t *value)
{
    uint32_t count;

    if (json_is_string(value)) {
        size_t characters = 0;
        for (const char *at = json_string_value(value), *end = at + json_string_length(value); at < end; at++)
            characters += ((uint8_t)*at & 0xc0) != 0x80;
        return !(schema_count(c, schema, "minLength", &count) && characters < count) &&
               !(schema_count(c, schema, "maxLength", &count) && characters > count);
    }
    if (!json_is_number(value))
        return true;
    double number = json_number_value(value);
    const json_t *low = json_object_get(schema, "minimum"), *above = json_object_get(schema, "exclusiveMinimum");
    const json_t *high = json_object_get(schema, "maximum"), *below = json_object_get(schema, "exclusiveMaximum");
    return !(low && number < json_number_value(low)) && !(above && number <= json_number_value(above)) &&
           !(high && number > json_number_value(high)) && !(below && number >= json_number_value(below));
}

/* A keyword beside enum or const that says something of a value's type would have to be checked against it. */
static void check_beside(schema_compiler *c, const schema_list *list, uint32_t types)
{
    static const struct {
        const char *keyword;
        uint32_t types;
    } beside[] = {
        {"properties", TYPE_OBJECT}, {"required", TYPE_OBJECT},   {"additionalProperties", TYPE_OBJECT},
        {"items", TYPE_ARRAY},       {"prefixItems", TYPE_ARRAY}, {"minItems", TYPE_ARRAY},
        {"maxItems", TYPE_ARRAY},    {"pattern", TYPE_STRING},    {"format", TYPE_STRING},
    };
    for (uint32_t i = 0; i < list->count; i++)
        for (size_t k = 0; k < sizeof beside / sizeof *beside; k++)
            if ((beside[k].types & types) && json_object_get(list->member[i], beside[k].keyword)) {
                schema_fail(c, list->member[i], beside[k].keyword, "not supported beside enum or const");
                return;
            }
}

bool schema_constants(schema_compiler *c, uint32_t from, const schema_branch *branch, uint32_t to)
{
    const schema_list *list = &branch->list;
    const json_t *values = NULL, *only = NULL;
    uint32_t types = 0;

    for (uint32_t i = 0; i < list->count; i++) {
        only = only ? only : json_object_get(list->member[i], "const");
        values = values ? values : json_object_get(list->member[i], "enum");
    }
    if (!only && !values)
        return false;
    size_t count = only ? 1 : json_array_size(values);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = only ? only : json_array_get(values, i);
        bool allowed = (type_of(value) & branch->types) != 0;
        for (uint32_t k = 0; k < list->count && allowed; k++)
            allowed = allows(c, list->member[k], value, only ? NULL : values) && is_within(c, list->member[k], value);
        if (!allowed || !nfa_spend(c->nfa, list->count + 1u))
            continue;
        types |= type_of(value);
        nfa_empty(c->nfa, schema_constant(c, from, value), to);
    }
    check_beside(c, list, types);
    return true;
}
