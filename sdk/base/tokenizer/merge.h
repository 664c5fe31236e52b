/* sdk/base/tokenizer/merge.h: byte-pair merging of one word, n log n in its length. */
#ifndef BASE_TOKENIZER_MERGE_H
#define BASE_TOKENIZER_MERGE_H

#include "base/tokenizer/vocabulary.h"

/* Scratch of one thread, reused from word to word. Zeroed is empty. */
typedef struct merge_scratch {
    struct symbol *symbol;  /* [symbol_capacity] a list threaded through an array */
    struct candidate *heap; /* [heap_capacity] */
    uint64_t symbol_capacity, heap_capacity;
    uint64_t heap_count;
} merge_scratch;

/* Merges n symbols, whose ids are id[0..n), in the order of the rules' ranks (leftmost first among equals), in place.
 * Returns TN_OK and the remaining count, or TN_E_MEMORY. n < 2^31. */
tn_status merge_word(const vocabulary *vocab, merge_scratch *scratch, int32_t *id, uint64_t n, uint64_t *ret_n,
                     tn_error *err);

#define MERGE_RANK_NEVER UINT32_MAX

/* A word whose symbols join wherever their common text is a token: no rules but the tokens' own ranks. */
typedef struct merge_text {
    const char *text;
    const uint32_t *start; /* [n + 1] where in text each initial symbol begins, and the end */
    const uint32_t *rank;  /* by token; MERGE_RANK_NEVER: no merge makes it */
} merge_text;

/* The same for such a word. An initial symbol may have an id below -1, which says that its text is no token; it comes
 * back if nothing joins it. */
tn_status merge_word_text(const vocabulary *vocab, const merge_text *word, merge_scratch *scratch, int32_t *id,
                          uint64_t n, uint64_t *ret_n, tn_error *err);
void merge_scratch_finish(merge_scratch *scratch);

#endif
