/* runtime/chat/chat_template.c: a chat template with its model's special tokens, and rendering a request with it.
 *
 * The compiled tree is immutable and outlives the renderings, which own all else; hence the thread safety. The
 * request's JSON becomes template values; the variables are those that transformers' apply_chat_template defines.
 */
#include "chat_template.h"

#include "jinja_eval.h"

#include "base/utf8.h"

#include <jansson.h>
#include <string.h>

/* A variable with the text of a special token. */
typedef struct token_variable {
    const struct token_variable *next;
    const jinja_string *name;
    jinja_value text;
} token_variable;

struct chat_template {
    jinja_state state; /* owns the trees and the texts */
    const char *text;
    uint64_t n_text;
    const jinja_node *body, *tool_body; /* tool_body: for requests with tools, or NULL */
    const token_variable *tokens;
};

static void compile(jinja_state *state, void *argument)
{
    chat_template *made = argument;
    const jinja_node **body = made->body ? &made->tool_body : &made->body;
    *body = jinja_parse(state, made->text, made->n_text);
}

static tn_status compile_text(chat_template *made, const char *text, uint64_t n_text, tn_error *err)
{
    if (!utf8_is_valid(text, n_text))
        return tn_fail(err, TN_E_ARGUMENT, "chat template: the text is not valid UTF-8");
    made->text = text;
    made->n_text = n_text;
    made->state.err = err;
    tn_status status = jinja_state_run(&made->state, compile, made);
    made->text = NULL; /* borrowed; the tree has its own copy */
    made->state.err = NULL;
    return status;
}

typedef struct naming {
    chat_template *made;
    const char *name, *text;
} naming;

static void add_token(jinja_state *state, void *argument)
{
    naming *job = argument;
    token_variable *variable = JINJA_NEW(state, token_variable);
    *variable = (token_variable){job->made->tokens, jinja_text_copy(state, job->name, strlen(job->name)).as.string,
                                 jinja_text_copy(state, job->text, strlen(job->text))};
    job->made->tokens = variable;
}

tn_status chat_template_set_token(chat_template *chat_template, const char *name, const char *text, tn_error *err)
{
    naming job = {chat_template, name, text};
    if (!utf8_is_valid(name, strlen(name)) || !utf8_is_valid(text, strlen(text)))
        return tn_fail(err, TN_E_ARGUMENT, "chat template: the text of %.40s is not valid UTF-8", name);
    chat_template->state.err = err;
    tn_status status = jinja_state_run(&chat_template->state, add_token, &job);
    chat_template->state.err = NULL;
    return status;
}

tn_status chat_template_set_tool_use(chat_template *chat_template, const char *text, uint64_t n_text, tn_error *err)
{
    TN_ASSERT(chat_template->body && !chat_template->tool_body);
    return compile_text(chat_template, text, n_text, err);
}

tn_status chat_template_create(const char *text, uint64_t n_text, const char *bos, const char *eos,
                               chat_template **ret_template, tn_error *err)
{
    chat_template *made = calloc(1, sizeof *made);
    if (!made)
        return tn_fail(err, TN_E_MEMORY, "chat template: out of memory");
    jinja_state_init(&made->state, &jinja_limits_default, err);
    tn_status status = compile_text(made, text, n_text, err);
    if (status == TN_OK)
        status = chat_template_set_token(made, "bos_token", bos, err);
    if (status == TN_OK)
        status = chat_template_set_token(made, "eos_token", eos, err);
    if (status != TN_OK) {
        chat_template_destroy(made);
        return status;
    }
    *ret_template = made;
    return TN_OK;
}

void chat_template_destroy(chat_template *chat_template)
{
    if (!chat_template)
        return;
    jinja_state_finish(&chat_template->state);
    free(chat_template);
}

static jinja_value value_of_json(jinja_state *state, const json_t *json);

static jinja_value dict_of_json(jinja_state *state, const json_t *json)
{
    jinja_value dict = jinja_dict_new(state, JINJA_DICT, json_object_size(json));
    const char *key;
    size_t n_key;
    json_t *member;
    json_object_keylen_foreach((json_t *)json, key, n_key, member)
        jinja_dict_append(state, dict.as.dict, jinja_text(state, key, n_key), value_of_json(state, member));
    return dict;
}

static jinja_value list_of_json(jinja_state *state, const json_t *json)
{
    size_t count = json_array_size(json);
    jinja_value *items = JINJA_ARRAY(state, jinja_value, count);
    for (size_t i = 0; i < count; i++)
        items[i] = value_of_json(state, json_array_get(json, i));
    return jinja_list_of(state, JINJA_LIST, items, count);
}

