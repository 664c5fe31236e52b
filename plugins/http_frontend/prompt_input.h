/* prompt_input.h: from what a client sent to token ids, within the model's context. */
#ifndef HTTP_PROMPT_INPUT_H
#define HTTP_PROMPT_INPUT_H

#include "call.h"

/* Token ids of a text, malloc'ed. flags: TN_ENCODE_*. Texts of more than `most` tokens are refused, naming param. */
tn_status prompt_encode(const http_model *model, const char *text, size_t bytes, uint32_t flags, uint64_t most,
                        const char *param, int32_t **ret_ids, uint64_t *ret_count, api_error *error);
/* Refuses a text so long that even the longest tokens could not fit it into `most`; tokenising it would only burn time.
 */
tn_status prompt_check_bytes(const http_model *model, uint64_t bytes, uint64_t most, const char *param,
                             api_error *error);
/* 400 context_length_exceeded, with both numbers. */
tn_status prompt_fail_length(uint64_t count, uint64_t most, const char *param, api_error *error);
/* Ids from a JSON list, each within the vocabulary. */
tn_status prompt_read_ids(const http_model *model, const json_t *list, const char *param, int32_t **ret_ids,
                          uint64_t *ret_count, api_error *error);
/* Text of ids, special tokens spelt out. */
void prompt_decode(const http_model *model, const int32_t *ids, uint64_t count, byte_buffer *out);
/* Fills prompt->max_new: params->max_tokens, or default_tokens where the client gave none, never past the context. */
tn_status prompt_fit(const http_model *model, const call_params *params, uint64_t default_tokens, const char *param,
                     call_prompt *prompt, api_error *error);

#endif
