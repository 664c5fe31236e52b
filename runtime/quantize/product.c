/* runtime/quantize/product.c: tiles of 4 by 4 sums of sixteen lanes, which fill the registers of AVX-512; one source,
 * compiled for each vector width.
 */
#include "quantize/product.h"

#include "quantize/parallel.h"

#include <string.h>

enum { LANES = 16, TILE = 4 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline __attribute__((always_inline)) float lanes_sum(const lanes *lane)
{
    float sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += (*lane)[i];
    return sum;
}

static inline __attribute__((always_inline)) void tile(const float *const *x, const float *const *w, uint64_t k,
                                                       float ret_sum[TILE][TILE])
{
    lanes sum[TILE][TILE] = {0}, a[TILE], b;
    uint64_t i = 0;

    for (; i + LANES <= k; i += LANES) {
        for (int r = 0; r < TILE; r++)
            memcpy(&a[r], x[r] + i, sizeof a[r]);
        for (int c = 0; c < TILE; c++) {
            memcpy(&b, w[c] + i, sizeof b);
            for (int r = 0; r < TILE; r++)
                sum[r][c] += a[r] * b;
        }
    }
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < TILE; c++) {
            ret_sum[r][c] = lanes_sum(&sum[r][c]);
            for (uint64_t j = i; j < k; j++)
                ret_sum[r][c] += x[r][j] * w[c][j];
        }
}

/* Past the last row a tile repeats it and drops the result. */
static inline __attribute__((always_inline)) void all_tiles(const float *x, uint64_t rows, const float *w, uint64_t n,
                                                            uint64_t k, float *y, uint64_t y_stride)
{
    for (uint64_t n0 = 0; n0 < n; n0 += TILE)
        for (uint64_t r0 = 0; r0 < rows; r0 += TILE) {
            const float *row[TILE], *column[TILE];
            float sum[TILE][TILE];
            for (uint64_t t = 0; t < TILE; t++) {
                row[t] = x + (r0 + t < rows ? r0 + t : rows - 1) * k;
                column[t] = w + (n0 + t < n ? n0 + t : n - 1) * k;
            }
            tile(row, column, k, sum);
            for (uint64_t r = r0; r < r0 + TILE && r < rows; r++)
                for (uint64_t c = n0; c < n0 + TILE && c < n; c++)
                    y[r * y_stride + c] = sum[r - r0][c - n0];
        }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void tiles_avx512(const float *x, uint64_t rows, const float *w, uint64_t n,
                                                            uint64_t k, float *y, uint64_t y_stride)
{
    all_tiles(x, rows, w, n, k, y, y_stride);
}

__attribute__((target("avx2,fma"))) static void tiles_avx2(const float *x, uint64_t rows, const float *w, uint64_t n,
                                                           uint64_t k, float *y, uint64_t y_stride)
{
    all_tiles(x, rows, w, n, k, y, y_stride);
}
#endif

void product(const float *x, uint64_t rows, const float *w, uint64_t n, uint64_t k, float *y, uint64_t y_stride)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) {
        tiles_avx512(x, rows, w, n, k, y, y_stride);
        return;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        tiles_avx2(x, rows, w, n, k, y, y_stride);
        return;
    }
#endif
    all_tiles(x, rows, w, n, k, y, y_stride);
}

typedef struct linear {
    const float *x, *w, *bias;
    float *y;
    uint64_t rows, n, k;
} linear;

static void run_columns(void *ctx, uint64_t begin, uint64_t end)
{
    const linear *l = ctx;

    product(l->x, l->rows, l->w + begin * l->k, end - begin, l->k, l->y + begin, l->n);
    for (uint64_t r = 0; l->bias && r < l->rows; r++)
        for (uint64_t i = begin; i < end; i++)
            l->y[r * l->n + i] += l->bias[i];
}

void product_parallel(const float *x, uint64_t rows, const float *w, const float *bias, uint64_t n, uint64_t k,
                      float *y)
{
    linear l = {.x = x, .w = w, .bias = bias, .y = y, .rows = rows, .n = n, .k = k};
    parallel_run(n, LANES, run_columns, &l);
}
