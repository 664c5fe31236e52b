/* tests/cuda/cuda_rig.h: what the kernel tests share: random data, bf16 rows, closeness, and runs under several thread
 * orders. Whatever a launcher is given lies in rig memory: the host's under the shim, from malloc so that
 * AddressSanitizer sees every access; on a GPU (ON_DEVICE, gpu_kernels.c) such as both sides can reach.
 */
#ifndef CUDA_RIG_H
#define CUDA_RIG_H

#include "cmocka_test.h"

#include "base/half.h"
#include "kernels/launch.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Seed of the shim's thread order. */
void shim_seed(uint32_t seed);
enum { RIG_SEEDS = 3 };

static inline uint32_t rig_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Uniform in [-1, 1). */
static inline float rig_uniform(uint32_t *state)
{
    return (float)rig_random(state) / (float)(1 << 23) - 1.0f;
}

#ifdef ON_DEVICE
void *rig_reserve(size_t bytes); /* 16 or more */
void rig_free(void *memory);
#else
static inline void *rig_reserve(size_t bytes)
{
    return aligned_alloc(16, (bytes + 15) / 16 * 16);
}
static inline void rig_free(void *memory)
{
    free(memory);
}
#endif

/* Exactly as large as asked for. */
static inline void *rig_alloc(size_t bytes)
{
    void *memory = rig_reserve(bytes < 16 ? 16 : bytes);
    assert_non_null(memory);
    memset(memory, 0xff, bytes); /* NaNs: what nobody wrote shows */
    return memory;
}

static inline void *rig_copy(const void *from, size_t bytes)
{
    return memcpy(rig_alloc(bytes), from, bytes);
}

static inline float *rig_floats(size_t count, float scale, uint32_t *state)
{
    float *x = rig_alloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = scale * rig_uniform(state);
    return x;
}

static inline uint16_t *rig_bf16(size_t count, float scale, uint32_t *state)
{
    uint16_t *x = rig_alloc(count * sizeof *x);
    for (size_t i = 0; i < count; i++)
        x[i] = bf16_from_float(scale * rig_uniform(state));
    return x;
}

/* Element of an array of TN_F32 or TN_BF16. */
static inline float rig_at(const void *x, uint32_t type, size_t i)
{
    return type == TN_F32 ? ((const float *)x)[i] : float_from_bf16(((const uint16_t *)x)[i]);
}

/* Fails unless |got - expected| <= absolute + relative * |expected|. */
static inline void rig_near(float got, double expected, double relative, double absolute)
{
    if (!(fabs((double)got - expected) <= absolute + relative * fabs(expected)))
        print_message("got %.9g, expected %.9g\n", (double)got, expected);
    assert_true(fabs((double)got - expected) <= absolute + relative * fabs(expected));
}

/* Tolerance of one rounding to a type, with room for a float32 sum. */
static inline double rig_rounding(uint32_t type)
{
    return type == TN_F32 ? 2e-6 : 0x1p-8;
}

#endif
