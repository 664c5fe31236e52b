/* tenon/quant.h: "tn.quant", a transcoder from a checkpoint's layout to canonical encodings. Never a kernel.
 *
 * The core asks each quantization plugin in turn to open the source; for each weight the plugin lists the encodings
 * it can produce, lossless ones first, bf16 always last, and the core takes the first that the backend accepts. A
 * weight of the graph may be some rows of a tensor, or a stack of several: so a plugin whose scales are shared by rows
 * (group_n > 1) lists the same encoding with a scale for each row next, and TN_ENC_PARTS is the core's to set.
 */
#ifndef TENON_QUANT_H
#define TENON_QUANT_H

#include "tenon/encoding.h"
#include "tenon/plugin.h"
#include "tenon/source.h"

TN_BEGIN_DECLS

#define TN_QUANT_ID "tn.quant/1"

typedef struct tn_qmodel tn_qmodel;

typedef struct tn_quant_table {
    uint32_t struct_size, flags;
    /* TN_E_NOT_FOUND: this checkpoint is not of my format. source is borrowed until close. Mandatory. [ctl] */
    tn_status (*open)(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err);
    void (*close)(tn_qmodel *qmodel); /* Mandatory; NULL is fine. [ctl] */
    /* Shape of weight `name` ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight") as a matrix [N, K];
     * a vector is [1, K]. TN_E_NOT_FOUND if the checkpoint has none. Mandatory. [any] */
    tn_status (*shape)(const tn_qmodel *qmodel, const char *name, uint64_t *ret_n, uint64_t *ret_k, tn_error *err);
    /* The index-th encoding it can produce; TN_E_NOT_FOUND past the last. Mandatory. [any] */
    tn_status (*produces)(const tn_qmodel *qmodel, const char *name, uint32_t index, tn_enc *ret_enc, tn_error *err);
    /* Writes the planes of a block (layout and bounds: tenon/encoding.h) into plane[p], plane_bytes[p] bytes each,
     * which must equal tn_plane_bytes. Mandatory. [any] */
    tn_status (*transcode)(const tn_qmodel *qmodel, const char *name, const tn_enc *enc, uint64_t row0, uint64_t n_rows,
                           uint64_t k0, uint64_t n_k, void *const *plane, const uint64_t *plane_bytes, tn_error *err);
    /* The same rows as float32 [n_rows, K], straight from the checkpoint: the oracle for tests. Mandatory. [any] */
    tn_status (*reference)(const tn_qmodel *qmodel, const char *name, uint64_t row0, uint64_t n_rows, float *ret_rows,
                           tn_error *err);
    /* The formats that open knows, for messages: "awq, gptq"; spelled as quant_method where they have one. NULL: not
     * said. [any] */
    const char *(*formats)(void);
} tn_quant_table;
TN_SEALED(tn_quant_table, formats);

TN_END_DECLS
#endif
