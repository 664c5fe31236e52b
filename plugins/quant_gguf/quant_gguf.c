/* plugins/quant_gguf/quant_gguf.c: the tn.quant table for GGUF checkpoints, and the plugin's entry.
 *
 * A weight keeps the encoding of its file: produces() lists that first and bf16 last. Stateless but for the borrowed
 * source. A quantized block whose scale or minimum is infinite or NaN is refused while it is transcoded, because one
 * such number turns every later logit into NaN.
 */
#include "quant_gguf.h"

#include "tenon/entry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct tn_qmodel {
    const tn_source *source; /* borrowed */
};

/* A tensor seen as a matrix: leading dimensions (experts) stack up as rows. */
typedef struct weight_view {
    const uint8_t *data;
    const block_format *format;
    uint64_t rows, columns, row_bytes;
} weight_view;

static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    if (!source || !ret_qmodel)
        return tn_fail(err, TN_E_ARGUMENT, "quant_gguf: open without a source");
    if (strcmp(source->container, "gguf") != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: container '%s' is not for quant_gguf", source->path,
                       source->container);
    tn_qmodel *qmodel = malloc(sizeof *qmodel);
    if (!qmodel)
        return tn_fail(err, TN_E_MEMORY, "quant_gguf");
    qmodel->source = source;
    *ret_qmodel = qmodel;
    return TN_OK;
}

static void quant_close(tn_qmodel *qmodel)
{
    free(qmodel);
}

static tn_status find_tensor(const tn_qmodel *qmodel, const char *name, tn_tensor_src *ret_tensor, tn_error *err)
{
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    if (qmodel->source->tensor(qmodel->source, name, &tensor) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tensor '%s'", qmodel->source->path, name);
    *ret_tensor = tensor;
    return TN_OK;
}

static tn_status find_weight(const tn_qmodel *qmodel, const char *name, weight_view *ret_view, tn_error *err)
{
    tn_tensor_src tensor;
    weight_view view;

    tn_status status = find_tensor(qmodel, name, &tensor, err);
    if (status != TN_OK)
        return status;
    view.format = block_format_find(tensor.dtype);
    if (!view.format)
        return tn_fail(
            err, TN_E_UNSUPPORTED,
            "%s: tensor '%s' has GGUF type %s, which quant_gguf does not read (it reads F32, F16, BF16, Q8_0, Q4_0, "
            "Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4)",
            qmodel->source->path, name, block_format_name(tensor.dtype));
    weight_shape(&tensor, &view.rows, &view.columns);
    view.row_bytes = view.columns / view.format->elements * view.format->bytes;
    view.data = tensor.data;
    TN_ASSERT(view.rows * view.row_bytes == tensor.bytes); /* the source promises it */
    *ret_view = view;
    return TN_OK;
}

static tn_status quant_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    tn_tensor_src tensor;
    tn_status status = find_tensor(qmodel, name, &tensor, err);
    if (status == TN_OK)
        weight_shape(&tensor, ret_n, ret_k);
    return status;
}

/* Lossless first. A vector of halves is tiny and often wanted in float32, so that comes before bf16, which would round.
 */
static uint32_t list_encodings(const weight_view *view, tn_enc ret_list[3])
{
    uint32_t count = 0;

    ret_list[count++] = view->format->enc;
    if (view->format->enc.qtype == TN_F16 && view->rows == 1)
        ret_list[count++] = enc_float(TN_F32);
    if (view->format->enc.qtype != TN_BF16)
        ret_list[count++] = enc_float(TN_BF16);
    return count;
}

static tn_status quant_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc,
                                tn_error *err)
{
    weight_view view;
    tn_enc list[3];

    tn_status status = find_weight(qmodel, name, &view, err);
    if (status != TN_OK)
        return status;
    if (index >= list_encodings(&view, list))
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = list[index];
    return TN_OK;
}

static bool is_produced(const weight_view *view, const tn_enc *enc)
{
    tn_enc list[3];
    uint32_t count = list_encodings(view, list);

    for (uint32_t i = 0; i < count; i++)
        if (enc_equal(&list[i], enc))
            return true;
    return false;
}

/* True if the factors of all blocks are finite numbers: binary16, or MX's power of two in the first byte. */
static bool has_finite_factors(const block_format *format, const uint8_t *blocks, uint64_t count)
{
    uint32_t infinite = 0;
    if (format->enc.family == TN_ENC_MX) {
        for (uint64_t i = 0; i < count; i++)
            infinite |= blocks[i * format->bytes] == 0xff;
        return !infinite;
    }
    for (uint64_t i = 0; i < count; i++, blocks += format->bytes) {
        uint16_t first, second;
        memcpy(&first, blocks + format->factor_at[0], sizeof first);
        memcpy(&second, blocks + format->factor_at[1], sizeof second);
        infinite |= (first & 0x7c00) == 0x7c00;
        infinite |= (second & 0x7c00) == 0x7c00;
    }
    return !infinite;
}

/* The same over a plane of binary16 numbers, four at a time: adding one to an exponent of all ones carries out of it.
 */
static bool is_finite_plane(const void *plane, uint64_t bytes)
{
    const uint8_t *at = plane, *end = at + bytes;
    uint64_t carries = 0, halves;

    for (; end - at >= 8; at += 8) {
        memcpy(&halves, at, sizeof halves);
        carries |= (halves & 0x7c007c007c007c00ull) + 0x0400040004000400ull;
    }
    halves = 0;
    memcpy(&halves, at, (size_t)(end - at));
    carries |= (halves & 0x7c007c007c007c00ull) + 0x0400040004000400ull;
    return (carries & 0x8000800080008000ull) == 0;
}

