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

static folded_tensor *find(const scale_folds *folds, const char *name)
{
    for (uint32_t i = 0; i < folds->count; i++)
        if (strcmp(folds->tensors[i].name, name) == 0)
            return &folds->tensors[i];
    return NULL;
}

const folded_tensor *scale_folds_find(const scale_folds *folds, const char *name)
{
    return find(folds, name);
}

/* ---- weights ---- */

/* The tensor of a group's weights, with the group's scales on its columns. */
static tn_status add_weight(const folding *f, uint32_t group, const char *name)
{
    uint64_t columns = f->calibration->groups.groups[group].columns;
    tn_tensor_src tensor = {.struct_size = sizeof tensor};

    if (find(f->folds, name))
        return TN_OK; /* another weight's rows of it */
    tn_status status = f->source->tensor(f->source, name, &tensor);
    TN_ASSERT(status == TN_OK && tensor.rank == 2);
    float *scales = ones(columns);
    if (!scales)
        return no_memory(f, name);
    memcpy(scales, f->calibration->scales[group], columns * sizeof *scales);
    f->folds->tensors[f->folds->count++] =
        (folded_tensor){.name = name, .group = group, .columns = scales, .count = (uint64_t)tensor.dim[0]};
    return TN_OK;
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
    folded_tensor *tensor = find(f->folds, group->weight.tensor);

    TN_ASSERT(tensor && tensor->columns && group->weight.row0 + group->weight.rows <= tensor->count);
    if (!tensor->rows)
        tensor->rows = ones(tensor->count);
    if (!tensor->rows)
        return no_memory(f, tensor->name);
    place_scales(group, f->calibration->scales[index], group->weight.row0, tensor->rows);
    return TN_OK;
}

/* A whole vector of the checkpoint, ready to be changed. */
static tn_status add_vector(const folding *f, const char *name, uint64_t least, folded_tensor **ret_tensor)
{
    tn_tensor_src source = {.struct_size = sizeof source};

    *ret_tensor = find(f->folds, name);
    if (*ret_tensor)
        return TN_OK;
    if (f->source->tensor(f->source, name, &source) != TN_OK)
        return tn_fail(f->err, TN_E_CORRUPT, "%s: tensor %s is missing", f->source->path, name);
    uint32_t type = tensor_float_type(&source);
    if (!type)
        return tn_fail(f->err, TN_E_UNSUPPORTED, "%s: tensor %s is not F32, F16 or BF16", f->source->path, name);
    folded_tensor vector = {.name = name, .count = source.bytes / tn_scalar_bytes(type)};
    if (source.rank != 1 || vector.count < least)
        return tn_fail(f->err, TN_E_CORRUPT, "%s: tensor %s is not a vector of %llu elements", f->source->path, name,
                       (unsigned long long)least);
    vector.values = ones(vector.count);
    if (!vector.values)
        return no_memory(f, name);
    floats_convert(TN_F32, vector.values, type, source.data, vector.count);
    *ret_tensor = &f->folds->tensors[f->folds->count++];
    **ret_tensor = vector;
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
    place_scales(group, f->calibration->scales[index], group->bias.row0, by);
    for (uint64_t i = 0; i < bias->count; i++)
        bias->values[i] /= by[i];
    free(by);
    return TN_OK;
}

/* A gain g becomes g' near (g + offset) / s - offset, as it is stored, and the columns take (g + offset) / (g' + offset):
 * their product is what it was to the last bit but the columns' own rounding. */
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
    memcpy(scales, c->scales[index], group->columns * sizeof *scales);
    for (uint64_t k = 0; k < group->columns; k++)
        fold_element(tensor_float_type(&tensor), group->gain_offset, &gain->values[k], &scales[k]);
    for (uint32_t i = 0; i < group->weight_count; i++) {
        const char *name = c->groups.weights[group->weight_first + i].tensor;
        memcpy(find(f->folds, name)->columns, scales, group->columns * sizeof *scales);
    }
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

tn_status scale_folds_init(scale_folds *folds, const calibration *c, const tn_source *source, tn_error *err)
{
    const folding f = {folds, c, source, err};
    uint64_t most = (uint64_t)c->groups.weight_count + c->groups.count;
    tn_status status = TN_OK;

    *folds = (scale_folds){.tensors = calloc(most ? most : 1, sizeof *folds->tensors)};
    if (!folds->tensors)
        return tn_fail(err, TN_E_MEMORY, "%llu scaled tensors", (unsigned long long)most);
    for (uint32_t g = 0; g < c->groups.count; g++) {
        const scale_group *group = &c->groups.groups[g];
        for (uint32_t i = 0; i < group->weight_count && status == TN_OK; i++)
            status = add_weight(&f, g, c->groups.weights[group->weight_first + i].tensor);
    }
    for (uint32_t g = 0; g < c->groups.count && status == TN_OK; g++)
        status = fold_group(&f, g);
    if (status != TN_OK)
        scale_folds_finish(folds);
    return status;
}

void scale_folds_finish(scale_folds *folds)
{
    for (uint32_t i = 0; i < folds->count; i++) {
        free(folds->tensors[i].columns);
        free(folds->tensors[i].rows);
        free(folds->tensors[i].values);
    }
    free(folds->tensors);
    *folds = (scale_folds){0};
}
