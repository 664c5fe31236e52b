/* linear_split.c: which products split K over blocks, and the scratch that they leave the parts in. Host arithmetic. */
#include "kernels/launch.h"

enum { BLOCKS_WANTED = 192 }; /* fewer than this leave multiprocessors idle */

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

uint64_t cuda_linear_split_floats(uint32_t rows, uint64_t n)
{
    if (rows <= CUDA_FEW_ROWS || ceil_div(rows, CUDA_TILE_TOKENS) * ceil_div(n, CUDA_TILE_OUTPUTS) >= BLOCKS_WANTED)
        return 0;
    return CUDA_K_SLICES * rows * n;
}

uint64_t cuda_linear_split_floats_max(uint32_t rows, uint64_t n)
{
    uint64_t tiles = n ? (BLOCKS_WANTED - 1) / ceil_div(n, CUDA_TILE_OUTPUTS) : 0, most = tiles * CUDA_TILE_TOKENS;
    return cuda_linear_split_floats(rows < most ? rows : (uint32_t)most, n);
}
