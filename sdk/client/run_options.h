/* sdk/client/run_options.h: the options JSON of the SQL functions: how to ask, and what to ask for. */
#ifndef CLIENT_RUN_OPTIONS_H
#define CLIENT_RUN_OPTIONS_H

#include "client/request_window.h"

#include <jansson.h>

typedef enum row_fault_rule { ON_ERROR_DETAIL, ON_ERROR_NULL, ON_ERROR_FAIL } row_fault_rule;

typedef struct run_options {
    window_limits limits;    /* window 64, retries 4, timeout_ms 600000, ordered */
    row_fault_rule on_error; /* what a row that fails becomes */
    bool breaker;            /* too many failures among a map's first rows end it */
    bool raw;                /* the prompt goes to the model as it is, without the chat template */
    char *system;            /* owned; what the system says before the prompt; NULL: nothing */
    json_t *fields;          /* owned; what goes into every request: temperature, max_tokens, ... */
} run_options;

window_limits window_limits_default(void);
/* text: a JSON object; NULL or "" is {}. Keys that are no option of ours become fields of the request, where the server
 * refuses what it does not know. Errors: TN_E_ARGUMENT names the key. On failure nothing is to be finished. */
tn_status run_options_parse(const char *text, size_t bytes, row_fault_rule on_error, run_options *ret_options,
                            tn_error *err);
void run_options_finish(run_options *options);
/* Whether an answer to these fields can only be what it was before: greedy, or with a seed. */
bool run_options_repeatable(const run_options *options);

#endif
