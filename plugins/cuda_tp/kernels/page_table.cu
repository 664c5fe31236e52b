/* page_table.cu: changes of page tables. Limit: latency; a step changes a few entries, and many only when it begins with
 * many cached pages. The number is known on the device alone, so that a graph can hold the launch.
 */
#include "kernels/device.cuh"

enum { THREADS = 256, BLOCKS = 16 };

static __global__ void __launch_bounds__(THREADS) page_table(cuda_page_table_args a)
{
    const uint32_t count = *a.count;

    for (uint32_t i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS)
        a.table[a.change[i].at] = a.change[i].page;
}

extern "C" tn_status cuda_page_table(const cuda_page_table_args *args, cuda_stream stream)
{
    LAUNCH(page_table, BLOCKS, THREADS, 0, stream, *args);
    return LAUNCH_STATUS();
}
