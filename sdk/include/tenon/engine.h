/* tenon/engine.h: "tn.engine", what a front end or an embedding program talks to: submit requests, pull events.
 *
 * One engine per model, one loop thread inside. Each front end opens its own client, with its own event queue and fd.
 * Front ends pull; the engine never calls them. Text is detokenised, stop strings are cut and UTF-8 is whole
 * in the events. Nothing a client does or fails to do can block another client.
 */
#ifndef TENON_ENGINE_H
#define TENON_ENGINE_H

#include "tenon/tokenizer.h"

TN_BEGIN_DECLS

#define TN_ENGINE_ID "tn.engine/1"

typedef struct tn_engine tn_engine;
typedef struct tn_client tn_client;

typedef struct tn_bias {
    int32_t token;
    float value;
} tn_bias; /* frozen */

/* Request flags. */
enum {
    TN_REQ_SEED = 1u << 0,         /* `seed` is given; otherwise one is drawn and told in the ACCEPTED event */
    TN_REQ_IGNORE_EOS = 1u << 1,   /* end-of-generation tokens are ordinary */
    TN_REQ_KEEP_STOP = 1u << 2,    /* the stop string is part of the text */
    TN_REQ_SHOW_SPECIAL = 1u << 3, /* special tokens appear in the text */
    TN_REQ_LOGPROBS = 1u << 4,     /* log-probs of chosen tokens, with top_logprobs alternatives */
    TN_REQ_PROMPT_LOGPROBS = 1u << 5, /* PROMPT events for every prompt token but the first, same top_logprobs */
    TN_REQ_NO_CACHE = 1u << 6      /* neither read nor fill the prefix cache */
};

/* What texts a request's answer may be. Bits 1 << kind in tn_engine_info.grammars: a kind whose bit is clear would be
 * ignored, so do not send it. */
enum {
    TN_GRAMMAR_NONE = 0,
    TN_GRAMMAR_JSON_SCHEMA = 1,        /* grammar: a JSON schema (draft 2020-12; what is supported: the engine says) */
    TN_GRAMMAR_JSON_SCHEMA_STRICT = 2, /* objects have no properties beyond those named, unless the schema says so */
    TN_GRAMMAR_JSON_OBJECT = 3,        /* any JSON object; grammar is not read */
    TN_GRAMMAR_REGEX = 4,              /* all of the answer matches grammar, a regular expression */
    TN_GRAMMAR_CHOICE = 5              /* one of grammar, a JSON list of texts */
};

/* Everything is copied by submit. Zero-filled members take the neutral meaning noted. */
typedef struct tn_request {
    uint32_t struct_size, flags;
    const int32_t *token; /* the prompt, token_count >= 1 */
    uint64_t token_count;
    uint32_t max_new;    /* tokens to generate per choice; 0 is allowed with TN_REQ_PROMPT_LOGPROBS only */
    uint32_t min_new;    /* no stop rule fires before this many */
    uint32_t n_choices;  /* 1..the engine's limit; 0 means 1 */
    int32_t priority;    /* lower first; equal: first come */
    float temperature;   /* 0: greedy */
    float top_p;         /* (0, 1]; 0 means 1 */
    float min_p;         /* [0, 1] */
    float repetition;    /* > 0; 0 means 1 */
    float presence, frequency;
    uint32_t top_k;        /* 0: all */
    uint32_t top_logprobs; /* 0..limits.top_logprobs */
    uint64_t seed;
    const char *const *stop; /* stop strings, UTF-8 */
    const int32_t *stop_token;
    const tn_bias *bias;
    const int32_t *allowed; /* allowed tokens; NULL: all */
    uint32_t stop_count, stop_token_count, bias_count, allowed_count;
    const char *cache_salt; /* separates prefix-cache entries; NULL: shared */
    uint64_t user;          /* comes back in every event */
    /* The answer is whole when it obeys the grammar, and ends where nothing more may follow, min_new or not; a limit or
     * a stop rule may end it before. What is wrong with a grammar comes with DONE: TN_E_ARGUMENT and a sentence;
     * TN_E_AGAIN: the grammars of other requests take all memory that there is for them, try later. */
    const char *grammar;    /* UTF-8; NULL: none is needed */
    uint32_t grammar_kind;  /* TN_GRAMMAR_* */
    uint32_t grammar_bytes; /* 0..limits.max_grammar_bytes */
} tn_request;
TN_SEALED(tn_request, grammar_bytes);

