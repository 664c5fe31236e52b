/* gpu_kernels.c: what the kernel tests need to run on a GPU instead of under the shim. They hand launchers memory of
 * the host, from stacks and constants too, so that the GPU must be able to read all of it (pageable memory access:
 * Linux 6.1 with NVIDIA's open kernel module, or Grace), and they look at results at once, so that launches must block.
 */
#include <cuda_runtime.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void shim_seed(uint32_t seed);
void shim_seed(uint32_t seed)
{
    (void)seed; /* a GPU has an order of its own */
}

/* Before main: ends the program with 77, a skip, where its tests cannot run. */
__attribute__((constructor)) static void require_gpu(void)
{
    int reads_host = 0;

    setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
    cudaError_t code = cudaDeviceGetAttribute(&reads_host, cudaDevAttrPageableMemoryAccess, 0);
    if (code == cudaSuccess && reads_host)
        return;
    printf("skipped: %s\n", code == cudaSuccess ? "the GPU cannot read pageable memory" : cudaGetErrorString(code));
    exit(77);
}
