/* grammar_field.c: schemas are passed on as they came; the engine says what is wrong with one. */
#include "grammar_field.h"

#include "tenon/engine.h"

#include <string.h>

void answer_grammar_finish(answer_grammar *grammar)
{
    free(grammar->text);
    grammar->text = NULL;
}

/* Sets the grammar; value: JSON to pass on, NULL: none. */
static tn_status set(answer_grammar *grammar, const field_rule *field, uint32_t kind, const json_t *value,
                     api_error *error)
{
    if (grammar->kind != TN_GRAMMAR_NONE)
        return api_fail_field(error, field->name, "'%s' and '%s' contradict each other: ask for one", grammar->field,
                              field->name);
    grammar->kind = kind;
    grammar->field = field->name;
    if (!value)
        return TN_OK;
    grammar->text =
        json_is_string(value) ? strdup(json_string_value(value)) : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return grammar->text ? TN_OK : api_fail_status(error, TN_E_MEMORY, "out of memory for a schema", 1);
}

static answer_grammar *target(const field_rule *field, void *into)
{
    return (answer_grammar *)((char *)into + field->offset);
}

static tn_status refuse_type(const field_rule *field, const char *type, api_error *error)
{
    return api_fail(
        error, 400, "unsupported_field", field->name,
        "'%s' of type '%.32s' is not supported by this server, only 'text', 'json_object' and 'json_schema'",
        field->name, type);
}

/* The members of an object that are not in a NULL-terminated list. */
static tn_status check_members(const field_rule *field, const json_t *object, const char *const *known,
                               api_error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (!known[i] && !json_is_null(value))
            return api_fail(error, 400, "unknown_field", field->name, "'%s' has a member '%.64s' that is not supported",
                            field->name, name);
    }
    return TN_OK;
}

static tn_status read_schema(const field_rule *field, const json_t *format, void *into, api_error *error)
{
    static const char *const members[] = {"name", "description", "schema", "strict", NULL};
    const json_t *schema = json_object_get(format, "schema"), *strict = json_object_get(format, "strict");

    tn_status status = check_members(field, format, members, error);
    if (status != TN_OK)
        return status;
    if (!json_is_object(schema))
        return api_fail_field(error, field->name, "'%s' of type 'json_schema' needs json_schema.schema, an object",
                              field->name);
    if (strict && !json_is_null(strict) && !json_is_boolean(strict))
        return api_fail_field(error, field->name, "'strict' must be true or false");
    uint32_t kind = json_is_true(strict) ? TN_GRAMMAR_JSON_SCHEMA_STRICT : TN_GRAMMAR_JSON_SCHEMA;
    return set(target(field, into), field, kind, schema, error);
}

tn_status grammar_field_response_format(const field_rule *field, json_t *value, void *into, api_error *error)
{
    static const char *const members[] = {"type", "json_schema", NULL};
    const char *type = json_string_value(json_object_get(value, "type"));

    if (!type)
        return api_fail_field(error, field->name, "'%s' must be an object with a 'type'", field->name);
    if (strcmp(type, "text") == 0)
        return TN_OK;
    if (strcmp(type, "json_object") != 0 && strcmp(type, "json_schema") != 0)
        return refuse_type(field, type, error);
    tn_status status = check_members(field, value, members, error);
    if (status != TN_OK)
        return status;
    if (strcmp(type, "json_object") == 0)
        return set(target(field, into), field, TN_GRAMMAR_JSON_OBJECT, NULL, error);
    return read_schema(field, json_object_get(value, "json_schema"), into, error);
}

static tn_status read_choice(const field_rule *field, const json_t *list, void *into, api_error *error)
{
    json_t *item;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) == 0)
        return api_fail_field(error, field->name, "'choice' must be a list of texts");
    json_array_foreach(list, i, item)
    {
        if (json_string_length(item) == 0)
            return api_fail_field(error, field->name, "'choice' must hold texts that are not empty");
    }
    return set(target(field, into), field, TN_GRAMMAR_CHOICE, list, error);
}

tn_status grammar_field_structured_outputs(const field_rule *field, json_t *value, void *into, api_error *error)
{
    static const char *const members[] = {"json", "json_object", "choice", "regex", NULL};
    answer_grammar *grammar = target(field, into);
    const json_t *schema = json_object_get(value, "json"), *object = json_object_get(value, "json_object");
    const json_t *choice = json_object_get(value, "choice"), *regex = json_object_get(value, "regex");

    if (!json_is_object(value))
        return api_fail_field(error, field->name, "'%s' must be an object", field->name);
    tn_status status = check_members(field, value, members, error);
    if (status == TN_OK && schema && !json_is_null(schema)) {
        if (!json_is_object(schema) && !json_is_string(schema))
            return api_fail_field(error, field->name, "'json' must be a schema, or one as a string");
        status = set(grammar, field, TN_GRAMMAR_JSON_SCHEMA, schema, error);
    }
    if (status == TN_OK && choice && !json_is_null(choice))
        status = read_choice(field, choice, into, error);
    if (status == TN_OK && regex && !json_is_null(regex)) {
        if (!json_is_string(regex))
            return api_fail_field(error, field->name, "'regex' must be a string");
        status = set(grammar, field, TN_GRAMMAR_REGEX, regex, error);
    }
    if (status == TN_OK && object && !json_is_null(object)) {
        if (!json_is_true(object))
            return api_fail_field(error, field->name, "'json_object' can only be true");
        status = set(grammar, field, TN_GRAMMAR_JSON_OBJECT, NULL, error);
    }
    if (status == TN_OK && grammar->kind == TN_GRAMMAR_NONE)
        return api_fail_field(error, field->name, "'%s' needs one of json, json_object, choice and regex", field->name);
    return status;
}
