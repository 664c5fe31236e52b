/* linear.cu: which kernel multiplies: few rows by bytes (linear_few.cu), more by tiles (linear_tile.cu). Both give the
 * same bits, so the choice is one of speed.
 */
#include "kernels/product.cuh"

static bool weight_fits(const cuda_weight *w, const void *x, uint32_t x_stride)
{
    const bool readable = w->enc.family != TN_ENC_FLOAT || (w->enc.qtype == TN_BF16 && w->stride % 8 == 0);
    return readable && reinterpret_cast<uintptr_t>(x) % 16 == 0 && x_stride % 8 == 0 && x_stride >= w->columns;
}

static product_call call_for(const cuda_weight *w, const void *x, const float *bias, void *y, uint32_t y_type,
                             uint32_t rows, uint32_t x_stride, uint32_t y_stride, uint32_t n)
{
    product_call call = {};
    call.w = *w;
    call.x = static_cast<const bf16 *>(x);
    call.bias = bias;
    call.y = y;
    call.y_type = y_type;
    call.rows = rows;
    call.x_stride = x_stride;
    call.y_stride = y_stride;
    call.n = n;
    return call;
}

extern "C" tn_status cuda_linear(const cuda_linear_args *args, cuda_stream stream)
{
    const cuda_weight *w = args->weight;

    if (!args->rows)
        return TN_OK;
    if (!weight_fits(w, args->x, args->x_stride) || args->y_stride < w->rows)
        return TN_E_ARGUMENT;
    if (!float_type(args->y_type))
        return TN_E_UNSUPPORTED;
    product_call call =
        call_for(w, args->x, args->bias, args->y, args->y_type, args->rows, args->x_stride, args->y_stride, w->rows);
    if (args->rows <= FEW_ROWS)
        return product_few(&call, args->rows, 1, stream);
    const uint32_t tiles = ceil_div(args->rows, TILE_TOKENS);
    if (tiles > 65535)
        return TN_E_ARGUMENT;
    const uint64_t split = cuda_linear_split_floats(args->rows, w->rows);
    if (args->partial && split && args->partial_floats >= split)
        call.partial = args->partial;
    return product_tile(&call, tiles, stream);
}

extern "C" uint32_t cuda_moe_tile_rows(uint32_t choices, uint32_t experts)
{
    const uint32_t mean = choices / (experts ? experts : 1);
    return mean <= 8 ? 8 : mean <= FEW_ROWS ? (uint32_t)FEW_ROWS : (uint32_t)TILE_TOKENS;
}

extern "C" tn_status cuda_expert_linear(const cuda_expert_linear_args *args, cuda_stream stream)
{
    const cuda_weight *w = args->weight;
    const bool panels = w->enc.family == TN_ENC_FLOAT || args->n % CUDA_PANEL == 0;

    if (!args->task_limit)
        return TN_OK;
    if (!weight_fits(w, args->x, args->x_stride) || !panels || args->y_stride < args->n ||
        (uint64_t)args->experts * args->n > w->rows || args->task_limit > 65535 ||
        (args->tile_rows != 8 && args->tile_rows != FEW_ROWS && args->tile_rows != TILE_TOKENS))
        return TN_E_ARGUMENT;
    if (!float_type(args->y_type))
        return TN_E_UNSUPPORTED;
    product_call call =
        call_for(w, args->x, args->bias, args->y, args->y_type, 0, args->x_stride, args->y_stride, args->n);
    call.place_row = args->place_row;
    call.task = args->task;
    call.task_count = args->task_count;
    if (args->tile_rows <= FEW_ROWS)
        return product_few(&call, args->tile_rows, args->task_limit, stream);
    return product_tile(&call, args->task_limit, stream);
}
