/* tokenizer.h: an opened SentencePiece-like tokenizer, whatever file it came from. Immutable after open, so
 * thread-safe.
 */
#ifndef TOKENIZER_SPM_TOKENIZER_H
#define TOKENIZER_SPM_TOKENIZER_H

#include "base/tokenizer/lexicon.h"
#include "base/tokenizer/merge.h"
#include "text_normalizer.h"
#include "unigram.h"
#include "word_splitter.h"

/* How a word becomes pieces. */
typedef enum spm_model {
    SPM_SCORES, /* pairs whose text is a piece join, the best score first: SentencePiece's BPE */
    SPM_MERGES, /* pairs that a rule names join, the first rule first: tokenizer.json's BPE */
    SPM_UNIGRAM /* the most probable pieces */
} spm_model;

struct tn_tok {
    lexicon lex;
    spm_model model;
    double *score;  /* [vocabulary] SPM_UNIGRAM */
    uint32_t *rank; /* [vocabulary] SPM_SCORES: by score, equal scores alike */
    unigram uni;    /* SPM_UNIGRAM */
    text_normalizer normalizer;
    word_splitter words;
    added_tokens user; /* pieces that the text is cut at before pairs are joined; SPM_SCORES */
    bool prefix_first; /* only what begins a text gets the normalizer's dummy prefix */
    bool ignore_merges;
    int32_t byte_id[256]; /* token of a single byte, or -1 */
    bool byte_fallback;   /* a character without a piece becomes its bytes, if each has a token */
    bool fuse_unknown;    /* a run of characters without a piece becomes one unknown */
    int32_t unknown_id;   /* -1: they are left out */
    bool strip_first;     /* the first piece of a text loses a leading space */
};

/* Loaders: fill an empty tok from a source. On failure tok is half-built (tokenizer_close takes it). TN_E_NOT_FOUND:
 * another kind of tokenizer. Errors name the source's path. */
tn_status tokenizer_load_gguf(tn_tok *tok, const tn_source *source, tn_error *err);
tn_status tokenizer_load_directory(tn_tok *tok, const tn_source *source, tn_error *err);

/* The last steps of every loader, once vocabulary and flags are complete. */

/* Finds the tokens named <0xHH>: all of them that are flagged TOKEN_BYTE, or all so named if `by_name`. */
void tokenizer_find_bytes(tn_tok *tok, bool by_name);
/* Scores, one per token, become what the model needs. NaN: TN_E_CORRUPT. TN_E_MEMORY. Takes score, which is freed. */
tn_status tokenizer_set_scores(tn_tok *tok, double *score, const char *path, tn_error *err);

/* The members of tn_tokenizer_table, documented there. */
tn_status tokenizer_open(const tn_source *source, tn_tok **ret_tok, tn_error *err);
void tokenizer_close(tn_tok *tok);
tn_status tokenizer_encode(const tn_tok *tok, const char *utf8, uint64_t n_bytes, uint32_t flags, int32_t *ids,
                           uint64_t *n_ids, tn_error *err);
tn_status tokenizer_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                          tn_error *err);
uint32_t tokenizer_vocab_size(const tn_tok *tok);
tn_status tokenizer_special(const tn_tok *tok, uint32_t role, int32_t *ret_id);
uint32_t tokenizer_attributes(const tn_tok *tok, int32_t id);

/* The plugin's table; what tn_plugin.get_interface returns. */
extern const tn_tokenizer_table tokenizer_table;

#endif
