/* runtime/model/weight_parts.h: the weights of a graph as the checkpoint holds them: whole tensors, rows of one that
 * several weights share, a tensor for each expert, or turned over.
 */
#ifndef MODEL_WEIGHT_PARTS_H
#define MODEL_WEIGHT_PARTS_H

#include "model/weights.h"

/* Every tensor that the weight is made of is there, in the shape that its part expects. TN_E_CORRUPT names the first
 * that is not. Reads no data. */
tn_status weight_parts_check(const weight_source *source, const tn_graph *graph, uint32_t id, tn_error *err);
/* The index-th encoding that all parts can be had in: as tn_quant_table.produces. Where each part has something of its
 * own (tn_enc.part_n), one that is in order by chance counts as permuted with the others. */
tn_status weight_parts_produces(const weight_source *source, const tn_graph *graph, uint32_t id, uint32_t index,
                                tn_enc *ret_enc, tn_error *err);
/* Bytes of scratch that weight_parts_read needs for blocks of at most n_rows rows. */
uint64_t weight_parts_scratch_bytes(const tn_graph *graph, uint32_t id, const tn_enc *enc, uint64_t n_rows);
/* Rows [row0, row0 + n_rows), all columns, into plane[p], as tn_quant_table.transcode; of one part, if enc has part_n.
 */
tn_status weight_parts_read(const weight_source *source, const tn_graph *graph, uint32_t id, const tn_enc *enc,
                            uint64_t row0, uint64_t n_rows, void *const *plane, void *scratch, tn_error *err);

#endif