/* Borrows the texts of json, which outlives the rendering. */
static jinja_value value_of_json(jinja_state *state, const json_t *json)
{
    jinja_value value = jinja_none();
    jinja_depth_enter(state);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        value = dict_of_json(state, json);
        break;
    case JSON_ARRAY:
        value = list_of_json(state, json);
        break;
    case JSON_STRING:
        value = jinja_text(state, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        value = jinja_integer(json_integer_value(json));
        break;
    case JSON_REAL:
        value = jinja_real(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        value = jinja_bool(json_is_true(json));
        break;
    case JSON_NULL:
        break;
    }
    jinja_depth_leave(state);
    return value;
}

typedef struct rendering {
    const chat_template *from;
    const json_t *request;
} rendering;

static void variable_set(jinja_state *state, jinja_scope *scope, const char *name, jinja_value value)
{
    jinja_scope_set(state, scope, jinja_text(state, name, strlen(name)).as.string, value);
}

static jinja_value member_of(jinja_state *state, const json_t *request, const char *name)
{
    const json_t *member = json_object_get(request, name);
    return member ? value_of_json(state, member) : jinja_none();
}

static void render(jinja_state *state, void *argument)
{
    const rendering *job = argument;
    jinja_scope *scope = jinja_scope_new(state, NULL);
    const json_t *prompt = json_object_get(job->request, "add_generation_prompt");
    variable_set(state, scope, "messages", member_of(state, job->request, "messages"));
    variable_set(state, scope, "tools", member_of(state, job->request, "tools"));
    variable_set(state, scope, "documents", member_of(state, job->request, "documents"));
    variable_set(state, scope, "add_generation_prompt", jinja_bool(prompt && json_is_true(prompt)));
    for (const token_variable *token = job->from->tokens; token; token = token->next)
        jinja_scope_set(state, scope, token->name, token->text);

    const char *key;
    json_t *member;
    json_object_foreach(json_object_get(job->request, "chat_template_kwargs"), key, member)
    {
        jinja_work(state, 16);
        variable_set(state, scope, key, value_of_json(state, member));
    }
    state->out = jinja_buffer_open(state);
    const json_t *tools = json_object_get(job->request, "tools");
    bool tool_use = job->from->tool_body && tools && !json_is_null(tools);
    jinja_exec(state, scope, tool_use ? job->from->tool_body : job->from->body);
}

/* The types of the fields; their contents are the template's business. */
static tn_status request_check(const json_t *request, tn_error *err)
{
    if (!json_is_object(request))
        return tn_fail(err, TN_E_ARGUMENT, "chat request: expected a JSON object");
    if (!json_is_array(json_object_get(request, "messages")))
        return tn_fail(err, TN_E_ARGUMENT, "chat request: 'messages' must be an array");
    size_t index;
    const json_t *message;
    json_array_foreach(json_object_get(request, "messages"), index, message)
    {
        if (!json_is_object(message))
            return tn_fail(err, TN_E_ARGUMENT, "chat request: 'messages[%zu]' must be an object", index);
    }
    static const char *const lists[] = {"tools", "documents"};
    for (size_t i = 0; i < 2; i++) {
        const json_t *list = json_object_get(request, lists[i]);
        if (list && !json_is_array(list) && !json_is_null(list))
            return tn_fail(err, TN_E_ARGUMENT, "chat request: '%s' must be an array or null", lists[i]);
    }
    const json_t *prompt = json_object_get(request, "add_generation_prompt");
    if (prompt && !json_is_boolean(prompt))
        return tn_fail(err, TN_E_ARGUMENT, "chat request: 'add_generation_prompt' must be true or false");
    const json_t *more = json_object_get(request, "chat_template_kwargs");
    if (more && !json_is_object(more) && !json_is_null(more))
        return tn_fail(err, TN_E_ARGUMENT, "chat request: 'chat_template_kwargs' must be an object");
    static const char *const own[] = {"messages", "tools", "documents"};
    for (size_t i = 0; i < 3; i++)
        if (json_object_get(more, own[i]))
            return tn_fail(err, TN_E_ARGUMENT,
                           "chat request: 'chat_template_kwargs' cannot hold '%s'; pass it beside, at the top", own[i]);
    return TN_OK;
}

static tn_status request_render(const chat_template *from, const json_t *request, const struct tm *now, char **ret_text,
                                uint64_t *ret_bytes, tn_error *err)
{
    jinja_state state;
    rendering job = {from, request};
    jinja_state_init(&state, &jinja_limits_default, err);
    state.now = *now;
    tn_status status = jinja_state_run(&state, render, &job);
    if (status == TN_OK) {
        char *text = malloc(state.out->count + 1);
        if (!text) {
            status = tn_fail(err, TN_E_MEMORY, "chat template: out of memory");
        } else {
            if (state.out->count)
                memcpy(text, state.out->bytes, state.out->count);
            text[state.out->count] = 0;
            *ret_text = text;
            *ret_bytes = state.out->count;
        }
    }
    jinja_state_finish(&state);
    return status;
}

tn_status chat_template_render_at(const chat_template *chat_template, const char *json, uint64_t n_json,
                                  const struct tm *now, char **ret_text, uint64_t *ret_bytes, tn_error *err)
{
    json_error_t where;
    json_t *request = json_loadb(json, n_json, JSON_ALLOW_NUL, &where);
    if (!request)
        return tn_fail(err, TN_E_ARGUMENT, "chat request: line %d, column %d: %s", where.line, where.column,
                       where.text);
    tn_status status = request_check(request, err);
    if (status == TN_OK)
        status = request_render(chat_template, request, now, ret_text, ret_bytes, err);
    json_decref(request);
    return status;
}

tn_status chat_template_render(const chat_template *chat_template, const char *json, uint64_t n_json, char **ret_text,
                               uint64_t *ret_bytes, tn_error *err)
{
    time_t seconds = time(NULL);
    struct tm now = {0};
    localtime_r(&seconds, &now);
    return chat_template_render_at(chat_template, json, n_json, &now, ret_text, ret_bytes, err);
}
