/* runtime/quantize/tensor_floats.c: see tensor_floats.h. */
#include "quantize/tensor_floats.h"

#include "base/size.h"
#include "base/weight_block.h"

tn_status tensor_floats(const tn_source *source, const char *name, uint64_t first, uint64_t count, float *ret_values,
                        tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};

    if (source->tensor(source, name, &tensor) != TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor %s is missing", source->path, name);
    uint32_t type = tensor_float_type(&tensor);
    if (!type)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tensor %s is not F32, F16 or BF16", source->path, name);
    uint64_t width = tn_scalar_bytes(type);
    if (!size_within(first, count, tensor.bytes / width))
        return tn_fail(err, TN_E_CORRUPT, "%s: tensor %s has %llu elements, the model needs %llu", source->path, name,
                       (unsigned long long)(tensor.bytes / width), (unsigned long long)(first + count));
    floats_convert(TN_F32, ret_values, type, (const uint8_t *)tensor.data + first * width, count);
    return TN_OK;
}
