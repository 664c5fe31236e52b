/* chat.c: compiles the model's chat template and serves it as tn.chat. A broken template does not keep a model from
 * being served; its error is what every chat request gets.
 */
#include "instance/chat_source.h"
#include "instance/instance.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_BYTES_MAX = 256 };

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

static tn_status compile(instance *in, const chat_source *source, tn_error *err)
{
    char bos[TOKEN_BYTES_MAX + 1], eos[TOKEN_BYTES_MAX + 1];
    const char *name;
    json_t *text;

    token_text(in, TN_TOKEN_BOS, bos);
    token_text(in, TN_TOKEN_EOS, eos);
    tn_status status = chat_template_create(source->text, source->bytes, bos, eos, &in->chat, err);
    json_object_foreach(source->tokens, name, text)
    {
        if (status == TN_OK)
            status = chat_template_set_token(in->chat, name, json_string_value(text), err);
    }
    if (status == TN_OK && source->tool_text)
        status = chat_template_set_tool_use(in->chat, source->tool_text, source->tool_bytes, err);
    if (status != TN_OK) {
        chat_template_destroy(in->chat);
        in->chat = NULL;
    }
    return status;
}

tn_status instance_open_chat(instance *in, tn_error *err)
{
    const char *path = settings_string(in->settings, "model", "chat_template");
    chat_source source;
    tn_status status = chat_source_find(checkpoint_source(in->checkpoint), path, &source, &in->chat_error);
    if (status == TN_E_NOT_FOUND) {
        tn_fail(&in->chat_error, TN_E_NOT_FOUND,
                "this model has no chat template: use /v1/completions, or name a template file in model.chat_template");
        return TN_OK;
    }
    if (status == TN_OK)
        status = compile(in, &source, &in->chat_error);
    chat_source_finish(&source);
    in->chat_broken = status != TN_OK;
    if (status != TN_OK && path)
        return tn_fail(err, status, "%s", in->chat_error.msg); /* the operator's own file: say so at once */
    return TN_OK;
}

tn_status instance_render_chat(const instance *in, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                               tn_error *err)
{
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

static tn_status render(tn_engine *engine, const char *json, uint64_t n_json, char *text, uint64_t *n_text,
                        tn_error *err)
{
    return instance_render_chat(engine_owner(engine), json, n_json, text, n_text, err);
}

const tn_chat_table instance_chat_table = {.struct_size = sizeof(tn_chat_table), .render = render};
