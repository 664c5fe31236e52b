/* tenon/ops.h: "tn.ops", what a hardware vendor writes on the first day.
 *
 * Five memory functions and one `run` that may answer TN_E_UNSUPPORTED for any node; sdk/interp turns such a table into
 * a complete tn.backend, running the portable reference kernel on the host for every node the device declined.
 * Tokens are right from the first hour; then one fast kernel at a time.
 */
#ifndef TENON_OPS_H
#define TENON_OPS_H

#include "tenon/backend.h"

TN_BEGIN_DECLS

#define TN_OPS_ID "tn.ops/1"

typedef struct tn_buf {
    uint64_t handle, offset; /* from alloc; bytes */
} tn_buf; /* frozen */

enum { TN_USAGE_WEIGHT = 1, TN_USAGE_ACTIVATION = 2, TN_USAGE_KV = 3 };

/* Arguments of one node, borrowed for the call. Activations and weights are dense row-major float32; no input overlaps the
 * output. Tokens in `batch` are ids (those that pointed into an earlier ticket have been resolved). ATTENTION first writes
 * the batch's k and v rows, then attends; page `p` of the layer starts p * page_tokens * G * (D + Dv) floats into `kv` and
 * holds page_tokens rows of k [G * D], then page_tokens rows of v [G * Dv]. */
typedef struct tn_ops_args {
    uint32_t struct_size, rows; /* R: token or output rows of this step, at least 1 */
    const tn_node *node;
    const tn_value *value_in, *value_out; /* node->in_count, node->out_count descriptions */
    const tn_buf *in, *out;               /* where they live; constants are uploaded like weights */
    const tn_batch *batch;                /* host memory */
    tn_buf kv;                            /* ATTENTION: the layer's page storage, else handle 0 */
    const uint32_t *page_table;           /* ATTENTION: host, [max_seqs][page_table_stride] page ids by slot */
    uint32_t page_table_stride, page_tokens;
} tn_ops_args;
TN_SEALED(tn_ops_args, page_tokens);

typedef struct tn_ops_table {
    uint32_t struct_size, flags; /* flags: 0 */
    /* As in tn.backend. Mandatory. [probe] */
    tn_status (*device)(uint32_t index, tn_devinfo *ret_info, tn_error *err);
    /* Mandatory. [ctl] */
    tn_status (*open)(const tn_open *open, tn_dev **ret_dev, tn_error *err);
    void (*close)(tn_dev *dev); /* Mandatory; NULL is fine. [ctl] */
    /* Device memory, at least 64-byte aligned; *ret_handle is never 0. Mandatory. [ctl] */
    tn_status (*alloc)(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err);
    void (*free)(tn_dev *dev, uint64_t handle); /* Mandatory. [ctl] */
    /* Copies host -> device and device -> host, ordered with run. Mandatory. [step] */
    tn_status (*put)(tn_dev *dev, tn_buf dst, const void *src, uint64_t bytes, tn_error *err);
    tn_status (*get)(tn_dev *dev, void *dst, tn_buf src, uint64_t bytes, tn_error *err);
    /* Returns when everything before it is done. Mandatory. [step] */
    tn_status (*sync)(tn_dev *dev, tn_error *err);
    /* Runs one node, or answers TN_E_UNSUPPORTED having done nothing. NULL: nothing is supported. [step] */
    tn_status (*run)(tn_dev *dev, const tn_ops_args *args, tn_error *err);
    /* Where the host may read and write device memory once `sync` has returned (host or unified memory); saves the copies
     * of put and get. Answers for every buffer. NULL member: nowhere. [any] */
    void *(*map)(tn_dev *dev, tn_buf buf);
} tn_ops_table;
TN_SEALED(tn_ops_table, map);

TN_END_DECLS
#endif
