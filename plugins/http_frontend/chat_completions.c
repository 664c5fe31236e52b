/* chat_completions.c: fields that only a chat has. Tools are shown to the template; calls the model makes stay text. */
#include "chat_completions.h"

#include "chat_prompt.h"

#include <string.h>

static tn_status read_logprobs(const field_rule *field, json_t *value, void *into, api_error *error)
{
    if (!json_is_boolean(value))
        return api_fail_field(error, field->name, "'logprobs' must be true or false; 'top_logprobs' says how many");
    ((call_params *)into)->logprobs = json_is_true(value) ? 0 : PARAM_UNSET;
    return TN_OK;
}

static tn_status read_tool_choice(const field_rule *field, json_t *value, void *into, api_error *error)
{
    const char *choice = json_string_value(value);
    ((call_params *)into)->hide_tools = choice && strcmp(choice, "none") == 0;
    if (choice && (strcmp(choice, "auto") == 0 || strcmp(choice, "none") == 0))
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name,
                    "'tool_choice' can be 'auto' or 'none' on this server: a call cannot be forced");
}

static tn_status read_modalities(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)into;
    const char *only = json_string_value(json_array_get(value, 0));
    if (json_array_size(value) == 1 && only && strcmp(only, "text") == 0)
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name, "'modalities' can only be [\"text\"] on this server");
}

#define AT(member) offsetof(call_params, member)
static const field_rule chat_fields[] = {
    {"messages", field_array, AT(messages), 0, 0},
    {"max_completion_tokens", field_integer, AT(max_completion_tokens), 1, INT32_MAX},
    {"logprobs", read_logprobs, 0, 0, 0},
    {"top_logprobs", field_integer, AT(top_logprobs), 0, INT32_MAX},
    {"tools", field_array, AT(tools), 0, 0},
    {"tool_choice", read_tool_choice, 0, 0, 0},
    {"parallel_tool_calls", field_only_true, 0, 0, 0},
    {"add_generation_prompt", field_bool, AT(add_generation_prompt), 0, 0},
    {"chat_template_kwargs", field_object, AT(template_kwargs), 0, 0},
    {"reasoning_effort", field_string, AT(reasoning_effort), 1, 32},
    {"include_reasoning", field_only_true, 0, 0, 0},
    {"modalities", read_modalities, 0, 0, 0},
    {"prediction", field_harmless, 0, 0, 0}, /* a speed hint */
    {"echo", field_unsupported, 0, 0, 0},
    {"continue_final_message", field_unsupported, 0, 0, 0},
    {"chat_template", field_unsupported, 0, 0, 0},
    {"documents", field_unsupported, 0, 0, 0},
    {"return_prompt_text", field_unsupported, 0, 0, 0},
    {"functions", field_unsupported, 0, 0, 0},
    {"function_call", field_unsupported, 0, 0, 0},
    {"audio", field_unsupported, 0, 0, 0},
    {"verbosity", field_unsupported, 0, 0, 0},
    {"web_search_options", field_unsupported, 0, 0, 0},
    {"mm_processor_kwargs", field_unsupported, 0, 0, 0},
    {"media_io_kwargs", field_unsupported, 0, 0, 0},
};
#undef AT

static tn_status read_fields(json_t *root, call_params *params, api_error *error)
{
    const field_table tables[] = {{chat_fields, sizeof chat_fields / sizeof *chat_fields}, call_params_fields};

    tn_status status = fields_read(root, tables, 2, params, error);
    if (status == TN_OK)
        status = call_params_check(params, error);
    if (status == TN_OK && params->top_logprobs > 0 && params->logprobs == PARAM_UNSET)
        return api_fail_field(error, "top_logprobs", "'top_logprobs' needs 'logprobs': true");
    return status;
}

tn_status chat_completions_prepare(http_model *model, json_t *root, call_params *params, http_call **ret_call,
                                   api_error *error)
{
    int32_t *tokens = NULL;
    uint64_t count = 0;

    tn_status status = read_fields(root, params, error);
    if (status == TN_OK)
        status = chat_prompt_encode(model, params, model->info.max_model_len, &tokens, &count, error);
    if (status != TN_OK)
        return status;
    http_call *call = call_create(model, CALL_CHAT, params, 1);
    if (!call) {
        free(tokens);
        return api_fail_status(error, TN_E_MEMORY, "out of memory for the request", 1);
    }
    call->prompts[0].tokens = tokens;
    call->prompts[0].token_count = count;
    uint32_t most = model->info.defaults.max_new ? model->info.defaults.max_new : UINT32_MAX;
    status = prompt_fit(model, params, most, "messages", &call->prompts[0], error);
    if (status != TN_OK) {
        call_destroy(call);
        return status;
    }
    *ret_call = call;
    return TN_OK;
}
