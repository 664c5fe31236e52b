/* sdk/quant/packed_model.h: the part of tn.quant that all packed safetensors formats share.
 *
 * A format says how to read its settings from quantization_config, how to find a weight among several tensors
 * ("q_proj.qweight", "q_proj.scales", ...), and how to turn rows into planes and into floats. What is not stored packed
 * (norms, embeddings, excepted modules) passes as plain floats: the tensors present decide, not the list of exceptions,
 * which writers spell in different ways. Immutable after open, so everything is [any].
 */
#ifndef QUANT_PACKED_MODEL_H
#define QUANT_PACKED_MODEL_H

#include "base/weight_block.h"
#include "quant/config.h"
#include "tenon/entry.h"
#include "tenon/quant.h"

enum { PACKED_PARTS_MAX = 5 };

typedef struct packed_weight packed_weight;
struct packed_weight {
    const char *path, *name; /* for messages, borrowed */
    uint64_t rows, columns;
    tn_enc enc;                           /* the lossless encoding */
    tn_tensor_src part[PACKED_PARTS_MAX]; /* in the format's own order; absent ones have no data */
    uint32_t variant;                     /* the format's own */
    /* Fills the planes of a checked block in enc, or in the same with group_n 1. */
    tn_status (*transcode)(const packed_weight *weight, const weight_block *block, tn_error *err);
    /* The oracle: row `row` as float32 [columns]; shares no code with transcode. */
    void (*decode)(const packed_weight *weight, uint64_t row, float *ret_row);
};

typedef struct packed_format {
    quant_config_kind kind;
    size_t settings_bytes;
    /* Fills settings (zeroed, settings_bytes) from quantization_config; refuses what it does not know. */
    tn_status (*read_settings)(const quant_config *config, void *ret_settings, tn_error *err);
    /* TN_E_NOT_FOUND: `name` is not stored packed. Checks every dtype and shape; path, name and part of *ret_weight are
     * filled by packed_part. */
    tn_status (*find)(const void *settings, const tn_source *source, const char *name, packed_weight *ret_weight,
                      tn_error *err);
} packed_format;

/* The members of tn_quant_table, given the format. */
tn_status packed_open(const packed_format *format, const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err);
void packed_close(tn_qmodel *qmodel);
tn_status packed_shape(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err);
tn_status packed_produces(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc, tn_error *err);
tn_status packed_transcode(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0, uint64_t n_rows,
                           uint64_t k0, uint64_t n_k, void *const *plane, const uint64_t *plane_bytes, tn_error *err);
tn_status packed_reference(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows, float *ret_rows,
                           tn_error *err);

/* The table and the entry of a plugin for `format`, an expression for its address; formats: as tn_quant_table.formats.
 */
#define PACKED_PLUGIN(plugin_id, format, format_names)                                           \
    static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)  \
    {                                                                                            \
        return packed_open(format, source, ret_qmodel, err);                                     \
    }                                                                                            \
    static const char *quant_formats(void)                                                       \
    {                                                                                            \
        return format_names;                                                                     \
    }                                                                                            \
    static const tn_quant_table table = {                                                        \
        .struct_size = sizeof table,                                                             \
        .open = quant_open,                                                                      \
        .close = packed_close,                                                                   \
        .shape = packed_shape,                                                                   \
        .produces = packed_produces,                                                             \
        .transcode = packed_transcode,                                                           \
        .reference = packed_reference,                                                           \
        .formats = quant_formats,                                                                \
    };                                                                                           \
    TN_PLUGIN_ENTRY(TN_QUANT_ID, &table, .id = plugin_id, .version = "0.1.0", .vendor = "Tenon", \
                    .license = "Apache-2.0")

/* ---- for find() ---- */

/* Looks for the tensor that belongs to weight `name`: "x.weight" and "qweight" give "x.qweight"; a name without the
 * ending ".weight" gets the part appended. False, with part->data NULL, when there is none. */
bool packed_part(const tn_source *source, const char *name, const char *suffix, tn_tensor_src *ret_part);
/* TN_E_CORRUPT unless the tensor has this type and shape; columns 0: a vector. `because` says what demands it. */
tn_status packed_expect(const packed_weight *weight, const tn_tensor_src *part, uint32_t dtype, uint64_t rows,
                        uint64_t columns, const char *because, tn_error *err);
/* TN_E_CORRUPT unless its type is F32, F16 or BF16; *ret_type is the TN_* type. */
tn_status packed_float_type(const packed_weight *weight, const tn_tensor_src *part, uint32_t *ret_type, tn_error *err);
/* The sentence for a tensor that must be there. */
tn_status packed_missing(const packed_weight *weight, const char *suffix, const char *because, tn_error *err);
/* The name of a tensor's type, as safetensors spells it. */
const char *packed_dtype_name(uint32_t dtype);

#endif
