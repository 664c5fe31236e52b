/* sdk/base/tokenizer/vocabulary.h: token texts by id, ids by text, and the merge rules between ids.
 *
 * Texts lie back to back in one block; a hash table of ids (open addressing, seeded against hostile files) finds them.
 * A merge is looked up by the pair of its ids. Filled once, in id order; immutable and thread-safe afterwards.
 * Memory: text bytes + 5 bytes a token + 16 bytes a slot of either table (load at most 1/2).
 */
#ifndef BASE_TOKENIZER_VOCABULARY_H
#define BASE_TOKENIZER_VOCABULARY_H

#include "tenon/error.h"

#include <stdbool.h>

enum { VOCABULARY_TOKENS_MAX = 1 << 22, VOCABULARY_MERGES_MAX = 1 << 23, VOCABULARY_TOKEN_BYTES_MAX = 1 << 16 };

/* Flags of a token. */
enum {
    TOKEN_SPECIAL = 1 << 0, /* control or unknown: text in a prompt becomes this token only on request */
    TOKEN_LITERAL = 1 << 1, /* its text is the text it stands for, not in the byte alphabet */
    TOKEN_ENDS = 1 << 2,    /* ends a generation */
    TOKEN_UNUSED = 1 << 3,  /* a hole in the numbering, or declared unused */
    TOKEN_MERGED = 1 << 4,  /* ordinary text can become it */
    TOKEN_BYTE = 1 << 5,    /* stands for the one byte that its text, <0xHH>, names */
    TOKEN_ADDED = 1 << 6    /* no piece of the model's own: only a match as an added token becomes it */
};

typedef struct token_slot {
    uint32_t tag; /* high half of the text's hash */
    int32_t id;   /* -1: free */
} token_slot;

typedef struct merge_slot {
    int32_t left, right; /* left -1: free */
    uint32_t rank;       /* lower merges first */
    int32_t merged;
} merge_slot;

typedef struct vocabulary {
    uint32_t count, capacity;
    uint32_t token_bytes_max; /* longest text */
    uint64_t seed;
    char *text; /* all texts, back to back */
    uint64_t text_bytes, text_capacity;
    uint32_t *start;  /* [capacity + 1] */
    uint8_t *flags;   /* [capacity] TOKEN_* */
    token_slot *slot; /* [slot_mask + 1] */
    uint64_t slot_mask;
    merge_slot *merge; /* [merge_mask + 1] */
    uint64_t merge_mask;
} vocabulary;

/* Room for `tokens` tokens and `merges` merges, both within the limits above. On failure the vocabulary is empty but
 * valid for vocabulary_finish. TN_E_MEMORY. */
tn_status vocabulary_init(vocabulary *vocab, uint64_t tokens, uint64_t merges, tn_error *err);
/* Zeroed is fine. */
void vocabulary_finish(vocabulary *vocab);

/* Adds the next id, count < capacity. An empty text is a hole that no text leads to. *ret_twin: -1, or the earlier id
 * that has the same text (then nothing was added). n <= VOCABULARY_TOKEN_BYTES_MAX. TN_E_MEMORY. */
tn_status vocabulary_add(vocabulary *vocab, const char *text, size_t n, int32_t *ret_twin, tn_error *err);
/* Id of a text, -1 if there is none. [any] */
int32_t vocabulary_find(const vocabulary *vocab, const char *text, size_t n);

static inline const char *vocabulary_text(const vocabulary *vocab, int32_t id, size_t *ret_n)
{
    *ret_n = vocab->start[id + 1] - vocab->start[id];
    return vocab->text + vocab->start[id];
}

/* Adds the merge of rank `rank`; at most as many as announced. Two rules for one pair: the later wins if `replace`. */
void vocabulary_add_merge(vocabulary *vocab, int32_t left, int32_t right, int32_t merged, uint32_t rank, bool replace);
/* The merge of two ids, NULL if there is none. [any] */
const merge_slot *vocabulary_find_merge(const vocabulary *vocab, int32_t left, int32_t right);

#endif
