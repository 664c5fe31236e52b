/* gpu_kernels.c: the kernel tests on a GPU instead of under the shim, and what the GPU measures of itself for the
 * benchmark (../bench/device_limits.c), in one program with one copy of the kernels: `gpu_kernels NAME`.
 *
 * Tests get memory that host and device share, and launches that block, since they look at results at once. Managed
 * memory is there on every GPU of Linux, and is all that they take: kilobytes.
 */
#include <cuda_runtime.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The mains of test_cuda_*.c and device_limits.c, renamed by the build. */
int main_of_rows(void);
int main_of_linear(void);
int main_of_attention(void);
int main_of_moe(void);
int main_of_sample(void);
int main_of_limits(void);

static const struct {
    const char *name;
    int (*run)(void);
    bool launches_block;
} programs[] = {
    {"rows", main_of_rows, true}, {"linear", main_of_linear, true}, {"attention", main_of_attention, true},
    {"moe", main_of_moe, true},   {"sample", main_of_sample, true}, {"limits", main_of_limits, false},
};

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

/* Ends the program with 77, a skip, without a GPU; whatever else is amiss is a failure. */
static void require_gpu(void)
{
    int count = 0;
    cudaError_t code = cudaGetDeviceCount(&count);

    if (code == cudaSuccess && count > 0)
        return;
    bool absent = code == cudaSuccess || code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver;
    printf("%s: %s\n", absent ? "skipped" : "failed", code == cudaSuccess ? "no GPU" : cudaGetErrorString(code));
    exit(absent ? 77 : 1);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        if (argc != 2 || strcmp(argv[1], programs[i].name) != 0)
            continue;
        if (programs[i].launches_block)
            setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
        require_gpu();
        return programs[i].run();
    }
    fprintf(stderr, "usage: gpu_kernels rows|linear|attention|moe|sample|limits\n");
    return 2;
}
