/* tokenizer_files.c: side files are few and small beside the weights, so all are read at once. */
#include "base/tokenizer/tokenizer_files.h"

#include "base/json_text.h"

#include <string.h>

enum { SEQUENCE_DEPTH_MAX = 8 };

static tn_status parse_file(const tn_source *source, const char *name, json_t **ret_root, tn_error *err)
{
    tn_meta meta = {.struct_size = (uint32_t)sizeof meta};
    json_error_t where;
    *ret_root = NULL;
    if (source->meta(source, name, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind != TN_META_STRING)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not text", source->path, name);
    *ret_root = json_text_load(meta.string, (size_t)meta.count, JSON_REJECT_DUPLICATES, &where);
    if (!*ret_root)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s, line %d: %s", source->path, name, where.line, where.text);
    if (!json_is_object(*ret_root)) {
        json_decref(*ret_root);
        *ret_root = NULL;
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not a JSON object", source->path, name);
    }
    return TN_OK;
}

tn_status tokenizer_files_open(const tn_source *source, tokenizer_files *ret_files, tn_error *err)
{
    const struct {
        const char *name;
        json_t **root;
    } files[] = {{"tokenizer.json", &ret_files->tokenizer},
                 {"tokenizer_config.json", &ret_files->tokenizer_config},
                 {"special_tokens_map.json", &ret_files->special_map},
                 {"added_tokens.json", &ret_files->added_tokens},
                 {"generation_config.json", &ret_files->generation_config},
                 {"config.json", &ret_files->config}};
    tn_status status = TN_OK;
    *ret_files = (tokenizer_files){0};
    for (size_t i = 0; status == TN_OK && i < sizeof files / sizeof files[0]; i++)
        status = parse_file(source, files[i].name, files[i].root, err);
    if (status != TN_OK)
        tokenizer_files_close(ret_files);
    return status;
}

void tokenizer_files_close(tokenizer_files *files)
{
    json_decref(files->tokenizer);
    json_decref(files->tokenizer_config);
    json_decref(files->special_map);
    json_decref(files->added_tokens);
    json_decref(files->generation_config);
    json_decref(files->config);
    *files = (tokenizer_files){0};
}

const char *json_type_name(const json_t *node)
{
    const char *type = json_string_value(json_object_get(node, "type"));
    return type ? type : "";
}

const char *json_model_type(const json_t *model)
{
    const char *type = json_type_name(model);
    if (*type)
        return type;
    /* Files from before "type" was written. */
    return json_object_get(model, "merges") ? "BPE" : json_is_array(json_object_get(model, "vocab")) ? "Unigram" : "";
}

static bool has_byte_level(const json_t *node, uint32_t depth)
{
    const json_t *list = json_object_get(node, "pretokenizers");
    if (strcmp(json_type_name(node), "ByteLevel") == 0)
        return true;
    for (size_t i = 0; depth < SEQUENCE_DEPTH_MAX && i < json_array_size(list); i++) {
        if (has_byte_level(json_array_get(list, i), depth + 1))
            return true;
    }
    return false;
}

bool json_has_byte_level(const json_t *pre_tokenizer)
{
    return has_byte_level(pre_tokenizer, 0);
}

tn_status json_check_bpe(const json_t *model, const char *path, tn_error *err)
{
    const json_t *dropout = json_object_get(model, "dropout");
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: the model has no \"vocab\" object or no \"merges\" list",
                       path);
    if (!json_is_unset(dropout) && (!json_is_number(dropout) || json_number_value(dropout) != 0))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: dropout is not supported", path);
    if (!json_is_unset(json_object_get(model, "continuing_subword_prefix")) ||
        !json_is_unset(json_object_get(model, "end_of_word_suffix")))
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%s: tokenizer.json: continuing_subword_prefix and end_of_word_suffix are not supported", path);
    return TN_OK;
}

bool json_is_unset(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

tn_status json_get_flag(const json_t *node, const char *key, bool missing, const char *path, bool *ret_value,
                        tn_error *err)
{
    const json_t *value = json_object_get(node, key);
    if (value && !json_is_null(value) && !json_is_boolean(value))
        return tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: \"%s\" is not true or false", path, key);
    *ret_value = json_is_boolean(value) ? json_is_true(value) : missing;
    return TN_OK;
}

const json_t *json_get_sequence(const json_t *node, const char *key, const char *path, uint32_t depth, tn_error *err)
{
    const json_t *list = json_object_get(node, key);
    if (json_is_array(list) && depth < SEQUENCE_DEPTH_MAX)
        return list;
    tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: a Sequence has no list of \"%s\", or is nested too deep", path,
            key);
    return NULL;
}

tn_status json_refuse_type(const char *path, const char *part, const json_t *node, tn_error *err)
{
    return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a %s of type \"%.40s\" is not supported", path, part,
                   json_type_name(node));
}
