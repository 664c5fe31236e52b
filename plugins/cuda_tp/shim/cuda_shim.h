/* plugins/cuda_tp/shim/cuda_shim.h: enough of CUDA's device language to run the kernels on a CPU, as C++.
 *
 * A launch runs its blocks one after another; each thread of a block is a fiber. A fiber runs until it waits (barrier,
 * warp exchange, spin) and the next is drawn at random from those that can run, by a seed: a kernel that lacks a
 * barrier sees its threads in every order. Warps are 32 lanes. Dynamic shared memory starts as 0xff bytes (NaNs) in a
 * heap block of exactly the size asked for. Asynchronous copies happen as late as their waits allow. Matrix
 * instructions are emulated one by one, with the fragment layouts of the PTX manual.
 */
#ifndef CUDA_SHIM_H
#define CUDA_SHIM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__   static thread_local

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

extern thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- what fibers call ---- */
void shim_block_barrier(void);
void shim_warp_barrier(void);
void shim_spin(void); /* lets other fibers and threads run */
void *shim_dynamic_shared(void);
/* Hands `bytes` (at most 64) of this lane to the warp; returns the 32 slots of 64 bytes, valid until the next call. */
const unsigned char *shim_warp_exchange(const void *value, size_t bytes);
void shim_copy_async(void *to, const void *from, size_t bytes, size_t filled);
void shim_copy_commit(void);
void shim_copy_wait(unsigned groups_left);

typedef void shim_body(void *closure);
void shim_run(dim3 grid, dim3 block, size_t shared_bytes, shim_body *body, void *closure);
extern "C" void shim_seed(uint32_t seed); /* of this OS thread's launches */
/* On: a launch of a kernel that was not loaded since it was off ends the program. */
extern "C" void shim_expect_loaded(int on);
/* True: the kernel is to be launched, and not only loaded. */
bool shim_load(const void *kernel, bool only);

template <class F> static void shim_call(void *closure)
{
    (*static_cast<F *>(closure))();
}
template <class F> static void shim_launch(dim3 grid, dim3 block, size_t shared_bytes, F body)
{
    shim_run(grid, block, shared_bytes, shim_call<F>, &body);
}
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                     \
    do {                                                                           \
        (void)(stream);                                                            \
        if (shim_load(reinterpret_cast<const void *>(kernel), launch_nothing))     \
            shim_launch(grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); });  \
    } while (0)
#define LAUNCH_STATUS()            TN_OK
#define SHARED_DYNAMIC(type, name) type *name = static_cast<type *>(shim_dynamic_shared())

/* ---- the device language ---- */
static inline void __syncthreads(void)
{
    shim_block_barrier();
}
static inline void __syncwarp(void)
{
    shim_warp_barrier();
}
static inline void __threadfence_system(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

template <class T> static T shim_lane_value(T value, unsigned lane)
{
    const unsigned char *slots = shim_warp_exchange(&value, sizeof value);
    T other;
    memcpy(&other, slots + lane * 64, sizeof other);
    return other;
}
template <class T> static T __shfl_sync(unsigned, T value, unsigned lane)
{
    return shim_lane_value(value, lane & 31);
}
template <class T> static T __shfl_xor_sync(unsigned, T value, unsigned mask)
{
    return shim_lane_value(value, (threadIdx.x & 31) ^ mask);
}
template <class T> static T __shfl_up_sync(unsigned, T value, unsigned delta)
{
    unsigned lane = threadIdx.x & 31;
    return shim_lane_value(value, lane >= delta ? lane - delta : lane);
}
static inline unsigned __ballot_sync(unsigned, int predicate)
{
    const unsigned char *slots = shim_warp_exchange(&predicate, sizeof predicate);
    unsigned ballot = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        int set;
        memcpy(&set, slots + lane * 64, sizeof set);
        ballot |= (set ? 1u : 0u) << lane;
    }
    return ballot;
}

template <class T> static T atomicAdd(T *at, T value)
{
    T old = *at; /* fibers of a block share one OS thread */
    *at = old + value;
    return old;
}
template <class T> static T atomicMin(T *at, T value)
{
    T old = *at;
    *at = value < old ? value : old;
    return old;
}
template <class T> static T atomicMax(T *at, T value)
{
    T old = *at;
    *at = value > old ? value : old;
    return old;
}

static inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline int __popc(unsigned bits)
{
    return __builtin_popcount(bits);
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline float __fmul_rn(float a, float b)
{
    return a * b; /* the shim is compiled with contraction off */
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsub_rn(float a, float b)
{
    return a - b;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

#endif
