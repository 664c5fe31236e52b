/* runtime/quantize/affine_group.h: 4-bit codes with a scale and a zero point for each group of inputs. */
#ifndef QUANTIZE_AFFINE_GROUP_H
#define QUANTIZE_AFFINE_GROUP_H

#include <stdint.h>

enum { AFFINE_CODE_MAX = 15 };

typedef struct affine_grid {
    float scale; /* a float16, above 0 */
    float zero;  /* 0 to AFFINE_CODE_MAX */
} affine_grid;

/* The grid whose codes reach from the least value to the greatest, and to 0, both times `shrink`. */
affine_grid affine_grid_for(const float *values, uint32_t count, float shrink);
/* value = (code - zero) * scale, rounded to the nearest; ret_codes or ret_values may be NULL. */
void affine_round(affine_grid grid, const float *values, uint32_t count, uint8_t *ret_codes, float *ret_values);

#endif
