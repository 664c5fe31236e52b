/* runtime/quantize/scale_fold.h: scales turned into what happens to each tensor. */
#ifndef QUANTIZE_SCALE_FOLD_H
#define QUANTIZE_SCALE_FOLD_H

#include "quantize/calibration.h"

/* One tensor that changes. A weight's element [n, k] becomes w * columns[k] / rows[n]; a gain or bias is replaced. */
typedef struct folded_tensor {
    const char *name;      /* NULL: it stays as it is */
    uint32_t group;        /* of a weight: whose input its rows read */
    float *columns, *rows; /* of a weight, owned; rows NULL: all 1 */
    float *values;         /* of a gain or a bias, owned, in what it is stored as */
    uint64_t count;        /* rows of a weight, values of a gain or bias */
} folded_tensor;

typedef struct scale_folds {
    const shard_plan *plan; /* borrowed; NULL: nothing changes */
    folded_tensor *tensors; /* [plan->item_count], owned, beside the plan's items */
} scale_folds;

/* For scales of all groups. Gains are rounded as they will be stored, and columns take what that leaves. plan outlives
 * the folds. */
tn_status scale_folds_init(scale_folds *folds, const calibration *calibration, const shard_plan *plan,
                           const tn_source *source, tn_error *err);
void scale_folds_finish(scale_folds *folds);
const folded_tensor *scale_folds_find(const scale_folds *folds, const char *name); /* NULL: it stays as it is */

#endif
