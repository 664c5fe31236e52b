/* completions.c: a prompt is a text, a list of texts, a list of token ids, or a list of such lists. */
#include "completions.h"

#include "prompt_input.h"

#include <string.h>

enum { DEFAULT_TOKENS = 16 };
/* Of JSON, as usual: a token's id in a list; a token with its log-probability, and each alternative to it. */
enum { ID_BYTES = 7, SCORE_BYTES = 32 };
#define REPEATED_BYTES_MAX (256ull << 20)

static tn_status read_best_of(const field_rule *field, json_t *value, void *into, api_error *error)
{
    (void)into;
    if (json_is_integer(value) && json_integer_value(value) == 1)
        return TN_OK;
    return api_fail(error, 400, "unsupported_field", field->name,
                    "'best_of' is not supported by this server; ask for 'n' choices and pick one");
}

#define AT(member) offsetof(call_params, member)
static const field_rule completion_fields[] = {
    {"prompt", field_value, AT(prompt), 0, 0},
    {"echo", field_bool, AT(echo), 0, 0},
    {"logprobs", field_integer, AT(logprobs), 0, INT32_MAX},
    {"best_of", read_best_of, 0, 0, 0},
    {"suffix", field_unsupported, 0, 0, 0},
    {"prompt_embeds", field_unsupported, 0, 0, 0},
};
#undef AT

static tn_status read_fields(json_t *root, call_params *params, api_error *error)
{
    const field_table tables[] = {{completion_fields, sizeof completion_fields / sizeof *completion_fields},
                                  call_params_fields};

    params->add_special = true;
    tn_status status = fields_read(root, tables, 2, params, error);
    if (status == TN_OK)
        status = call_params_check(params, error);
    if (status == TN_OK && !params->prompt)
        return api_fail_field(error, "prompt", "'prompt' is required");
    return status;
}

/* Whether the value is one prompt, rather than a list of them. */
static bool is_single(const json_t *prompt)
{
    return json_is_string(prompt) || json_is_integer(json_array_get(prompt, 0));
}

static tn_status read_prompt(http_model *model, const call_params *params, const json_t *value, call_prompt *prompt,
                             api_error *error)
{
    uint32_t flags = TN_ENCODE_PARSE_SPECIAL | (params->add_special ? TN_ENCODE_ADD_SPECIAL : 0);
    tn_status status;

    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        size_t bytes = json_string_length(value);
        status = prompt_encode(model, text, bytes, flags, model->info.max_model_len, "prompt", &prompt->tokens,
                               &prompt->token_count, error);
        if (status != TN_OK)
            return status;
        prompt->bos_added = params->add_special;
        if (params->echo && !(prompt->text = strdup(text)))
            return api_fail_status(error, TN_E_MEMORY, "out of memory for the prompt", 1);
        prompt->text_bytes = params->echo ? bytes : 0;
    } else if (json_is_array(value)) {
        status = prompt_read_ids(model, value, "prompt", &prompt->tokens, &prompt->token_count, error);
        if (status != TN_OK)
            return status;
        byte_buffer text = {0};
        if (params->echo)
            prompt_decode(model, prompt->tokens, prompt->token_count, &text);
        if (text.failed) {
            byte_buffer_finish(&text);
            return api_fail_status(error, TN_E_MEMORY, "out of memory for the prompt", 1);
        }
        prompt->text = text.bytes;
        prompt->text_bytes = text.count;
    } else {
        return api_fail_field(error, "prompt",
                              "'prompt' must be a text, a list of texts, a list of token ids, or a list of such lists");
    }
    return prompt_fit(model, params, DEFAULT_TOKENS, "prompt", prompt, error);
}

/* Every choice repeats what is asked of its prompt: a short request could ask for gigabytes. */
static tn_status check_repeated(const http_call *call, api_error *error)
{
    const uint64_t echoed = call->echo && call->logprobs != PARAM_UNSET ? (uint64_t)call->logprobs + 1 : 0;
    const uint64_t scored = call->prompt_logprobs != PARAM_UNSET ? (uint64_t)call->prompt_logprobs + 1 : 0;
    const uint64_t token_bytes = (echoed + scored) * SCORE_BYTES + (call->return_token_ids ? ID_BYTES : 0);
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < call->prompt_count; i++)
        bytes += call->prompts[i].text_bytes + call->prompts[i].token_count * token_bytes;
    bytes *= call->choices_per_prompt;
    if (bytes <= REPEATED_BYTES_MAX)
        return TN_OK;
    return api_fail_field(error, "n",
                          "the answer would repeat some %llu MiB of the prompts' text, ids and scores, and %llu is the "
                          "most: lower 'n' or 'logprobs', or send fewer prompts in a request",
                          (unsigned long long)(bytes >> 20), REPEATED_BYTES_MAX >> 20);
}

tn_status completions_prepare(http_model *model, json_t *root, call_params *params, http_call **ret_call,
                              api_error *error)
{
    tn_status status = read_fields(root, params, error);
    if (status != TN_OK)
        return status;
    bool single = is_single(params->prompt);
    size_t count = single ? 1 : json_array_size(params->prompt);
    if (count == 0)
        return api_fail_field(
            error, "prompt", json_is_array(params->prompt) ? "'prompt' is empty" : "'prompt' must be a text or a list");
    if (count > model->front->options.max_prompts)
        return api_fail_field(error, "prompt", "'prompt' holds %zu prompts; this server takes %u in one request", count,
                              model->front->options.max_prompts);
    http_call *call = call_create(model, CALL_COMPLETION, params, (uint32_t)count);
    if (!call)
        return api_fail_status(error, TN_E_MEMORY, "out of memory for the request", 1);
    for (size_t i = 0; status == TN_OK && i < count; i++) {
        const json_t *value = single ? params->prompt : json_array_get(params->prompt, i);
        status = read_prompt(model, params, value, &call->prompts[i], error);
    }
    if (status == TN_OK)
        status = check_repeated(call, error);
    if (status != TN_OK) {
        call_destroy(call);
        return status;
    }
    *ret_call = call;
    return TN_OK;
}
