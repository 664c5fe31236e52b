/* repack.cu: canonical planes into the layout of weight.cuh. Limit: bytes, each plane read and written once; runs once
 * per weight at load, so one thread builds one word and reads its codes bit by bit.
 */
#include "kernels/weight.cuh"

/* A block of canonical planes on its way in. */
struct block_place {
    uint64_t row0, n_rows, k0, n_k;
};

/* Code i of a little-endian bit stream; the second byte is read only where the code reaches into it. */
static __device__ __forceinline__ uint32_t stream_code(const uint8_t *stream, uint64_t i, uint32_t bits)
{
    uint64_t bit = i * bits;
    uint32_t shift = (uint32_t)(bit % 8), word = stream[bit / 8];
    if (shift + bits > 8)
        word |= (uint32_t)stream[bit / 8 + 1] << 8;
    return word >> shift & ((1u << bits) - 1);
}

/* Where field `field` of word `word` of a plane comes from: row of the panel and input of the block. */
static __device__ __forceinline__ void field_origin(uint32_t width, uint32_t lane, uint32_t word, uint32_t field,
                                                    uint32_t *ret_row, uint32_t *ret_k)
{
    uint32_t step, reg, h;
    if (width == 8) {
        step = word / 2, reg = word % 2 * 2 + field / 2, h = field % 2;
    } else {
        const uint32_t per_half = 16 / width, at = word * per_half + field % per_half;
        step = at / 4, reg = at % 4, h = field / per_half;
    }
    *ret_row = lane / 4 + reg % 2 * 8;
    *ret_k = step * 16 + lane % 4 * 4 + reg / 2 * 2 + h;
}

static __device__ uint32_t packed_word(const uint8_t *codes, const block_place &p, uint32_t bits, uint64_t panel,
                                       uint64_t block, uint32_t index)
{
    uint32_t width = 8, have = 0, lane, word, packed = 0;

    if (bits == 8) {
        lane = index % 128 / 4, word = index / 128 * 4 + index % 4;
    } else {
        width = bits & 4 ? 4 : bits & 2 ? 2 : 1;
        while (index >= 32 * width) { /* the next plane */
            index -= 32 * width;
            have += width;
            width = bits & (width - 1) & 2 ? 2 : 1;
        }
        lane = index / width, word = index % width;
    }
    for (uint32_t field = 0; field < 32 / width; field++) {
        uint32_t row, k;
        field_origin(width, lane, word, field, &row, &k);
        uint64_t n = panel * CUDA_PANEL + row, kk = block * CUDA_K_BLOCK + k;
        if (n >= p.n_rows || kk >= p.n_k)
            continue;
        uint32_t code = stream_code(codes + n * ((p.n_k * bits + 7) / 8), kk, bits) >> have & ((1u << width) - 1);
        packed |= code << (field * width);
    }
    return packed;
}

static __global__ void __launch_bounds__(256) repack_codes(cuda_weight w, block_place p, const uint8_t *codes)
{
    const uint32_t words = 32 * w.enc.bits;
    const uint64_t blocks = (p.n_k + CUDA_K_BLOCK - 1) / CUDA_K_BLOCK,
                   panels = (p.n_rows + CUDA_PANEL - 1) / CUDA_PANEL;
    uint32_t *out = static_cast<uint32_t *>(const_cast<void *>(w.codes));

    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < panels * blocks * words;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t panel = i / words / blocks, block = i / words % blocks;
        uint64_t to = (p.row0 / CUDA_PANEL + panel) * w.k_blocks + p.k0 / CUDA_K_BLOCK + block;
        out[to * words + i % words] = packed_word(codes, p, w.enc.bits, panel, block, (uint32_t)(i % words));
    }
}

/* One plane of scales: elements of `width` bytes, `factors` of them per (row, group). */
struct scale_plane {
    const uint8_t *from;
    uint8_t *to;
    uint32_t width, factors, groups, group0, group_n;
};

static __global__ void __launch_bounds__(256)
    repack_scales(scale_plane s, uint64_t row0, uint64_t rows, uint64_t groups)
{
    const uint64_t padded = s.group_n > 1 ? rows : (rows + CUDA_PANEL - 1) / CUDA_PANEL * CUDA_PANEL;

    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < padded * groups * s.factors;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t row = i / s.factors / groups, group = i / s.factors % groups, factor = i % s.factors;
        uint64_t n = row0 + row, g = s.group0 + group, to = n * s.groups + g;
        if (s.group_n <= 1)
            to = ((n / CUDA_PANEL * s.groups + g) * s.factors + factor) * CUDA_PANEL + n % CUDA_PANEL;
        for (uint32_t b = 0; b < s.width; b++)
            s.to[to * s.width + b] = row < rows ? s.from[i * s.width + b] : 0;
    }
}

