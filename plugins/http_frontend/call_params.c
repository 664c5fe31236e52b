/* call_params.c: the shared fields of /v1/chat/completions and /v1/completions, under vLLM's names.
 *
 * Ranges keep the sampler's float arithmetic finite: a temperature of 1e-38 would overflow logits / temperature.
 */
#include "call_params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static tn_status read_seed(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    if (!json_is_integer(value))
        return api_fail_field(error, field->name, "'seed' must be an integer");
    params->seed = json_integer_value(value);
    params->has_seed = true;
    return TN_OK;
}

static tn_status read_temperature(const field_rule *field, json_t *value, void *into, api_error *error)
{
    tn_status status = field_float(field, value, into, error);
    float temperature = ((call_params *)into)->temperature;
    if (status == TN_OK && temperature > 0.0f && temperature < 1e-4f)
        return api_fail_field(error, field->name, "'temperature' must be 0 (greedy) or at least 0.0001");
    return status;
}

static tn_status read_top_p(const field_rule *field, json_t *value, void *into, api_error *error)
{
    tn_status status = field_float(field, value, into, error);
    if (status == TN_OK && ((call_params *)into)->top_p <= 0.0f)
        return api_fail_field(error, field->name, "'top_p' must be above 0 and at most 1");
    return status;
}

static tn_status read_top_k(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    tn_status status = field_integer(field, value, into, error);
    if (status == TN_OK && params->top_k < 0) /* -1 is the older spelling of "all" */
        params->top_k = 0;
    return status;
}

static tn_status read_stop(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;

    if (!json_is_array(value) && !json_is_string(value))
        return api_fail_field(error, field->name, "'stop' must be a string or a list of strings");
    if (count > params->limits->max_stop)
        return api_fail_field(error, field->name, "'stop' may hold at most %u strings, not %zu",
                              params->limits->max_stop, count);
    params->stop = calloc(count + 1, sizeof *params->stop);
    if (!params->stop)
        return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_string(item) || json_string_length(item) == 0)
            return api_fail_field(error, field->name, "'stop' must hold strings that are not empty");
        if (json_string_length(item) > params->limits->max_stop_bytes)
            return api_fail_field(error, field->name, "a string in 'stop' may have at most %u bytes, not %zu",
                                  params->limits->max_stop_bytes, json_string_length(item));
        params->stop[params->stop_count++] = json_string_value(item);
    }
    return TN_OK;
}

static bool is_token(const call_params *params, json_int_t id)
{
    return id >= 0 && id < (json_int_t)params->limits->vocab_size;
}

/* A list of token ids, at most `most` long, into a new array. */
static tn_status read_tokens(const field_rule *field, json_t *value, const call_params *params, size_t most,
                             int32_t **ret_ids, uint32_t *ret_count, api_error *error)
{
    if (!json_is_array(value))
        return api_fail_field(error, field->name, "'%s' must be a list of token ids", field->name);
    size_t count = json_array_size(value);
    if (count > most)
        return api_fail_field(error, field->name, "'%s' may hold at most %zu ids, not %zu", field->name, most, count);
    int32_t *ids = calloc(count + 1, sizeof *ids);
    if (!ids)
        return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || !is_token(params, json_integer_value(item))) {
            free(ids);
            return api_fail_field(error, field->name, "'%s' must hold token ids from 0 to %u", field->name,
                                  params->limits->vocab_size - 1);
        }
        ids[i] = (int32_t)json_integer_value(item);
    }
    *ret_ids = ids;
    *ret_count = (uint32_t)count;
    return TN_OK;
}

static tn_status read_stop_tokens(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    return read_tokens(field, value, params, params->limits->max_stop_tokens, &params->stop_token,
                       &params->stop_token_count, error);
}

static tn_status read_allowed(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    tn_status status =
        read_tokens(field, value, params, params->limits->vocab_size, &params->allowed, &params->allowed_count, error);
    if (status == TN_OK && params->allowed_count == 0)
        return api_fail_field(error, field->name, "'allowed_token_ids' must not be empty");
    return status;
}

/* "123" to 123; false for anything but plain digits of a token id, in the one spelling: "7" and "07" would be two
 * biases of one token. */
