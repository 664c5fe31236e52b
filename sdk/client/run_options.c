/* run_options.c: see run_options.h. */
#include "client/run_options.h"

#include "client/new_object.h"

#include <string.h>

enum { WINDOW = 64, TIMEOUT_MS = 600000, TIMEOUT_MS_MAX = 86400000 };

static tn_status take_integer(const char *key, const json_t *value, uint32_t least, uint32_t most, uint32_t *ret,
                              tn_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most)
        return tn_fail(err, TN_E_ARGUMENT, "options: '%s' must be an integer from %u to %u", key, least, most);
    *ret = (uint32_t)json_integer_value(value);
    return TN_OK;
}

static tn_status take_bool(const char *key, const json_t *value, bool *ret, tn_error *err)
{
    if (!json_is_boolean(value))
        return tn_fail(err, TN_E_ARGUMENT, "options: '%s' must be true or false", key);
    *ret = json_is_true(value);
    return TN_OK;
}

static tn_status take_on_error(const json_t *value, row_fault_rule *ret, tn_error *err)
{
    static const char *const names[] = {"detail", "null", "fail"};
    const char *text = json_string_value(value);

    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (row_fault_rule)i;
            return TN_OK;
        }
    return tn_fail(err, TN_E_ARGUMENT, "options: 'on_error' must be 'detail', 'null' or 'fail'");
}

static tn_status take_system(const json_t *value, char **ret, tn_error *err)
{
    if (!json_is_string(value))
        return tn_fail(err, TN_E_ARGUMENT, "options: 'system' must be a string");
    char *copy = strdup(json_string_value(value));
    if (!copy)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the options");
    free(*ret);
    *ret = copy;
    return TN_OK;
}

/* What the functions themselves decide. */
static tn_status refuse_own(const char *key, tn_error *err)
{
    static const char *const own[] = {"model", "messages", "prompt", "stream", "stream_options", "n", "echo"};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(key, own[i]) == 0)
            return tn_fail(err, TN_E_ARGUMENT, "options: '%s' is set by the function itself", key);
    return TN_OK;
}

static tn_status take_option(const char *key, json_t *value, run_options *options, tn_error *err)
{
    if (strcmp(key, "window") == 0)
        return take_integer(key, value, 1, CLIENT_WINDOW_MAX, &options->limits.window, err);
    if (strcmp(key, "max_retries") == 0)
        return take_integer(key, value, 0, CLIENT_RETRIES_MAX, &options->limits.retries, err);
    if (strcmp(key, "timeout_ms") == 0)
        return take_integer(key, value, 1, TIMEOUT_MS_MAX, &options->limits.timeout_ms, err);
    if (strcmp(key, "ordered") == 0)
        return take_bool(key, value, &options->limits.ordered, err);
    if (strcmp(key, "raw") == 0)
        return take_bool(key, value, &options->raw, err);
    if (strcmp(key, "breaker") == 0)
        return take_bool(key, value, &options->breaker, err);
    if (strcmp(key, "on_error") == 0)
        return take_on_error(value, &options->on_error, err);
    if (strcmp(key, "system") == 0)
        return take_system(value, &options->system, err);
    tn_status status = refuse_own(key, err);
    if (status == TN_OK && json_object_set(options->fields, key, value) != 0)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the options");
    return status;
}

static tn_status read_options(const char *text, size_t bytes, run_options *options, tn_error *err)
{
    json_error_t fault;
    json_t *root, *value;
    const char *key;
    tn_status status = TN_OK;

    root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(root)) {
        status =
            root ? tn_fail(err, TN_E_ARGUMENT, "options: must be a JSON object, such as {\"max_tokens\": 64}")
                 : tn_fail(err, TN_E_ARGUMENT, "options: not JSON: %.100s (at byte %d)", fault.text, fault.position);
        json_decref(root);
        return status;
    }
    json_object_foreach(root, key, value)
    {
        status = take_option(key, value, options, err);
        if (status != TN_OK)
            break;
    }
    if (status == TN_OK && options->raw && options->system)
        status = tn_fail(err, TN_E_ARGUMENT, "options: 'system' needs the chat template, which 'raw' leaves out");
    json_decref(root);
    return status;
}

window_limits window_limits_default(void)
{
    return (window_limits){WINDOW, CLIENT_RETRIES_MAX, TIMEOUT_MS, true};
}

tn_status run_options_parse(const char *text, size_t bytes, row_fault_rule on_error, run_options *ret_options,
                            tn_error *err)
{
    run_options options = {
        .limits = window_limits_default(), .on_error = on_error, .breaker = true, .fields = new_object()};
    tn_status status = options.fields ? TN_OK : tn_fail(err, TN_E_MEMORY, "out of memory for the options");

    if (status == TN_OK && text && bytes > 0)
        status = read_options(text, bytes, &options, err);
    if (status != TN_OK) {
        run_options_finish(&options);
        return status;
    }
    *ret_options = options;
    return TN_OK;
}

void run_options_finish(run_options *options)
{
    json_decref(options->fields);
    free(options->system);
    *options = (run_options){.fields = NULL};
}

bool run_options_repeatable(const run_options *options)
{
    const json_t *temperature = json_object_get(options->fields, "temperature");

    return json_object_get(options->fields, "seed") || (temperature && json_number_value(temperature) == 0.0);
}
