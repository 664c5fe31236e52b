/* field.c: the generic readers. Types are strict: 16.0 is not an integer and "1" is not a number. */
#include "field.h"

#include "base/edit_distance.h"

#include <string.h>

enum { NAMES_MAX = 128 };

static const field_rule *find_field(const field_table *tables, size_t table_count, const char *name)
{
    for (size_t i = 0; i < table_count; i++)
        for (size_t j = 0; j < tables[i].count; j++)
            if (strcmp(tables[i].fields[j].name, name) == 0)
                return &tables[i].fields[j];
    return NULL;
}

static tn_status fail_unknown(const field_table *tables, size_t table_count, const char *name, api_error *error)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < table_count; i++)
        for (size_t j = 0; j < tables[i].count && count < NAMES_MAX; j++)
            names[count++] = tables[i].fields[j].name;
    const char *nearest = nearest_name(name, names, count);
    if (nearest)
        return api_fail(error, 400, "unknown_field", name, "unknown field '%.64s'; did you mean '%s'?", name, nearest);
    return api_fail(error, 400, "unknown_field", name, "unknown field '%.64s'", name);
}

tn_status fields_read(json_t *object, const field_table *tables, size_t table_count, void *into, api_error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        const field_rule *field = find_field(tables, table_count, name);
        if (!field)
            return fail_unknown(tables, table_count, name, error);
        if (json_is_null(value))
            continue;
        tn_status status = field->read(field, value, into, error);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

static void *target(const field_rule *field, void *into)
{
    return (char *)into + field->offset;
}

tn_status field_float(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_number(value))
        return api_fail_field(error, field->name, "'%s' must be a number", field->name);
    double number = json_number_value(value);
    if (!(number >= field->min && number <= field->max))
        return api_fail_field(error, field->name, "'%s' must be between %g and %g, not %g", field->name, field->min,
                              field->max, number);
    *(float *)target(field, into) = (float)number;
    return TN_OK;
}

tn_status field_integer(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_integer(value))
        return api_fail_field(error, field->name, "'%s' must be an integer", field->name);
    json_int_t number = json_integer_value(value);
    if ((double)number < field->min || (double)number > field->max)
        return api_fail_field(error, field->name, "'%s' must be between %.0f and %.0f, not %lld", field->name,
                              field->min, field->max, (long long)number);
    *(int64_t *)target(field, into) = number;
    return TN_OK;
}

tn_status field_bool(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_boolean(value))
        return api_fail_field(error, field->name, "'%s' must be true or false", field->name);
    *(bool *)target(field, into) = json_is_true(value);
    return TN_OK;
}

tn_status field_string(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_string(value))
        return api_fail_field(error, field->name, "'%s' must be a string", field->name);
    size_t bytes = json_string_length(value);
    if (field->max > 0 && ((double)bytes < field->min || (double)bytes > field->max))
        return api_fail_field(error, field->name, "'%s' must be %.0f to %.0f bytes long, not %zu", field->name,
                              field->min, field->max, bytes);
    *(const char **)target(field, into) = json_string_value(value);
    return TN_OK;
}

tn_status field_value(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)error;
    *(json_t **)target(field, into) = value;
    return TN_OK;
}

tn_status field_array(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_array(value))
        return api_fail_field(error, field->name, "'%s' must be a list", field->name);
    return field_value(field, value, into, error);
}

tn_status field_object(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_object(value))
        return api_fail_field(error, field->name, "'%s' must be an object", field->name);
    return field_value(field, value, into, error);
}

tn_status field_harmless(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)field, (void)value, (void)into, (void)error;
    return TN_OK;
}

tn_status field_unsupported(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)into;
    bool asks_nothing = json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0) ||
                        (json_is_number(value) && json_number_value(value) == 0.0) ||
                        (json_is_array(value) && json_array_size(value) == 0) ||
                        (json_is_object(value) && json_object_size(value) == 0);
    if (asks_nothing)
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name, "'%s' is not supported by this server", field->name);
}

tn_status field_only_true(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)into;
    if (json_is_true(value))
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name, "'%s' can only be true on this server", field->name);
}

tn_status field_only_one(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)into;
    if (json_is_number(value) && json_number_value(value) == 1.0)
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name, "'%s' can only be 1 on this server", field->name);
}
