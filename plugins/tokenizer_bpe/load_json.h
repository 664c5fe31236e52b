/* load_json.h: the parts of a tokenizer.json, one loader each. Nodes are borrowed; path is for messages. */
#ifndef TOKENIZER_BPE_LOAD_JSON_H
#define TOKENIZER_BPE_LOAD_JSON_H

#include "tokenizer.h"

#include <jansson.h>

/* "normalizer": null, one of the Unicode forms, or a Sequence of them. TN_E_UNSUPPORTED names another type. */
tn_status json_load_normalizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err);
/* "pre_tokenizer". *ret_byte_level: whether ByteLevel is among the steps. TN_E_UNSUPPORTED names another type. */
tn_status json_load_pre_tokenizer(tn_tok *tok, const json_t *node, const char *path, bool *ret_byte_level,
                                  tn_error *err);
/* "post_processor": what it puts around a single text. The vocabulary must be complete. */
tn_status json_load_post_processor(tn_tok *tok, const json_t *node, const char *path, tn_error *err);
/* "type" of a node; "" if it has none. */
const char *json_type_name(const json_t *node);
/* A boolean member, `missing` if absent or null; TN_E_CORRUPT if it is something else. */
tn_status json_get_flag(const json_t *node, const char *key, bool missing, const char *path, bool *ret_value,
                        tn_error *err);

#endif