enum {
    TN_EVENT_ACCEPTED = 1, /* scheduled for the first time; seed and cached_tokens are set */
    TN_EVENT_PROMPT = 2,   /* log-prob of one prompt token: index, token, logprob, top_* */
    TN_EVENT_TOKEN = 3,    /* one generated token: choice, index, token, text, logprob, top_* */
    TN_EVENT_CHOICE = 4,   /* a choice ended: finish, stop_token, text (what was held back) */
    TN_EVENT_DONE = 5      /* the last event of a request: status, error text in `text`, token counts */
};
enum {
    TN_FINISH_NONE = 0,
    TN_FINISH_STOP = 1,   /* end-of-generation token, stop token or stop string */
    TN_FINISH_LENGTH = 2, /* max_new or max_model_len */
    TN_FINISH_CANCELLED = 3,
    TN_FINISH_ERROR = 4
};

typedef struct tn_event {
    uint32_t struct_size, kind; /* TN_EVENT_* */
    uint64_t request, user;
    uint32_t choice, index; /* index: 0-based position in prompt or output */
    int32_t token;
    tn_status status;  /* DONE */
    uint32_t finish;   /* CHOICE: TN_FINISH_* */
    int32_t stop_token; /* CHOICE: the token that ended it, -1: none */
    const char *stop;  /* CHOICE: the stop string that ended it, NULL: none */
    const char *text;  /* new text, whole UTF-8 sequences, terminated; "" if none */
    uint64_t text_bytes;
    uint64_t text_offset; /* bytes of the choice's text before this event */
    float logprob;
    uint32_t top_count;
    const int32_t *top_id;
    const float *top_logprob;
    uint64_t seed;
    uint64_t prompt_tokens, cached_tokens, generated_tokens; /* ACCEPTED: the first two; DONE: all, over choices */
} tn_event;
TN_SEALED(tn_event, generated_tokens);

/* What a request gets for a field that its sender left out: the author's wish where the model has one, else neutral. A
 * front end fills them in; tn_request's zeros keep their meaning. */
typedef struct tn_sampling_defaults {
    float temperature, top_p, min_p, repetition;
    uint32_t top_k;
    uint32_t max_new; /* 0: as many as fit */
} tn_sampling_defaults; /* frozen */

/* Limits and names a front end needs to validate and to answer. */
typedef struct tn_engine_info {
    uint32_t struct_size, vocab_size;
    uint32_t max_model_len, max_num_seqs, max_choices, max_top_logprobs;
    uint32_t max_stop, max_stop_bytes, max_bias, max_stop_tokens;
    const char *const *served_names; /* NULL-terminated; the first labels metrics */
    const char *model_path, *architecture;
    uint64_t created; /* Unix seconds of the load */
    tn_sampling_defaults defaults;
    uint32_t grammars; /* bits 1 << TN_GRAMMAR_*: what requests may ask for */
    uint32_t max_grammar_bytes;
} tn_engine_info;
TN_SEALED(tn_engine_info, max_grammar_bytes);

typedef struct tn_engine_table {
    uint32_t struct_size, flags;
    tn_status (*info)(tn_engine *engine, tn_engine_info *ret_info); /* borrowed until the engine ends. [any] */
    /* queue_cap: events it can hold. A sequence whose client has no room is not stepped until there is. [ctl] */
    tn_status (*client_open)(tn_engine *engine, uint32_t queue_cap, tn_client **ret_client, tn_error *err);
    void (*client_close)(tn_client *client); /* cancels what is left. [ctl] */
    /* TN_E_AGAIN: queue full, try later. TN_E_ARGUMENT: the message names the field. [any] */
    tn_status (*submit)(tn_client *client, const tn_request *request, uint64_t *ret_request, tn_error *err);
    /* Its DONE event still comes. TN_E_NOT_FOUND when it is already over. [any] */
    tn_status (*cancel)(tn_client *client, uint64_t request);
    int (*event_fd)(tn_client *client); /* readable while poll has something. Do not read it. [any] */
    /* Fills up to cap events, stride bytes apart (each struct_size set by the caller in out[0]); returns how many. Pointers
     * inside live until the next poll of this client. One thread per client at a time. [any] */
    uint32_t (*poll)(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap);
    /* The model's tokenizer. Borrowed until the engine ends. [any] */
    const tn_tokenizer_table *(*tokenizer)(tn_engine *engine, const tn_tok **ret_tok);
    /* Serialised hint for 429: seconds until a retry is worthwhile. [any] */
    uint32_t (*retry_after)(tn_engine *engine);
} tn_engine_table;
TN_SEALED(tn_engine_table, retry_after);

TN_END_DECLS
#endif
