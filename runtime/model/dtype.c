/* runtime/model/dtype.c: the type table. Block sizes of GGUF types are those of the format's published layouts; types
 * that never reach a file (Q8_1, Q8_K) and numbers that were withdrawn are absent, so a file that names them is
 * refused.
 */
#include "model/dtype.h"

#include "base/size.h"

#include <string.h>

#define PLAIN(type, bytes)               \
    {                                    \
        TN_DTYPE_##type, 1, bytes, #type \
    }
#define GGUF(number, name, elements, bytes)             \
    {                                                   \
        TN_DTYPE_GGUF + (number), elements, bytes, name \
    }

static const dtype_info dtypes[] = {
    PLAIN(F32, 4),
    PLAIN(F16, 2),
    PLAIN(BF16, 2),
    PLAIN(F64, 8),
    PLAIN(I8, 1),
    PLAIN(U8, 1),
    PLAIN(I16, 2),
    PLAIN(U16, 2),
    PLAIN(I32, 4),
    PLAIN(U32, 4),
    PLAIN(I64, 8),
    PLAIN(U64, 8),
    PLAIN(BOOL, 1),
    PLAIN(F8_E4M3, 1),
    PLAIN(F8_E5M2, 1),
    GGUF(0, "F32", 1, 4),
    GGUF(1, "F16", 1, 2),
    GGUF(2, "Q4_0", 32, 18),
    GGUF(3, "Q4_1", 32, 20),
    GGUF(6, "Q5_0", 32, 22),
    GGUF(7, "Q5_1", 32, 24),
    GGUF(8, "Q8_0", 32, 34),
    GGUF(10, "Q2_K", 256, 84),
    GGUF(11, "Q3_K", 256, 110),
    GGUF(12, "Q4_K", 256, 144),
    GGUF(13, "Q5_K", 256, 176),
    GGUF(14, "Q6_K", 256, 210),
    GGUF(16, "IQ2_XXS", 256, 66),
    GGUF(17, "IQ2_XS", 256, 74),
    GGUF(18, "IQ3_XXS", 256, 98),
    GGUF(19, "IQ1_S", 256, 50),
    GGUF(20, "IQ4_NL", 32, 18),
    GGUF(21, "IQ3_S", 256, 110),
    GGUF(22, "IQ2_S", 256, 82),
    GGUF(23, "IQ4_XS", 256, 136),
    GGUF(24, "I8", 1, 1),
    GGUF(25, "I16", 1, 2),
    GGUF(26, "I32", 1, 4),
    GGUF(27, "I64", 1, 8),
    GGUF(28, "F64", 1, 8),
    GGUF(29, "IQ1_M", 256, 56),
    GGUF(30, "BF16", 1, 2),
    GGUF(34, "TQ1_0", 256, 54),
    GGUF(35, "TQ2_0", 256, 66),
    GGUF(39, "MXFP4", 32, 17),
    GGUF(40, "NVFP4", 64, 36),
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof dtypes[0] };

const dtype_info *dtype_find(uint32_t dtype)
{
    for (size_t i = 0; i < DTYPE_COUNT; i++)
        if (dtypes[i].dtype == dtype)
            return &dtypes[i];
    return NULL;
}

const dtype_info *dtype_of_safetensors(const char *name)
{
    for (size_t i = 0; i < DTYPE_COUNT && dtypes[i].dtype < TN_DTYPE_GGUF; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return &dtypes[i];
    return NULL;
}

bool dtype_tensor_bytes(const dtype_info *info, uint32_t rank, const int64_t *dim, uint64_t *ret_bytes,
                        const char **ret_reason)
{
    uint64_t blocks = 1, bytes;

    TN_ASSERT(rank >= 1 && rank <= 4);
    for (uint32_t i = 0; i < rank; i++) {
        if (dim[i] <= 0) {
            *ret_reason = "a dimension is zero or negative";
            return false;
        }
        uint64_t units = (uint64_t)dim[i];
        if (i == rank - 1) {
            if (units % info->block_elements != 0) {
                *ret_reason = "its rows do not fill whole blocks of its type";
                return false;
            }
            units /= info->block_elements;
        }
        if (!size_mul(blocks, units, &blocks)) {
            *ret_reason = "its dimensions multiply to more than 64 bits";
            return false;
        }
    }
    if (!size_mul(blocks, info->block_bytes, &bytes) || bytes > INT64_MAX / 256) {
        *ret_reason = "its dimensions multiply to an impossible size";
        return false;
    }
    *ret_bytes = bytes;
    return true;
}
