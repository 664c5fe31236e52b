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
        .rms_norm = FAMILY(rms_norm),
        .add = FAMILY(add),
        .gated = FAMILY(gated),
        .scale_cap = FAMILY(scale_cap),
        .rope_head = FAMILY(rope_head),
        .attention_span = FAMILY(attention_span),
        .attention_merge = FAMILY(attention_merge),
        .attention_finish = FAMILY(attention_finish),
        .kv_write = FAMILY(kv_write),
        .argmax = FAMILY(argmax),
    };
    return &table;
}