static bool parse_token(const call_params *params, const char *text, int32_t *ret_id)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != '\0' || (digits > 1 && text[0] == '0'))
        return false;
    long id = strtol(text, NULL, 10);
    if (!is_token(params, id))
        return false;
    *ret_id = (int32_t)id;
    return true;
}

static tn_status read_bias(const field_rule *field, json_t *value, void *into, api_error *error)
{
    call_params *params = into;
    const char *key;
    json_t *item;

    if (!json_is_object(value))
        return api_fail_field(error, field->name, "'logit_bias' must map token ids to numbers");
    if (json_object_size(value) > params->limits->max_bias)
        return api_fail_field(error, field->name, "'logit_bias' may hold at most %u tokens, not %zu",
                              params->limits->max_bias, json_object_size(value));
    params->bias = calloc(json_object_size(value) + 1, sizeof *params->bias);
    if (!params->bias)
        return api_fail_status(error, TN_E_MEMORY, NULL, 1);
    json_object_foreach(value, key, item)
    {
        tn_bias *bias = &params->bias[params->bias_count];
        if (!parse_token(params, key, &bias->token))
            return api_fail_field(error, field->name, "'%.32s' in 'logit_bias' is not a token id from 0 to %u", key,
                                  params->limits->vocab_size - 1);
        double number = json_is_number(item) ? json_number_value(item) : NAN;
        if (!(number >= -100.0 && number <= 100.0))
            return api_fail_field(error, field->name, "'logit_bias' of token %s must be a number from -100 to 100",
                                  key);
        bias->value = (float)number;
        params->bias_count++;
    }
    return TN_OK;
}

static tn_status read_stream_options(const field_rule *of, json_t *value, void *into, api_error *error)
{
    static const field_rule fields[] = {
        {"include_usage", field_bool, offsetof(call_params, include_usage), 0, 0},
        {"continuous_usage_stats", field_bool, offsetof(call_params, continuous_usage), 0, 0},
        {"include_obfuscation", field_unsupported, 0, 0, 0},
    };
    static const field_table table = {fields, sizeof fields / sizeof *fields};

    if (!json_is_object(value))
        return api_fail_field(error, of->name, "'stream_options' must be an object");
    return fields_read(value, &table, 1, into, error);
}

static tn_status read_request_id(const field_rule *field, json_t *value, void *into, api_error *error)
{
    tn_status status = field_string(field, value, into, error);
    const char *id = ((call_params *)into)->request_id;
    if (status == TN_OK && id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] != '\0')
        return api_fail_field(error, field->name, "'request_id' may hold letters, digits, '-', '_' and '.' only");
    return status;
}

