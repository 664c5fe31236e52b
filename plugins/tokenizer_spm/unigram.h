/* unigram.h: the most probable segmentation of a text into pieces (Kudo 2018, arXiv:1804.10959), by Viterbi.
 *
 * Time: for each character, the pieces that begin there. A piece is found by narrowing a range of sorted texts.
 */
#ifndef TOKENIZER_SPM_UNIGRAM_H
#define TOKENIZER_SPM_UNIGRAM_H

#include "base/tokenizer/vocabulary.h"

typedef struct unigram {
    int32_t *order; /* [count] usable pieces by text; owned */
    uint32_t count;
    uint32_t first[257];    /* where in order the pieces start that begin with a byte */
    const double *score;    /* by token; borrowed */
    double unknown_score;   /* of a character that is no piece */
    bool user_scores;       /* user-defined pieces have no score of their own */
    double user_byte_score; /* a user-defined piece scores so much for each byte past the first */
    bool single;            /* sums are kept in float, as sentencepiece keeps them */
} unigram;

/* A piece of the result; id -1: a character without a piece. */
typedef struct unigram_piece {
    int32_t id;
    uint32_t start, n; /* in the text */
} unigram_piece;

/* Scratch of one thread. Zeroed is empty. */
typedef struct unigram_scratch {
    struct unigram_node *node; /* [capacity] best path to each position */
    unigram_piece *piece;      /* [capacity] the result */
    uint64_t capacity;
} unigram_scratch;

/* Sorts the pieces that are not `unusable` (TOKEN_* flags); the other members are the caller's. TN_E_MEMORY. */
tn_status unigram_init(unigram *model, const vocabulary *vocab, uint8_t unusable, tn_error *err);
/* Zeroed is fine. */
void unigram_finish(unigram *model);

/* Cuts n bytes of valid UTF-8, n < 2^31. *ret_piece: in text order, scratch's. TN_E_MEMORY. */
tn_status unigram_cut(const unigram *model, const vocabulary *vocab, unigram_scratch *scratch, const char *text,
                      size_t n, const unigram_piece **ret_piece, uint64_t *ret_count, tn_error *err);
void unigram_scratch_finish(unigram_scratch *scratch);

#endif
