/* ordered_sum.c: see ordered_sum.h. In pieces, so that scratch does not grow with the batch; a piece of every rank lies
 * side by side before the first two are added.
 */
#include "ordered_sum.h"

tn_status ordered_sum_add(const void *a, const void *b, void *out, uint32_t count, uint32_t type, cuda_stream stream,
                          tn_error *err)
{
    const cuda_add_args args = {.a = a,
                                .b = b,
                                .out = out,
                                .a_type = type,
                                .b_type = type,
                                .out_type = type,
                                .rows = 1,
                                .columns = count,
                                .a_stride = count,
                                .b_stride = count,
                                .out_stride = count,
                                .scale = 1};
    tn_status status = cuda_add(&args, stream);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "adding up %u elements", count);
}

tn_status ordered_sum(collective *c, uint32_t rank, uint32_t world, const void *in, void *out, uint64_t count,
                      uint32_t type, void *scratch, cuda_stream stream, tn_error *err)
{
    const uint64_t size = tn_scalar_bytes(type);
    const uint8_t *part = scratch;
    tn_status status = TN_OK;

    for (uint64_t first = 0; first < count && status == TN_OK; first += ORDERED_SUM_PIECE) {
        uint64_t left = count - first, piece = left < ORDERED_SUM_PIECE ? left : ORDERED_SUM_PIECE;
        uint8_t *to = (uint8_t *)out + first * size;
        status = c->api->all_gather(c, rank, (const uint8_t *)in + first * size, scratch, piece * size, stream, err);
        for (uint32_t r = 1; r < world && status == TN_OK; r++)
            status =
                ordered_sum_add(r == 1 ? part : to, part + r * piece * size, to, (uint32_t)piece, type, stream, err);
    }
    return status;
}
