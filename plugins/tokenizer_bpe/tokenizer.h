/* tokenizer.h: an opened byte-level BPE tokenizer, whatever file it came from. Immutable after open, so thread-safe. */
#ifndef TOKENIZER_BPE_TOKENIZER_H
#define TOKENIZER_BPE_TOKENIZER_H

#include "base/tokenizer/lexicon.h"
#include "base/tokenizer/normal_form.h"
#include "pre_tokenizer.h"

enum { TOKENIZER_FORMS_MAX = 8 };

struct tn_tok {
    lexicon lex;
    normal_form form[TOKENIZER_FORMS_MAX]; /* applied in turn */
    uint32_t form_count;
    pre_tokenizer pre;
    bool ignore_merges;   /* a word that is a token needs no merging */
    int32_t byte_id[256]; /* token of a single byte, or unknown_id */
    int32_t unknown_id;   /* for bytes without a token; -1: they are left out, as in tokenizers */
};

/* Loaders: fill an empty tok from a source. On failure tok is half-built (tokenizer_close takes
 * it). TN_E_NOT_FOUND: another kind of tokenizer. Errors name the source's path. */
tn_status tokenizer_load_gguf(tn_tok *tok, const tn_source *source, tn_error *err);
tn_status tokenizer_load_json(tn_tok *tok, const tn_source *source, tn_error *err);

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

/* Where warnings go; NULL: nowhere. [ctl] */
void tokenizer_set_host(const tn_host *host);
void tokenizer_warn(const char *format, ...) TN_PRINTF(1, 2);

#endif
