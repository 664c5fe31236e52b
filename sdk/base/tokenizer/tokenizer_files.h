/* sdk/base/tokenizer/tokenizer_files.h: the JSON files of a checkpoint directory that say something about its
 * tokenizer, parsed, and small readers of their members. Messages name the directory and the file.
 */
#ifndef BASE_TOKENIZER_TOKENIZER_FILES_H
#define BASE_TOKENIZER_TOKENIZER_FILES_H

#include "tenon/source.h"

#include <jansson.h>
#include <stdbool.h>

/* Each NULL if the directory has no such file. */
typedef struct tokenizer_files {
    json_t *tokenizer;         /* tokenizer.json */
    json_t *tokenizer_config;  /* tokenizer_config.json */
    json_t *special_map;       /* special_tokens_map.json */
    json_t *added_tokens;      /* added_tokens.json */
    json_t *generation_config; /* generation_config.json */
    json_t *config;            /* config.json */
} tokenizer_files;

/* TN_E_CORRUPT: a file is not a JSON object. On failure all are NULL. */
tn_status tokenizer_files_open(const tn_source *source, tokenizer_files *ret_files, tn_error *err);
void tokenizer_files_close(tokenizer_files *files);

/* "type" of a node; "" if it has none. */
const char *json_type_name(const json_t *node);
/* The type, written or implied, of tokenizer.json's "model"; "" if it has none. */
const char *json_model_type(const json_t *model);
/* True if a pre_tokenizer has ByteLevel among its steps: the mark of a byte-level vocabulary. */
bool json_has_byte_level(const json_t *pre_tokenizer);
/* The options of a BPE model that would change the ids and that no known model uses: TN_E_UNSUPPORTED. */
tn_status json_check_bpe(const json_t *model, const char *path, tn_error *err);
/* Null, absent or an empty text. */
bool json_is_unset(const json_t *value);
/* A boolean member of a node of tokenizer.json, `missing` if absent or null; TN_E_CORRUPT if it is something else. */
tn_status json_get_flag(const json_t *node, const char *key, bool missing, const char *path, bool *ret_value,
                        tn_error *err);
/* The members under `key` of a Sequence in tokenizer.json, `depth` Sequences deep; NULL with an error if they are not a
 * list, or it is nested too deep. */
const json_t *json_get_sequence(const json_t *node, const char *key, const char *path, uint32_t depth, tn_error *err);
/* TN_E_UNSUPPORTED: "a PART of type ... is not supported". */
tn_status json_refuse_type(const char *path, const char *part, const json_t *node, tn_error *err);

#endif
