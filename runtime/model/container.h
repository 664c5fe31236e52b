/* runtime/model/container.h: what the container readers (gguf.c, safetensors.c) share: the checkpoint they fill.
 *
 * A reader allocates a checkpoint, appends maps, tensors and metadata, and calls checkpoint_finish, which checks names
 * for duplicates, builds the indexes and makes the tn_source usable. Everything is freed by checkpoint_close, at any
 * stage.
 */
#ifndef MODEL_CONTAINER_H
#define MODEL_CONTAINER_H

#include "model/checkpoint.h"
#include "model/file_map.h"
#include "model/name_order.h"

#include <stdbool.h>

enum { CHECKPOINT_TENSORS_MAX = 1 << 20, CHECKPOINT_NAME_BYTES_MAX = 65535 };

typedef struct meta_entry {
    char *key; /* owned */
    tn_meta value;
    uint32_t scalar_width;   /* bytes of the stored value or array element, 0 for strings */
    const uint8_t *elements; /* first element of an array, unaligned, in the map */
    uint64_t *string_at;     /* owned, arrays of strings: [count + 1] offsets from elements to each length prefix */
} meta_entry;

struct checkpoint {
    tn_source source;
    char *path; /* owned */
    file_map *maps;
    uint32_t map_count;
    tn_tensor_src *tensors; /* owned, names included */
    uint32_t tensor_count, tensor_capacity;
    meta_entry *metas;
    uint32_t meta_count, meta_capacity;
    name_order tensor_names, meta_names;
    uint64_t tensor_bytes;
};

/* An empty checkpoint with room for these counts. container is static text. */
tn_status checkpoint_create(const char *container, const char *path, uint32_t maps, uint32_t tensors, uint32_t metas,
                            checkpoint **ret_checkpoint, tn_error *err);
/* Copies a name that is about to be an index key: 1 to CHECKPOINT_NAME_BYTES_MAX bytes of valid UTF-8 without control
 * characters, so that messages can show it. what: "tensor name", for the error. */
tn_status checkpoint_copy_name(const checkpoint *checkpoint, const char *what, const void *bytes, uint64_t n_bytes,
                               char **ret_name, tn_error *err);
/* Refuses duplicate names (TN_E_CORRUPT) and builds the indexes. */
tn_status checkpoint_finish(checkpoint *checkpoint, tn_error *err);

/* The readers over bytes in memory, which stay borrowed until close. path is for messages. */
tn_status gguf_open_memory(const char *path, const void *bytes, uint64_t size, checkpoint **ret_checkpoint,
                           tn_error *err);
/* One safetensors file without any file beside it. */
tn_status safetensors_open_memory(const char *path, const void *bytes, uint64_t size, checkpoint **ret_checkpoint,
                                  tn_error *err);

#endif