#define AT(member) offsetof(call_params, member)
static const field_rule shared_fields[] = {
    {"model", field_string, AT(model), 0, 0},
    {"temperature", read_temperature, AT(temperature), 0, 100},
    {"top_p", read_top_p, AT(top_p), 0, 1},
    {"top_k", read_top_k, AT(top_k), -1, INT32_MAX},
    {"min_p", field_float, AT(min_p), 0, 1},
    {"seed", read_seed, 0, 0, 0},
    {"repetition_penalty", field_float, AT(repetition), 0.01, 100},
    {"presence_penalty", field_float, AT(presence), -2, 2},
    {"frequency_penalty", field_float, AT(frequency), -2, 2},
    {"logit_bias", read_bias, 0, 0, 0},
    {"allowed_token_ids", read_allowed, 0, 0, 0},
    {"stop", read_stop, 0, 0, 0},
    {"stop_token_ids", read_stop_tokens, 0, 0, 0},
    {"include_stop_str_in_output", field_bool, AT(keep_stop), 0, 0},
    {"ignore_eos", field_bool, AT(ignore_eos), 0, 0},
    {"min_tokens", field_integer, AT(min_tokens), 0, INT32_MAX},
    {"max_tokens", field_integer, AT(max_tokens), 0, INT32_MAX},
    {"n", field_integer, AT(n), 1, INT32_MAX},
    {"skip_special_tokens", field_bool, AT(skip_special), 0, 0},
    {"add_special_tokens", field_bool, AT(add_special), 0, 0},
    {"prompt_logprobs", field_integer, AT(prompt_logprobs), 0, INT32_MAX},
    {"cache_salt", field_string, AT(cache_salt), 1, 1024},
    {"priority", field_integer, AT(priority), INT32_MIN, INT32_MAX},
    {"request_id", read_request_id, AT(request_id), 1, 64},
    {"stream", field_bool, AT(stream), 0, 0},
    {"stream_options", read_stream_options, 0, 0, 0},
    {"return_token_ids", field_bool, AT(return_token_ids), 0, 0},
    {"return_tokens_as_token_ids", field_bool, AT(tokens_as_ids), 0, 0},
    {"response_format", grammar_field_response_format, AT(grammar), 0, 0},
    {"structured_outputs", grammar_field_structured_outputs, AT(grammar), 0, 0},
    /* Labels and hints: nothing in the answer depends on them. */
    {"user", field_harmless, 0, 0, 0},
    {"metadata", field_harmless, 0, 0, 0},
    {"service_tier", field_harmless, 0, 0, 0},
    {"safety_identifier", field_harmless, 0, 0, 0},
    {"prompt_cache_key", field_harmless, 0, 0, 0},
    {"prompt_cache_retention", field_harmless, 0, 0, 0},
    {"session_id", field_harmless, 0, 0, 0},
    /* Known, and refused unless neutral. */
    {"store", field_unsupported, 0, 0, 0},
    {"use_beam_search", field_unsupported, 0, 0, 0},
    {"length_penalty", field_only_one, 0, 0, 0},
    {"spaces_between_special_tokens", field_only_true, 0, 0, 0},
    {"truncate_prompt_tokens", field_unsupported, 0, 0, 0},
    {"truncation_side", field_unsupported, 0, 0, 0},
    {"bad_words", field_unsupported, 0, 0, 0},
    {"logprob_token_ids", field_unsupported, 0, 0, 0},
    {"thinking_token_budget", field_unsupported, 0, 0, 0},
    {"guided_json", field_unsupported, 0, 0, 0},
    {"guided_regex", field_unsupported, 0, 0, 0},
    {"guided_choice", field_unsupported, 0, 0, 0},
    {"guided_grammar", field_unsupported, 0, 0, 0},
    {"logits_processors", field_unsupported, 0, 0, 0},
    {"repetition_detection", field_unsupported, 0, 0, 0},
    {"kv_transfer_params", field_unsupported, 0, 0, 0},
    {"ec_transfer_params", field_unsupported, 0, 0, 0},
    {"routed_experts_prompt_start", field_unsupported, 0, 0, 0},
    {"stream_interval", field_only_one, 0, 0, 0},
    {"vllm_xargs", field_unsupported, 0, 0, 0},
};
#undef AT
const field_table call_params_fields = {shared_fields, sizeof shared_fields / sizeof *shared_fields};

void call_params_init(call_params *params, const tn_engine_info *limits)
{
    *params = (call_params){.limits = limits,
                            .temperature = limits->defaults.temperature,
                            .top_p = limits->defaults.top_p,
                            .min_p = limits->defaults.min_p,
                            .top_k = limits->defaults.top_k,
                            .repetition = limits->defaults.repetition,
                            .n = 1,
                            .max_tokens = PARAM_UNSET,
                            .max_completion_tokens = PARAM_UNSET,
                            .logprobs = PARAM_UNSET,
                            .prompt_logprobs = PARAM_UNSET,
                            .skip_special = true,
                            .add_generation_prompt = true};
}

void call_params_finish(call_params *params)
{
    free(params->stop);
    free(params->stop_token);
    free(params->allowed);
    free(params->bias);
    answer_grammar_finish(&params->grammar);
    params->stop = NULL;
    params->stop_token = params->allowed = NULL;
    params->bias = NULL;
}

/* Whether the engine would heed the grammar. */
static tn_status check_grammar(const call_params *params, api_error *error)
{
    const answer_grammar *grammar = &params->grammar;
    const tn_engine_info *limits = params->limits;
    bool told = TN_HAS(limits, tn_engine_info, max_grammar_bytes);

    if (grammar->kind == TN_GRAMMAR_NONE)
        return TN_OK;
    if (!told || !(limits->grammars >> grammar->kind & 1))
        return api_fail(error, 400, "unsupported_field", grammar->field, "'%s' is not supported by this engine",
                        grammar->field);
    size_t bytes = grammar->text ? strlen(grammar->text) : 0;
    if (bytes > limits->max_grammar_bytes)
        return api_fail_field(error, grammar->field, "'%s' has %zu bytes; this engine takes at most %u",
                              grammar->field, bytes, limits->max_grammar_bytes);
    return TN_OK;
}

