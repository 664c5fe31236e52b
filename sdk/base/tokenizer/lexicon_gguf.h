/* sdk/base/tokenizer/lexicon_gguf.h: a lexicon from GGUF metadata, the keys tokenizer.ggml.*, and typed access to them.
 *
 * Source: ggml/docs/gguf.md and llama.cpp. Errors name the source's path and the key.
 */
#ifndef BASE_TOKENIZER_LEXICON_GGUF_H
#define BASE_TOKENIZER_LEXICON_GGUF_H

#include "base/tokenizer/lexicon.h"
#include "tenon/source.h"

#define GGUF_TOKENIZER "tokenizer.ggml."

/* TN_E_NOT_FOUND without a message: many keys are optional. */
tn_status gguf_get(const tn_source *source, const char *key, tn_meta *ret_meta);
/* "KEY is not WANTED": TN_E_CORRUPT. */
tn_status gguf_wrong_type(const tn_source *source, const char *key, const char *wanted, tn_error *err);
/* An array of strings of at most count_max; absent: TN_E_CORRUPT. */
tn_status gguf_get_strings(const tn_source *source, const char *key, uint64_t count_max, tn_meta *ret_meta,
                           tn_error *err);
/* Element `index` of such an array. */
tn_status gguf_get_string(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta, tn_error *err);
/* *value is left alone if the key is missing. */
tn_status gguf_get_bool(const tn_source *source, const char *key, bool *value, tn_error *err);

/* tokenizer.ggml.tokens, in a vocabulary with room for as many merges. */
tn_status lexicon_gguf_tokens(lexicon *lex, const tn_source *source, uint64_t merges, tn_error *err);
/* tokenizer.ggml.token_type, optional: flags, and the tokens matched as text. */
tn_status lexicon_gguf_types(lexicon *lex, const tn_source *source, tn_error *err);
/* tokenizer.ggml.*_token_id: roles, and what ends a generation. */
tn_status lexicon_gguf_roles(lexicon *lex, const tn_source *source, tn_error *err);
/* tokenizer.ggml.add_bos_token and add_eos_token; the arguments are what they default to. */
tn_status lexicon_gguf_frame(lexicon *lex, const tn_source *source, bool add_bos, bool add_eos, tn_error *err);
/* lexicon_seal for such files, whose types are often wrong: what ends a generation by its name is a special token, so
 * that no text of a user ends one. As llama.cpp does. */
void lexicon_gguf_seal(lexicon *lex);

#endif
