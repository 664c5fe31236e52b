/* plugins/cuda_tp/cublaslt_library.h: the few functions of cuBLASLt that are used, found when they are first needed.
 * They and the numbers below are the same in CUDA 12 and 13; they are declared here so that its header is not needed to
 * build.
 */
#ifndef CUDA_TP_CUBLASLT_LIBRARY_H
#define CUDA_TP_CUBLASLT_LIBRARY_H

#include "kernels/launch.h"

#include <stddef.h>

typedef struct cublaslt_context *cublaslt_handle;
typedef struct cublaslt_product *cublaslt_product;
typedef struct cublaslt_layout *cublaslt_layout;
typedef struct cublaslt_preference *cublaslt_preference;

enum {
    CUBLASLT_SUCCESS = 0,
    CUBLASLT_COMPUTE_F32 = 68,
    CUBLASLT_F32 = 0, /* cudaDataType */
    CUBLASLT_BF16 = 14,
    CUBLASLT_PRODUCT_TRANSPOSE_A = 3, /* int32_t: */
    CUBLASLT_TRANSPOSED = 1,
    CUBLASLT_LAYOUT_COLUMNS = 3,       /* uint64_t */
    CUBLASLT_PREFERENCE_WORKSPACE = 1, /* uint64_t */
    CUBLASLT_PREFERENCE_ALIGNMENT = 5  /* uint32_t, of A; B, C and D follow */
};

typedef struct cublaslt_algorithm {
    uint64_t data[8];
} cublaslt_algorithm;

typedef struct cublaslt_candidate {
    cublaslt_algorithm algorithm;
    size_t workspace; /* bytes */
    int state;
    float waves;
    int reserved[4];
} cublaslt_candidate;

typedef struct cublaslt_library {
    size_t (*get_version)(void);
    const char *(*status_string)(int status);
    int (*create)(cublaslt_handle *handle);
    int (*destroy)(cublaslt_handle handle);
    int (*product_create)(cublaslt_product *product, int compute, int scale_type);
    int (*product_destroy)(cublaslt_product product);
    int (*product_set)(cublaslt_product product, int attribute, const void *value, size_t bytes);
    int (*layout_create)(cublaslt_layout *layout, int type, uint64_t rows, uint64_t columns, int64_t stride);
    int (*layout_destroy)(cublaslt_layout layout);
    int (*layout_set)(cublaslt_layout layout, int attribute, const void *value, size_t bytes);
    int (*preference_create)(cublaslt_preference *preference);
    int (*preference_destroy)(cublaslt_preference preference);
    int (*preference_set)(cublaslt_preference preference, int attribute, const void *value, size_t bytes);
    int (*propose)(cublaslt_handle handle, cublaslt_product product, cublaslt_layout a, cublaslt_layout b,
                   cublaslt_layout c, cublaslt_layout d, cublaslt_preference preference, int limit,
                   cublaslt_candidate *candidates, int *count);
    int (*check)(cublaslt_handle handle, cublaslt_product product, cublaslt_layout a, cublaslt_layout b,
                 cublaslt_layout c, cublaslt_layout d, const cublaslt_algorithm *algorithm, cublaslt_candidate *result);
    int (*multiply)(cublaslt_handle handle, cublaslt_product product, const void *alpha, const void *a_data,
                    cublaslt_layout a, const void *b_data, cublaslt_layout b, const void *beta, const void *c_data,
                    cublaslt_layout c, void *d_data, cublaslt_layout d, const cublaslt_algorithm *algorithm,
                    void *workspace, size_t workspace_bytes, cuda_stream stream);
} cublaslt_library;

/* Loads what [cuda_tp] cublaslt_library names, once, and logs its version and path. It is never closed.
 * TN_E_NOT_FOUND: it is not here. [any] */
tn_status cublaslt_library_get(const cublaslt_library **ret, tn_error *err);

#endif
