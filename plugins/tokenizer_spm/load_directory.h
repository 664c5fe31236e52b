/* load_directory.h: the two kinds of tokenizer in a checkpoint directory. */
#ifndef TOKENIZER_SPM_LOAD_DIRECTORY_H
#define TOKENIZER_SPM_LOAD_DIRECTORY_H

#include "base/tokenizer/lexicon_builder.h"
#include "tokenizer.h"

/* files->tokenizer, a tokenizer.json. TN_E_NOT_FOUND: it is of another kind. */
tn_status tokenizer_load_json(tn_tok *tok, const tokenizer_files *files, const char *path, tn_error *err);
/* file: the bytes of tokenizer.model. */
tn_status tokenizer_load_model(tn_tok *tok, const tn_meta *file, const tokenizer_files *files, const char *path,
                               tn_error *err);

/* "normalizer", "pre_tokenizer" and "decoder" of a tokenizer.json. TN_E_UNSUPPORTED names a type that is not known. */
tn_status json_load_normalizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err);
tn_status json_load_words(tn_tok *tok, const json_t *node, const char *path, tn_error *err);
tn_status json_load_decoder(tn_tok *tok, const json_t *node, const char *path, tn_error *err);

#endif
