/* splitter.h: cuts a text at the matches of one regex, as a `Split` pre-tokenizer does. */
#ifndef TOKENIZER_BPE_SPLITTER_H
#define TOKENIZER_BPE_SPLITTER_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "tenon/error.h"

#include <pcre2.h>
#include <stdbool.h>

/* What becomes of a match: a piece of its own; nothing; joined to the gap before or behind it; joined to the matches
 * that touch it. */
typedef enum split_behavior {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
} split_behavior;

typedef struct splitter {
    pcre2_code *code;
    bool jit;      /* compiled to machine code */
    bool inverted; /* gaps count as matches and matches as gaps */
    split_behavior behavior;
} splitter;

/* One pass over one text. */
typedef struct split {
    const splitter *how;
    pcre2_match_data *match;
    const char *text;
    size_t n;
    size_t searched, done;         /* next search starts at; spans are given out up to */
    size_t match_start, match_end; /* a match found but not yet given out */
    bool match_waiting, exhausted;
    bool last_was_match;
    size_t held_start, held_end; /* a piece that may still grow */
    bool holding, held_is_match;
} split;

/* Compiles a pattern: a regex in Oniguruma's syntax, or text to be found as it is (literal). n bytes of valid UTF-8.
 * TN_E_CORRUPT or TN_E_UNSUPPORTED with a sentence that names the pattern; TN_E_MEMORY. */
tn_status splitter_init(splitter *how, const char *pattern, size_t n, bool literal, split_behavior behavior,
                        bool inverted, tn_error *err);
/* Zeroed is fine. */
void splitter_finish(splitter *how);

/* Starts a pass over n bytes of valid UTF-8, borrowed until its end; match: one pair, of the calling thread. */
void split_start(split *pass, const splitter *how, pcre2_match_data *match, const char *text, size_t n);
/* The next piece, never empty, in text order; *ret_n = 0 at the end. TN_E_UNSUPPORTED when the regex gives up (limits
 * on backtracking). */
tn_status split_next(split *pass, const char **ret_piece, size_t *ret_n, tn_error *err);

#endif
