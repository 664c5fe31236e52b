/* runtime/grammar/grammar.h: what texts an answer may be: a pushdown automaton over bytes, compiled from a JSON schema,
 * a regular expression or a list of texts.
 *
 * Immutable after compilation and shared by all sequences that use it, with a count of users. Compilation is bounded in
 * steps, nodes, states and depth, whatever the schema; what exceeds a bound is refused with its name.
 */
#ifndef GRAMMAR_GRAMMAR_H
#define GRAMMAR_GRAMMAR_H

#include "tenon/engine.h"

#include <stdatomic.h>
#include <stdbool.h>

enum {
    GRAMMAR_TEXT_MAX = 1 << 16, /* bytes of a schema */
    GRAMMAR_DEPTH_MAX = 32,     /* values within values */
    GRAMMAR_CHOICES_MAX = 4096,
    GRAMMAR_RUN_MAX = 255
};
#define GRAMMAR_TAIL UINT32_MAX /* a call that ends its rule: nothing to come back to */

typedef struct grammar_edge {
    uint8_t lo, hi;
    uint32_t target;
} grammar_edge;
typedef struct grammar_call {
    uint32_t start, back; /* nodes; back may be GRAMMAR_TAIL */
} grammar_call;
typedef struct grammar_node {
    uint32_t edge, call;
    uint16_t edge_count, call_count;
    uint16_t need; /* values that must still be opened within each other before the rule can end */
    bool accepts;  /* the rule may end here */
    uint8_t run;   /* any so many plain bytes (token_trie.h) may follow, GRAMMAR_RUN_MAX: or more */
} grammar_node;

typedef struct grammar {
    atomic_uint users;
    uint64_t id;            /* tells it from every other, past ones too */
    uint64_t bytes;         /* it takes */
    atomic_ullong *account; /* what all grammars take together; the last user's release subtracts. NULL: none */
    uint32_t start, node_count, edge_count, call_count;
    grammar_node *node;
    grammar_edge *edge;
    grammar_call *call;
} grammar;

/* kind: TN_GRAMMAR_*. Starts with one user. TN_E_ARGUMENT: the message names what is wrong, as a sentence for whoever
 * wrote the schema. [any] */
tn_status grammar_compile(uint32_t kind, const char *text, uint64_t bytes, grammar **ret_grammar, tn_error *err);
/* Enters a grammar's bytes into an account that outlives it; false if it would exceed limit. */
bool grammar_charge(grammar *grammar, atomic_ullong *account, uint64_t limit);
void grammar_retain(grammar *grammar);
void grammar_release(grammar *grammar); /* NULL is fine; the last user frees it. [any but the loop] */

#endif