static __global__ void __launch_bounds__(256) copy_floats(cuda_weight w, block_place p, const uint8_t *from)
{
    const uint32_t width = w.enc.bits / 8;
    const uint64_t columns = p.k0 + p.n_k == w.columns ? w.stride - p.k0 : p.n_k;
    uint8_t *out = static_cast<uint8_t *>(const_cast<void *>(w.codes));

    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < p.n_rows * columns;
         i += (uint64_t)gridDim.x * blockDim.x) {
        uint64_t row = i / columns, k = i % columns, to = (p.row0 + row) * w.stride + p.k0 + k;
        for (uint32_t b = 0; b < width; b++)
            out[to * width + b] = k < p.n_k ? from[(row * p.n_k + k) * width + b] : 0;
    }
}

static __global__ void __launch_bounds__(256) copy_lut(float *out, const uint8_t *from, uint32_t bytes)
{
    if (threadIdx.x < bytes)
        reinterpret_cast<uint8_t *>(out)[threadIdx.x] = from[threadIdx.x];
}

static unsigned grid_for(uint64_t items)
{
    uint64_t blocks = (items + 255) / 256;
    return blocks > 65536 ? 65536 : (unsigned)blocks;
}

static void launch_scales(const cuda_weight *w, const cuda_repack_args *a, uint32_t plane, const void *to,
                          uint32_t width, uint32_t factors, uint32_t group_k, uint32_t groups, cuda_stream stream)
{
    const uint32_t group_n = w->enc.group_n > 1 ? w->enc.group_n : 1;
    scale_plane s = {static_cast<const uint8_t *>(a->plane[plane]),
                     static_cast<uint8_t *>(const_cast<void *>(to)),
                     width,
                     factors,
                     groups,
                     (uint32_t)(a->k0 / group_k),
                     group_n};
    uint64_t rows = tn_group_count(a->n_rows, group_n), count = tn_group_count(a->n_k, group_k);
    LAUNCH(repack_scales, grid_for((rows + CUDA_PANEL) * count * factors), 256, 0, stream, s, a->row0 / group_n, rows,
           count);
}

static bool on_multiple(uint64_t first, uint64_t count, uint64_t unit, uint64_t total)
{
    return first % unit == 0 && (count % unit == 0 || first + count == total);
}

/* The last panel may be short anywhere: w's rows may be padded, so that they do not say where the matrix ends. */
static bool block_fits(const cuda_weight *w, const cuda_repack_args *a)
{
    const tn_enc *e = &w->enc;
    if (!a->n_k || a->row0 + a->n_rows > w->rows || a->k0 + a->n_k > w->columns || !a->plane[TN_PLANE_CODES])
        return false;
    if (e->family == TN_ENC_FLOAT)
        return true;
    return a->row0 % CUDA_PANEL == 0 && on_multiple(a->k0, a->n_k, CUDA_K_BLOCK, w->columns) &&
           on_multiple(a->k0, a->n_k, e->group_k, w->columns) && a->plane[TN_PLANE_SCALE] &&
           (!e->group2_k || (on_multiple(a->k0, a->n_k, e->group2_k, w->columns) && a->plane[TN_PLANE_SCALE2])) &&
           (e->group_n <= 1 || a->row0 % e->group_n == 0) && (!e->zero_type || a->plane[TN_PLANE_MIN]) &&
           (e->family != TN_ENC_LUT || a->plane[TN_PLANE_LUT]);
}

extern "C" tn_status cuda_repack(const cuda_repack_args *args, cuda_stream stream)
{
    const cuda_weight *w = args->weight;
    const tn_enc *e = &w->enc;
    const uint8_t *codes = static_cast<const uint8_t *>(args->plane[TN_PLANE_CODES]);
    block_place place = {args->row0, args->n_rows, args->k0, args->n_k};

    if (!args->n_rows)
        return TN_OK;
    if (!block_fits(w, args))
        return TN_E_ARGUMENT;
    if (e->family == TN_ENC_FLOAT) {
        LAUNCH(copy_floats, grid_for(args->n_rows * (args->n_k + 8)), 256, 0, stream, *w, place, codes);
        return LAUNCH_STATUS();
    }
    uint64_t words = tn_group_count(args->n_rows, CUDA_PANEL) * tn_group_count(args->n_k, CUDA_K_BLOCK) * 32 * e->bits;
    uint32_t width = (uint32_t)tn_scalar_bytes(e->scale_type), factors = e->zero_type == TN_ZERO_FLOAT ? 2 : 1;
    LAUNCH(repack_codes, grid_for(words), 256, 0, stream, *w, place, codes);
    launch_scales(w, args, TN_PLANE_SCALE, w->scale, width, 1, e->group_k, w->groups, stream);
    if (e->zero_type)
        launch_scales(w, args, TN_PLANE_MIN, w->min, e->zero_type == TN_ZERO_POINT ? 1 : width, 1, e->group_k,
                      w->groups, stream);
    if (e->group2_k)
        launch_scales(w, args, TN_PLANE_SCALE2, w->scale2, (uint32_t)tn_scalar_bytes(e->scale2_type), factors,
                      e->group2_k, w->groups2, stream);
    if (e->family == TN_ENC_LUT)
        LAUNCH(copy_lut, 1, 256, 0, stream, const_cast<float *>(w->lut),
               static_cast<const uint8_t *>(args->plane[TN_PLANE_LUT]), (uint32_t)sizeof(float) << e->bits);
    return LAUNCH_STATUS();
}
