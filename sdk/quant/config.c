/* sdk/quant/config.c: see config.h. */
#include "quant/config.h"

#include "base/json_text.h"

#include <inttypes.h>
#include <string.h>

/* Parses a side file of the checkpoint; *ret_json stays NULL when there is none. */
static tn_status load_json(const tn_source *source, const char *file, json_t **ret_json, tn_error *err)
{
    tn_meta text = {.struct_size = sizeof text};
    json_error_t error;

    if (source->meta(source, file, &text) != TN_OK || text.kind != TN_META_STRING)
        return TN_OK;
    *ret_json = json_text_load(text.string, text.count, JSON_REJECT_DUPLICATES, &error);
    if (!*ret_json)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s: bad JSON at byte %d: %s", source->path, file, error.position,
                       error.text);
    if (!json_is_object(*ret_json))
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not a JSON object", source->path, file);
    return TN_OK;
}

static const json_t *present(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value && !json_is_null(value) ? value : NULL;
}

/* Both describe the same checkpoint, so sizes that both give must be equal. */
static tn_status check_agreement(const tn_source *source, const json_t *object, const char *file, const json_t *side,
                                 tn_error *err)
{
    static const char *const keys[] = {"bits", "group_size"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *left = present(object, keys[i]), *right = present(side, keys[i]);
        if (left && right && !json_equal(left, right))
            return tn_fail(err, TN_E_CORRUPT,
                           "%s: config.json's quantization_config and %s contradict each other on '%s': remove the "
                           "stale one",
                           source->path, file, keys[i]);
    }
    return TN_OK;
}

static bool is_method(const quant_config_kind *kind, const char *method)
{
    for (const char *const *at = kind->methods; *at; at++)
        if (strcmp(*at, method) == 0)
            return true;
    return false;
}

/* The object in config.json, if it is of this kind. */
static tn_status choose_object(const tn_source *source, const quant_config_kind *kind, quant_config *config,
                               tn_error *err)
{
    const json_t *object = present(config->root, "quantization_config");
    if (!object)
        object = present(config->root, "compression_config");
    if (!object)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: config.json has no quantization_config, so it is not for %s",
                       source->path, kind->plugin);
    const char *method = json_string_value(json_object_get(object, "quant_method"));
    if (!method)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: config.json: quantization_config has no quant_method", source->path);
    if (!is_method(kind, method))
        return tn_fail(err, TN_E_NOT_FOUND, "%s: config.json: quant_method \"%.32s\" is not supported", source->path,
                       method);
    config->object = object;
    config->method = method;
    return TN_OK;
}

static tn_status open_with_side_file(const tn_source *source, const quant_config_kind *kind, quant_config *config,
                                     tn_error *err)
{
    json_t *side = NULL;
    tn_status status = load_json(source, "config.json", &config->root, err);

    if (status == TN_OK)
        status = choose_object(source, kind, config, err);
    if (!kind->side_file || (status != TN_OK && status != TN_E_NOT_FOUND))
        return status;
    if (status == TN_E_NOT_FOUND && (!config->root || present(config->root, "quantization_config")))
        return status;
    tn_status side_status = load_json(source, kind->side_file, &side, err);
    if (side_status != TN_OK || !side) {
        json_decref(side);
        return side_status != TN_OK ? side_status : status;
    }
    if (status == TN_OK) {
        status = check_agreement(source, config->object, kind->side_file, side, err);
        json_decref(side);
        return status;
    }
    json_decref(config->root);
    config->root = side;
    config->object = side;
    config->method = kind->methods[0];
    return TN_OK;
}

tn_status quant_config_open(const tn_source *source, const quant_config_kind *kind, quant_config *ret_config,
                            tn_error *err)
{
    quant_config config = {.path = source->path};

    if (strcmp(source->container, "safetensors") != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: container '%s' is not for %s", source->path, source->container,
                       kind->plugin);
    tn_status status = open_with_side_file(source, kind, &config, err);
    if (status != TN_OK) {
        quant_config_close(&config);
        return status;
    }
    *ret_config = config;
    return TN_OK;
}

void quant_config_close(quant_config *config)
{
    json_decref(config->root);
    config->root = NULL;
    config->object = NULL;
}

tn_status quant_config_integer(const quant_config *config, const json_t *object, const char *where, const char *key,
                               int64_t least, int64_t most, int64_t *ret, tn_error *err)
{
    const json_t *value = present(object, key);
    if (!value)
        return TN_OK;
    if (!json_is_integer(value))
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.%s is not an integer", config->path, where, key);
    int64_t number = json_integer_value(value);
    if (number < least || number > most)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: config.json: %s.%s is %" PRId64 "; it must be from %" PRId64 " to %" PRId64, config->path,
                       where, key, number, least, most);
    *ret = number;
    return TN_OK;
}

tn_status quant_config_bool(const quant_config *config, const json_t *object, const char *where, const char *key,
                            bool *ret, tn_error *err)
{
    const json_t *value = present(object, key);
    if (!value)
        return TN_OK;
    if (!json_is_boolean(value))
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.%s is neither true nor false", config->path, where, key);
    *ret = json_is_true(value);
    return TN_OK;
}

tn_status quant_config_string(const quant_config *config, const json_t *object, const char *where, const char *key,
                              const char **ret, tn_error *err)
{
    const json_t *value = present(object, key);
    if (!value)
        return TN_OK;
    if (!json_is_string(value))
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.%s is not a string", config->path, where, key);
    *ret = json_string_value(value);
    return TN_OK;
}

tn_status quant_config_container(const quant_config *config, const json_t *object, const char *where, const char *key,
                                 json_type type, const json_t **ret, tn_error *err)
{
    const json_t *value = present(object, key);
    if (value && json_typeof(value) != type)
        return tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.%s is not %s", config->path, where, key,
                       type == JSON_ARRAY ? "a list" : "an object");
    *ret = value;
    return TN_OK;
}

tn_status quant_config_check_names(const quant_config *config, const json_t *object, const char *where, const char *key,
                                   tn_error *err)
{
    const json_t *names = NULL;
    tn_status status = quant_config_container(config, object, where, key, JSON_ARRAY, &names, err);

    for (size_t i = 0; i < json_array_size(names) && status == TN_OK; i++)
        if (!json_is_string(json_array_get(names, i)))
            status =
                tn_fail(err, TN_E_CORRUPT, "%s: config.json: %s.%s[%zu] is not a string", config->path, where, key, i);
    return status;
}
