/* chat_prompt.c: checks messages, so that the template sees strings only, and calls tn.chat. */
#include "chat_prompt.h"
#include "json_body.h"

#include <string.h>

enum { RENDER_BYTES_MIN = 4096 };

/* [{"type": "text", "text": ...}, ...] to one string, parts joined by line breaks. */
static tn_status join_parts(const json_t *parts, size_t at, json_t **ret_text, api_error *error)
{
    byte_buffer text = {0};

    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *type = json_string_value(json_object_get(part, "type"));
        const json_t *words = json_object_get(part, "text");
        if (!type || strcmp(type, "text") != 0 || !json_is_string(words)) {
            byte_buffer_finish(&text);
            return api_fail(error, 400, "unsupported_field", "messages",
                            "messages[%zu].content[%zu] is a part of type '%.32s'; this model takes text only", at, i,
                            type ? type : "(none)");
        }
        if (i > 0)
            byte_buffer_text(&text, "\n");
        byte_buffer_append(&text, json_string_value(words), json_string_length(words));
    }
    *ret_text = text.failed ? NULL : json_stringn(text.bytes ? text.bytes : "", text.count);
    byte_buffer_finish(&text);
    return *ret_text ? TN_OK : api_fail_status(error, TN_E_MEMORY, NULL, 1);
}

static bool is_trusted(const char *role)
{
    return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0 || strcmp(role, "assistant") == 0;
}

/* Marks special tokens in what users, tools and roles of a template's own ("ipython", "observation") say, and in their
 * names; what the operator's system prompt and the assistant said is trusted. */
static tn_status mark_text(const http_model *model, json_t *message, const char *key, size_t at, api_error *error)
{
    const json_t *value = json_object_get(message, key);
    const char *text = json_string_value(value);
    size_t bytes = json_string_length(value);
    byte_buffer marked = {0};
    int failed = 0;

    if (!text)
        return TN_OK;
    if (special_text_has_marks(text, bytes))
        return api_fail_field(error, "messages", "messages[%zu].%s holds a noncharacter (U+FDD0 or U+FDD1)", at, key);
    if (is_trusted(json_string_value(json_object_get(message, "role"))))
        return TN_OK;
    if (special_text_mark(&model->specials, text, bytes, &marked))
        failed = marked.failed || json_object_set_new(message, key, json_stringn(marked.bytes, marked.count));
    byte_buffer_finish(&marked);
    return failed ? api_fail_status(error, TN_E_MEMORY, NULL, 1) : TN_OK;
}

static tn_status mark_message(const http_model *model, json_t *message, size_t at, api_error *error)
{
    tn_status status = mark_text(model, message, "name", at, error);
    return status == TN_OK ? mark_text(model, message, "content", at, error) : status;
}

/* OpenAI's clients send a call's arguments as JSON text, templates want the object: decodes them in place. */
static tn_status decode_tool_calls(const http_model *model, json_t *message, size_t at, api_error *error)
{
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;

    if (calls && !json_is_null(calls) && !json_is_array(calls))
        return api_fail_field(error, "messages", "messages[%zu].tool_calls must be a list", at);
    json_array_foreach(calls, i, call)
    {
        json_t *function = json_object_get(call, "function"), *text = json_object_get(function, "arguments");
        if (!json_is_object(function))
            return api_fail_field(error, "messages", "messages[%zu].tool_calls[%zu].function must be an object", at, i);
        if (!json_is_string(text) || json_string_length(text) == 0)
            continue;
        json_t *decoded = NULL;
        api_error reason;
        if (json_body_parse(json_string_value(text), json_string_length(text), model->front->options.max_json_depth,
                            &decoded, &reason) != TN_OK)
            return api_fail_field(error, "messages",
                                  "messages[%zu].tool_calls[%zu].function.arguments must be the JSON text of an object",
                                  at, i);
        if (json_object_set_new(function, "arguments", decoded) != 0)
            return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    }
    return TN_OK;
}

static tn_status check_message(const http_model *model, json_t *message, size_t at, api_error *error)
{
    const json_t *role = json_object_get(message, "role"), *content = json_object_get(message, "content");

    if (!json_is_object(message))
        return api_fail_field(error, "messages", "messages[%zu] must be an object", at);
    if (!json_is_string(role) || json_string_length(role) == 0)
        return api_fail_field(error, "messages", "messages[%zu].role must be a string", at);
    if (json_object_get(message, "audio") && !json_is_null(json_object_get(message, "audio")))
        return api_fail(error, 400, "unsupported_field", "messages", "messages[%zu].audio is not supported", at);
    tn_status decoded = decode_tool_calls(model, message, at, error);
    if (decoded != TN_OK)
        return decoded;
    if (json_is_string(content))
        return mark_message(model, message, at, error);
    if (json_is_array(content)) {
        json_t *text;
        tn_status status = join_parts(content, at, &text, error);
        if (status == TN_OK && json_object_set_new(message, "content", text) != 0)
            return api_fail_status(error, TN_E_MEMORY, NULL, 1);
        return status == TN_OK ? mark_message(model, message, at, error) : status;
    }
    bool may_be_empty = json_is_null(content) || !content;
    if (may_be_empty && strcmp(json_string_value(role), "assistant") == 0)
        return TN_OK;
    return api_fail_field(error, "messages", "messages[%zu].content must be a string or a list of text parts", at);
}

