/* tests/bench/machine_limits.h: the ceilings of this machine, measured in the same run as the benchmark. */
#ifndef BENCH_MACHINE_LIMITS_H
#define BENCH_MACHINE_LIMITS_H

#include <stdint.h>

/* Bytes per second that `threads` threads together read from a buffer far larger than the caches; best of several
 * passes. */
double machine_read_bandwidth(uint32_t threads);
/* Float32 multiply-adds per second (one multiply-add = 2 operations, counted as 1) that `threads` threads reach on
 * operands in registers with the widest unit this build measures (AVX-512, AVX2+FMA or plain C). */
double machine_multiply_adds(uint32_t threads);
/* 16-bit integer multiply-adds into 32 bits per second, likewise; 0 where the unit is missing. */
double machine_integer_multiply_adds(uint32_t threads);
/* bfloat16 multiply-adds per second in matrix tiles (AMX), likewise; 0 where there are none. */
double machine_tile_multiply_adds(uint32_t threads);

#endif
