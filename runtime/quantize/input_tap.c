/* runtime/quantize/input_tap.c: see input_tap.h. Every row counts in the sums; some are kept. */
#include "quantize/input_tap.h"

#include "quantize/parallel.h"
#include "quantize/product.h"
#include "tenon/interp.h"

#include <math.h>
#include <string.h>

static struct {
    const calibration *calibration; /* NULL: nothing is recorded */
    unsigned char *record;
    bool finite;
} tap;

void input_tap_start(const calibration *calibration, unsigned char *record)
{
    TN_ASSERT(!tap.calibration);
    tap.calibration = calibration;
    tap.record = record;
    tap.finite = true;
}

bool input_tap_stop(void)
{
    tap.calibration = NULL;
    return tap.finite;
}

/* ---- recording ---- */

/* The first row of a sequence is kept: what attention drops its surplus on stands out there as nowhere else (Xiao et al. 2023,
 * arXiv:2309.17453). The rest is cut into stretches, and the last row of each is kept. The place of the row at a position,
 * or sequence_rows. */
static uint32_t place_of(const calibration *c, uint32_t position)
{
    uint64_t stretches = c->sequence_rows - 1, tokens = c->text->tokens, stretch = position * stretches / tokens;

    if (position == 0)
        return 0;
    return (position + 1) * stretches / tokens != stretch ? (uint32_t)stretch + 1 : c->sequence_rows;
}

/* Squares of rows stand for those of all tokens: the first for one, each other for a stretch. */
static float weight_of(const calibration *c, uint32_t place)
{
    return place ? 1.0f : sqrtf((float)(c->sequence_rows - 1) / (float)(c->text->tokens - 1));
}

static void record_row(uint32_t group, const float *x, uint32_t position)
{
    const calibration *c = tap.calibration;
    uint64_t columns = c->groups.groups[group].columns;
    double *sums = (double *)(void *)(tap.record + c->sums_at[group]);
    float *rows = (float *)(void *)(tap.record + c->rows_at[group]);
    uint32_t place = place_of(c, position);

    for (uint64_t k = 0; k < columns; k++) {
        sums[k] += (double)fabsf(x[k]);
        tap.finite &= isfinite(x[k]) != 0;
    }
    for (uint64_t k = 0; place < c->sequence_rows && k < columns; k++)
        rows[place * columns + k] = x[k] * weight_of(c, place);
}

static void record_input(const tn_ops_args *args, const float *x)
{
    const scale_groups *groups = &tap.calibration->groups;
    bool outputs = args->value_in[0].dim[0] == TN_DIM_OUTPUTS;

    for (uint32_t g = 0; g < groups->count; g++) {
        if (groups->groups[g].input != args->node->in[0] || groups->groups[g].first_weight != args->node->in[1])
            continue;
        for (uint32_t r = 0; r < args->rows; r++) {
            uint32_t token = outputs ? args->batch->out_row[r] : r;
            record_row(g, x + r * groups->groups[g].columns,
                       (uint32_t)args->batch->position[token * args->batch->axis_count]);
        }
        return;
    }
}

/* ---- the ops ---- */

typedef struct linear {
    const float *x, *w, *bias;
    float *y;
    uint64_t rows, n, k;
} linear;

static void run_columns(void *ctx, uint64_t begin, uint64_t end)
{
    const linear *l = ctx;

    product(l->x, l->rows, l->w + begin * l->k, end - begin, l->k, l->y + begin, l->n);
    for (uint64_t r = 0; l->bias && r < l->rows; r++)
        for (uint64_t i = begin; i < end; i++)
            l->y[r * l->n + i] += l->bias[i];
}

static tn_status run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    const tn_ops_table *host = tn_interp_host_ops();

    (void)err;
    if (args->node->op != TN_OP_LINEAR && args->node->op != TN_OP_LOGITS)
        return TN_E_UNSUPPORTED;
    linear l = {.x = host->map(dev, args->in[0]),
                .w = host->map(dev, args->in[1]),
                .y = host->map(dev, args->out[0]),
                .rows = args->rows,
                .n = (uint64_t)args->value_in[1].dim[0],
                .k = (uint64_t)args->value_in[1].dim[1]};
    if (args->node->op == TN_OP_LOGITS) {
        memset(l.y, 0, l.rows * l.n * sizeof *l.y);
        return TN_OK;
    }
    if (args->node->in_count > 2)
        l.bias = host->map(dev, args->in[2]);
    if (tap.calibration)
        record_input(args, l.x);
    parallel_run(l.n, 16, run_columns, &l);
    return TN_OK;
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
