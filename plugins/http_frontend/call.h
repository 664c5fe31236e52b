/* call.h: one generation request that reached the engine, from submit to the last byte of its answer.
 *
 * A call has one engine request per prompt and n choices per prompt; choice j of prompt i is choices[i * n + j]. The
 * poller appends to it, libmicrohttpd's threads read from it; front->lock guards every member below `lock line`. Events
 * that arrive after its end find no call and are dropped.
 */
#ifndef HTTP_CALL_H
#define HTTP_CALL_H

#include "call_params.h"
#include "logprobs.h"
#include "model.h"

typedef enum call_kind { CALL_CHAT, CALL_COMPLETION } call_kind;

typedef struct call_prompt {
    int32_t *tokens; /* owned, [token_count]; kept for echo of ids and for return_token_ids */
    uint64_t token_count;
    uint32_t max_new; /* tokens to generate per choice */
    char *text;       /* owned; what echo repeats, NULL without echo */
    size_t text_bytes;
    uint64_t request; /* engine's id; 0 before submit and after DONE */
    uint64_t seed, cached_tokens, generated_tokens;
    bool bos_added;              /* the tokenizer may have put a beginning-of-text token first */
    bool begun;                  /* its opening chunks (role, echo) are out */
    logprob_columns logprobs;    /* of an echoed prompt */
    byte_buffer prompt_logprobs; /* vLLM's list, elements joined by commas */
} call_prompt;

typedef struct call_choice {
    byte_buffer text;      /* not streamed yet; the whole of it otherwise */
    byte_buffer token_ids; /* joined by commas, when asked for */
    logprob_columns logprobs;
    uint32_t finish; /* TN_FINISH_* */
    int32_t stop_token;
    char *stop; /* owned; NULL: none */
} call_choice;

typedef struct http_call {
    tn_front *front;
    struct MHD_Connection *connection;
    call_kind kind;
    bool stream, include_usage, continuous_usage, echo, tokens_as_ids, return_token_ids, skip_special;
    bool skip_text;                                  /* max_tokens = 0: one token is generated, none is shown */
    int64_t logprobs, top_logprobs, prompt_logprobs; /* as in call_params */
    uint32_t choices_per_prompt, prompt_count;
    call_prompt *prompts; /* [prompt_count] */
    call_choice *choices; /* [prompt_count * choices_per_prompt] */
    byte_buffer head;     /* `{"id":...,"choices":[`, shared by all chunks */
    char id[96];
    http_model *model;         /* held */
    const char *model_name;    /* served name, borrowed from the engine */
    const char *grammar_field; /* that is to blame for a grammar; static, NULL: none */
    int64_t created;
    http_peer *peer; /* NULL: unknown; its hang-up goes unnoticed until we write */

    /* lock line */
    uint32_t slot, generation;
    bool suspended; /* the connection waits for us to resume it */
    bool ended;     /* everything has been appended */
    bool aborted;   /* the connection is to be closed without a proper end */
    bool failed;    /* error holds the answer, unless a stream has begun */
    bool taken_up;  /* the engine has begun with a prompt: a stream may begin, too */
    bool streaming; /* it has: what fails from here on is told in it */
    bool touched;   /* on the poller's list of this round */
    uint32_t open_prompts;
    byte_buffer out; /* streaming: bytes for the client; out_read of them are gone */
    size_t out_read;
    size_t opening_bytes; /* most that one prompt has appended at once: nobody could have read in between */
    api_error error;
} http_call;

/* An empty call with arrays for the given shape; NULL without memory. */
http_call *call_create(http_model *model, call_kind kind, const call_params *params, uint32_t prompt_count);
void call_destroy(http_call *call); /* not in the table; NULL is fine */

/* Takes a slot, submits every prompt, and leaves the call in the table. On failure nothing remains in the engine. */
tn_status call_submit(http_call *call, const call_params *params, api_error *error);
/* Leaves the table; what still runs is cancelled. [a libmicrohttpd thread] */
void call_withdraw(http_call *call);
/* Cancels what still runs in the engine; DONE events follow. Under lock. */
void call_cancel(http_call *call);

/* The key carries slot and generation: of a past call it finds nothing. Under lock. */
uint64_t call_key(const http_call *call);
http_call *call_find(tn_front *front, uint64_t key);

/* Suspends the connection unless there is something to do at once. [the connection's libmicrohttpd thread, unlocked] */
void call_wait(http_call *call);
/* True when a suspended connection has a reason to run. Under lock. */
bool call_is_runnable(const http_call *call);

uint64_t call_prompt_tokens(const http_call *call);
uint64_t call_cached_tokens(const http_call *call);
uint64_t call_generated_tokens(const http_call *call);
void call_write_usage(const http_call *call, byte_buffer *out);

#endif
