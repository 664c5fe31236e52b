/* config_json.c: see config_json.h. */
#include "model/config_json.h"

#include "base/json_text.h"

static tn_status convert(const json_t *value, tn_meta *ret_meta)
{
    if (!value || json_is_null(value))
        return TN_E_NOT_FOUND;
    ret_meta->count = 1;
    if (json_is_integer(value)) {
        ret_meta->kind = TN_META_INT;
        ret_meta->i = json_integer_value(value);
    } else if (json_is_real(value)) {
        ret_meta->kind = TN_META_FLOAT;
        ret_meta->f = json_real_value(value);
    } else if (json_is_boolean(value)) {
        ret_meta->kind = TN_META_BOOL;
        ret_meta->u = json_is_true(value);
    } else if (json_is_string(value)) {
        ret_meta->kind = TN_META_STRING;
        ret_meta->string = json_string_value(value);
        ret_meta->count = json_string_length(value);
    } else if (json_is_array(value)) {
        ret_meta->kind = TN_META_ARRAY;
        ret_meta->count = json_array_size(value);
    } else {
        ret_meta->kind = 0; /* an object: of no kind that a reader takes */
    }
    return TN_OK;
}

static tn_status lookup(const config_reader *reader, const char *key, tn_meta *ret_meta)
{
    return convert(json_object_get(reader->ctx, key), ret_meta);
}

static tn_status element(const config_reader *reader, const char *key, uint64_t index, tn_meta *ret_meta)
{
    return convert(json_array_get(json_object_get(reader->ctx, key), index), ret_meta);
}

bool config_json_null(const config_reader *reader, const char *key)
{
    return json_is_null(json_object_get(reader->ctx, key));
}

const char *config_json_quant_method(const json_t *root)
{
    return json_string_value(json_object_get(json_object_get(root, "quantization_config"), "quant_method"));
}

tn_status config_json_load(const tn_source *source, const char *file, json_t **ret_root, tn_error *err)
{
    tn_meta meta = {.struct_size = sizeof meta};
    json_error_t where;

    *ret_root = NULL;
    if (source->meta(source, file, &meta) != TN_OK || meta.kind != TN_META_STRING)
        return TN_OK;
    json_t *root = json_text_load(meta.string, meta.count, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s line %d: %s", source->path, file, where.line, where.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return tn_fail(err, TN_E_CORRUPT, "%s: %s must hold an object", source->path, file);
    }
    *ret_root = root;
    return TN_OK;
}

config_reader config_json_reader(const tn_source *source, const json_t *object, const char *prefix, tn_error *err)
{
    return (config_reader){
        .path = source->path, .prefix = prefix, .ctx = object, .lookup = lookup, .element = element, .err = err};
}
