/* schema_keyword.c: which keywords there are, and what their values may be.
 *
 * Source: JSON Schema draft 2020-12. A keyword that changes which documents are valid and is not supported is refused;
 * annotations have no effect. "format" constrains.
 */
#include "grammar/schema.h"

#include <stdarg.h>
#include <string.h>

typedef enum keyword_value {
    ANY_VALUE,
    SCHEMA,
    SCHEMAS,
    ITEMS,
    SCHEMA_MAP,
    TEXT,
    TEXTS,
    COUNT,
    NUMBER,
    LIST,
    FLAG,
    TYPES,
    NAMES
} keyword_value;
typedef enum keyword_role { USED, ANNOTATION, REFUSED, ONLY_FALSE } keyword_role;

typedef struct keyword {
    const char *name;
    keyword_role role;
    keyword_value value;
} keyword;

static const keyword keywords[] = {
    {"type", USED, TYPES},
    {"properties", USED, SCHEMA_MAP},
    {"required", USED, TEXTS},
    {"additionalProperties", USED, SCHEMA},
    {"enum", USED, LIST},
    {"const", USED, ANY_VALUE},
    {"items", USED, ITEMS},
    {"prefixItems", USED, SCHEMAS},
    {"additionalItems", USED, SCHEMA}, /* draft 7: of an array whose items is a list */
    {"minItems", USED, COUNT},
    {"maxItems", USED, COUNT},
    {"minLength", USED, COUNT},
    {"maxLength", USED, COUNT},
    {"pattern", USED, TEXT},
    {"format", USED, TEXT},
    {"minimum", USED, NUMBER},
    {"maximum", USED, NUMBER},
    {"exclusiveMinimum", USED, NUMBER},
    {"exclusiveMaximum", USED, NUMBER},
    {"anyOf", USED, SCHEMAS},
    {"oneOf", USED, SCHEMAS},
    {"allOf", USED, SCHEMAS},
    {"$ref", USED, TEXT},
    {"$defs", ANNOTATION, SCHEMA_MAP},
    {"definitions", ANNOTATION, SCHEMA_MAP},
    {"title", ANNOTATION, ANY_VALUE},
    {"description", ANNOTATION, ANY_VALUE},
    {"default", ANNOTATION, ANY_VALUE},
    {"examples", ANNOTATION, ANY_VALUE},
    {"example", ANNOTATION, ANY_VALUE}, /* OpenAPI's */
    {"deprecated", ANNOTATION, ANY_VALUE},
    {"readOnly", ANNOTATION, ANY_VALUE},
    {"writeOnly", ANNOTATION, ANY_VALUE},
    {"contentEncoding", ANNOTATION, ANY_VALUE},
    {"contentMediaType", ANNOTATION, ANY_VALUE},
    {"contentSchema", ANNOTATION, ANY_VALUE},
    {"$schema", ANNOTATION, TEXT},
    {"$comment", ANNOTATION, ANY_VALUE},
    {"discriminator", ANNOTATION, ANY_VALUE}, /* OpenAPI's: says again what oneOf says */
    {"uniqueItems", ONLY_FALSE, FLAG},
    {"propertyNames", USED, NAMES}, /* what tools write for every map */
    {"$id", REFUSED, ANY_VALUE},    /* of the root it names nothing that could be fetched */
    {"not", REFUSED, ANY_VALUE},
    {"if", REFUSED, ANY_VALUE},
    {"then", REFUSED, ANY_VALUE},
    {"else", REFUSED, ANY_VALUE},
    {"multipleOf", REFUSED, ANY_VALUE},
    {"contains", REFUSED, ANY_VALUE},
    {"minContains", REFUSED, ANY_VALUE},
    {"maxContains", REFUSED, ANY_VALUE},
    {"minProperties", REFUSED, ANY_VALUE},
    {"maxProperties", REFUSED, ANY_VALUE},
    {"patternProperties", REFUSED, ANY_VALUE},
    {"dependentRequired", REFUSED, ANY_VALUE},
    {"dependentSchemas", REFUSED, ANY_VALUE},
    {"unevaluatedItems", REFUSED, ANY_VALUE},
    {"unevaluatedProperties", REFUSED, ANY_VALUE},
    {"$anchor", REFUSED, ANY_VALUE},
    {"$dynamicAnchor", REFUSED, ANY_VALUE},
    {"$dynamicRef", REFUSED, ANY_VALUE},
    {"$recursiveAnchor", REFUSED, ANY_VALUE},
    {"$recursiveRef", REFUSED, ANY_VALUE},
    {"$vocabulary", REFUSED, ANY_VALUE},
    {"dependencies", REFUSED, ANY_VALUE},
    {"nullable", REFUSED, ANY_VALUE},
};

