/* kv_copy.cu: whole pages, every layer of a group. Limit: bytes, read and written once; 16 bytes a thread. */
#include "kernels/device.cuh"

static __global__ void __launch_bounds__(256) kv_copy(cuda_kv_copy_args a)
{
    const tn_kvmove move = a.move[blockIdx.x];
    unsigned char *layer = static_cast<unsigned char *>(a.pages) + blockIdx.y * a.layer_stride;
    const uint4 *from = reinterpret_cast<const uint4 *>(layer + move.src * a.page_stride);
    uint4 *to = reinterpret_cast<uint4 *>(layer + move.dst * a.page_stride);

    for (uint64_t i = threadIdx.x; i < a.page_bytes / sizeof(uint4); i += blockDim.x)
        to[i] = from[i];
}

extern "C" tn_status cuda_kv_copy(const cuda_kv_copy_args *args, cuda_stream stream)
{
    if (!args->count || !args->layers)
        return TN_OK;
    if (args->layers > 65535 || (args->page_bytes | args->page_stride | args->layer_stride) % 16 ||
        args->page_bytes > args->page_stride)
        return TN_E_ARGUMENT;
    LAUNCH(kv_copy, dim3(args->count, args->layers), 256, 0, stream, *args);
    return LAUNCH_STATUS();
}
