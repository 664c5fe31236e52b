/* runtime/batch/row.c: see row.h. */
#include "batch/row.h"

#include "base/utf8.h"

#include <string.h>

static const char chat_path[] = "/v1/chat/completions", text_path[] = "/v1/completions";

static tn_status fail_memory(tn_error *err)
{
    return tn_fail(err, TN_E_MEMORY, "out of memory for a row");
}

void row_finish(batch_row *row)
{
    free(row->key);
    json_decref(row->body);
    *row = (batch_row){.key = NULL};
}

/* What every request of a batch decides by itself. */
static tn_status check_body(const row_form *form, const json_t *body, tn_error *err)
{
    const json_t *model = json_object_get(body, "model"), *n = json_object_get(body, "n");
    const char *name = json_string_value(model);

    if (model && form->service && (!name || strcmp(name, form->service) != 0))
        return tn_fail(err, TN_E_ARGUMENT, "the row asks for the model '%.100s', and the batch is for '%.100s'",
                       name ? name : "(no text)", form->service);
    if (json_is_true(json_object_get(body, "stream")))
        return tn_fail(err, TN_E_ARGUMENT, "'stream' has no use in a batch");
    if (n && !(json_is_integer(n) && json_integer_value(n) == 1))
        return tn_fail(err, TN_E_ARGUMENT, "'n' must be 1 in a batch");
    return TN_OK;
}

static tn_status check_key(const char *key, size_t bytes, tn_error *err)
{
    if (bytes == 0 || bytes > ROW_KEY_BYTES_MAX || strlen(key) != bytes)
        return tn_fail(err, TN_E_ARGUMENT, "a key must be 1 to %d bytes without a zero", ROW_KEY_BYTES_MAX);
    if (!utf8_is_valid(key, bytes)) /* of SQLite */
        return tn_fail(err, TN_E_ARGUMENT, "the key is not valid UTF-8");
    return TN_OK;
}

static char *key_of_place(uint64_t place)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)place);
    return strdup(text);
}

/* Takes body, which is NULL where nothing is asked. */
static tn_status finish(uint64_t place, const char *key, json_t *body, const char *path, bool openai,
                        batch_row *ret_row, tn_error *err)
{
    tn_status status = key ? check_key(key, strlen(key), err) : TN_OK;
    char *copy = key ? strdup(key) : key_of_place(place);

    if (status == TN_OK && !copy)
        status = fail_memory(err);
    if (status != TN_OK) {
        free(copy);
        json_decref(body);
        return status;
    }
    *ret_row = (batch_row){.place = place, .key = copy, .body = body, .path = path, .openai = openai};
    return TN_OK;
}

static json_t *messages_of(const row_form *form, json_t *prompt)
{
    return form->system ? json_pack("[{s:s, s:s}, {s:s, s:O}]", "role", "system", "content", form->system, "role",
                                    "user", "content", prompt)
                        : json_pack("[{s:s, s:O}]", "role", "user", "content", prompt);
}

/* body's own prompt becomes what the server takes; body is the caller's. */
static tn_status place_prompt(const row_form *form, json_t *body, json_t *prompt, tn_error *err)
{
    int code;

    if (form->raw)
        return json_object_set(body, "prompt", prompt) == 0 ? TN_OK : fail_memory(err);
    code = json_object_set_new(body, "messages", messages_of(form, prompt));
    json_object_del(body, "prompt");
    return code == 0 ? TN_OK : fail_memory(err);
}

tn_status row_from_prompt(const row_form *form, uint64_t place, const char *key, const char *prompt, json_t *fields,
                          batch_row *ret_row, tn_error *err)
{
    if (!prompt)
        return finish(place, key, NULL, chat_path, false, ret_row, err);
    json_t *text = json_string(prompt);
    if (!text)
        return tn_fail(err, TN_E_ARGUMENT, "the prompt is not valid UTF-8");
    json_t *body = fields ? json_copy(fields) : json_object();
    tn_status status = body ? TN_OK : fail_memory(err);
    if (status == TN_OK && (json_object_get(body, "messages") || json_object_get(body, "prompt")))
        status = tn_fail(err, TN_E_ARGUMENT, "the row's params hold 'messages' or 'prompt' beside the row's prompt");
    if (status == TN_OK)
        status = check_body(form, body, err);
    if (status == TN_OK)
        status = place_prompt(form, body, text, err);
    json_decref(text);
    if (status != TN_OK) {
        json_decref(body);
        return status;
    }
    return finish(place, key, body, form->raw ? text_path : chat_path, false, ret_row, err);
}

