/* runtime/quantize/scale_fold.c: see scale_fold.h. */
#include "quantize/scale_fold.h"

#include "base/weight_block.h"
#include "quantize/tensor_floats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct folding {
    scale_folds *folds;
    const calibration *calibration;
    const tn_source *source;
    tn_error *err;
} folding;

static float *ones(uint64_t count)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    for (uint64_t i = 0; values && i < count; i++)
        values[i] = 1.0f;
    return values;
}

static tn_status no_memory(const folding *f, const char *name)
{
    return tn_fail(f->err, TN_E_MEMORY, "scales of tensor %s", name);
}

/* Its place, whether it changes or not. */
static folded_tensor *place_of(const scale_folds *folds, const char *name)
{
    const shard_item *item = folds->plan ? shard_plan_find(folds->plan, name) : NULL;
    return item ? &folds->tensors[item - folds->plan->items] : NULL;
}

const folded_tensor *scale_folds_find(const scale_folds *folds, const char *name)
{
    const folded_tensor *tensor = place_of(folds, name);
    return tensor && tensor->name ? tensor : NULL;
}

/* ---- weights ---- */

/* The tensor of a group's weights, with the group's scales on its columns. */
static tn_status add_weight(const folding *f, uint32_t group, const char *name)
{
    uint64_t columns = f->calibration->groups.groups[group].columns;
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    folded_tensor *to = place_of(f->folds, name);

    if (to && to->name)
        return TN_OK; /* another weight's rows of it */
    if (!to || f->source->tensor(f->source, name, &tensor) != TN_OK)
        return tn_fail(f->err, TN_E_CORRUPT, "%s: tensor %s is missing", f->source->path, name);
    if (tensor.rank != 2 || (uint64_t)tensor.dim[1] != columns || !tensor_float_type(&tensor))
        return tn_fail(f->err, TN_E_UNSUPPORTED, "%s: tensor %s is not a float matrix of %llu columns", f->source->path,
                       name, (unsigned long long)columns);
    float *scales = ones(columns);
    if (!scales)
        return no_memory(f, name);
    memcpy(scales, f->calibration->inputs[group].scales, columns * sizeof *scales);
    *to = (folded_tensor){.name = name, .group = group, .columns = scales, .count = (uint64_t)tensor.dim[0]};
    return TN_OK;
}

static tn_status add_weights(const folding *f, uint32_t index)
{
    const scale_groups *groups = &f->calibration->groups;
    const scale_group *group = &groups->groups[index];
    tn_status status = TN_OK;

    for (uint32_t i = 0; i < group->weight_count && status == TN_OK; i++)
        status = add_weight(f, index, groups->weights[group->weight_first + i].tensor);
    if (status == TN_OK && group->router.tensor && group->fold != FOLD_NONE)
        status = add_weight(f, index, group->router.tensor);
    return status;
}

/* ---- where the inverse goes ---- */

/* Where the rows, or elements, lie that feed the group's input: the scale of each. */
static void place_scales(const scale_group *group, const float *scales, uint64_t row0, float *ret_rows)
{
    for (uint64_t k = 0; k < group->columns; k++)
        ret_rows[row0 + scale_group_index(group, k)] = scales[k];
}

static tn_status fold_weight_rows(const folding *f, uint32_t index)
{
    const scale_group *group = &f->calibration->groups.groups[index];
    folded_tensor *tensor = place_of(f->folds, group->weight.tensor);

    TN_ASSERT(tensor && tensor->columns && group->weight.row0 + group->weight.rows <= tensor->count);
    if (!tensor->rows)
        tensor->rows = ones(tensor->count);
    if (!tensor->rows)
        return no_memory(f, tensor->name);
    place_scales(group, f->calibration->inputs[index].scales, group->weight.row0, tensor->rows);
    return TN_OK;
}

/* A whole vector of the checkpoint, ready to be changed. */
static tn_status add_vector(const folding *f, const char *name, uint64_t least, folded_tensor **ret_tensor)
{
    tn_tensor_src source = {.struct_size = sizeof source};
    folded_tensor *to = place_of(f->folds, name);

    *ret_tensor = to;
    if (to && to->name)
        return TN_OK;
    if (to && f->source->tensor(f->source, name, &source) == TN_OK && source.rank != 1)
        return tn_fail(f->err, TN_E_CORRUPT, "%s: tensor %s is not a vector", f->source->path, name);
    uint64_t count = to && (uint64_t)source.dim[0] > least ? (uint64_t)source.dim[0] : least;
    float *values = ones(count);
    if (!values)
        return no_memory(f, name);
    tn_status status = tensor_floats(f->source, name, 0, count, values, f->err);
    if (status != TN_OK) {
        free(values);
        return status;
    }
    *to = (folded_tensor){.name = name, .values = values, .count = count};
    return TN_OK;
}

