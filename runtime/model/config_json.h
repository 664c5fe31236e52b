/* runtime/model/config_json.h: a JSON file of a checkpoint directory, read through config_reader.h. */
#ifndef MODEL_CONFIG_JSON_H
#define MODEL_CONFIG_JSON_H

#include "model/config_reader.h"

#include <jansson.h>

/* Parses the file; *ret_root is NULL if there is none. TN_E_CORRUPT: it is no object, with the line at fault. [any] */
tn_status config_json_load(const tn_source *source, const char *file, json_t **ret_root, tn_error *err);
/* Reads the members of object, which must outlive it. prefix: "config.json ". [any] */
config_reader config_json_reader(const tn_source *source, const json_t *object, const char *prefix, tn_error *err);
/* True if the key is there with the value null, which to transformers is not the same as a key that is not there. */
bool config_json_null(const config_reader *reader, const char *key);
/* By which method a config.json says that the checkpoint is quantized, borrowed; NULL: by none, or by one without a
 * name. root may be NULL. */
const char *config_json_quant_method(const json_t *root);

#endif
