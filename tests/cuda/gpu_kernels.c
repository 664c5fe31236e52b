/* gpu_kernels.c: what the kernel tests need to run on a GPU instead of under the shim: memory that host and device
 * share, and launches that block, since the tests look at results at once. Managed memory is there on every GPU of
 * Linux, and is all that they take: kilobytes.
 */
#include <cuda_runtime.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void shim_seed(uint32_t seed);
void shim_seed(uint32_t seed)
{
    (void)seed; /* a GPU has an order of its own */
}

void *rig_reserve(size_t bytes);
void *rig_reserve(size_t bytes)
{
    void *memory = NULL;
    return cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal) == cudaSuccess ? memory : NULL;
}

void rig_free(void *memory);
void rig_free(void *memory)
{
    cudaFree(memory);
}

/* Before main: 77, a skip, without a GPU; whatever else is amiss is a failure. */
__attribute__((constructor)) static void require_gpu(void)
{
    int count = 0;

    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    cudaError_t code = cudaGetDeviceCount(&count);
    if (code == cudaSuccess && count > 0)
        return;
    bool absent = code == cudaSuccess || code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver;
    printf("%s: %s\n", absent ? "skipped" : "failed", code == cudaSuccess ? "no GPU" : cudaGetErrorString(code));
    exit(absent ? 77 : 1);
}
