/* runtime/quantize/input_tap.c: see input_tap.h. Every row counts in the sums; some are kept. */
#include "quantize/input_tap.h"

#include "quantize/mixture.h"
#include "quantize/product.h"
#include "tenon/interp.h"

#include <math.h>
#include <string.h>

static struct {
    calibration *calibration; /* NULL: nothing is recorded */
    uint32_t sequence;
    bool finite;
} tap;

void input_tap_start(calibration *calibration, uint32_t sequence)
{
    TN_ASSERT(!tap.calibration);
    tap.calibration = calibration;
    tap.sequence = sequence;
    tap.finite = true;
}

bool input_tap_stop(void)
{
    tap.calibration = NULL;
    return tap.finite;
}

/* ---- recording ---- */

static void add_magnitudes(const float *x, uint64_t rows, uint64_t columns, double *sums)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t k = 0; k < columns; k++) {
            sums[k] += (double)fabsf(x[r * columns + k]);
            tap.finite &= isfinite(x[r * columns + k]) != 0;
        }
    sums[columns] += (double)rows;
}

static void keep_row(const float *x, uint64_t columns, double stands_for, float *ret_row)
{
    float weight = (float)sqrt(stands_for);
    for (uint64_t k = 0; k < columns; k++)
        ret_row[k] = x[k] * weight;
}

/* All rows if there is room. Else the first, on which attention drops its surplus, so that it stands out as no other
 * does (Xiao et al. 2023, arXiv:2309.17453); the rest is cut into stretches, and the last row of each stands for it:
 * squares of kept rows add up to about those of all. */
static void keep_rows(const float *x, uint64_t rows, uint64_t columns, uint64_t places, float *ret_rows)
{
    if (rows <= places) {
        memcpy(ret_rows, x, rows * columns * sizeof *x);
        return;
    }
    keep_row(x, columns, 1, ret_rows);
    for (uint64_t p = 1; p < places; p++) {
        uint64_t last = (rows - 1) * p / (places - 1), before = (rows - 1) * (p - 1) / (places - 1);
        keep_row(x + last * columns, columns, (double)(last - before), ret_rows + p * columns);
    }
}

/* x: all rows of the sequence that reach the group. */
static tn_status record(uint32_t group, const float *x, uint64_t rows, tn_error *err)
{
    calibration *c = tap.calibration;
    uint64_t columns = c->groups.groups[group].columns;
    unsigned char *record = calibration_record(c, group);

    if (!record)
        return tn_fail(err, TN_E_MEMORY, "a record of %llu bytes",
                       (unsigned long long)calibration_record_bytes(c, group));
    add_magnitudes(x, rows, columns, calibration_sums(record));
    keep_rows(x, rows, columns, c->sequence_rows,
              calibration_rows_of(c, group, record) + (uint64_t)tap.sequence * c->sequence_rows * columns);
    return TN_OK;
}

/* The group whose first reader is this weight, and no expert's; false: there is none. */
static bool find_group(const char *reader, uint32_t *ret_group)
{
    const scale_groups *groups = &tap.calibration->groups;

    for (uint32_t g = 0; g < groups->count; g++)
        if (groups->groups[g].expert < 0 && strcmp(groups->groups[g].reader, reader) == 0) {
            *ret_group = g;
            return true;
        }
    return false;
}

/* ---- the ops ---- */

static const float *input(tn_dev *dev, const tn_ops_args *args, uint32_t index)
{
    return tn_interp_host_ops()->map(dev, args->in[index]);
}

static tn_status run_linear(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    const float *x = input(dev, args, 0), *bias = args->node->in_count > 2 ? input(dev, args, 2) : NULL;
    uint32_t group;
    tn_status status = TN_OK;

    if (tap.calibration && find_group(args->value_in[1].name, &group))
        status = record(group, x, args->rows, err);
    product_parallel(x, args->rows, input(dev, args, 1), bias, (uint64_t)args->value_in[1].dim[0],
                     (uint64_t)args->value_in[1].dim[1], tn_interp_host_ops()->map(dev, args->out[0]));
    return status;
}

/* ctx: the mixture's group; its experts' follow. */
static tn_status record_expert(void *ctx, uint32_t expert, const float *x, uint64_t rows, tn_error *err)
{
    return record(*(const uint32_t *)ctx + 1 + expert, x, rows, err);
}

/* Only experts that are quantized; the host runs others. */
static tn_status run_mixture(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    uint32_t group;
    const mixture m = {.x = input(dev, args, 0),
                       .router = input(dev, args, TN_MOE_IN_ROUTER),
                       .gate = input(dev, args, TN_MOE_IN_GATE),
                       .up = input(dev, args, TN_MOE_IN_UP),
                       .down = input(dev, args, TN_MOE_IN_DOWN),
                       .rows = args->rows,
                       .experts = (uint32_t)args->node->attr[TN_MOE_A_EXPERTS],
                       .chosen = (uint32_t)args->node->attr[TN_MOE_A_CHOSEN],
                       .activation = (uint32_t)args->node->attr[TN_MOE_A_ACTIVATION],
                       .normalised = args->node->attr[TN_MOE_A_NORMALISED] != 0,
                       .width = (uint64_t)args->value_in[0].dim[1],
                       .hidden = (uint64_t)args->value_in[TN_MOE_IN_DOWN].dim[1],
                       .see_hidden = record_expert,
                       .ctx = &group};

    if (!tap.calibration || !find_group(args->value_in[TN_MOE_IN_GATE].name, &group))
        return TN_E_UNSUPPORTED;
    tn_status status = record(group, m.x, m.rows, err);
    return status == TN_OK ? mixture_run(&m, tn_interp_host_ops()->map(dev, args->out[0]), err) : status;
}

static tn_status run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    switch (args->node->op) {
    case TN_OP_LINEAR:
        return run_linear(dev, args, err);
    case TN_OP_MOE:
        return run_mixture(dev, args, err);
    case TN_OP_LOGITS:
        memset(tn_interp_host_ops()->map(dev, args->out[0]), 0,
               args->rows * (uint64_t)args->value_out->dim[1] * sizeof(float));
        return TN_OK;
    default:
        return TN_E_UNSUPPORTED;
    }
}

const tn_ops_table *input_tap_ops(void)
{
    static tn_ops_table table;

    if (!table.struct_size) {
        table = *tn_interp_host_ops();
        table.run = run;
    }
    return &table;
}
