/* runtime/model/dtype.h: names and sizes of the element types a checkpoint may hold. */
#ifndef MODEL_DTYPE_H
#define MODEL_DTYPE_H

#include "tenon/source.h"

#include <stdbool.h>

/* A type stores `block_elements` consecutive elements of a row in `block_bytes` bytes. */
typedef struct dtype_info {
    uint32_t dtype; /* TN_DTYPE_* */
    uint32_t block_elements, block_bytes;
    const char *name; /* as its format spells it: "BF16", "Q4_K" */
} dtype_info;

/* NULL when no container of ours stores this type. [any] */
const dtype_info *dtype_find(uint32_t dtype);
/* The safetensors type of this name; NULL when unknown. [any] */
const dtype_info *dtype_of_safetensors(const char *name);
/* Bytes of a tensor of `rank` (1..4) dims, slowest first. False, with the reason in *ret_reason (static text), when a
 * dim is 0 or negative, a row does not fill whole blocks, or a size does not fit 63 bits. [any] */
bool dtype_tensor_bytes(const dtype_info *info, uint32_t rank, const int64_t *dim, uint64_t *ret_bytes,
                        const char **ret_reason);

#endif
