/* tests/reference/decode_batch.h: batches in which each sequence has one row, its next token. */
#ifndef TESTS_DECODE_BATCH_H
#define TESTS_DECODE_BATCH_H

#include "model_rig.h"

/* `batch` borrows the arrays, so this is not to be copied. Tests change what they are about. */
typedef struct decode_batch {
    uint32_t rows;
    int32_t token[RIG_SLOTS_MAX], position[RIG_SLOTS_MAX];
    uint32_t seq_start[RIG_SLOTS_MAX + 1], slot[RIG_SLOTS_MAX], cached_len[RIG_SLOTS_MAX], out_row[RIG_SLOTS_MAX],
        want[RIG_SLOTS_MAX];
    uint32_t group[RIG_SLOTS_MAX * RIG_GROUPS_MAX], changed[RIG_SLOTS_MAX * RIG_GROUPS_MAX],
        index[RIG_SLOTS_MAX * RIG_GROUPS_MAX], page[RIG_SLOTS_MAX * RIG_GROUPS_MAX];
    tn_batch batch;
} decode_batch;

/* Rows of slots 0 to rows - 1, in pages that no two share; length[slot] is counted up. */
void decode_batch_fill(const model_rig *rig, uint32_t rows, uint32_t length[RIG_SLOTS_MAX], decode_batch *d);
/* Its ticket; asserts success. */
uint64_t decode_batch_submit(const model_rig *rig, const tn_batch *batch);

#endif