static tn_status check_logprobs(const call_params *params, api_error *error)
{
    uint32_t most = params->limits->max_top_logprobs;
    if (params->logprobs > most)
        return api_fail_field(error, "logprobs", "'logprobs' must be between 0 and %u, not %lld", most,
                              (long long)params->logprobs);
    if (params->top_logprobs > most)
        return api_fail_field(error, "top_logprobs", "'top_logprobs' must be between 0 and %u, not %lld", most,
                              (long long)params->top_logprobs);
    if (params->prompt_logprobs > most)
        return api_fail_field(error, "prompt_logprobs", "'prompt_logprobs' must be between 0 and %u, not %lld", most,
                              (long long)params->prompt_logprobs);
    if (params->prompt_logprobs != PARAM_UNSET && params->stream)
        return api_fail_field(error, "prompt_logprobs", "'prompt_logprobs' cannot be streamed: leave out 'stream'");
    return TN_OK;
}

tn_status call_params_check(call_params *params, api_error *error)
{
    if (params->n > params->limits->max_choices)
        return api_fail_field(error, "n", "'n' must be between 1 and %u, not %lld", params->limits->max_choices,
                              (long long)params->n);
    if (params->max_completion_tokens != PARAM_UNSET) {
        if (params->max_tokens != PARAM_UNSET && params->max_tokens != params->max_completion_tokens)
            return api_fail_field(error, "max_tokens",
                                  "'max_tokens' and 'max_completion_tokens' contradict each other");
        params->max_tokens = params->max_completion_tokens;
    }
    if (params->max_tokens != PARAM_UNSET && params->min_tokens > params->max_tokens)
        return api_fail_field(error, "min_tokens", "'min_tokens' must not exceed 'max_tokens'");
    if ((params->include_usage || params->continuous_usage) && !params->stream)
        return api_fail_field(error, "stream_options", "'stream_options' needs 'stream': true");
    tn_status status = check_grammar(params, error);
    return status == TN_OK ? check_logprobs(params, error) : status;
}

void call_params_request(const call_params *params, tn_request *ret_request)
{
    uint32_t flags = 0;
    int64_t top = 0;

    if (params->has_seed)
        flags |= TN_REQ_SEED;
    if (params->ignore_eos)
        flags |= TN_REQ_IGNORE_EOS;
    if (params->keep_stop)
        flags |= TN_REQ_KEEP_STOP;
    if (!params->skip_special)
        flags |= TN_REQ_SHOW_SPECIAL;
    if (params->logprobs != PARAM_UNSET) {
        flags |= TN_REQ_LOGPROBS;
        top = params->logprobs > params->top_logprobs ? params->logprobs : params->top_logprobs;
    }
    if (params->prompt_logprobs != PARAM_UNSET || (params->echo && params->logprobs != PARAM_UNSET))
        flags |= TN_REQ_PROMPT_LOGPROBS;
    if (params->prompt_logprobs > top)
        top = params->prompt_logprobs;

    *ret_request = (tn_request){.struct_size = sizeof *ret_request,
                                .flags = flags,
                                .min_new = (uint32_t)params->min_tokens,
                                .n_choices = (uint32_t)params->n,
                                .priority = (int32_t)params->priority,
                                .temperature = params->temperature,
                                .top_p = params->top_p,
                                .min_p = params->min_p,
                                .repetition = params->repetition,
                                .presence = params->presence,
                                .frequency = params->frequency,
                                .top_k = (uint32_t)params->top_k,
                                .top_logprobs = (uint32_t)top,
                                .seed = (uint64_t)params->seed,
                                .stop = params->stop,
                                .stop_token = params->stop_token,
                                .bias = params->bias,
                                .allowed = params->allowed,
                                .stop_count = params->stop_count,
                                .stop_token_count = params->stop_token_count,
                                .bias_count = params->bias_count,
                                .allowed_count = params->allowed_count,
                                .cache_salt = params->cache_salt,
                                .grammar = params->grammar.text,
                                .grammar_kind = params->grammar.kind,
                                .grammar_bytes =
                                    params->grammar.text ? (uint32_t)strlen(params->grammar.text) : 0};
}
