/* plugins/cuda_tp/kernels/device.cuh: what every kernel stands on: scalar types, vector loads, reductions, launches.
 *
 * Compiled by nvcc, or as C++ on top of shim/cuda_shim.h when CUDA_SHIM is defined. Nothing else in this folder but
 * mma.cuh knows which.
 */
#ifndef CUDA_DEVICE_CUH
#define CUDA_DEVICE_CUH

#include "kernels/launch.h"

#ifdef CUDA_SHIM
#include "base/half.h"
#include "shim/cuda_shim.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)      \
    do {                                                            \
        if (launch_nothing)                                         \
            launch_load(reinterpret_cast<const void *>(kernel));    \
        else                                                        \
            kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__); \
    } while (0)
/* The error stays where it is, for device_api.launch_failure. */
#define LAUNCH_STATUS() (cudaPeekAtLastError() == cudaSuccess ? TN_OK : TN_E_DEVICE_LOST)
#define SHARED_DYNAMIC(type, name)                                 \
    extern __shared__ __align__(16) unsigned char shared_bytes_[]; \
    type *name = reinterpret_cast<type *>(shared_bytes_)
#endif

extern "C" __thread int launch_nothing; /* of cuda_launch_nothing */

#ifndef CUDA_SHIM
static inline void launch_load(const void *kernel)
{
    cudaFuncAttributes attributes;
    (void)cudaFuncGetAttributes(&attributes, kernel); /* LAUNCH_STATUS sees an error */
}
#endif

#define WARP_FULL 0xffffffffu
enum { WARP = 32 };

/* ---- scalars: bf16 and f16 travel as their bits ---- */

typedef uint16_t bf16;

static __device__ __forceinline__ float float_of_bf16(bf16 value)
{
    return __uint_as_float((unsigned)value << 16);
}

#ifdef CUDA_SHIM
static inline bf16 bf16_of_float(float value)
{
    return bf16_from_float(value);
}
static inline uint32_t bf16_pair(float low, float high)
{
    return (uint32_t)bf16_from_float(low) | (uint32_t)bf16_from_float(high) << 16;
}
static inline float float_of_f16(uint16_t value)
{
    return float_from_f16(value);
}
/* Flags that other devices read and write. */
static inline void flag_store(uint32_t *flag, uint32_t value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}
static inline uint32_t flag_load(const uint32_t *flag)
{
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}
static inline void spin(void)
{
    shim_spin();
}
static inline uint16_t f16_of_float(float value)
{
    return f16_from_float(value);
}
#else
static __device__ __forceinline__ bf16 bf16_of_float(float value)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
static __device__ __forceinline__ uint32_t bf16_pair(float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
/* Flags that other devices read and write. */
static __device__ __forceinline__ void flag_store(uint32_t *flag, uint32_t value)
{
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}
static __device__ __forceinline__ uint32_t flag_load(const uint32_t *flag)
{
    uint32_t value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}
static __device__ __forceinline__ void spin(void)
{
}
static __device__ __forceinline__ float float_of_f16(uint16_t value)
{
    return __half2float(__ushort_as_half(value));
}
static __device__ __forceinline__ uint16_t f16_of_float(float value)
{
    return __half_as_ushort(__float2half_rn(value));
}
#endif

static __device__ __forceinline__ float low_of_pair(uint32_t pair)
{
    return __uint_as_float(pair << 16);
}
static __device__ __forceinline__ float high_of_pair(uint32_t pair)
{
    return __uint_as_float(pair & 0xffff0000u);
}

/* One element of a row of TN_F32 or TN_BF16. The type is uniform over the launch, so the branch costs nothing beside
 * the load. */
static __device__ __forceinline__ float load_float(const void *base, uint32_t type, uint64_t index)
{
    return type == TN_F32 ? static_cast<const float *>(base)[index]
                          : float_of_bf16(static_cast<const bf16 *>(base)[index]);
}
static __device__ __forceinline__ void store_float(void *base, uint32_t type, uint64_t index, float value)
{
    if (type == TN_F32)
        static_cast<float *>(base)[index] = value;
    else
        static_cast<bf16 *>(base)[index] = bf16_of_float(value);
}

/* Eight consecutive elements; the address must be 16-byte aligned. */
static __device__ __forceinline__ void load_eight(const void *base, uint32_t type, uint64_t index, float value[8])
{
    if (type == TN_F32) {
        const float4 *at = reinterpret_cast<const float4 *>(static_cast<const float *>(base) + index);
        float4 a = at[0], b = at[1];
        value[0] = a.x, value[1] = a.y, value[2] = a.z, value[3] = a.w;
        value[4] = b.x, value[5] = b.y, value[6] = b.z, value[7] = b.w;
        return;
    }
    uint4 v = *reinterpret_cast<const uint4 *>(static_cast<const bf16 *>(base) + index);
    value[0] = low_of_pair(v.x), value[1] = high_of_pair(v.x), value[2] = low_of_pair(v.y);
    value[3] = high_of_pair(v.y), value[4] = low_of_pair(v.z), value[5] = high_of_pair(v.z);
    value[6] = low_of_pair(v.w), value[7] = high_of_pair(v.w);
}
static __device__ __forceinline__ void store_eight(void *base, uint32_t type, uint64_t index, const float value[8])
{
    if (type == TN_F32) {
        float4 *at = reinterpret_cast<float4 *>(static_cast<float *>(base) + index);
        float4 a = {value[0], value[1], value[2], value[3]}, b = {value[4], value[5], value[6], value[7]};
        at[0] = a;
        at[1] = b;
        return;
    }
    uint4 v = {bf16_pair(value[0], value[1]), bf16_pair(value[2], value[3]), bf16_pair(value[4], value[5]),
               bf16_pair(value[6], value[7])};
    *reinterpret_cast<uint4 *>(static_cast<bf16 *>(base) + index) = v;
}

/* ---- reductions: every lane gets the result; the order is fixed by the lane numbers ---- */

static __device__ __forceinline__ float warp_sum(float value)
{
    for (unsigned mask = 16; mask; mask >>= 1)
        value += __shfl_xor_sync(WARP_FULL, value, mask);
    return value;
}
static __device__ __forceinline__ float warp_max(float value)
{
    for (unsigned mask = 16; mask; mask >>= 1)
        value = fmaxf(value, __shfl_xor_sync(WARP_FULL, value, mask));
    return value;
}
/* Over a block of whole warps. scratch: [32] shared; may be used again at once. */
static __device__ __forceinline__ float block_sum(float value, float *scratch)
{
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % WARP == 0)
        scratch[threadIdx.x / WARP] = value;
    __syncthreads();
    float sum = 0;
    for (unsigned i = 0; i < blockDim.x / WARP; i++)
        sum += scratch[i];
    return sum;
}

static inline bool float_type(uint32_t type)
{
    return type == TN_F32 || type == TN_BF16;
}
static inline uint32_t ceil_div(uint64_t count, uint32_t unit)
{
    return (uint32_t)((count + unit - 1) / unit);
}
/* True if rows of `type` at `base` with `stride` all begin on 16 bytes. */
static inline bool rows_aligned(const void *base, uint32_t type, uint32_t stride)
{
    return reinterpret_cast<uintptr_t>(base) % 16 == 0 && stride % (type == TN_F32 ? 4 : 8) == 0;
}

#endif
