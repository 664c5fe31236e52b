/* runtime/grammar/matcher.h: where a text stands in a grammar, and which tokens may come next.
 *
 * A state is a set of threads, one for each way in which the text so far can be read: a node, and the nodes to come
 * back to. Grammars are deterministic within a rule, so there is one thread mostly. States have a fixed size and no
 * memory of their own; a matcher holds what walking needs and is used by one thread.
 */
#ifndef GRAMMAR_MATCHER_H
#define GRAMMAR_MATCHER_H

#include "grammar/grammar.h"
#include "grammar/token_trie.h"

enum { GRAMMAR_THREADS_MAX = 16 };

typedef struct grammar_thread {
    uint32_t node, depth;
    uint32_t back[GRAMMAR_DEPTH_MAX]; /* [depth] outermost first */
} grammar_thread;

typedef struct grammar_state {
    uint32_t count; /* threads that can go on */
    bool accepts;   /* the text is whole as it is */
    grammar_thread thread[GRAMMAR_THREADS_MAX];
} grammar_state;

/* What a thread has to come back to, as a list whose ends are shared. */
typedef struct matcher_cell {
    uint32_t back, parent, depth; /* of the list that begins here */
} matcher_cell;

typedef struct matcher_thread {
    uint32_t node, cell; /* cell 0: nothing to come back to */
} matcher_thread;

typedef struct matcher_set {
    uint32_t count, cell_end; /* cells in use up to here */
    bool accepts, overflowed; /* overflowed: out of cells */
    matcher_thread thread[GRAMMAR_THREADS_MAX];
} matcher_set;

enum { MATCHER_CELLS = 1 << 14 };

typedef struct matcher {
    const grammar *grammar; /* of the walk under way */
    matcher_cell cell[MATCHER_CELLS];
    matcher_set level[TOKEN_BYTES_MAX + 1]; /* [bytes of a token] */
} matcher;

/* The state of no text. */
void matcher_start(matcher *matcher, const grammar *grammar, grammar_state *ret_state);
/* Goes on by some bytes; false, leaving the state as it was: they cannot come next. */
bool matcher_advance(matcher *matcher, const grammar *grammar, grammar_state *state, const char *bytes, size_t n);
/* Sets the bit of every token that may come next, clears all others. mask: [words] 32 tokens each. */
void matcher_mask(matcher *matcher, const grammar *grammar, const grammar_state *state, const token_trie *trie,
                  uint32_t *mask, uint32_t words);

#endif
