/* runtime/engine/sequence.h: one choice of a request: its tokens so far, how much of them is in KV, its text.
 *
 *   WAITING --admit--> RUNNING --finish--> FINISHED        RUNNING --preempt--> WAITING (KV is recomputed later)
 *   FORKING (no pages, perhaps a slot): choice 1.. of a request whose prompt choice 0 is still computing
 * Loop thread only.
 */
#ifndef ENGINE_SEQUENCE_H
#define ENGINE_SEQUENCE_H

#include "engine/client.h"
#include "engine/detokenizer.h"
#include "engine/siphash.h"
#include "grammar/matcher.h"

#define SLOT_NONE UINT32_MAX
typedef enum sequence_state { SEQUENCE_WAITING, SEQUENCE_FORKING, SEQUENCE_RUNNING, SEQUENCE_FINISHED } sequence_state;

struct request;

typedef struct sequence {
    struct request *request;
    uint32_t choice;
    sequence_state state;
    bool queued;          /* in the waiting list */
    uint32_t slot;        /* SLOT_NONE unless RUNNING or FORKING */
    uint32_t computed;    /* tokens in KV, counting steps that are under way */
    uint32_t published;   /* blocks known to the prefix cache, or tried */
    uint32_t generated;   /* tokens read from the sampler */
    uint32_t pending;     /* tokens being sampled by steps under way: 0 or 1 when a step is planned */
    uint32_t pending_row; /* their output row in the last ticket */
    uint32_t hashed;      /* valid elements of block_hash */
    int32_t *output;      /* [max_new] */
    hash128 *block_hash;  /* prefixes that end with each whole block; empty without caching */
    uint32_t seen_count;
    int32_t *seen;        /* [max_new] distinct output tokens, ascending; if penalised */
    uint32_t *seen_times; /* [max_new] */
    detokenizer text;
    grammar_state *grammar;       /* where the output stands in the request's grammar; NULL: it has none */
    int64_t last_token_ns;        /* 0: none yet */
    struct sequence *prev, *next; /* waiting list */
    event_node choice_event;
} sequence;

/* The order of service: priority, then arrival, then choice. */
bool sequence_before(const sequence *a, const sequence *b);
/* Tokens that have to be in KV before the next one can be sampled (or the prompt is scored). */
uint32_t sequence_target(const sequence *sequence);
/* The token at a position that has been read. */
int32_t sequence_token(const sequence *sequence, uint32_t position);
/* Adds a sampled token to the output and, if wanted, to the tokens seen. */
void sequence_append(sequence *sequence, int32_t token);
/* Hash of block `block`, all of whose tokens have been read; computes what is missing. */
hash128 sequence_block_hash(sequence *sequence, const prefix_cache *cache, uint32_t block);

#endif