/* ---- where ---- */

/* Appends "/key" to a pointer of *n bytes; what does not fit is left out. */
static void append(char *pointer, size_t *n, const char *key)
{
    size_t room = SCHEMA_POINTER_BYTES - *n;
    int written = snprintf(pointer + *n, room, "/%s", key);
    *n = (size_t)written < room ? *n + (size_t)written : SCHEMA_POINTER_BYTES - 1;
}

static bool find(const json_t *at, const json_t *wanted, char *pointer, size_t n, uint32_t depth)
{
    const char *key;
    json_t *value;
    size_t i;

    if (at == wanted)
        return true;
    if (depth == 0)
        return false;
    json_object_foreach((json_t *)at, key, value)
    {
        size_t end = n;
        append(pointer, &end, key);
        if (find(value, wanted, pointer, end, depth - 1))
            return true;
        pointer[n] = '\0';
    }
    json_array_foreach(at, i, value)
    {
        size_t end = n;
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        append(pointer, &end, index);
        if (find(value, wanted, pointer, end, depth - 1))
            return true;
        pointer[n] = '\0';
    }
    return false;
}

/* Where a schema stands in the root, "#/properties/a". */
static void find_pointer(const schema_compiler *c, const json_t *schema, char pointer[SCHEMA_POINTER_BYTES])
{
    snprintf(pointer, SCHEMA_POINTER_BYTES, "#");
    find(c->root, schema, pointer, 1, 256);
}

void schema_fail(schema_compiler *c, const json_t *schema, const char *keyword, const char *format, ...)
{
    char pointer[SCHEMA_POINTER_BYTES], sentence[256];
    va_list args;

    if (c->nfa->status != TN_OK)
        return;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    find_pointer(c, schema, pointer);
    nfa_fail(c->nfa, TN_E_ARGUMENT, "json_schema: %s%s%.64s: %s", pointer, keyword ? "/" : "", keyword ? keyword : "",
             sentence);
}

void schema_locate(const schema_compiler *c, const json_t *schema, const char *keyword)
{
    static const char begin[] = "json_schema: ";
    tn_error *err = c->nfa->err;
    char pointer[SCHEMA_POINTER_BYTES], sentence[sizeof err->msg];

    if (c->nfa->status != TN_E_ARGUMENT || !err || strncmp(err->msg, begin, strlen(begin)) != 0)
        return;
    snprintf(sentence, sizeof sentence, "%s", err->msg + strlen(begin));
    find_pointer(c, schema, pointer);
    snprintf(err->msg, sizeof err->msg, "%s%s/%s: %.256s", begin, pointer, keyword, sentence);
}

/* ---- what ---- */

static bool is_schema(const json_t *value)
{
    return json_is_object(value) || json_is_boolean(value);
}

static bool is_list_of(const json_t *value, bool (*holds)(const json_t *))
{
    json_t *item;
    size_t i;

    if (!json_is_array(value))
        return false;
    json_array_foreach(value, i, item)
    {
        if (!holds(item))
            return false;
    }
    return true;
}

static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_schema_map(const json_t *value)
{
    const char *key;
    json_t *item;

    if (!json_is_object(value))
        return false;
    json_object_foreach((json_t *)value, key, item)
    {
        if (!is_schema(item))
            return false;
    }
    return true;
}

/* A rule for names that every name obeys. */
static bool says_nothing_of_names(const json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    size_t others = json_object_size(value) - (type != NULL);
    return json_is_true(value) || (json_is_object(value) && others == 0 && (!type || strcmp(type, "string") == 0));
}

