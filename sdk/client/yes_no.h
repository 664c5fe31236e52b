/* sdk/client/yes_no.h: the tokens that say yes and no in a model's vocabulary, so that an answer can be nothing else.
 */
#ifndef CLIENT_YES_NO_H
#define CLIENT_YES_NO_H

#include "client/call.h"
#include "client/question.h"

enum { YES_NO_SPELLINGS = 8, YES_NO_TOKENS_MAX = 2 * YES_NO_SPELLINGS };

typedef struct yes_no {
    int32_t id[YES_NO_TOKENS_MAX];
    bool is_yes[YES_NO_TOKENS_MAX];
    uint32_t count; /* 0: not learnt */
} yes_no;

/* Asks /tokenize for every spelling. Errors: what the server says; TN_E_UNSUPPORTED when the two cannot be told apart
 * by one token; TN_E_CANCELLED. */
tn_status yes_no_learn(request_window *window, const char *service, client_waiter *wait, void *context,
                       yes_no *ret_tokens, tn_error *err);
/* The options' fields, and: one token, one of these; greedy unless they say otherwise. */
tn_status yes_no_constrain(const yes_no *tokens, run_options *options, tn_error *err);
/* *ret_yes from an answer to a question under these options; false if it holds neither. */
bool yes_no_read(const yes_no *tokens, const client_answer *answer, bool *ret_yes);

#endif
