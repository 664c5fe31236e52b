/* select.cu: rows, columns and gathered parts moved to where the next op wants them. Limit: bytes, read and written
 * once.
 */
#include "kernels/device.cuh"

/* Rows as runs of `Word`, whose size divides rows and strides. */
template <class Word>
static __global__ void __launch_bounds__(256)
    select_rows(const Word *x, const uint32_t *row, Word *out, uint32_t words, uint64_t x_stride, uint64_t out_stride)
{
    const uint64_t from = row ? row[blockIdx.x] : blockIdx.x;
    for (uint32_t i = threadIdx.x; i < words; i += blockDim.x)
        out[blockIdx.x * out_stride + i] = x[from * x_stride + i];
}

extern "C" tn_status cuda_select(const cuda_select_args *args, cuda_stream stream)
{
    const uint32_t width = (uint32_t)tn_scalar_bytes(args->type), words = 16 / (width ? width : 1);

    if (!args->count)
        return TN_OK;
    if (width != 2 && width != 4)
        return TN_E_UNSUPPORTED;
    if (args->columns % words == 0 && args->x_stride % words == 0 && args->out_stride % words == 0 &&
        (reinterpret_cast<uintptr_t>(args->x) | reinterpret_cast<uintptr_t>(args->out)) % 16 == 0)
        LAUNCH(select_rows<uint4>, args->count, 256, 0, stream, static_cast<const uint4 *>(args->x), args->row,
               static_cast<uint4 *>(args->out), args->columns / words, args->x_stride / words,
               args->out_stride / words);
    else if (width == 4)
        LAUNCH(select_rows<uint32_t>, args->count, 256, 0, stream, static_cast<const uint32_t *>(args->x), args->row,
               static_cast<uint32_t *>(args->out), args->columns, args->x_stride, args->out_stride);
    else
        LAUNCH(select_rows<uint16_t>, args->count, 256, 0, stream, static_cast<const uint16_t *>(args->x), args->row,
               static_cast<uint16_t *>(args->out), args->columns, args->x_stride, args->out_stride);
    return LAUNCH_STATUS();
}

/* The expert whose places hold `place`: the last that begins at or before it. */
static __device__ __forceinline__ uint32_t expert_of(const uint32_t *start, uint32_t experts, uint32_t place)
{
    uint32_t low = 0, high = experts;
    while (high - low > 1) {
        const uint32_t middle = (low + high) / 2;
        if (start[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static __global__ void __launch_bounds__(256) permute_columns(cuda_permute_columns_args a)
{
    const bf16 *x = static_cast<const bf16 *>(a.x);
    bf16 *out = static_cast<bf16 *>(a.out) + (uint64_t)blockIdx.x * a.out_stride;
    if (a.row_count && blockIdx.x >= *a.row_count)
        return;
    const uint64_t row = a.place_row ? a.place_row[blockIdx.x] : blockIdx.x;
    const uint32_t *perm = a.perm;

    if (a.expert_start)
        perm += (uint64_t)expert_of(a.expert_start, a.experts, blockIdx.x) * a.columns;
    for (uint32_t k = threadIdx.x; k < a.columns; k += blockDim.x) {
        const uint32_t column = perm[k], part = column / a.part_columns;
        out[k] = x[((uint64_t)part * a.part_rows + row) * a.x_stride + (column - part * a.part_columns)];
    }
}

extern "C" tn_status cuda_permute_columns(const cuda_permute_columns_args *args, cuda_stream stream)
{
    if (!args->rows)
        return TN_OK;
    cuda_permute_columns_args a = *args;
    if (a.x == a.out || (a.expert_start && !a.experts))
        return TN_E_ARGUMENT;
    a.part_columns = a.part_columns ? a.part_columns : UINT32_MAX;
    LAUNCH(permute_columns, a.rows, 256, 0, stream, a);
    return LAUNCH_STATUS();
}

static __global__ void __launch_bounds__(256) interleave(cuda_interleave_args a)
{
    for (uint32_t c = blockIdx.x * blockDim.x + threadIdx.x; c < a.columns; c += gridDim.x * blockDim.x)
        for (uint32_t r = blockIdx.y; r < a.rows; r += gridDim.y)
            a.out[(uint64_t)r * a.out_stride + c] = a.x[((uint64_t)(c / a.part) * a.rows + r) * a.part + c % a.part];
}

extern "C" tn_status cuda_interleave(const cuda_interleave_args *args, cuda_stream stream)
{
    if (!args->rows || !args->columns)
        return TN_OK;
    if ((uint64_t)args->part * args->world < args->columns || args->out_stride < args->columns)
        return TN_E_ARGUMENT;
    LAUNCH(interleave, dim3(ceil_div(args->columns, 256), args->rows < 65535 ? args->rows : 65535), 256, 0, stream,
           *args);
    return LAUNCH_STATUS();
}
