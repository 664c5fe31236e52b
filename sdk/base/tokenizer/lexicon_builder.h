/* sdk/base/tokenizer/lexicon_builder.h: a lexicon from the files of a checkpoint directory.
 *
 * Tokens are gathered by id from wherever they are named, then become the vocabulary; merges and added tokens follow.
 * The JSON must outlive the builder.
 */
#ifndef BASE_TOKENIZER_LEXICON_BUILDER_H
#define BASE_TOKENIZER_LEXICON_BUILDER_H

#include "base/tokenizer/lexicon.h"
#include "base/tokenizer/tokenizer_files.h"

typedef struct lexicon_entry {
    const char *text; /* borrowed; NULL: a hole */
    size_t n;
    const json_t *added; /* borrowed: the AddedToken that this is, or NULL */
    const char *file;    /* that says so */
    bool beyond;         /* the model's own vocabulary does not have it */
} lexicon_entry;

typedef struct lexicon_builder {
    lexicon *lex;
    const char *path, *file; /* for messages: the directory, and the file that tokens come from */
    lexicon_entry *entry;    /* [count] by id; owned */
    uint64_t count, capacity;
    tn_error *err;
} lexicon_builder;

/* How the text of a token that is matched in normalised text is written there. *ret_text: borrowed until the next
 * call. */
typedef tn_status (*lexicon_normalize)(void *ctx, const char *text, size_t n, const char **ret_text, size_t *ret_n,
                                       tn_error *err);

/* Names token `id`; n bytes of text, borrowed until the build. Two texts for one id: TN_E_CORRUPT. */
tn_status lexicon_builder_set(lexicon_builder *build, uint64_t id, const char *text, size_t n);
/* tokenizer.json's model.vocab: {"text": id} or [["text", score]]. */
tn_status lexicon_builder_vocab(lexicon_builder *build, const json_t *vocab);
/* tokenizer.json's added_tokens: a list, null or absent. */
tn_status lexicon_builder_added(lexicon_builder *build, const json_t *list);
/* tokenizer_config.json's added_tokens_decoder: {"id": token}, or absent. What it says of a token prevails. */
tn_status lexicon_builder_decoder(lexicon_builder *build, const json_t *config);
/* Fills the vocabulary, which gets room for `merges` merges. */
tn_status lexicon_builder_finish(lexicon_builder *build, uint64_t merges);
/* tokenizer.json's model.merges: a list of "left right" or ["left", "right"]. */
tn_status lexicon_builder_merges(lexicon_builder *build, const json_t *merges);
/* The added tokens, so that they are matched as text. */
tn_status lexicon_builder_match(lexicon_builder *build, lexicon_normalize normalize, void *ctx);
/* Roles and ends by tokenizer_config.json, special_tokens_map.json, generation_config.json and config.json. */
tn_status lexicon_builder_roles(lexicon_builder *build, const tokenizer_files *files);
/* "post_processor": what it puts around a single text. */
tn_status lexicon_builder_frame(lexicon_builder *build, const json_t *post_processor);
/* Frees what the builder owns; the lexicon stays. */
void lexicon_builder_free(lexicon_builder *build);

#endif
