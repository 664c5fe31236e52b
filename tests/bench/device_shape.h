/* tests/bench/device_shape.h: the shape of a Llama model and what its steps must read and compute, counted, not
 * measured.
 */
#ifndef BENCH_DEVICE_SHAPE_H
#define BENCH_DEVICE_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct device_shape {
    const char *name;
    uint32_t layers, width, heads, kv_heads, head_dim, ff_width, vocab;
} device_shape;

/* What a device does in a second. */
typedef struct device_limits {
    double bytes, operations; /* read; multiply-adds count as two */
} device_limits;

/* A folder of its own with the shape's config.json; path: at least 64 bytes. False: it cannot be written. */
bool device_shape_write(const device_shape *shape, uint32_t context, char *path);
void device_shape_remove(const char *path);

/* Seconds that a step of `rows` rows must take at least, each of another sequence of `context` cached tokens.
 * four_bits: layers in 4 bits with scales of 128; the output matrix stays bfloat16, as do keys and values. */
double device_shape_decode_seconds(const device_shape *shape, bool four_bits, uint32_t rows, double context,
                                   device_limits limits);
/* The same for a prompt. */
double device_shape_prefill_seconds(const device_shape *shape, bool four_bits, uint32_t tokens, device_limits limits);

#endif
