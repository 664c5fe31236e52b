/* sdk/base/tokenizer/lexicon.h: what every tokenizer knows besides how it cuts text: its tokens, those matched as text,
 * the special ones' roles, and what goes around a text. Filled by a loader; immutable and thread-safe afterwards.
 */
#ifndef BASE_TOKENIZER_LEXICON_H
#define BASE_TOKENIZER_LEXICON_H

#include "base/tokenizer/added_tokens.h"
#include "base/tokenizer/vocabulary.h"
#include "tenon/tokenizer.h"

enum { LEXICON_FRAME_MAX = 16, LEXICON_ROLES = TN_TOKEN_UNK + 1 };

typedef struct lexicon {
    vocabulary vocab;
    added_tokens raw;            /* matched in the text as it came */
    added_tokens normalized;     /* matched in the normalised text */
    int32_t role[LEXICON_ROLES]; /* by TN_TOKEN_*; -1: none */
    /* What TN_ENCODE_ADD_SPECIAL puts around a text. */
    int32_t prefix[LEXICON_FRAME_MAX], suffix[LEXICON_FRAME_MAX];
    uint32_t prefix_count, suffix_count;
} lexicon;

/* Empty, without roles. */
void lexicon_init(lexicon *lex);
/* Zeroed is fine. */
void lexicon_finish(lexicon *lex);
/* Sorts the added tokens, marks what ends a generation: the last step of a loader. */
void lexicon_seal(lexicon *lex);

static inline bool lexicon_has(const lexicon *lex, int32_t id)
{
    return id >= 0 && (uint32_t)id < lex->vocab.count;
}

/* Marks the token special or user-defined and lets it be matched in the text as it came. TN_E_MEMORY; TN_E_CORRUPT with
 * a sentence that starts with path if it is longer than ADDED_TOKEN_BYTES_MAX. */
tn_status lexicon_add_literal(lexicon *lex, int32_t id, bool special, const char *path, tn_error *err);

/* The members of tn_tokenizer_table of the same names. */
tn_status lexicon_special(const lexicon *lex, uint32_t role, int32_t *ret_id);
uint32_t lexicon_attributes(const lexicon *lex, int32_t id);
/* The checks of tn_tokenizer_table.piece. */
tn_status lexicon_check_piece(const lexicon *lex, int32_t id, const char *bytes, const uint64_t *n_bytes,
                              tn_error *err);

#endif
