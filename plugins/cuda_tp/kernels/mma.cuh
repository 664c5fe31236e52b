/* plugins/cuda_tp/kernels/mma.cuh: tensor-core products, matrix loads and asynchronous copies, sm_80 and up.
 *
 * Fragments of mma.m16n8k16 (PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type"), with
 * g = lane / 4 and t = lane % 4, pairs of 16-bit elements in one register, lower column (A) or row (B) first:
 *   A [16 x 16]  a0 (g, 2t..)  a1 (g + 8, 2t..)  a2 (g, 2t + 8..)  a3 (g + 8, 2t + 8..)
 *   B [16 x 8]   b0 (2t.., g)  b1 (2t + 8.., g)
 *   C [16 x 8]   c0 (g, 2t)  c1 (g, 2t + 1)  c2 (g + 8, 2t)  c3 (g + 8, 2t + 1)
 */
#ifndef CUDA_MMA_CUH
#define CUDA_MMA_CUH

#include "kernels/device.cuh"

#ifdef CUDA_SHIM

/* F16: elements are f16, else bf16. */
template <bool F16> static void mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    const unsigned char *slots = shim_warp_exchange(mine, sizeof mine);
    unsigned lane = threadIdx.x % WARP, g = lane / 4, t = lane % 4;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = g + i / 2 * 8, column = 2 * t + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            uint32_t from_a[6], from_b[6];
            memcpy(from_a, slots + (row % 8 * 4 + k % 8 / 2) * 64, sizeof from_a);
            memcpy(from_b, slots + (column * 4 + k % 8 / 2) * 64, sizeof from_b);
            uint16_t x = (uint16_t)(from_a[row / 8 + k / 8 * 2] >> (k % 2 * 16));
            uint16_t y = (uint16_t)(from_b[4 + k / 8] >> (k % 2 * 16));
            c[i] += F16 ? float_of_f16(x) * float_of_f16(y) : float_of_bf16(x) * float_of_bf16(y);
        }
    }
}

/* Four 8 x 8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8. */
template <bool TRANSPOSED> static void load_matrices(uint32_t out[4], const void *row)
{
    const unsigned char *slots = shim_warp_exchange(&row, sizeof row);
    unsigned lane = threadIdx.x % WARP;
    for (unsigned i = 0; i < 4; i++) {
        uint16_t pair[2];
        for (unsigned j = 0; j < 2; j++) {
            unsigned r = TRANSPOSED ? lane % 4 * 2 + j : lane / 4, c = TRANSPOSED ? lane / 4 : lane % 4 * 2 + j;
            const uint16_t *at;
            memcpy(&at, slots + (i * 8 + r) * 64, sizeof at);
            pair[j] = at[c];
        }
        out[i] = (uint32_t)pair[0] | (uint32_t)pair[1] << 16;
    }
}

/* 16 bytes; the last 16 - filled of them become zero and are not read. */
static inline void copy_async(void *shared, const void *global, unsigned filled)
{
    if (((uintptr_t)shared | (uintptr_t)global) % 16)
        abort();
    shim_copy_async(shared, global, 16, filled);
}
static inline void copy_commit(void)
{
    shim_copy_commit();
}
template <unsigned GROUPS> static void copy_wait(void)
{
    shim_copy_wait(GROUPS);
}

/* a * b + c on two bf16, one rounding. */
static inline uint32_t bf16x2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    return bf16_pair(fmaf(low_of_pair(a), low_of_pair(b), low_of_pair(c)),
                     fmaf(high_of_pair(a), high_of_pair(b), high_of_pair(c)));
}
static inline uint32_t byte_permute(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t out = 0;
    for (unsigned i = 0; i < 4; i++)
        out |= (uint32_t)(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
    return out;
}
static inline float exp_two(float x)
{
    return exp2f(x);
}
#define LARGE_SHARED(kernel, bytes) ((void)0)

#else

template <bool F16> static __device__ __forceinline__ void mma(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    if (F16)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
            "{%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <bool TRANSPOSED> static __device__ __forceinline__ void load_matrices(uint32_t out[4], const void *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(at)
                     : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                     : "r"(at)
                     : "memory");
}

/* 16 bytes past L1; the last 16 - filled of them become zero and are not read. */
static __device__ __forceinline__ void copy_async(void *shared, const void *global, unsigned filled)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(shared)),
                 "l"(global), "r"(filled)
                 : "memory");
}
static __device__ __forceinline__ void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <unsigned GROUPS> static __device__ __forceinline__ void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

/* a * b + c on two bf16, one rounding. */
static __device__ __forceinline__ uint32_t bf16x2_fma(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t d;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
static __device__ __forceinline__ uint32_t byte_permute(uint32_t a, uint32_t b, uint32_t selector)
{
    return __byte_perm(a, b, selector);
}
/* 2^x by the special function unit: 2 ulp, subnormals flushed. */
static __device__ __forceinline__ float exp_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* More than 48 KiB of dynamic shared memory has to be asked for. */
#define LARGE_SHARED(kernel, bytes) \
    ((void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes)))

#endif
#endif
