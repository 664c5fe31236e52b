/* sdk/client/question.h: what is asked, as requests. Texts are UTF-8 and may hold NUL bytes.
 *
 * Errors are the row's: TN_E_ARGUMENT (no UTF-8, no JSON) or TN_E_MEMORY. The request's body is owned by the caller,
 * and moved by request_window_add.
 */
#ifndef CLIENT_QUESTION_H
#define CLIENT_QUESTION_H

#include "client/run_options.h"

typedef struct text_span {
    const char *bytes; /* NULL: SQL's NULL */
    size_t count;
} text_span;

/* The prompt as a user's message, or as it is where options say raw. fields: a JSON object that adds to or replaces the
 * options' fields for this row; NULL: none. */
tn_status question_complete(const char *service, text_span prompt, const run_options *options, const json_t *fields,
                            client_request *ret_request, tn_error *err);
/* A prompt whose answer must follow a JSON schema; a server that cannot constrain its answers refuses the request. */
tn_status question_json(const char *service, text_span prompt, text_span schema, run_options *options,
                        client_request *ret_request, tn_error *err);
/* messages: a JSON list of messages. */
tn_status question_chat(const char *service, text_span messages, const run_options *options,
                        client_request *ret_request, tn_error *err);
tn_status question_tokens(const char *service, text_span text, bool add_special, client_request *ret_request,
                          tn_error *err);
tn_status question_embed(const char *service, text_span text, client_request *ret_request, tn_error *err);
tn_status question_models(client_request *ret_request, tn_error *err);

#endif
