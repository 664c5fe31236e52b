/* tests/unit/fake_backend.h: a backend whose "model" is a hash of everything a sequence has seen through its KV pages.
 *
 * A KV cell keeps the position, the token and a hash chained over the sequence's tokens. An output row checks every
 * cell that attention would read (position, chain unbroken) and turns the last hash into logits. So a wrong page, a
 * stale table entry, a page in two hands or a token computed twice gives another answer or a fault, and fake_logits is
 * an independent reference for what any request must produce.
 */
#ifndef TESTS_FAKE_BACKEND_H
#define TESTS_FAKE_BACKEND_H

#include "tenon/backend.h"
#include "tenon/tokenizer.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { FAKE_VOCAB = 300, FAKE_EOS = 0, FAKE_BOS = 1, FAKE_GROUPS_MAX = 3, FAKE_TICKETS = 4 };
/* Tokens: 0, 1 special; 2..257 the bytes 0..255; the rest short words. */
enum { FAKE_BYTE = 2, FAKE_WORD = 258 };

typedef struct fake_cell {
    uint64_t chain;
    int32_t token, position; /* position -1: never written */
} fake_cell;

typedef struct fake_group {
    uint32_t page_tokens, window, pages, row_pages;
    fake_cell *cell;                /* [pages * page_tokens] */
    uint32_t *table;                /* [max_seqs * row_pages] */
    uint32_t *writer, *writer_step; /* [pages] slot + 1 that wrote it in that step */
} fake_group;

typedef struct fake_ticket {
    uint64_t id;
    uint32_t out_count, top_logprobs;
    int32_t *out_id, *top_id;
    float *logprob, *target_logprob, *top_logprob;
    uint32_t *want;
} fake_ticket;

/* The model handed to the engine as a tn_model. Knobs may be set before the engine starts. */
typedef struct fake_model {
    uint32_t group_count, max_seqs, max_tokens, max_outputs, max_model_len;
    fake_group group[FAKE_GROUPS_MAX];
    fake_ticket ticket[FAKE_TICKETS];
    uint64_t submitted, waited;
    uint32_t max_in_flight, can;
    uint32_t in_engine_memory_limit; /* submit fails with TN_E_MEMORY for more rows; 0: never */
    atomic_uint step_us;             /* how long a step takes */
    atomic_int fail_at;              /* step number (from 1) whose wait fails with TN_E_DEVICE_LOST; 0: never */
    atomic_bool hang;                /* wait blocks while set */
    atomic_int nan_token;            /* a row behind this token has NaN logits; -1: none */
    atomic_uint steps, rows, copies, largest_batch, most_seqs;
    const int32_t *script; /* tokens to generate from position script_from on, NULL: none */
    uint32_t script_from, script_count;
    char fault[256]; /* first broken rule; "" if none */
} fake_model;

extern const tn_backend fake_backend;         /* one step in flight, with kv_copy */
extern const tn_backend fake_backend_ahead;   /* two in flight */
extern const tn_backend fake_backend_no_copy; /* kv_copy is NULL */
extern const tn_tokenizer_table fake_tokenizer;

fake_model *fake_model_create(uint32_t group_count, const uint32_t *page_tokens, const uint32_t *window,
                              const uint64_t *pages, uint32_t max_seqs, uint32_t max_tokens, uint32_t max_outputs,
                              uint32_t max_model_len);
void fake_model_destroy(fake_model *model);
/* The graph API for a model with this many groups. */
tn_graph_api fake_graph_api_of(const fake_model *model);

/* Chain of a token sequence, and the logits behind it; V floats. */
uint64_t fake_chain(uint64_t before, int32_t token, uint32_t position);
void fake_logits(uint64_t chain, float *logits);
const char *fake_word(int32_t token); /* text of a word token */

#endif
