/* chat.c: finds the model's chat template and serves it as tn.chat.
 *
 * Sources, first wins: the file that model.chat_template names, GGUF's tokenizer.chat_template, a directory's
 * chat_template.jinja, the chat_template of its tokenizer_config.json. A broken template does not keep a model from
 * being served; its error is what every chat request gets.
 */
#include "instance/instance.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEMPLATE_BYTES_MAX = 1 << 20, TOKEN_BYTES_MAX = 256 };

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

/* chat_template of tokenizer_config.json: a string, or a list of {name, template} of which "default" counts. */
static tn_status template_from_config(const tn_meta *file, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    json_error_t error;
    json_t *root = json_loadb(file->string, file->count, 0, &error);
    if (!root)
        return tn_fail(err, TN_E_CORRUPT, "tokenizer_config.json, line %d: %s", error.line, error.text);

    json_t *entry = json_object_get(root, "chat_template"), *item;
    size_t i;
    if (json_is_array(entry)) {
        json_t *list = entry;
        entry = NULL;
        json_array_foreach(list, i, item)
        {
            const char *name = json_string_value(json_object_get(item, "name"));
            if (name && strcmp(name, "default") == 0)
                entry = json_object_get(item, "template");
        }
    }
    tn_status status = TN_E_NOT_FOUND;
    if (json_is_string(entry))
        status = copy_template(json_string_value(entry), json_string_length(entry), ret_text, ret_bytes, err);
    json_decref(root);
    return status;
}

static tn_status find_template(const instance *in, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    const tn_source *source = checkpoint_source(in->checkpoint);
    const char *path = settings_string(in->settings, "model", "chat_template");
    tn_meta meta = {.struct_size = sizeof meta};

    if (path)
        return read_template_file(path, ret_text, ret_bytes, err);
    if (source->meta(source, "tokenizer.chat_template", &meta) == TN_OK ||
        source->meta(source, "chat_template.jinja", &meta) == TN_OK) {
        if (meta.kind != TN_META_STRING)
            return tn_fail(err, TN_E_CORRUPT, "%s: the chat template is not a string", source->path);
        return copy_template(meta.string, meta.count, ret_text, ret_bytes, err);
    }
    if (source->meta(source, "tokenizer_config.json", &meta) == TN_OK)
        return template_from_config(&meta, ret_text, ret_bytes, err);
    return TN_E_NOT_FOUND;
}

/* The text of a special token, "" if the model has none. */
static void token_text(const instance *in, uint32_t role, char text[TOKEN_BYTES_MAX + 1])
{
    int32_t id;
    uint64_t bytes = TOKEN_BYTES_MAX;

    text[0] = '\0';
    if (in->tokenizer->special(in->tok, role, &id) == TN_OK &&
        in->tokenizer->piece(in->tok, id, 0, 0, text, &bytes, NULL) == TN_OK)
        text[bytes] = '\0';
    else
        text[0] = '\0';
}

tn_status instance_open_chat(instance *in, tn_error *err)
{
    char bos[TOKEN_BYTES_MAX + 1], eos[TOKEN_BYTES_MAX + 1];
    char *text = NULL;
    uint64_t bytes = 0;

    tn_status status = find_template(in, &text, &bytes, &in->chat_error);
    if (status == TN_E_NOT_FOUND) {
        tn_fail(&in->chat_error, TN_E_NOT_FOUND,
                "this model has no chat template: use /v1/completions, or name a template file in model.chat_template");
        return TN_OK;
    }
    if (status == TN_OK) {
        token_text(in, TN_TOKEN_BOS, bos);
        token_text(in, TN_TOKEN_EOS, eos);
        status = chat_template_create(text, bytes, bos, eos, &in->chat, &in->chat_error);
    }
    free(text);
    if (status != TN_OK && settings_string(in->settings, "model", "chat_template"))
        return tn_fail(err, status, "%s", in->chat_error.msg); /* the operator's own file: say so at once */
    return TN_OK;
}

static tn_status render(tn_engine *engine, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                        tn_error *err)
{
    const instance *in = engine_owner(engine);
    char *rendered;
    uint64_t bytes;

    if (!in->chat)
        return tn_fail(err, TN_E_NOT_FOUND, "%s", in->chat_error.msg);
    tn_status status = chat_template_render(in->chat, json, n_json, &rendered, &bytes, err);
    if (status != TN_OK)
        return status;
    if (bytes <= *n_text)
        memcpy(text, rendered, bytes);
    else
        status = tn_fail(err, TN_E_MEMORY, "the rendered prompt has %llu bytes", (unsigned long long)bytes);
    *n_text = bytes;
    free(rendered);
    return status;
}

const tn_chat_table instance_chat_table = {.struct_size = sizeof(tn_chat_table), .render = render};
