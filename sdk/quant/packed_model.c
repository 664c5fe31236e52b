/* sdk/quant/packed_model.c: see packed_model.h. */
#include "quant/packed_model.h"

#include "base/size.h"
#include "quant/plain_weight.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_BYTES_MAX = 1024 };

struct tn_qmodel {
    const packed_format *format;
    const tn_source *source; /* borrowed */
    max_align_t settings[];
};

tn_status packed_open(const packed_format *format, const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    quant_config config;

    if (!source || !ret_qmodel)
        return tn_fail(err, TN_E_ARGUMENT, "%s: open without a source", format->kind.plugin);
    tn_status status = quant_config_open(source, &format->kind, &config, err);
    if (status != TN_OK)
        return status;
    tn_qmodel *qmodel = calloc(1, sizeof *qmodel + format->settings_bytes);
    if (qmodel) {
        qmodel->format = format;
        qmodel->source = source;
        status = format->read_settings(&config, qmodel->settings, err);
    } else {
        status = tn_fail(err, TN_E_MEMORY, "%s", format->kind.plugin);
    }
    quant_config_close(&config);
    if (status != TN_OK) {
        free(qmodel);
        return status;
    }
    *ret_qmodel = qmodel;
    return TN_OK;
}

void packed_close(tn_qmodel *qmodel)
{
    free(qmodel);
}

/* ---- either packed or plain ---- */

typedef struct found_weight {
    bool packed;
    packed_weight weight;
    plain_weight plain;
} found_weight;

static tn_status find_weight(const tn_qmodel *qmodel, const char *name, found_weight *ret_found, tn_error *err)
{
    found_weight found = {.weight = {.path = qmodel->source->path, .name = name}};
    tn_status status = qmodel->format->find(qmodel->settings, qmodel->source, name, &found.weight, err);

    found.packed = status == TN_OK;
    if (status == TN_E_NOT_FOUND)
        status = plain_weight_find(qmodel->source, name, &found.plain, err);
    if (status == TN_OK)
        *ret_found = found;
    return status;
}

tn_status packed_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err)
{
    found_weight found;
    tn_status status = find_weight(qmodel, name, &found, err);
    if (status != TN_OK)
        return status;
    *ret_n = found.packed ? found.weight.rows : found.plain.rows;
    *ret_k = found.packed ? found.weight.columns : found.plain.columns;
    return TN_OK;
}

/* The lossless encoding with the scales of rows that share them written out. */
static tn_enc enc_by_rows(const packed_weight *weight)
{
    tn_enc enc = weight->enc;
    enc.group_n = 1;
    return enc;
}

static uint32_t list_encodings(const found_weight *found, tn_enc ret_list[PLAIN_ENCODINGS_MAX])
{
    uint32_t count = 0;

    if (!found->packed)
        return plain_weight_encodings(&found->plain, ret_list);
    ret_list[count++] = found->weight.enc;
    if (found->weight.enc.group_n > 1)
        ret_list[count++] = enc_by_rows(&found->weight);
    ret_list[count++] = enc_float(TN_BF16);
    return count;
}

tn_status packed_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc, tn_error *err)
{
    found_weight found;
    tn_enc list[PLAIN_ENCODINGS_MAX];

    tn_status status = find_weight(qmodel, name, &found, err);
    if (status != TN_OK)
        return status;
    if (index >= list_encodings(&found, list))
        return tn_fail(err, TN_E_NOT_FOUND, "'%s' has no encoding %u", name, index);
    *ret_enc = list[index];
    return TN_OK;
}

/* Rounds decoded rows to bf16, for backends that do not take the lossless encoding. */
static tn_status round_rows(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    float *row = malloc(weight->columns * sizeof *row);
    uint8_t *to = block->plane[TN_PLANE_CODES];

    if (!row)
        return tn_fail(err, TN_E_MEMORY, "a row of '%s'", weight->name);
    for (uint64_t i = 0; i < block->n_rows; i++, to += block->n_k * sizeof(uint16_t)) {
        weight->decode(weight, block->row0 + i, row);
        floats_convert(TN_BF16, to, TN_F32, row + block->k0, block->n_k);
    }
    free(row);
    return TN_OK;
}

static tn_status transcode_packed(const packed_weight *weight, const weight_block *block, tn_error *err)
{
    const tn_enc bf16 = enc_float(TN_BF16), by_rows = enc_by_rows(weight);
    bool lossless = enc_equal(block->enc, &weight->enc) || (weight->enc.group_n > 1 && enc_equal(block->enc, &by_rows));

    if (!lossless && !enc_equal(block->enc, &bf16))
        return tn_fail(err, TN_E_ARGUMENT, "'%s' cannot be produced in the encoding asked for", weight->name);
    tn_status status = weight_block_check(block, 8, err);
    if (status != TN_OK)
        return status;
    return lossless ? weight->transcode(weight, block, err) : round_rows(weight, block, err);
}