static tn_status check_messages(const http_model *model, const json_t *messages, api_error *error)
{
    if (!messages)
        return api_fail_field(error, "messages", "'messages' is required");
    if (json_array_size(messages) == 0)
        return api_fail_field(error, "messages", "'messages' must not be empty");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        tn_status status = check_message(model, json_array_get(messages, i), i, error);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

/* The template's arguments as one JSON text, malloc'ed; NULL without memory. */
static char *render_arguments(const call_params *params)
{
    json_t *root = json_pack("{s:O, s:b}", "messages", params->messages, "add_generation_prompt",
                             (int)params->add_generation_prompt);
    json_t *extra = json_object();
    int failed = !root || !extra;

    /* Not json_copy, which loses keys when memory runs out. */
    if (!failed && params->template_kwargs)
        failed = json_object_update(extra, params->template_kwargs);
    if (!failed && params->reasoning_effort)
        failed = json_object_set_new(extra, "reasoning_effort", json_string(params->reasoning_effort));
    if (!failed && params->tools && !params->hide_tools && json_array_size(params->tools) > 0)
        failed = json_object_set(root, "tools", params->tools);
    if (!failed && json_object_size(extra) > 0)
        failed = json_object_set(root, "chat_template_kwargs", extra);
    char *text = failed ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(extra);
    json_decref(root);
    return text;
}

static tn_status render(const http_model *model, const char *json, char **ret_text, uint64_t *ret_bytes,
                        api_error *error)
{
    uint64_t json_bytes = strlen(json), capacity = json_bytes + RENDER_BYTES_MIN;
    char *text = NULL;

    for (int attempt = 0; attempt < 2; attempt++) {
        char *grown = realloc(text, capacity);
        if (!grown)
            break;
        text = grown;
        uint64_t bytes = capacity;
        tn_error err = TN_ERROR_INIT;
        tn_status status = model->front->chat->render(model->engine, json, json_bytes, text, &bytes, &err);
        if (status == TN_OK) {
            *ret_text = text;
            *ret_bytes = bytes;
            return TN_OK;
        }
        if (status != TN_E_MEMORY || bytes <= capacity) {
            free(text);
            if (status == TN_E_NOT_FOUND)
                return api_fail_field(error, "messages",
                                      "this model has no chat template; use /v1/completions with a prompt");
            api_fail_status(error, status, err.msg, 1);
            snprintf(error->param, sizeof error->param, "messages");
            return TN_E_ARGUMENT;
        }
        capacity = bytes;
    }
    free(text);
    return api_fail_status(error, TN_E_MEMORY, "out of memory for the rendered conversation", 1);
}

/* Stretch by stretch: special tokens are recognised outside marks only. */
static tn_status encode_marked(const http_model *model, const char *text, uint64_t bytes, uint32_t flags, uint64_t most,
                               int32_t **ret_ids, uint64_t *ret_count, api_error *error)
{
    int32_t *ids = NULL;
    uint64_t count = 0;

    tn_status fits = prompt_check_bytes(model, bytes, most, "messages", error);
    if (fits != TN_OK)
        return fits;
    for (size_t at = 0, taken; at < bytes || at == 0; at += taken) {
        const char *stretch;
        bool marked;
        int32_t *more = NULL;
        uint64_t more_count = 0;
        size_t n = special_text_next(text + at, bytes - at, &marked, &stretch, &taken);
        uint32_t stretch_flags = (marked ? 0 : TN_ENCODE_PARSE_SPECIAL) | (at == 0 ? flags : 0);
        tn_status status =
            prompt_encode(model, stretch, n, stretch_flags, UINT64_MAX, "messages", &more, &more_count, error);
        int32_t *grown = status == TN_OK ? realloc(ids, (count + more_count + 1) * sizeof *ids) : NULL;
        if (!grown) {
            free(more);
            free(ids);
            return status != TN_OK ? status : api_fail_status(error, TN_E_MEMORY, NULL, 1);
        }
        ids = grown;
        memcpy(ids + count, more, more_count * sizeof *ids);
        count += more_count;
        free(more);
        if (taken == 0)
            break;
    }
    if (count > most) {
        free(ids);
        return prompt_fail_length(count, most, "messages", error);
    }
    *ret_ids = ids;
    *ret_count = count;
    return TN_OK;
}

tn_status chat_prompt_encode(const http_model *model, const call_params *params, uint64_t most, int32_t **ret_ids,
                             uint64_t *ret_count, api_error *error)
{
    char *text;
    uint64_t bytes;

    tn_status status = check_messages(model, params->messages, error);
    if (status != TN_OK)
        return status;
    char *json = render_arguments(params);
    if (!json)
        return api_fail_status(error, TN_E_MEMORY, "out of memory for the conversation", 1);
    status = render(model, json, &text, &bytes, error);
    free(json);
    if (status != TN_OK)
        return status;
    uint32_t flags = params->add_special ? TN_ENCODE_ADD_SPECIAL : 0;
    status = encode_marked(model, text, bytes, flags, most, ret_ids, ret_count, error);
    free(text);
    return status;
}
