/* question.c: see question.h. */
#include "client/question.h"

#include "client/new_object.h"
#include "client/whole_json.h"

#include <string.h>

static tn_status fail_memory(tn_error *err)
{
    return tn_fail(err, TN_E_MEMORY, "out of memory for a request");
}

/* Takes root; a NULL root is one that could not be made. */
static tn_status finish(const char *path, json_t *root, client_request *ret_request, tn_error *err)
{
    char *body = root ? whole_json(root, JSON_COMPACT) : NULL;

    json_decref(root);
    if (!body)
        return fail_memory(err);
    *ret_request = (client_request){path, body};
    return TN_OK;
}

static tn_status make_text(const char *what, text_span span, json_t **ret_text, tn_error *err)
{
    json_t *text = json_stringn(span.bytes, span.count);

    if (!text)
        return tn_fail(err, TN_E_ARGUMENT, "the %s is not valid UTF-8", what);
    *ret_text = text;
    return TN_OK;
}

/* A new object: the options' fields, the row's, and the model. Not json_copy, which loses keys when memory runs out. */
static json_t *make_root(const char *service, const run_options *options, const json_t *fields)
{
    json_t *root = new_object();
    int failed = !root;

    if (!failed && options)
        failed = json_object_update(root, options->fields);
    if (!failed && fields)
        failed = json_object_update(root, (json_t *)fields);
    if (!failed)
        failed = json_object_set_new(root, "model", json_string(service));
    if (!failed)
        return root;
    json_decref(root);
    return NULL;
}

static json_t *make_messages(const run_options *options, json_t *text)
{
    json_t *list = json_array();

    if (options->system)
        json_array_append_new(list, json_pack("{s:s, s:s}", "role", "system", "content", options->system));
    json_array_append_new(list, json_pack("{s:s, s:o}", "role", "user", "content", text));
    if (json_array_size(list) == (options->system ? 2u : 1u))
        return list;
    json_decref(list);
    return NULL;
}

/* Takes value, as the root's key. */
static tn_status ask(const char *path, const char *key, json_t *value, json_t *root, client_request *ret_request,
                     tn_error *err)
{
    if (!root || !value || json_object_set_new(root, key, value) != 0) {
        if (!root)
            json_decref(value);
        json_decref(root);
        return fail_memory(err);
    }
    return finish(path, root, ret_request, err);
}

tn_status question_complete(const char *service, text_span prompt, const run_options *options, const json_t *fields,
                            client_request *ret_request, tn_error *err)
{
    json_t *text;
    tn_status status = make_text("prompt", prompt, &text, err);

    if (status != TN_OK)
        return status;
    json_t *root = make_root(service, options, fields);
    if (options->raw)
        return ask("/v1/completions", "prompt", text, root, ret_request, err);
    return ask("/v1/chat/completions", "messages", make_messages(options, text), root, ret_request, err);
}

tn_status question_json(const char *service, text_span prompt, text_span schema, run_options *options,
                        client_request *ret_request, tn_error *err)
{
    json_error_t fault;
    json_t *rules = json_loadb(schema.bytes, schema.count, JSON_REJECT_DUPLICATES, &fault);

    if (!json_is_object(rules)) {
        json_decref(rules);
        return tn_fail(err, TN_E_ARGUMENT, "the schema is not a JSON object: %.200s",
                       rules ? "another value" : fault.text);
    }
    json_t *format = json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema", "name", "answer",
                               "strict", 1, "schema", rules);
    if (!format || json_object_set_new(options->fields, "response_format", format) != 0)
        return fail_memory(err);
    return question_complete(service, prompt, options, NULL, ret_request, err);
}

tn_status question_chat(const char *service, text_span messages, const run_options *options,
                        client_request *ret_request, tn_error *err)
{
    json_error_t fault;
    json_t *list = json_loadb(messages.bytes, messages.count, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);

    if (!list)
        return tn_fail(err, TN_E_ARGUMENT, "the messages are not JSON: %.100s (at byte %d)", fault.text,
                       fault.position);
    if (!json_is_array(list)) {
        json_decref(list);
        return tn_fail(err, TN_E_ARGUMENT,
                       "the messages must be a JSON list, such as [{\"role\": \"user\", \"content\": \"Hi\"}]");
    }
    return ask("/v1/chat/completions", "messages", list, make_root(service, options, NULL), ret_request, err);
}

tn_status question_tokens(const char *service, text_span text, bool add_special, client_request *ret_request,
                          tn_error *err)
{
    json_t *prompt;
    tn_status status = make_text("text", text, &prompt, err);

    if (status != TN_OK)
        return status;
    json_t *root = make_root(service, NULL, NULL);
    if (root)
        json_object_set_new(root, "add_special_tokens", json_boolean(add_special));
    return ask("/tokenize", "prompt", prompt, root, ret_request, err);
}

tn_status question_embed(const char *service, text_span text, client_request *ret_request, tn_error *err)
{
    json_t *input;
    tn_status status = make_text("text", text, &input, err);

    if (status != TN_OK)
        return status;
    return ask("/v1/embeddings", "input", input, make_root(service, NULL, NULL), ret_request, err);
}

tn_status question_models(client_request *ret_request, tn_error *err)
{
    (void)err;
    *ret_request = (client_request){"/v1/models", NULL};
    return TN_OK;
}