/* A key of a JSON row: a text or an integer, written into number. *ret_key NULL: there is none. */
static tn_status read_key(const json_t *value, char number[24], const char **ret_key, tn_error *err)
{
    *ret_key = NULL;
    if (!value)
        return TN_OK;
    if (json_is_integer(value)) {
        snprintf(number, 24, "%lld", (long long)json_integer_value(value));
        *ret_key = number;
        return TN_OK;
    }
    if (!json_is_string(value))
        return tn_fail(err, TN_E_ARGUMENT, "a key must be a text or an integer");
    *ret_key = json_string_value(value);
    return check_key(*ret_key, json_string_length(value), err);
}

static tn_status from_openai(const row_form *form, uint64_t place, json_t *root, const char *key, batch_row *ret_row,
                             tn_error *err)
{
    const char *method = json_string_value(json_object_get(root, "method"));
    const char *url = json_string_value(json_object_get(root, "url"));
    json_t *body = json_object_get(root, "body");
    bool chat = url && strcmp(url, chat_path) == 0;

    if (!key)
        return tn_fail(err, TN_E_ARGUMENT, "'custom_id' is missing");
    if (!method || strcmp(method, "POST") != 0)
        return tn_fail(err, TN_E_ARGUMENT, "'method' must be \"POST\"");
    if (!url || (!chat && strcmp(url, text_path) != 0))
        return tn_fail(err, TN_E_ARGUMENT, "'url' must be \"%s\" or \"%s\"", chat_path, text_path);
    if (!json_is_object(body) || !json_object_get(body, chat ? "messages" : "prompt"))
        return tn_fail(err, TN_E_ARGUMENT, "'body' must be an object with '%s'", chat ? "messages" : "prompt");
    tn_status status = check_body(form, body, err);
    return status == TN_OK ? finish(place, key, json_incref(body), chat ? chat_path : text_path, true, ret_row, err)
                           : status;
}

static tn_status from_fields(const row_form *form, uint64_t place, json_t *root, const char *key, batch_row *ret_row,
                             tn_error *err)
{
    json_t *prompt = json_object_get(root, "prompt"), *messages = json_object_get(root, "messages");

    if (!prompt == !messages)
        return tn_fail(err, TN_E_ARGUMENT, "a row needs either 'prompt' or 'messages'");
    if (json_is_null(prompt))
        return finish(place, key, NULL, chat_path, false, ret_row, err);
    if (messages && !json_is_array(messages))
        return tn_fail(err, TN_E_ARGUMENT, "'messages' must be a list");
    if (prompt && !json_is_string(prompt))
        return tn_fail(err, TN_E_ARGUMENT, "'prompt' must be a text or null");
    tn_status status = check_body(form, root, err);
    json_t *body = json_copy(root);
    if (status == TN_OK && !body)
        status = fail_memory(err);
    if (status == TN_OK && prompt)
        status = place_prompt(form, body, prompt, err);
    if (status != TN_OK) {
        json_decref(body);
        return status;
    }
    json_object_del(body, "key");
    return finish(place, key, body, prompt && form->raw ? text_path : chat_path, false, ret_row, err);
}

tn_status row_from_json(const row_form *form, uint64_t place, const char *text, size_t bytes, batch_row *ret_row,
                        tn_error *err)
{
    json_error_t fault;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &fault);
    const char *key;
    char number[24];
    tn_status status;

    if (!json_is_object(root)) {
        json_decref(root);
        return tn_fail(err, TN_E_ARGUMENT, "not a JSON object: %.200s", root ? "another value" : fault.text);
    }
    bool openai = json_object_get(root, "custom_id");
    status = read_key(json_object_get(root, openai ? "custom_id" : "key"), number, &key, err);
    if (status == TN_OK)
        status = (openai ? from_openai : from_fields)(form, place, root, key, ret_row, err);
    json_decref(root);
    return status;
}