/* Row `row` of the block: splits its file blocks into planes. False if a scale is not finite. */
static bool split_row(const weight_view *view, const weight_block *block, uint64_t row, const uint8_t *blocks,
                      uint64_t count)
{
    uint8_t *at[TN_PLANE_COUNT] = {0};
    bool finite = true;

    for (uint32_t plane = 0; plane < TN_PLANE_COUNT; plane++)
        if (block->plane_bytes[plane])
            at[plane] = (uint8_t *)block->plane[plane] + row * (block->plane_bytes[plane] / block->n_rows);
    const block_planes planes = {at[TN_PLANE_CODES], at[TN_PLANE_SCALE], at[TN_PLANE_MIN], at[TN_PLANE_SCALE2]};
    view->format->split(blocks, count, &planes);

    for (uint32_t plane = TN_PLANE_SCALE; plane < TN_PLANE_COUNT; plane++) {
        bool halves = plane == TN_PLANE_SCALE2 || block->enc->scale_type == TN_F16;
        if (halves && at[plane])
            finite = finite && is_finite_plane(at[plane], block->plane_bytes[plane] / block->n_rows);
    }
    if (block->enc->scale_type == TN_E8M0)
        finite = !memchr(at[TN_PLANE_SCALE], 0xff, block->plane_bytes[TN_PLANE_SCALE] / block->n_rows);
    return finite;
}

/* The same as bf16: decodes the file blocks that [k0, k0 + n_k) touches and rounds. */
static bool round_row(const weight_view *view, const weight_block *block, uint64_t row, const uint8_t *blocks,
                      uint64_t count)
{
    uint8_t *to = (uint8_t *)block->plane[TN_PLANE_CODES] + row * block->n_k * sizeof(uint16_t);
    uint64_t skip = block->k0 % view->format->elements, left = block->n_k;
    float values[GGUF_BLOCK_ELEMENTS_MAX];

    if (!has_finite_factors(view->format, blocks, count))
        return false;
    while (left) {
        uint64_t take = view->format->elements - skip < left ? view->format->elements - skip : left;
        view->format->decode(blocks, values);
        floats_convert(TN_BF16, to, TN_F32, values + skip, take);
        blocks += view->format->bytes;
        to += take * sizeof(uint16_t);
        left -= take;
        skip = 0;
    }
    return true;
}

static tn_status transcode_blocks(const tn_qmodel *qmodel, const char *name, const weight_view *view,
                                  const weight_block *block, tn_error *err)
{
    bool as_float = block->enc->family == TN_ENC_FLOAT;
    uint64_t first = block->k0 / view->format->elements;
    uint64_t count = (block->k0 + block->n_k + view->format->elements - 1) / view->format->elements - first;

    for (uint64_t row = 0; row < block->n_rows; row++) {
        const uint8_t *blocks = view->data + (block->row0 + row) * view->row_bytes + first * view->format->bytes;
        bool finite =
            as_float ? round_row(view, block, row, blocks, count) : split_row(view, block, row, blocks, count);
        if (!finite)
            return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' has an infinite or NaN scale in row %" PRIu64,
                           qmodel->source->path, name, block->row0 + row);
    }
    return TN_OK;
}

static tn_status quant_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0,
                                 uint64_t n_rows, uint64_t k0, uint64_t n_k, void *const *plane,
                                 const uint64_t *plane_bytes, tn_error *err)
{
    weight_view view;
    tn_status status = find_weight(qmodel, name, &view, err);
    if (status != TN_OK)
        return status;
    if (!is_produced(&view, enc))
        return tn_fail(err, TN_E_ARGUMENT, "'%s' (%s) cannot be produced in the encoding asked for", name,
                       view.format->name);

    const weight_block block = {enc, view.rows, view.columns, row0, n_rows, k0, n_k, plane, plane_bytes};
    status = weight_block_check(&block, enc->family == TN_ENC_FLOAT ? 8 : view.format->elements, err);
    if (status != TN_OK)
        return status;
    if (!view.format->split) {
        weight_block_from_floats(&block, view.format->enc.qtype, view.data);
        return TN_OK;
    }
    if (enc->family == TN_ENC_LUT)
        memcpy(plane[TN_PLANE_LUT], view.format->table, plane_bytes[TN_PLANE_LUT]);
    return transcode_blocks(qmodel, name, &view, &block, err);
}

static tn_status quant_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows,
                                 float *ret_rows, tn_error *err)
{
    weight_view view;
    tn_status status = find_weight(qmodel, name, &view, err);
    if (status != TN_OK)
        return status;
    if (row0 > view.rows || n_rows > view.rows - row0)
        return tn_fail(err, TN_E_ARGUMENT, "rows %" PRIu64 "+%" PRIu64 " are outside '%s', which has %" PRIu64, row0,
                       n_rows, name, view.rows);

    const uint8_t *blocks = view.data + row0 * view.row_bytes;
    uint64_t count = n_rows * (view.columns / view.format->elements);
    if (!view.format->decode) {
        floats_convert(TN_F32, ret_rows, view.format->enc.qtype, blocks, count);
        return TN_OK;
    }
    for (uint64_t i = 0; i < count; i++)
        view.format->decode(blocks + i * view.format->bytes, ret_rows + i * view.format->elements);
    return TN_OK;
}

static const char *quant_formats(void)
{
    return "GGUF";
}

/* ---- the handshake ---- */

static const tn_quant_table table = {
    .struct_size = sizeof table,
    .open = quant_open,
    .close = quant_close,
    .shape = quant_shape,
    .produces = quant_produces,
    .transcode = quant_transcode,
    .reference = quant_reference,
    .formats = quant_formats,
};

TN_PLUGIN_ENTRY(TN_QUANT_ID, &table, .id = "quant_gguf", .version = "0.1.0", .vendor = "Tenon", .license = "Apache-2.0")
