/* runtime/grammar/automaton.h: finite automata over bytes: built with empty moves, made deterministic by subsets.
 *
 * Besides bytes, an edge may be the call of a rule, which for this file is one more symbol. Every builder call counts
 * against limits of work and size; the first that exceeds one, or finds no memory, breaks the builder, and whatever
 * follows does nothing: so a construction is a list of calls and one question at its end.
 *
 * Source: Rabin, Scott 1959 (subset and product constructions); Thompson 1968 (expressions to automata).
 */
#ifndef GRAMMAR_AUTOMATON_H
#define GRAMMAR_AUTOMATON_H

#include "tenon/error.h"

#include <stdbool.h>

enum {
    GRAMMAR_NODES_MAX = 1 << 20,  /* of the automata under construction */
    GRAMMAR_STATES_MAX = 1 << 16, /* of a deterministic one, and of a whole grammar */
    GRAMMAR_WORK_MAX = 1 << 25    /* edges looked at: some tenths of a second */
};
#define NFA_BYTES UINT32_MAX        /* an edge over a range of bytes */
#define NFA_EMPTY (UINT32_MAX - 1u) /* an edge over nothing */

typedef struct nfa_edge {
    uint32_t symbol; /* NFA_BYTES, NFA_EMPTY, or the rule that is called */
    uint8_t lo, hi;
    uint32_t target, next; /* next: of the same node, 0: none */
} nfa_edge;

typedef struct nfa {
    tn_status status; /* not TN_OK: broken, err says why */
    tn_error *err;
    uint64_t work; /* done */
    uint32_t node_count, node_capacity, edge_count, edge_capacity;
    uint32_t *first; /* [node_count] newest edge; 0: none */
    nfa_edge *edge;  /* the first is no edge */
} nfa;

void nfa_init(nfa *nfa, tn_error *err);
void nfa_finish(nfa *nfa);
/* Breaks the builder, unless it is broken already. */
void nfa_fail(nfa *nfa, tn_status status, const char *format, ...) TN_PRINTF(3, 4);
/* Counts work; false: broken. */
bool nfa_spend(nfa *nfa, uint64_t work);

uint32_t nfa_node(nfa *nfa);
void nfa_bytes(nfa *nfa, uint32_t from, uint32_t lo, uint32_t hi, uint32_t to);
void nfa_empty(nfa *nfa, uint32_t from, uint32_t to);
void nfa_call(nfa *nfa, uint32_t from, uint32_t rule, uint32_t to);
/* A chain of single bytes; returns its end. */
uint32_t nfa_text(nfa *nfa, uint32_t from, const char *bytes, size_t n);

typedef struct dfa_edge {
    uint8_t lo, hi;
    uint32_t target;
} dfa_edge;
typedef struct dfa_call {
    uint32_t rule, target;
} dfa_call;
typedef struct dfa_state {
    uint32_t edge, edge_count; /* ascending, disjoint */
    uint32_t call, call_count; /* ascending rules */
    bool accepts;
} dfa_state;
/* The first state is the start. Owned arrays. */
typedef struct dfa {
    uint32_t state_count, state_capacity, edge_count, edge_capacity, call_count, call_capacity;
    dfa_state *state;
    dfa_edge *edge;
    dfa_call *call;
} dfa;

/* What leads from start to end. A broken builder gives an automaton without states. */
void dfa_build(nfa *nfa, uint32_t start, uint32_t end, dfa *ret_dfa);
/* Both accept / the first accepts and the second does not; neither may have calls. */
void dfa_intersect(nfa *nfa, const dfa *a, const dfa *b, dfa *ret_dfa);
void dfa_subtract(nfa *nfa, const dfa *a, const dfa *b, dfa *ret_dfa);
void dfa_finish(dfa *dfa);
/* Copies it behind from; returns where it ends. */
uint32_t nfa_add_dfa(nfa *nfa, uint32_t from, const dfa *dfa);
/* Grows *array, of count elements, for one more; false: broken. */
bool nfa_grow(nfa *nfa, void **array, uint32_t count, uint32_t *capacity, size_t size, uint32_t most, const char *what);

#endif
