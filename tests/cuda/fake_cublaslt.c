/* fake_cublaslt.c: see fake_cublaslt.h. An algorithm is the number of slices that K is cut into, which are added at the
 * end: one for each 32 rows. The first that is proposed asks for too much workspace, the second does not do for fewer
 * rows than it was proposed for, the third does.
 */
#include "fake_cublaslt.h"

#include "base/half.h"
#include "cublaslt_library.h"
#include "tenon/encoding.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_SUPPORTED = 15, GREEDY = 0, PICKY = 1, ANY = 2 };

struct cublaslt_context {
    int unused;
};
struct cublaslt_product {
    int32_t transposed;
};
struct cublaslt_layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
};
struct cublaslt_preference {
    uint64_t workspace;
    uint32_t alignment[4];
};

static atomic_uint products, objects, refused;
static atomic_int failing;

#define EXPORT __attribute__((visibility("default")))

#define REQUIRE(condition)                                                    \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "fake cuBLASLt: not true that %s\n", #condition); \
            abort();                                                          \
        }                                                                     \
    } while (0)

static void *create(size_t bytes)
{
    void *made = calloc(1, bytes);
    REQUIRE(made);
    objects++;
    return made;
}

static int destroy(void *object)
{
    REQUIRE(object);
    objects--;
    free(object);
    return CUBLASLT_SUCCESS;
}

EXPORT size_t cublasLtGetVersion(void)
{
    return 130000;
}

EXPORT const char *cublasLtGetStatusString(int status)
{
    return status == NOT_SUPPORTED ? "the functionality is not supported" : "the execution failed";
}

