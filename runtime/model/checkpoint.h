/* runtime/model/checkpoint.h: one view of a checkpoint, whatever its container.
 *
 * A checkpoint is a GGUF file, or a directory with config.json and one or more safetensors files, or a single
 * .safetensors file beside its config.json. Opening maps the files and validates every count, size, offset and shape
 * against the bytes present; tensor data is not read. Afterwards the view is immutable and thread-safe.
 */
#ifndef MODEL_CHECKPOINT_H
#define MODEL_CHECKPOINT_H

#include "tenon/source.h"

typedef struct checkpoint checkpoint;

/* Detects the container by content. Errors name the file and what is wrong in it (TN_E_CORRUPT, TN_E_NOT_FOUND, TN_E_IO,
 * TN_E_UNSUPPORTED). Moved to the caller. [any] */
tn_status checkpoint_open(const char *path, checkpoint **ret_checkpoint, tn_error *err);
/* The files beside the weights in a model directory (config.json, tokenizer), without a tensor. [any] */
tn_status checkpoint_open_without_weights(const char *path, checkpoint **ret_checkpoint, tn_error *err);
/* NULL is fine. */
void checkpoint_close(checkpoint *checkpoint);
/* The plugin's view; borrowed until close. */
const tn_source *checkpoint_source(const checkpoint *checkpoint);
/* Tells the kernel that [data, data + bytes) will not be read again, so that file pages leave our RSS. */
void checkpoint_release(const checkpoint *checkpoint, const void *data, uint64_t bytes);
/* Bytes of all tensors together. */
uint64_t checkpoint_tensor_bytes(const checkpoint *checkpoint);

/* Container back ends, one file each. Same contract as checkpoint_open. */
tn_status gguf_open(const char *path, checkpoint **ret_checkpoint, tn_error *err);
tn_status safetensors_open(const char *path, checkpoint **ret_checkpoint, tn_error *err);

#endif
