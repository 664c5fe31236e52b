/* plugins/cpu/kernels/family.c: the table of one family. */
#include "family.h"

const kernels *FAMILY(kernels)(void)
{
    static const kernels table = {
#if defined(CPU_FAMILY_AVX512)
        .name = "avx512",
#elif defined(CPU_FAMILY_AVX2)
        .name = "avx2",
#else
        .name = "portable",
#endif
        .quantize_part = FAMILY(quantize_part),
        .linear_affine = FAMILY(linear_affine),
        .linear_float = FAMILY(linear_float),
        FAMILY_VECTOR_KERNELS,
    };
    return &table;
}
