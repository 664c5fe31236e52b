/* prompt_input.c: nothing is cut: a prompt that does not fit the context is refused with both numbers. */
#include "prompt_input.h"

#include "base/size.h"

#include <inttypes.h>
#include <string.h>

tn_status prompt_fail_length(uint64_t count, uint64_t most, const char *param, api_error *error)
{
    return api_fail(error, 400, "context_length_exceeded", param,
                    "the prompt has %" PRIu64 " tokens, but the model's context leaves room for %" PRIu64 " at most",
                    count, most);
}

tn_status prompt_check_bytes(const http_model *model, uint64_t bytes, uint64_t most, const char *param,
                             api_error *error)
{
    uint64_t bytes_max;
    if (!size_mul(most, model->token_bytes_max, &bytes_max) || bytes <= bytes_max)
        return TN_OK;
    return api_fail(error, 400, "context_length_exceeded", param,
                    "the prompt has %" PRIu64 " bytes, more than %" PRIu64 " tokens could hold", bytes, most);
}

tn_status prompt_encode(const http_model *model, const char *text, size_t bytes, uint32_t flags, uint64_t most,
                        const char *param, int32_t **ret_ids, uint64_t *ret_count, api_error *error)
{
    uint64_t capacity = bytes / 3 + 16; /* a token of ordinary text has about four bytes */
    int32_t *ids = NULL;

    tn_status fits = prompt_check_bytes(model, bytes, most, param, error);
    if (fits != TN_OK)
        return fits;
    for (;;) {
        int32_t *grown = realloc(ids, capacity * sizeof *ids);
        if (!grown) {
            free(ids);
            return api_fail_status(error, TN_E_MEMORY, "out of memory for the prompt's tokens", 1);
        }
        ids = grown;
        uint64_t count = capacity;
        tn_error err = TN_ERROR_INIT;
        tn_status status = model->tok_api->encode(model->tok, text, bytes, flags, ids, &count, &err);
        if (status == TN_OK && count <= most) {
            *ret_ids = ids;
            *ret_count = count;
            return TN_OK;
        }
        if (status == TN_E_MEMORY && count > capacity && count <= most) {
            capacity = count;
            continue;
        }
        free(ids);
        if (status == TN_OK || (status == TN_E_MEMORY && count > capacity))
            return prompt_fail_length(count, most, param, error);
        return api_fail_status(error, status, err.msg, 1);
    }
}

tn_status prompt_read_ids(const http_model *model, const json_t *list, const char *param, int32_t **ret_ids,
                          uint64_t *ret_count, api_error *error)
{
    size_t count = json_array_size(list);
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    if (!ids)
        return api_fail_status(error, TN_E_MEMORY, "out of memory for the prompt's tokens", 1);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id >= (json_int_t)model->info.vocab_size) {
            free(ids);
            return api_fail_field(error, param, "'%s' must hold token ids from 0 to %u; entry %zu is none", param,
                                  model->info.vocab_size - 1, i);
        }
        ids[i] = (int32_t)id;
    }
    *ret_ids = ids;
    *ret_count = count;
    return TN_OK;
}

void prompt_decode(const http_model *model, const int32_t *ids, uint64_t count, byte_buffer *out)
{
    for (uint64_t i = 0; i < count; i++)
        token_append(model, ids[i], i == 0, false, out);
}

tn_status prompt_fit(const http_model *model, const call_params *params, uint64_t default_tokens, const char *param,
                     call_prompt *prompt, api_error *error)
{
    uint64_t context = model->info.max_model_len;
    bool scores_only = params->max_tokens == 0 && (params->echo || params->prompt_logprobs != PARAM_UNSET);
    bool engine_scores = scores_only && (params->prompt_logprobs != PARAM_UNSET || params->logprobs != PARAM_UNSET);
    uint64_t most = engine_scores ? context : context - 1;

    if (params->max_tokens == 0 && !scores_only)
        return api_fail_field(error, "max_tokens", "'max_tokens' must be at least 1");
    if (prompt->token_count == 0)
        return api_fail_field(error, param, "'%s' is empty: it gives no tokens", param);
    if (prompt->token_count > most)
        return prompt_fail_length(prompt->token_count, most, param, error);
    uint64_t room = context - prompt->token_count;
    uint64_t wanted = default_tokens < room ? default_tokens : room;
    if (scores_only)
        wanted = engine_scores ? 0 : 1; /* echo alone: the engine must run, its one token is not shown */
    else if (params->max_tokens != PARAM_UNSET)
        wanted = (uint64_t)params->max_tokens;
    if (wanted > room)
        return api_fail(error, 400, "context_length_exceeded", "max_tokens",
                        "the prompt's %" PRIu64 " tokens and 'max_tokens' = %" PRIu64
                        " exceed the model's context of %" PRIu64,
                        prompt->token_count, wanted, context);
    if (!scores_only && (uint64_t)params->min_tokens > wanted)
        return api_fail_field(error, "min_tokens", "'min_tokens' exceeds the %" PRIu64 " tokens that may be generated",
                              wanted);
    prompt->max_new = (uint32_t)wanted;
    return TN_OK;
}
