/* tenon/source.h: a plugin's view of a checkpoint, whatever its container (GGUF, safetensors directory).
 *
 * Implemented by the core. Shapes and byte counts have been checked against the file: data really has `bytes` bytes.
 * The bytes themselves are mapped from disk and untrusted.
 */
#ifndef TENON_SOURCE_H
#define TENON_SOURCE_H

#include "tenon/error.h"

TN_BEGIN_DECLS

/* Element types of checkpoint tensors. GGUF types are TN_DTYPE_GGUF + the ggml type number; block types included.
 * Others are safetensors' names. Append-only. */
enum {
    TN_DTYPE_F32 = 1, TN_DTYPE_F16 = 2, TN_DTYPE_BF16 = 3, TN_DTYPE_F64 = 4, TN_DTYPE_I8 = 5, TN_DTYPE_U8 = 6,
    TN_DTYPE_I16 = 7, TN_DTYPE_U16 = 8, TN_DTYPE_I32 = 9, TN_DTYPE_U32 = 10, TN_DTYPE_I64 = 11, TN_DTYPE_U64 = 12,
    TN_DTYPE_BOOL = 13, TN_DTYPE_F8_E4M3 = 14, TN_DTYPE_F8_E5M2 = 15,
    TN_DTYPE_GGUF = 256
};

typedef struct tn_tensor_src {
    uint32_t struct_size, dtype; /* TN_DTYPE_* */
    uint32_t rank, reserved0;    /* 1..4 */
    int64_t dim[4];              /* row-major, slowest first: a matrix is [N, K]; unused are 1 */
    const char *name;
    const void *data; /* borrowed until the source closes */
    uint64_t bytes;
} tn_tensor_src;
TN_SEALED(tn_tensor_src, bytes);

/* Kinds of metadata values. GGUF metadata as stored; from a directory, config.json and tokenizer files as JSON text. */
enum { TN_META_UINT = 1, TN_META_INT = 2, TN_META_FLOAT = 3, TN_META_BOOL = 4, TN_META_STRING = 5, TN_META_ARRAY = 6 };

typedef struct tn_meta {
    uint32_t struct_size, kind; /* TN_META_* */
    uint32_t element;           /* arrays: TN_META_* of the elements (never TN_META_ARRAY) */
    uint32_t reserved0;
    uint64_t count;             /* arrays: elements; strings: bytes; else 1 */
    uint64_t u;                 /* UINT, BOOL */
    int64_t i;                  /* INT */
    double f;                   /* FLOAT */
    const char *string;         /* STRING: UTF-8 as stored, not terminated, count bytes */
} tn_meta;
TN_SEALED(tn_meta, string);

typedef struct tn_source tn_source;
struct tn_source {
    uint32_t struct_size, tensor_count;
    void *ctx;
    const char *container; /* "gguf" or "safetensors" */
    const char *path;      /* for messages */
    /* Tensor by index or by name; TN_E_NOT_FOUND. Outputs' struct_size is set by the caller. [any] */
    tn_status (*tensor_at)(const tn_source *source, uint32_t index, tn_tensor_src *ret_tensor);
    tn_status (*tensor)(const tn_source *source, const char *name, tn_tensor_src *ret_tensor);
    /* GGUF: metadata by key. Directory: one of the files "config.json", "generation_config.json", "tokenizer.json",
     * "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
     * "chat_template.json", "quantize_config.json", "quant_config.json" as a STRING holding the whole file.
     * TN_E_NOT_FOUND. Borrowed until the source closes. [any] */
    tn_status (*meta)(const tn_source *source, const char *key, tn_meta *ret_meta);
    /* Element `index` of an ARRAY under key. Constant time. [any] */
    tn_status (*meta_element)(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta);
    /* Name of the index-th metadata key, NULL past the last. [any] */
    const char *(*meta_key)(const tn_source *source, uint32_t index);
};
TN_SEALED(tn_source, meta_key);

TN_END_DECLS
#endif
