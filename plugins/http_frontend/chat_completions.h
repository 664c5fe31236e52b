/* chat_completions.h: the POST body of /v1/chat/completions to a call. */
#ifndef HTTP_CHAT_COMPLETIONS_H
#define HTTP_CHAT_COMPLETIONS_H

#include "call.h"

/* Reads the body, renders and tokenises; *ret_call is ready for call_submit with *params (finish it, also on failure).
 */
tn_status chat_completions_prepare(http_model *model, json_t *root, call_params *params, http_call **ret_call,
                                   api_error *error);

#endif