tn_status packed_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0, uint64_t n_rows,
                           uint64_t k0, uint64_t n_k, void *const *plane, const uint64_t *plane_bytes, tn_error *err)
{
    found_weight found;
    tn_status status = find_weight(qmodel, name, &found, err);
    if (status != TN_OK)
        return status;
    if (!found.packed)
        return plain_weight_transcode(&found.plain, name, enc, row0, n_rows, k0, n_k, plane, plane_bytes, err);
    const weight_block block = {enc,   found.weight.rows, found.weight.columns, row0, n_rows, k0, n_k,
                                plane, plane_bytes};
    return transcode_packed(&found.weight, &block, err);
}

tn_status packed_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows, float *ret_rows,
                           tn_error *err)
{
    found_weight found;
    tn_status status = find_weight(qmodel, name, &found, err);
    if (status != TN_OK)
        return status;
    if (!found.packed)
        return plain_weight_reference(&found.plain, name, row0, n_rows, ret_rows, err);
    if (!size_within(row0, n_rows, found.weight.rows))
        return tn_fail(err, TN_E_ARGUMENT, "rows %" PRIu64 "+%" PRIu64 " are outside '%s', which has %" PRIu64, row0,
                       n_rows, name, found.weight.rows);
    for (uint64_t i = 0; i < n_rows; i++)
        found.weight.decode(&found.weight, row0 + i, ret_rows + i * found.weight.columns);
    return TN_OK;
}

/* ---- for find() ---- */

bool packed_part(const tn_source *source, const char *name, const char *suffix, tn_tensor_src *ret_part)
{
    static const char ending[] = ".weight";
    char part_name[NAME_BYTES_MAX];
    size_t bytes = strlen(name), tail = sizeof ending - 1;
    tn_tensor_src part = {.struct_size = sizeof part};

    *ret_part = (tn_tensor_src){.struct_size = sizeof *ret_part};
    if (bytes > tail && strcmp(name + bytes - tail, ending) == 0)
        bytes -= tail - 1; /* keeps the dot */
    if (bytes + strlen(suffix) >= sizeof part_name)
        return false;
    memcpy(part_name, name, bytes);
    strcpy(part_name + bytes, suffix);
    if (source->tensor(source, part_name, &part) != TN_OK)
        return false;
    *ret_part = part;
    return true;
}

const char *packed_dtype_name(uint32_t dtype)
{
    static const char *const names[] = {"",    "F32", "F16", "BF16", "F64", "I8",   "U8",      "I16",
                                        "U16", "I32", "U32", "I64",  "U64", "BOOL", "F8_E4M3", "F8_E5M2"};
    return dtype < sizeof names / sizeof names[0] ? names[dtype] : "?";
}

tn_status packed_expect(const packed_weight *weight, const tn_tensor_src *part, uint32_t dtype, uint64_t rows,
                        uint64_t columns, const char *because, tn_error *err)
{
    bool vector = columns == 0;
    uint64_t have_columns = part->rank > 1 ? (uint64_t)part->dim[1] : 0;

    if (part->dtype == dtype && part->rank == (vector ? 1u : 2u) && (uint64_t)part->dim[0] == rows &&
        have_columns == columns)
        return TN_OK;
    if (vector)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tensor '%s' must be %s [%" PRIu64 "] (%s), it is %s of rank %u [%" PRId64 "...]",
                       weight->path, part->name, packed_dtype_name(dtype), rows, because,
                       packed_dtype_name(part->dtype), part->rank, part->dim[0]);
    return tn_fail(err, TN_E_CORRUPT,
                   "%s: tensor '%s' must be %s [%" PRIu64 ", %" PRIu64 "] (%s), it is %s [%" PRId64 ", %" PRId64 "]%s",
                   weight->path, part->name, packed_dtype_name(dtype), rows, columns, because,
                   packed_dtype_name(part->dtype), part->dim[0], part->dim[1], part->rank == 2 ? "" : " of other rank");
}

tn_status packed_float_type(const packed_weight *weight, const tn_tensor_src *part, uint32_t *ret_type, tn_error *err)
{
    *ret_type = tensor_float_type(part);
    if (*ret_type)
        return TN_OK;
    return tn_fail(err, TN_E_CORRUPT, "%s: tensor '%s' holds scales, so it must be F16, BF16 or F32; it is %s",
                   weight->path, part->name, packed_dtype_name(part->dtype));
}

tn_status packed_missing(const packed_weight *weight, const char *suffix, const char *because, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "%s: weight '%s' is stored quantized but its tensor '%s' is missing (%s)",
                   weight->path, weight->name, suffix, because);
}
