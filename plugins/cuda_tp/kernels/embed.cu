/* embed.cu: rows of the embedding table. Limit: bytes, T * M read at the table's width and written once. One block per
 * row; a quantized table is decoded element by element, which a row of a few thousand elements can afford.
 */
#include "kernels/weight.cuh"

static __global__ void __launch_bounds__(256) embed(cuda_weight table, cuda_embed_args a)
{
    const uint64_t out = (uint64_t)blockIdx.x * a.out_stride;
    const uint32_t columns = table.columns;
    int32_t token = a.token[blockIdx.x];

    if (token == TN_TOKEN_EMBED) {
        for (uint32_t k = threadIdx.x; k < columns; k += blockDim.x)
            store_float(a.out, a.out_type, out + k,
                        a.vocab_first || !a.embed ? 0.0f : a.embed[(uint64_t)blockIdx.x * columns + k]);
        return;
    }
    if (token < 0)
        token = a.prev_id ? a.prev_id[-1 - token] : -1;
    const uint32_t row = (uint32_t)token - a.vocab_first;
    const bool here = token >= 0 && (uint32_t)token >= a.vocab_first && row < table.rows;
    if (here && table.enc.family == TN_ENC_FLOAT && columns % 8 == 0 && a.out_stride % 8 == 0) {
        for (uint32_t k = threadIdx.x * 8; k < columns; k += blockDim.x * 8) {
            float v[8];
            load_eight(table.codes, table.enc.qtype, (uint64_t)row * table.stride + k, v);
            for (int i = 0; i < 8; i++)
                v[i] *= a.scale;
            store_eight(a.out, a.out_type, out + k, v);
        }
        return;
    }
    for (uint32_t k = threadIdx.x; k < columns; k += blockDim.x)
        store_float(a.out, a.out_type, out + (a.perm ? a.perm[k] : k),
                    here ? weight_at(table, row, k) * a.scale : 0.0f);
}

extern "C" tn_status cuda_embed(const cuda_embed_args *args, cuda_stream stream)
{
    if (!args->rows)
        return TN_OK;
    if (args->out_stride < args->table->columns || !(args->table->enc.flags & TN_ENC_PERM_K) != !args->perm)
        return TN_E_ARGUMENT;
    if (!float_type(args->out_type))
        return TN_E_UNSUPPORTED;
    LAUNCH(embed, args->rows, 256, 0, stream, *args->table, *args);
    return LAUNCH_STATUS();
}
