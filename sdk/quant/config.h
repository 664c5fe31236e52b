/* sdk/quant/config.h: the quantization_config of a Hugging Face checkpoint, read with every type and range checked.
 *
 * It is an object in config.json (older writers: in a file of its own) whose quant_method names the format.
 */
#ifndef QUANT_CONFIG_H
#define QUANT_CONFIG_H

#include "tenon/source.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct quant_config {
    const char *path;     /* of the checkpoint, borrowed */
    json_t *root;         /* owned: config.json, or the file of its own */
    const json_t *object; /* within root */
    const char *method;   /* quant_method, within root */
} quant_config;

/* What a plugin looks for. */
typedef struct quant_config_kind {
    const char *plugin;         /* for messages */
    const char *const *methods; /* values of quant_method, NULL-terminated */
    const char *side_file;      /* "quantize_config.json": the same object as older writers stored it; or NULL */
} quant_config_kind;

/* TN_E_NOT_FOUND: the checkpoint is not of this kind. TN_E_CORRUPT: broken JSON, or config.json and the side file
 * contradict each other. Closed by quant_config_close. */
tn_status quant_config_open(const tn_source *source, const quant_config_kind *kind, quant_config *ret_config,
                            tn_error *err);
void quant_config_close(quant_config *config);

/* Typed reads of `key` in `object`, which messages call `where` ("quantization_config"). An absent or null key leaves
 * *ret as it was; a wrong type or a value out of range is TN_E_CORRUPT. Strings are borrowed from the config. */
tn_status quant_config_integer(const quant_config *config, const json_t *object, const char *where, const char *key,
                               int64_t least, int64_t most, int64_t *ret, tn_error *err);
tn_status quant_config_bool(const quant_config *config, const json_t *object, const char *where, const char *key,
                            bool *ret, tn_error *err);
tn_status quant_config_string(const quant_config *config, const json_t *object, const char *where, const char *key,
                              const char **ret, tn_error *err);
/* The object or array under key; NULL when absent or null. */
tn_status quant_config_container(const quant_config *config, const json_t *object, const char *where, const char *key,
                                 json_type type, const json_t **ret, tn_error *err);
/* TN_E_CORRUPT unless key is absent or a list of strings. */
tn_status quant_config_check_names(const quant_config *config, const json_t *object, const char *where, const char *key,
                                   tn_error *err);

#endif
