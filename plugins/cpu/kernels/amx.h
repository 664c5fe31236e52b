/* plugins/cpu/kernels/amx.h: matrix tiles (AMX), as the few instructions that the kernels need.
 *
 * In assembly, because GCC 12's intrinsics tell the compiler too little: its ldtilecfg reads 8 of 64 bytes, and its
 * tile loads touch no memory, so stores before them are dropped or moved. Tile numbers are literals. A tile product
 * takes one cycle per row of A, its result is there after 52; A is [rows][4 bytes x columns], B holds four (bfloat16:
 * two) consecutive k per 32-bit lane. Source: Intel SDM, volume 2, chapter 3 (TDP*), and the optimisation manual,
 * chapter 20.
 */
#ifndef CPU_AMX_H
#define CPU_AMX_H

#include "family.h"

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16]; /* of tiles 0..7 */
    uint8_t rows[16];
} tile_config;
_Static_assert(sizeof(tile_config) == 64, "tile_config is the operand of ldtilecfg");

/* Tiles are zero afterwards. */
INLINE void tiles_configure(const tile_config *config)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*config));
}

/* Without live tiles, switching threads costs no more than it did. */
INLINE void tiles_release(void)
{
    __asm__ volatile("tilerelease");
}

#define TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile:)
#define TILE_LOAD(tile, base, stride) \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(base), "r"((uint64_t)(stride)) : "memory")
#define TILE_STORE(tile, base, stride) \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(base), "r"((uint64_t)(stride)) : "memory")
/* c += a b. kind: bssd (signed bytes), busd (unsigned a), bf16ps. */
#define TILE_DOT(kind, c, a, b) __asm__ volatile("tdp" #kind " %%tmm" #b ", %%tmm" #a ", %%tmm" #c:)

void linear_affine_amx(const affine_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                       uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
void linear_split_amx(const float_weight *w, uint32_t panel0, uint32_t panels, const quant_rows *x, uint32_t row0,
                      uint32_t rows, float *tile, uint32_t tile_stride, kernel_scratch *scratch);
void quantize_part_amx(const float *x, uint32_t first, uint32_t n, const quant_rows *ret, uint32_t row);

#endif