/* What a value should be, NULL if it is. */
static const char *complaint(keyword_value kind, const json_t *value)
{
    switch (kind) {
    case SCHEMA:
        return is_schema(value) ? NULL : "must be a schema";
    case SCHEMAS:
        return is_list_of(value, is_schema) && json_array_size(value) > 0 ? NULL : "must be a list of schemas";
    case ITEMS:
        return is_schema(value) || is_list_of(value, is_schema) ? NULL : "must be a schema, or a list of schemas";
    case SCHEMA_MAP:
        return is_schema_map(value) ? NULL : "must map names to schemas";
    case TEXT:
        return json_is_string(value) ? NULL : "must be a string";
    case TEXTS:
        return is_list_of(value, is_text) ? NULL : "must be a list of strings";
    case TYPES:
        return json_is_string(value) || is_list_of(value, is_text) ? NULL : "must be a type, or a list of types";
    case COUNT:
        return json_is_number(value) && json_number_value(value) >= 0 ? NULL : "must be a count";
    case NUMBER:
        return json_is_number(value) ? NULL : "must be a number";
    case LIST:
        return json_is_array(value) ? NULL : "must be a list";
    case FLAG:
        return json_is_boolean(value) ? NULL : "must be true or false";
    case NAMES:
        return says_nothing_of_names(value) ? NULL : "only {\"type\": \"string\"} is supported";
    default:
        return NULL;
    }
}

static const keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}

void schema_check(schema_compiler *c, const json_t *schema)
{
    const char *name;
    json_t *value;

    /* A keyword is looked for in a list, and its value may be one. */
    if (!nfa_spend(c->nfa, 64 * json_object_size(schema)))
        return;
    json_object_foreach((json_t *)schema, name, value)
    {
        if (!nfa_spend(c->nfa, json_array_size(value) + json_object_size(value)))
            return;
        const keyword *known = find_keyword(name);
        if (!known && strncmp(name, "x-", 2) == 0)
            continue;
        if (!known) {
            schema_fail(c, schema, name, "unknown keyword");
            return;
        }
        if (known->role == REFUSED && !(schema == c->root && strcmp(name, "$id") == 0)) {
            schema_fail(c, schema, name, "this keyword is not supported");
            return;
        }
        const char *wrong = complaint(known->value, value);
        if (wrong || (known->role == ONLY_FALSE && json_is_true(value))) {
            schema_fail(c, schema, name, "%s", wrong ? wrong : "only false is supported");
            return;
        }
    }
}

static uint32_t type_of_name(const char *name)
{
    static const struct {
        const char *name;
        uint32_t types;
    } type[] = {
        {"null", TYPE_NULL},
        {"boolean", TYPE_BOOLEAN},
        {"object", TYPE_OBJECT},
        {"array", TYPE_ARRAY},
        {"string", TYPE_STRING},
        {"integer", TYPE_INTEGER},
        {"number", TYPE_INTEGER | TYPE_FRACTION},
    };
    for (size_t i = 0; i < sizeof type / sizeof *type; i++)
        if (strcmp(type[i].name, name) == 0)
            return type[i].types;
    return 0;
}

uint32_t schema_types(schema_compiler *c, const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    uint32_t types = 0;

    if (!type)
        return TYPE_ALL;
    size_t count = json_is_array(type) ? json_array_size(type) : 1;
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_is_array(type) ? json_array_get(type, i) : type);
        uint32_t one = type_of_name(name);
        if (one == 0)
            schema_fail(c, schema, "type", "'%.32s' is no type", name);
        types |= one;
    }
    return types;
}

bool schema_count(schema_compiler *c, const json_t *schema, const char *keyword, uint32_t *ret_count)
{
    const json_t *value = json_object_get(schema, keyword);
    double count = json_number_value(value);

    if (!value)
        return false;
    if (count != (double)(uint64_t)(count < 1e18 ? count : 0) && count < 1e18) {
        schema_fail(c, schema, keyword, "must be a whole number");
        return false;
    }
    *ret_count = count < UINT32_MAX - 1.0 ? (uint32_t)count : UINT32_MAX - 1;
    return true;
}
