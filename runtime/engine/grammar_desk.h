/* runtime/engine/grammar_desk.h: an engine's grammars: compiled on a thread of their own, kept for those who ask for
 * the same again, and used by the loop to mask tokens.
 *
 * A request with a grammar that is not kept goes from submit to the desk's thread and from there to the loop, so
 * neither a client nor the loop ever waits for a compiler. The tree of tokens and the mask cache are made with the
 * first grammar: an engine that never sees one has neither.
 */
#ifndef ENGINE_GRAMMAR_DESK_H
#define ENGINE_GRAMMAR_DESK_H

#include "engine/mask_cache.h"
#include "engine/request.h"
#include "grammar/matcher.h"

#include <pthread.h>

enum { GRAMMARS_KEPT_MAX = 32, GRAMMARS_BYTES_MAX = 32 << 20 /* of all there are, kept or in use */ };
enum {
    GRAMMAR_DESK_KINDS = 1u << TN_GRAMMAR_JSON_SCHEMA | 1u << TN_GRAMMAR_JSON_SCHEMA_STRICT |
                         1u << TN_GRAMMAR_JSON_OBJECT | 1u << TN_GRAMMAR_REGEX | 1u << TN_GRAMMAR_CHOICE
};

/* A grammar and the text it was made from. */
typedef struct kept_grammar {
    uint32_t kind, bytes;
    char *text;       /* owned */
    grammar *grammar; /* retained */
    uint64_t used;    /* when last */
} kept_grammar;

/* What the loop needs to mask. */
typedef struct grammar_tools {
    token_trie *trie;
    mask_cache masks;
    matcher matcher;
} grammar_tools;

typedef struct grammar_desk {
    tn_engine *engine;
    pthread_t thread;
    pthread_cond_t wake;   /* the thread waits for requests; with the engine's mutex */
    request_queue queue;   /* engine's mutex; to be compiled */
    bool stopping;         /* engine's mutex */
    pthread_mutex_t mutex; /* guards what is kept */
    kept_grammar kept[GRAMMARS_KEPT_MAX];
    uint32_t kept_count;
    uint64_t uses;
    atomic_ullong bytes;  /* of all grammars; the desk's thread adds, whoever lets go of one last subtracts */
    grammar_tools *tools; /* made by the desk's thread before the first request with a grammar is passed on */
} grammar_desk;

/* What the tools take for a vocabulary of so many tokens: a part of the plan. */
uint64_t grammar_desk_tools_bytes(uint32_t vocab);
/* The engine's loop runs already. [ctl] */
tn_status grammar_desk_open(grammar_desk *desk, tn_engine *engine, tn_error *err);
void grammar_desk_close(grammar_desk *desk); /* no request is left. [ctl] */
/* Gives a request its grammar if that is kept. No lock held. [any] */
void grammar_desk_recall(grammar_desk *desk, request *request);
/* Queues a request to be compiled and passed on. Under the engine's mutex. [any] */
void grammar_desk_add(grammar_desk *desk, request *request);

/* The rest is the loop's, for sequences of requests with a grammar. */
void grammar_desk_begin(grammar_desk *desk, sequence *sequence);
/* Writes the mask of the next token: what the grammar allows, and where the text is whole the tokens that end it. */
void grammar_desk_mask(grammar_desk *desk, const sequence *sequence, uint32_t *mask);
/* Goes on by a token's bytes; false: they were not allowed. */
bool grammar_desk_take(grammar_desk *desk, sequence *sequence, const char *bytes, uint32_t n);
/* True if the text is whole and nothing can follow. */
bool grammar_desk_is_over(const sequence *sequence);

#endif
