/* runtime/quantize/product.h: float32 matrix products for calibration, where the interpreter's float64 would take
 * hours. */
#ifndef QUANTIZE_PRODUCT_H
#define QUANTIZE_PRODUCT_H

#include <stdint.h>

/* y[r * y_stride + i] = x[r] . w[i], for r < rows and i < n; x: [rows, k], w: [n, k], y does not alias them. Each
 * element is summed in an order that depends on k and on the processor's vector width alone. [any] */
void product(const float *x, uint64_t rows, const float *w, uint64_t n, uint64_t k, float *y, uint64_t y_stride);
/* The same plus bias[n] (NULL: none) on all processors, y's rows close together. */
void product_parallel(const float *x, uint64_t rows, const float *w, const float *bias, uint64_t n, uint64_t k,
                      float *y);

#endif
