/* sdk/base/tokenizer/added_tokens.h: finds tokens that are matched as text before any splitting: special ones and
 * user-defined words.
 *
 * Matches are leftmost, then longest, as in Hugging Face's tokenizers. The tokens are kept sorted; at a position where
 * some token may start, each further byte narrows the range of candidates.
 */
#ifndef BASE_TOKENIZER_ADDED_TOKENS_H
#define BASE_TOKENIZER_ADDED_TOKENS_H

#include "tenon/error.h"

#include <stdbool.h>

enum { ADDED_TOKEN_BYTES_MAX = 4096 };

typedef struct added_token {
    char *text; /* owned */
    uint32_t n;
    int32_t id;
    bool special;        /* matched only on request */
    bool single_word;    /* not inside a longer word */
    bool lstrip, rstrip; /* swallows the spaces before, behind */
} added_token;

typedef struct added_tokens {
    added_token *token; /* [count], sorted by text once sealed */
    uint32_t count, capacity;
    bool starts[256]; /* some token starts with this byte */
} added_tokens;

/* Adds a token; its text, 1..ADDED_TOKEN_BYTES_MAX bytes, is copied. TN_E_MEMORY. */
tn_status added_tokens_add(added_tokens *added, const added_token *token, tn_error *err);
/* The token, if it is there, is matched only on request from now on. */
void added_tokens_make_special(added_tokens *added, int32_t id);
/* Sorts, after which the tokens can be matched. */
void added_tokens_seal(added_tokens *added);
/* The longest token that the n bytes of text begin with, or NULL. */
const added_token *added_tokens_longest(const added_tokens *added, const char *text, size_t n);
/* Zeroed is fine. */
void added_tokens_finish(added_tokens *added);

/* A walk over a text: pieces of ordinary text and tokens in turn. */
typedef struct added_scan {
    const added_tokens *added;
    const char *text;
    size_t n, at;               /* at: everything before it has been given out */
    size_t searched;            /* no match starts before it */
    size_t swallowed_end;       /* of the spaces that a token swallowed behind itself; 0: of none yet */
    const added_token *waiting; /* found behind a piece of text */
    size_t waiting_end;
    bool parse_special;
} added_scan;

/* Borrows n bytes of text. */
void added_scan_start(added_scan *scan, const added_tokens *added, const char *text, size_t n, bool parse_special);
/* *ret_token: a token, or NULL for a piece of ordinary text, which is not empty. False at the end. */
bool added_scan_next(added_scan *scan, const added_token **ret_token, const char **ret_piece, size_t *ret_n);

#endif
