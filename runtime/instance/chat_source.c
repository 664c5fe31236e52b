/* chat_source.c: copies what it finds, so that the checkpoint may close. Sources: transformers (chat_template_utils,
 * tokenization_utils_base) and llama.cpp for GGUF's keys.
 */
#include "instance/chat_source.h"

#include "base/json_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES_MAX = 1 << 20 };

static tn_status read_template_file(const char *path, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return tn_fail(err, TN_E_IO, "model.chat_template=%s: %s", path, strerror(errno));
    char *text = malloc(TEMPLATE_BYTES_MAX + 1);
    size_t bytes = text ? fread(text, 1, TEMPLATE_BYTES_MAX + 1, file) : 0;
    bool failed = ferror(file);
    fclose(file);
    if (!text || failed || bytes > TEMPLATE_BYTES_MAX) {
        free(text);
        return tn_fail(err, failed ? TN_E_IO : TN_E_ARGUMENT, "model.chat_template=%s: %s", path,
                       failed ? "cannot be read" : "is larger than 1 MiB");
    }
    *ret_text = text;
    *ret_bytes = bytes;
    return TN_OK;
}

static tn_status copy_template(const char *text, uint64_t bytes, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    if (bytes > TEMPLATE_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "the model's chat template is larger than 1 MiB");
    char *copy = malloc(bytes + 1);
    if (!copy)
        return tn_fail(err, TN_E_MEMORY, "chat template");
    memcpy(copy, text, bytes);
    *ret_text = copy;
    *ret_bytes = bytes;
    return TN_OK;
}

static tn_status copy_json(const json_t *text, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    return copy_template(json_string_value(text), json_string_length(text), ret_text, ret_bytes, err);
}

/* chat_template of a JSON file: a text, or a list of {name, template}: "default", and "tool_use" for requests with
 * tools. */
static tn_status take_json(const json_t *root, chat_source *found, tn_error *err)
{
    const json_t *entry = json_object_get(root, "chat_template");
    tn_status status = TN_E_NOT_FOUND;
    if (json_is_string(entry))
        return copy_json(entry, &found->text, &found->bytes, err);
    for (size_t i = 0; i < json_array_size(entry); i++) {
        const json_t *item = json_array_get(entry, i), *text = json_object_get(item, "template");
        const char *name = json_string_value(json_object_get(item, "name"));
        tn_status copied = TN_OK;
        if (!name || !json_is_string(text))
            continue;
        if (strcmp(name, "default") == 0 && !found->text)
            status = copied = copy_json(text, &found->text, &found->bytes, err);
        else if (strcmp(name, "tool_use") == 0 && !found->tool_text)
            copied = copy_json(text, &found->tool_text, &found->tool_bytes, err);
        if (copied != TN_OK)
            return copied;
    }
    return status;
}

/* *ret_root: NULL if there is no such file. */
static tn_status load_json(const tn_source *source, const char *name, json_t **ret_root, tn_error *err)
{
    tn_meta file = {.struct_size = sizeof file};
    json_error_t error;
    *ret_root = NULL;
    if (source->meta(source, name, &file) != TN_OK || file.kind != TN_META_STRING)
        return TN_OK;
    *ret_root = json_text_load(file.string, file.count, 0, &error);
    return *ret_root ? TN_OK : tn_fail(err, TN_E_CORRUPT, "%s, line %d: %s", name, error.line, error.text);
}

static bool is_token_name(const char *key)
{
    size_t n = strlen(key);
    return n > 6 && strcmp(key + n - 6, "_token") == 0 && strcmp(key, "bos_token") != 0 &&
           strcmp(key, "eos_token") != 0 && strncmp(key, "add_", 4) != 0;
}

/* Members such as pad_token: a text, or {"content": text}. */
static tn_status take_tokens(const json_t *root, chat_source *found, tn_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
        if (!is_token_name(key) || !json_is_string(text) || json_object_get(found->tokens, key))
            continue;
        if (!found->tokens && !(found->tokens = json_object()))
            return tn_fail(err, TN_E_MEMORY, "chat template");
        if (json_object_set(found->tokens, key, text) != 0)
            return tn_fail(err, TN_E_MEMORY, "chat template");
    }
    return TN_OK;
}

/* What of a directory is JSON: tokens in any case, the template where there is none yet. */
static tn_status take_files(const tn_source *source, chat_source *found, tn_error *err)
{
    static const char *const names[] = {"chat_template.json", "tokenizer_config.json", "special_tokens_map.json"};
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < sizeof names / sizeof names[0]; i++) {
        json_t *root;
        status = load_json(source, names[i], &root, err);
        if (status == TN_OK && !found->text && i < 2) {
            status = take_json(root, found, err);
            status = status == TN_E_NOT_FOUND ? TN_OK : status;
        }
        if (status == TN_OK)
            status = take_tokens(root, found, err);
        json_decref(root);
    }
    return status;
}

/* A template that is a whole metadata value. *ret_text stays NULL if there is none. */
static tn_status take_meta(const tn_source *source, const char *key, char **ret_text, uint64_t *ret_bytes,
                           tn_error *err)
{
    tn_meta meta = {.struct_size = sizeof meta};
    if (*ret_text || source->meta(source, key, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind != TN_META_STRING)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not a string", source->path, key);
    return copy_template(meta.string, meta.count, ret_text, ret_bytes, err);
}

tn_status chat_source_find(const tn_source *source, const char *path, chat_source *ret_found, tn_error *err)
{
    chat_source *found = ret_found;
    *found = (chat_source){0};
    tn_status status = path ? read_template_file(path, &found->text, &found->bytes, err) : TN_OK;
    bool named = path != NULL;
    if (status == TN_OK && !named)
        status = take_meta(source, "tokenizer.chat_template", &found->text, &found->bytes, err);
    if (status == TN_OK && !named)
        status = take_meta(source, "tokenizer.chat_template.tool_use", &found->tool_text, &found->tool_bytes, err);
    if (status == TN_OK)
        status = take_meta(source, "chat_template.jinja", &found->text, &found->bytes, err);
    if (status == TN_OK)
        status = take_files(source, found, err);
    return status == TN_OK && !found->text ? TN_E_NOT_FOUND : status;
}

void chat_source_finish(chat_source *found)
{
    free(found->text);
    free(found->tool_text);
    json_decref(found->tokens);
    *found = (chat_source){0};
}
