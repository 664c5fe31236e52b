/* chat_prompt.h: OpenAI messages to prompt tokens through the model's chat template. */
#ifndef HTTP_CHAT_PROMPT_H
#define HTTP_CHAT_PROMPT_H

#include "prompt_input.h"

/* Renders params' messages, tools and template arguments, then tokenises; texts of more than `most` tokens are refused.
 * Lists of text parts become one string; other parts are refused by name. *ret_ids is malloc'ed. */
tn_status chat_prompt_encode(const http_model *model, const call_params *params, uint64_t most, int32_t **ret_ids,
                             uint64_t *ret_count, api_error *error);

#endif
