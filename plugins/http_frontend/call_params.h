/* call_params.h: what a generation request asks for, as read from its body. Defaults are vLLM's: where
 * the model's author has set one, that, else neutral.
 *
 * Strings and JSON values are borrowed from the body's root, which must outlive this; arrays are owned.
 */
#ifndef HTTP_CALL_PARAMS_H
#define HTTP_CALL_PARAMS_H

#include "field.h"
#include "grammar_field.h"
#include "tenon/engine.h"

enum { PARAM_UNSET = -1 };

typedef struct call_params {
    const tn_engine_info *limits; /* borrowed; set before reading */

    const char *model, *cache_salt, *request_id;
    float temperature, top_p, min_p, repetition, presence, frequency;
    int64_t top_k, n, max_tokens, max_completion_tokens, min_tokens, priority, seed;
    int64_t logprobs; /* completions: alternatives; chat: 0 when asked for; PARAM_UNSET: none */
    int64_t top_logprobs, prompt_logprobs;
    bool has_seed, ignore_eos, keep_stop, skip_special, add_special, add_generation_prompt;
    bool stream, include_usage, continuous_usage, echo, return_token_ids, tokens_as_ids;

    const char **stop;
    int32_t *stop_token, *allowed;
    tn_bias *bias;
    uint32_t stop_count, stop_token_count, allowed_count, bias_count;
    answer_grammar grammar;

    /* Input of one route or the other; NULL if absent. */
    json_t *prompt, *messages, *tools, *template_kwargs;
    bool hide_tools; /* tool_choice "none" */
    const char *reasoning_effort;
} call_params;

void call_params_init(call_params *params, const tn_engine_info *limits);
void call_params_finish(call_params *params);
/* Rules between fields, after all were read. Leaves max_tokens as the one limit, PARAM_UNSET when none was given. */
tn_status call_params_check(call_params *params, api_error *error);
/* The sampling half of an engine request; prompt, max_new and user are left for the caller. Borrows from params. */
void call_params_request(const call_params *params, tn_request *ret_request);

/* The fields that chat and completions share. */
extern const field_table call_params_fields;

#endif
