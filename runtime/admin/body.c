/* body.c: depth is counted before jansson sees the text, since it descends by recursion. */
#include "admin/body.h"

#include "base/edit_distance.h"
#include "base/json_text.h"

#include <string.h>

enum { FIELDS_MAX = 32 };

/* ---- text to JSON ---- */

/* Deepest nesting of brackets outside strings. Text that is no JSON may get any number. */
static uint32_t depth_of(const char *bytes, size_t n)
{
    uint32_t depth = 0, deepest = 0;

    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '"')
            i += json_text_string(bytes + i, n - i) - 1;
        else if (bytes[i] == '{' || bytes[i] == '[')
            deepest = ++depth > deepest ? depth : deepest;
        else if ((bytes[i] == '}' || bytes[i] == ']') && depth > 0)
            depth--;
    }
    return deepest;
}

tn_status body_parse(const char *bytes, uint64_t n, json_t **ret_body, tn_error *err)
{
    json_error_t error;

    if (!bytes || n == 0) {
        *ret_body = NULL;
        return TN_OK;
    }
    if (n > BODY_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the body is larger than %d bytes", BODY_BYTES_MAX);
    if (depth_of(bytes, n) > BODY_DEPTH_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "the body is nested more than %d deep", BODY_DEPTH_MAX);
    json_t *body = json_loadb(bytes, n, JSON_REJECT_DUPLICATES, &error);
    if (!body)
        return tn_fail(err, TN_E_ARGUMENT, "the body is not JSON: %s, line %d", error.text, error.line);
    if (!json_is_object(body)) {
        json_decref(body);
        return tn_fail(err, TN_E_ARGUMENT, "the body must be an object");
    }
    *ret_body = body;
    return TN_OK;
}

/* ---- fields ---- */

static bool is_scalar(const json_t *value)
{
    return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

static bool is_object_of_scalars(json_t *value)
{
    const char *key;
    json_t *member;

    json_object_foreach(value, key, member)
    {
        if (!is_scalar(member))
            return false;
    }
    return json_is_object(value);
}

static bool is_array_of_texts(const json_t *value)
{
    size_t i;
    json_t *element;

    json_array_foreach(value, i, element)
    {
        if (!json_is_string(element))
            return false;
    }
    return json_is_array(value);
}

/* What a field must be, for messages; NULL once it is stored. */
static const char *store(const field *field, json_t *value)
{
    switch (field->kind) {
    case FIELD_TEXT:
        if (!json_is_string(value) || json_string_length(value) == 0 || json_string_length(value) > BODY_TEXT_BYTES_MAX)
            return "a text of 1 to 4096 bytes";
        *(const char **)field->target = json_string_value(value);
        return NULL;
    case FIELD_COUNT:
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= UINT32_MAX)
            return "an integer, 0 or more";
        *(uint32_t *)field->target = (uint32_t)json_integer_value(value);
        return NULL;
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return "true or false";
        *(bool *)field->target = json_is_true(value);
        return NULL;
    case FIELD_SCALAR:
        if (!is_scalar(value))
            return "a number or a text";
        break;
    case FIELD_OBJECT:
        if (!is_object_of_scalars(value))
            return "an object of numbers, texts and booleans";
        break;
    case FIELD_TEXTS:
        if (!is_array_of_texts(value))
            return "an array of texts";
        break;
    }
    *(json_t **)field->target = value;
    return NULL;
}

static tn_status refuse_unknown(const char *name, const field *fields, uint32_t count, tn_error *err)
{
    const char *names[FIELDS_MAX];

    TN_ASSERT(count <= FIELDS_MAX);
    for (uint32_t i = 0; i < count; i++)
        names[i] = fields[i].name;
    const char *nearest = nearest_name(name, names, count);
    return nearest ? tn_fail(err, TN_E_ARGUMENT, "there is no field '%.80s'; did you mean '%s'?", name, nearest)
                   : tn_fail(err, TN_E_ARGUMENT, "there is no field '%.80s'", name);
}

static const field *find_field(const char *name, const field *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

tn_status fields_read(json_t *body, const field *fields, uint32_t count, const char **ret_param, tn_error *err)
{
    const char *name;
    json_t *value;

    json_object_foreach(body, name, value)
    {
        const field *field = find_field(name, fields, count);
        *ret_param = name;
        if (!field)
            return refuse_unknown(name, fields, count, err);
        const char *kind = json_is_null(value) ? NULL : store(field, value);
        if (kind)
            return tn_fail(err, TN_E_ARGUMENT, "%s: it must be %s", name, kind);
    }
    for (uint32_t i = 0; i < count; i++) {
        *ret_param = fields[i].name;
        if (fields[i].required &&
            (!body || json_is_null(json_object_get(body, fields[i].name)) || !json_object_get(body, fields[i].name)))
            return tn_fail(err, TN_E_ARGUMENT, "%s: it is missing", fields[i].name);
    }
    *ret_param = NULL;
    return TN_OK;
}

/* The fewest digits that read back as the same number. */
static int real_text(double value, char *text, size_t bytes)
{
    int n = snprintf(text, bytes, "%.15g", value);
    return strtod(text, NULL) == value ? n : snprintf(text, bytes, "%.17g", value);
}

bool scalar_text(const json_t *scalar, char *text, size_t bytes)
{
    int n;

    if (json_is_string(scalar))
        n = snprintf(text, bytes, "%s", json_string_value(scalar));
    else if (json_is_integer(scalar))
        n = snprintf(text, bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(scalar));
    else if (json_is_real(scalar))
        n = real_text(json_real_value(scalar), text, bytes);
    else
        n = snprintf(text, bytes, "%s", json_is_true(scalar) ? "true" : "false");
    return n >= 0 && (size_t)n < bytes;
}