EXPORT int cublasLtCreate(cublaslt_handle *handle)
{
    *handle = create(sizeof **handle);
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtDestroy(cublaslt_handle handle)
{
    return destroy(handle);
}

EXPORT int cublasLtMatmulDescCreate(cublaslt_product *product, int compute, int scale_type)
{
    REQUIRE(compute == CUBLASLT_COMPUTE_F32 && scale_type == CUBLASLT_F32);
    *product = create(sizeof **product);
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatmulDescDestroy(cublaslt_product product)
{
    return destroy(product);
}

EXPORT int cublasLtMatmulDescSetAttribute(cublaslt_product product, int attribute, const void *value, size_t bytes)
{
    REQUIRE(attribute == CUBLASLT_PRODUCT_TRANSPOSE_A && bytes == sizeof product->transposed);
    memcpy(&product->transposed, value, bytes);
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatrixLayoutCreate(cublaslt_layout *layout, int type, uint64_t rows, uint64_t columns,
                                      int64_t stride)
{
    REQUIRE(stride >= (int64_t)rows && columns > 0);
    *layout = create(sizeof **layout);
    **layout = (struct cublaslt_layout){type, rows, columns, stride};
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatrixLayoutDestroy(cublaslt_layout layout)
{
    return destroy(layout);
}

EXPORT int cublasLtMatrixLayoutSetAttribute(cublaslt_layout layout, int attribute, const void *value, size_t bytes)
{
    REQUIRE(attribute == CUBLASLT_LAYOUT_COLUMNS && bytes == sizeof layout->columns);
    memcpy(&layout->columns, value, bytes);
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceCreate(cublaslt_preference *preference)
{
    *preference = create(sizeof **preference);
    return CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceDestroy(cublaslt_preference preference)
{
    return destroy(preference);
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(cublaslt_preference preference, int attribute, const void *value,
                                                size_t bytes)
{
    if (attribute == CUBLASLT_PREFERENCE_WORKSPACE) {
        REQUIRE(bytes == sizeof preference->workspace);
        memcpy(&preference->workspace, value, bytes);
        return CUBLASLT_SUCCESS;
    }
    const int index = attribute - CUBLASLT_PREFERENCE_ALIGNMENT;
    REQUIRE(index >= 0 && index < 4 && bytes == sizeof preference->alignment[0]);
    memcpy(&preference->alignment[index], value, bytes);
    return CUBLASLT_SUCCESS;
}

/* ---- algorithms ---- */

static void require_shapes(cublaslt_product product, cublaslt_layout a, cublaslt_layout b, cublaslt_layout c,
                           cublaslt_layout d)
{
    REQUIRE(product->transposed == CUBLASLT_TRANSPOSED && c == d);
    REQUIRE(a->type == CUBLASLT_BF16 && b->type == CUBLASLT_BF16);
    REQUIRE(d->type == CUBLASLT_BF16 || d->type == CUBLASLT_F32);
    REQUIRE(a->rows == b->rows && a->columns == d->rows && b->columns == d->columns);
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(cublaslt_handle handle, cublaslt_product product, cublaslt_layout a,
                                          cublaslt_layout b, cublaslt_layout c, cublaslt_layout d,
                                          cublaslt_preference preference, int limit, cublaslt_candidate *candidates,
                                          int *count)
{
    REQUIRE(handle && limit >= 3 && preference->workspace > 0 && preference->alignment[3] == 16);
    require_shapes(product, a, b, c, d);
    *count = 0;
    if (atomic_load(&refused) == d->rows)
        return NOT_SUPPORTED;
    for (uint64_t kind = GREEDY; kind <= ANY; kind++) {
        candidates[kind] = (cublaslt_candidate){.algorithm.data = {kind, d->columns / 32 + 1, d->columns}};
        candidates[kind].workspace = kind == GREEDY ? preference->workspace + 1 : 0;
    }
    *count = ANY + 1;
    return CUBLASLT_SUCCESS;
}

static int does_for(const cublaslt_algorithm *algorithm, uint64_t rows)
{
    return algorithm->data[0] == PICKY && rows != algorithm->data[2] ? NOT_SUPPORTED : CUBLASLT_SUCCESS;
}

EXPORT int cublasLtMatmulAlgoCheck(cublaslt_handle handle, cublaslt_product product, cublaslt_layout a,
                                   cublaslt_layout b, cublaslt_layout c, cublaslt_layout d,
                                   const cublaslt_algorithm *algorithm, cublaslt_candidate *result)
{
    REQUIRE(handle);
    require_shapes(product, a, b, c, d);
    result->workspace = 0;
    return does_for(algorithm, d->columns);
}

/* ---- products ---- */

static float dot(const uint16_t *w, const uint16_t *x, uint64_t k, uint64_t slices)
{
    float total = 0;

    for (uint64_t s = 0; s < slices; s++) {
        float sum = 0;
        for (uint64_t i = k * s / slices; i < k * (s + 1) / slices; i++)
            sum += float_from_bf16(w[i]) * float_from_bf16(x[i]);
        total += sum;
    }
    return total;
}

EXPORT int cublasLtMatmul(cublaslt_handle handle, cublaslt_product product, const void *alpha, const void *a_data,
                          cublaslt_layout a, const void *b_data, cublaslt_layout b, const void *beta,
                          const void *c_data, cublaslt_layout c, void *d_data, cublaslt_layout d,
                          const cublaslt_algorithm *algorithm, void *workspace, size_t workspace_bytes,
                          cuda_stream stream)
{
    (void)stream;
    REQUIRE(handle && *(const float *)alpha == 1 && *(const float *)beta == 0 && c_data == d_data);
    REQUIRE(workspace && workspace_bytes > 0 && algorithm->data[0] == ANY);
    REQUIRE((uintptr_t)a_data % 256 == 0 && (uintptr_t)b_data % 16 == 0 && (uintptr_t)d_data % 16 == 0);
    require_shapes(product, a, b, c, d);
    if (atomic_load(&failing))
        return atomic_load(&failing);
    products++;
    for (uint64_t row = 0; row < d->columns; row++)
        for (uint64_t n = 0; n < d->rows; n++) {
            float sum = dot((const uint16_t *)a_data + n * (uint64_t)a->stride,
                            (const uint16_t *)b_data + row * (uint64_t)b->stride, a->rows, algorithm->data[1]);
            uint64_t at = row * (uint64_t)d->stride + n;
            if (d->type == CUBLASLT_F32)
                ((float *)d_data)[at] = sum;
            else
                ((uint16_t *)d_data)[at] = bf16_from_float(sum);
        }
    return CUBLASLT_SUCCESS;
}

/* ---- for the tests ---- */

static uint32_t count_products(void)
{
    return atomic_load(&products);
}

static uint32_t count_objects(void)
{
    return atomic_load(&objects);
}

static void refuse(uint32_t n)
{
    atomic_store(&refused, n);
}

static void break_with(int status)
{
    atomic_store(&failing, status);
}

EXPORT const fake_cublaslt_control fake_cublaslt_controls = {count_products, count_objects, refuse, break_with};
