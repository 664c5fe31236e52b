/* device_limits.c: what one GPU measures of itself, for bench_device: the bytes that a copy of 4 GiB reads and writes in
 * a second, and the operations of an 8,192^3 bfloat16 product, by cuBLASLt where it is found, else by this plugin's own
 * kernel. Best of several passes. Part of ../cuda/gpu_kernels. Prints arguments, a word a line:
 *
 *   --device NAME --copy BYTES/S --matrix OPERATIONS/S
 */
#include "kernels/launch.h"

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIDE = 8192, PASSES = 8, INNER = 4 };
#define COPY_BYTES (4ull << 30)
#define SCRATCH    (64ull << 20)
#define MUST(call) must((call), #call)

static void must(cudaError_t code, const char *what)
{
    if (code == cudaSuccess)
        return;
    fprintf(stderr, "device_limits: %s: %s\n", what, cudaGetErrorString(code));
    exit(1);
}

static void *allocate(uint64_t bytes)
{
    void *memory = NULL;
    MUST(cudaMalloc(&memory, bytes));
    MUST(cudaMemset(memory, 0x3c, bytes)); /* small numbers: what is multiplied costs power like any other */
    return memory;
}

/* Seconds of the fastest of several passes of `work`, each INNER times. */
static double fastest(void (*work)(void *context), void *context)
{
    cudaEvent_t begin, end;
    double best = 1e30;

    MUST(cudaEventCreate(&begin));
    MUST(cudaEventCreate(&end));
    for (int pass = 0; pass < PASSES; pass++) {
        float ms = 0;
        MUST(cudaEventRecord(begin, NULL));
        for (int i = 0; i < INNER; i++)
            work(context);
        MUST(cudaEventRecord(end, NULL));
        MUST(cudaEventSynchronize(end));
        MUST(cudaEventElapsedTime(&ms, begin, end));
        best = (double)ms * 1e-3 / INNER < best ? (double)ms * 1e-3 / INNER : best;
    }
    return best;
}

static void copy(void *context)
{
    uint8_t *memory = context;
    MUST(cudaMemcpyAsync(memory, memory + COPY_BYTES / 2, COPY_BYTES / 2, cudaMemcpyDeviceToDevice, NULL));
}

/* ---- products ---- */

typedef struct product {
    void *a, *b, *c, *scratch;
    cuda_weight weight;
    /* cuBLASLt, NULL: not found */
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t layout;
    cublasLtMatmulAlgo_t algorithm;
    cublasStatus_t (*matmul)(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *, cublasLtMatrixLayout_t,
                             const void *, cublasLtMatrixLayout_t, const void *, const void *, cublasLtMatrixLayout_t,
                             void *, cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t,
                             cudaStream_t);
} product;

static void *find(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    if (!symbol) {
        fprintf(stderr, "device_limits: %s\n", dlerror());
        exit(1);
    }
    return symbol;
}

static void accept(cublasStatus_t status, const char *what)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return;
    fprintf(stderr, "device_limits: %s: cuBLASLt says %d\n", what, (int)status);
    exit(1);
}

/* Chooses the first algorithm that cuBLASLt suggests. */
static void prepare(product *p, void *library)
{
    cublasStatus_t (*create)(cublasLtHandle_t *);
    cublasStatus_t (*operation_create)(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t);
    cublasStatus_t (*operation_set)(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void *, size_t);
    cublasStatus_t (*layout_create)(cublasLtMatrixLayout_t *, cudaDataType, uint64_t, uint64_t, int64_t);
    cublasStatus_t (*preference_create)(cublasLtMatmulPreference_t *);
    cublasStatus_t (*preference_set)(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void *,
                                     size_t);
    cublasStatus_t (*suggest)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                              cublasLtMatmulHeuristicResult_t[], int *);
    cublasLtMatmulPreference_t preference;
    cublasLtMatmulHeuristicResult_t found;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const size_t scratch = SCRATCH;
    int count = 0;

    *(void **)&create = find(library, "cublasLtCreate");
    *(void **)&operation_create = find(library, "cublasLtMatmulDescCreate");
    *(void **)&operation_set = find(library, "cublasLtMatmulDescSetAttribute");
    *(void **)&layout_create = find(library, "cublasLtMatrixLayoutCreate");
    *(void **)&preference_create = find(library, "cublasLtMatmulPreferenceCreate");
    *(void **)&preference_set = find(library, "cublasLtMatmulPreferenceSetAttribute");
    *(void **)&suggest = find(library, "cublasLtMatmulAlgoGetHeuristic");
    *(void **)&p->matmul = find(library, "cublasLtMatmul");
    accept(create(&p->handle), "create");
    accept(operation_create(&p->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "operation");
    accept(operation_set(p->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "transposed");
    accept(layout_create(&p->layout, CUDA_R_16BF, SIDE, SIDE, SIDE), "layout");
    accept(preference_create(&preference), "preference");
    accept(preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &scratch, sizeof scratch), "scratch");
    accept(suggest(p->handle, p->operation, p->layout, p->layout, p->layout, p->layout, preference, 1, &found, &count),
           "choice");
    accept(count ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED, "choice");
    p->algorithm = found.algo;
}

static void multiply(void *context)
{
    product *p = context;
    const float one = 1, zero = 0;

    if (p->handle) {
        accept(p->matmul(p->handle, p->operation, &one, p->a, p->layout, p->b, p->layout, &zero, p->c, p->layout, p->c,
                         p->layout, &p->algorithm, p->scratch, SCRATCH, NULL),
               "product");
        return;
    }
    const cuda_linear_args args = {.weight = &p->weight,
                                   .x = p->b,
                                   .y = p->c,
                                   .y_type = TN_BF16,
                                   .rows = SIDE,
                                   .x_stride = SIDE,
                                   .y_stride = SIDE};
    if (cuda_linear(&args, NULL) != TN_OK)
        MUST(cudaErrorLaunchFailure);
}

static double matrix_rate(void)
{
    const tn_enc enc = {.struct_size = sizeof enc, .family = TN_ENC_FLOAT, .qtype = TN_BF16, .bits = 16};
    const uint64_t bytes = 2ull * SIDE * SIDE;
    product p = {.a = allocate(bytes), .b = allocate(bytes), .c = allocate(bytes), .scratch = allocate(SCRATCH)};
    cuda_weight_size size;
    void *library = NULL;

    for (int major = 13; major >= 12 && !library; major--) {
        char name[32];
        snprintf(name, sizeof name, "libcublasLt.so.%d", major);
        library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    }
    fprintf(stderr, "matrix rate by %s\n", library ? "cuBLASLt" : "our own kernel");
    if (library)
        prepare(&p, library);
    cuda_weight_layout(&enc, SIDE, SIDE, &p.weight, &size);
    p.weight.codes = p.a;
    double seconds = fastest(multiply, &p);
    return 2.0 * SIDE * SIDE * SIDE / seconds;
}

int main(void)
{
    struct cudaDeviceProp properties;

    MUST(cudaGetDeviceProperties(&properties, 0));
    void *memory = allocate(COPY_BYTES);
    double bytes = (double)COPY_BYTES / fastest(copy, memory);
    MUST(cudaFree(memory));
    printf("--device\n%s\n--copy\n%.6g\n--matrix\n%.6g\n", properties.name, bytes, matrix_rate());
    return 0;
}
