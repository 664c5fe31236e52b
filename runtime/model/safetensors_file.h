/* runtime/model/safetensors_file.h: one safetensors file: its header as JSON, and the tensors it describes. */
#ifndef MODEL_SAFETENSORS_FILE_H
#define MODEL_SAFETENSORS_FILE_H

#include "model/container.h"

#include <jansson.h>

/* Longest JSON text read from a model directory, the format's own limit for a header. */
enum { SAFETENSORS_JSON_BYTES_MAX = 100 * 1000 * 1000 };

typedef struct safetensors_file {
    char *path; /* owned */
    file_map map;
    json_t *header; /* owned; an object */
    uint64_t data_at;
    uint32_t tensor_count;
} safetensors_file;

/* Parses JSON text with unique keys. path is for the message (TN_E_CORRUPT). The caller owns the value. */
tn_status safetensors_json_load(const char *path, const void *bytes, uint64_t n_bytes, json_t **ret_json,
                                tn_error *err);
/* Reads the header of the file in map. Takes the map, also on failure. */
tn_status safetensors_file_open(const char *path, file_map map, safetensors_file *ret_file, tn_error *err);
/* Appends the file's tensors to a checkpoint that has room for them and gives it the map. */
tn_status safetensors_file_add(safetensors_file *file, checkpoint *checkpoint, tn_error *err);
void safetensors_file_close(safetensors_file *file); /* a zeroed one is fine */

#endif
