/* load_json.h: the parts of a tokenizer.json, one loader each. Nodes are borrowed; path is for messages. */
#ifndef TOKENIZER_BPE_LOAD_JSON_H
#define TOKENIZER_BPE_LOAD_JSON_H

#include "base/tokenizer/tokenizer_files.h"
#include "tokenizer.h"

/* "normalizer": null, one of the Unicode forms, or a Sequence of them. TN_E_UNSUPPORTED names another type. */
tn_status json_load_normalizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err);
/* "pre_tokenizer", which has ByteLevel among its steps. TN_E_UNSUPPORTED names another type. */
tn_status json_load_pre_tokenizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err);

#endif
