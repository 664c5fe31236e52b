/* runtime/engine/request.h: one submitted request: a checked copy of what the client asked, and its sequences.
 *
 * One allocation made by submit on the client's thread and freed on the client's thread after the DONE event has been
 * read; in between the loop thread owns it. The copy holds everything that its sequences will ever need (output tokens,
 * held-back text, last events), so the loop thread never allocates for it.
 */
#ifndef ENGINE_REQUEST_H
#define ENGINE_REQUEST_H

#include "engine/carve.h"
#include "engine/engine.h"
#include "engine/sequence.h"
#include "grammar/matcher.h"

#include <stdatomic.h>

/* Lengths that decide how many bytes a request takes. */
typedef struct request_sizes {
    uint32_t prompt, choices, max_new;
    uint32_t stops, stop_bytes, stop_longest, stop_tokens, biases; /* stop_bytes: of all, with terminators */
    uint32_t mask_words, seen, blocks;                             /* blocks: whole ones of a finished sequence */
    uint32_t held_bytes;                                           /* text buffer of a sequence */
    uint32_t grammar_bytes;
    bool penalised, constrained;
} request_sizes;

/* What submit checks against; constant after start. */
typedef struct request_limits {
    const engine_config *config;
    const prefix_cache *cache;
    uint32_t vocab;
    uint32_t can;         /* TN_NEED_* of the backend */
    uint32_t piece_bytes; /* longest token */
    uint32_t end_token_count;
    const int32_t *end_token; /* tokens that end generation */
} request_limits;

typedef struct request {
    tn_client *client;
    uint64_t id, user, seed;
    uint64_t bytes;         /* of this allocation */
    atomic_ullong *account; /* what all requests take together; request_destroy subtracts. NULL: not entered yet */
    uint32_t flags;         /* TN_REQ_* */
    uint32_t max_new, min_new, choice_count, top_logprobs;
    int32_t priority;
    float temperature, top_p, min_p, repetition, presence, frequency;
    uint32_t top_k;
    bool penalised; /* the sampler wants to know the tokens seen */
    bool reads_cache, fills_cache;
    uint32_t need; /* TN_NEED_* of its rows */

    uint32_t prompt_count, seen_count;
    uint32_t stop_count, stop_token_count, bias_count;
    int32_t *prompt;     /* [prompt_count] */
    int32_t *seen;       /* [seen_count] distinct prompt tokens, ascending; empty unless penalised */
    hash128 root;        /* hash of no tokens under the request's salt */
    stop_string *stop;   /* [stop_count] */
    int32_t *stop_token; /* [stop_token_count] */
    tn_bias *bias;       /* [bias_count] */
    uint32_t *mask;      /* [(V + 31) / 32] allowed tokens; NULL: all */
    sequence *sequence;  /* [choice_count] */

    uint32_t grammar_kind, grammar_bytes; /* as asked; TN_GRAMMAR_NONE: any text */
    char *grammar_text;
    grammar *grammar;  /* retained; compiled between submit and the loop */
    tn_status refused; /* not TN_OK: it could not be, and `error` says why */

    atomic_bool cancelled;                     /* set by the client, read by the loop */
    struct request *client_prev, *client_next; /* the client's live requests, under its mutex */
    struct request *submitted_next;            /* of its queue, under the engine's mutex until the loop takes it */

    /* Loop thread only. */
    struct request *live_prev, *live_next;
    bool accepted, forked;
    uint32_t open_count; /* sequences not finished */
    uint32_t scored;     /* prompt rows whose scores have been asked for */
    uint64_t cached_tokens, generated_tokens;
    int64_t submitted_ns, accepted_ns, first_token_ns, last_token_ns;
    event_node accepted_event, done_event;
    char error[sizeof(((tn_error *)0)->msg)]; /* text of the DONE event */
} request;

/* Requests in the order in which they came, each in one queue at most. Zeroed is empty; under the engine's mutex. */
typedef struct request_queue {
    request *first, *last;
} request_queue;

void request_queue_add(request_queue *queue, request *request);
request *request_queue_take(request_queue *queue); /* the oldest; NULL: none */

/* Checks `asked` (the message names the field) and copies it; the seed is 0 unless given. [any] */
tn_status request_create(const request_limits *limits, const tn_request *asked, request **ret_request, tn_error *err);
/* Enters the request's bytes into an account; false if it would exceed limit. [any] */
bool request_charge(request *request, atomic_ullong *account, uint64_t limit);
void request_destroy(request *request); /* NULL is fine. [any] */
/* Bytes of the largest request this engine accepts. */
uint64_t request_bytes_max(const engine_config *config, uint32_t vocab, uint32_t piece_bytes);

/* True if the request names a grammar, in a struct that has room for one. */
static inline bool request_asks_grammar(const tn_request *asked)
{
    return TN_HAS(asked, tn_request, grammar_bytes) && asked->grammar_kind != TN_GRAMMAR_NONE;
}
/* True if the prompt's tokens are to be scored. */
static inline bool request_scores_prompt(const request *request)
{
    return (request->flags & TN_REQ_PROMPT_LOGPROBS) != 0;
}
/* True if token ends generation by itself. ends: the tokenizer says it ends generation. */
bool request_stops_at(const request *request, int32_t token, bool ends);

#endif
