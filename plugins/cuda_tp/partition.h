/* plugins/cuda_tp/partition.h: which rows and columns of a weight each rank holds.
 *
 * All ranks hold equally much. A matrix of a mixture is cut within each expert. Vocabulary rows are padded to whole
 * panels, so the last ranks may hold rows beyond the matrix, which stay zero.
 */
#ifndef CUDA_TP_PARTITION_H
#define CUDA_TP_PARTITION_H

#include "graph_view.h"

typedef struct weight_cut {
    uint32_t shard;         /* TN_SHARD_* */
    uint32_t runs;          /* equal runs of rows, each cut alike: experts; 1 */
    uint64_t run_rows;      /* of the whole weight */
    uint64_t rows, columns; /* of one rank: rows of a run; columns */
    uint32_t replicas;      /* consecutive ranks that hold the same part */
} weight_cut;

/* First row (of each run) and first column of a rank's part. */
static inline uint64_t cut_first_row(const weight_cut *cut, uint32_t rank)
{
    return cut->shard == TN_SHARD_ROWS ? rank / cut->replicas * cut->rows : 0;
}

static inline uint64_t cut_first_column(const weight_cut *cut, uint32_t rank)
{
    return cut->shard == TN_SHARD_COLUMNS ? rank / cut->replicas * cut->columns : 0;
}

/* Cuts weight `id` over `world` ranks. TN_E_UNSUPPORTED: it cannot be cut so; the message says which and why. */
tn_status partition_weight(const graph_view *view, uint32_t id, uint32_t world, weight_cut *ret_cut, tn_error *err);
/* TN_OK if the whole model can be cut over `world` ranks; else names what cannot, and the degrees up to
 * PARTITION_RANKS_MAX that can. */
tn_status partition_check(const graph_view *view, uint32_t world, tn_error *err);

enum { PARTITION_RANKS_MAX = 64 };

#endif