static tn_status fold_bias(const folding *f, uint32_t index)
{
    const scale_group *group = &f->calibration->groups.groups[index];
    folded_tensor *bias = NULL;

    if (!group->bias.tensor)
        return TN_OK;
    tn_status status = add_vector(f, group->bias.tensor, group->bias.row0 + group->scale_count, &bias);
    if (status != TN_OK)
        return status;
    float *by = ones(bias->count); /* columns that share a scale divide once */
    if (!by)
        return no_memory(f, bias->name);
    place_scales(group, f->calibration->inputs[index].scales, group->bias.row0, by);
    for (uint64_t i = 0; i < bias->count; i++)
        bias->values[i] /= by[i];
    free(by);
    return TN_OK;
}

/* A gain g becomes g' near (g + offset) / s - offset, as it is stored, and the columns take (g + offset) / (g' +
 * offset): their product is what it was to the last bit but the columns' own rounding. */
static void fold_element(uint32_t type, double offset, float *gain, float *scale)
{
    double before = (double)*gain + offset, after;
    float folded = (float)(before / (double)*scale - offset);
    uint32_t stored;

    floats_convert(type, &stored, TN_F32, &folded, 1);
    floats_convert(TN_F32, &folded, type, &stored, 1);
    after = (double)folded + offset;
    if (before == 0 || after == 0 || !isfinite(before / after) || (float)(before / after) <= 0) {
        *scale = 1.0f;
        return;
    }
    *gain = folded;
    *scale = (float)(before / after);
}

static void set_columns(const folding *f, const char *name, const float *scales, uint64_t columns)
{
    memcpy(place_of(f->folds, name)->columns, scales, columns * sizeof *scales);
}

static tn_status fold_gain(const folding *f, uint32_t index)
{
    const calibration *c = f->calibration;
    const scale_group *group = &c->groups.groups[index];
    folded_tensor *gain = NULL;
    tn_tensor_src tensor = {.struct_size = sizeof tensor};
    tn_status status = add_vector(f, group->gain.tensor, group->columns, &gain);

    if (status != TN_OK)
        return status;
    f->source->tensor(f->source, gain->name, &tensor);
    float *scales = ones(group->columns);
    if (!scales)
        return no_memory(f, gain->name);
    memcpy(scales, c->inputs[index].scales, group->columns * sizeof *scales);
    for (uint64_t k = 0; k < group->columns; k++)
        fold_element(tensor_float_type(&tensor), group->gain_offset, &gain->values[k], &scales[k]);
    for (uint32_t i = 0; i < group->weight_count; i++)
        set_columns(f, c->groups.weights[group->weight_first + i].tensor, scales, group->columns);
    if (group->router.tensor)
        set_columns(f, group->router.tensor, scales, group->columns);
    free(scales);
    return TN_OK;
}

static tn_status fold_group(const folding *f, uint32_t index)
{
    const scale_group *group = &f->calibration->groups.groups[index];

    if (group->fold == FOLD_GAIN)
        return fold_gain(f, index);
    if (group->fold == FOLD_NONE)
        return TN_OK;
    tn_status status = fold_weight_rows(f, index);
    return status == TN_OK ? fold_bias(f, index) : status;
}

tn_status scale_folds_init(scale_folds *folds, const calibration *c, const shard_plan *plan, const tn_source *source,
                           tn_error *err)
{
    const folding f = {folds, c, source, err};
    tn_status status = TN_OK;

    *folds = (scale_folds){.plan = plan, .tensors = calloc(plan->item_count + 1, sizeof *folds->tensors)};
    if (!folds->tensors)
        return tn_fail(err, TN_E_MEMORY, "%u scaled tensors", plan->item_count);
    for (uint32_t g = 0; g < c->groups.count && status == TN_OK; g++)
        status = add_weights(&f, g);
    for (uint32_t g = 0; g < c->groups.count && status == TN_OK; g++)
        status = fold_group(&f, g);
    if (status != TN_OK)
        scale_folds_finish(folds);
    return status;
}

void scale_folds_finish(scale_folds *folds)
{
    for (uint32_t i = 0; folds->tensors && i < folds->plan->item_count; i++) {
        free(folds->tensors[i].columns);
        free(folds->tensors[i].rows);
        free(folds->tensors[i].values);
    }
    free(folds->tensors);
    *folds = (scale_folds){0};
}
