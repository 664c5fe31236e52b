/* runtime/quantize/scale_search.c: tries scales mean|x|^a, and mean|x|^a / mean|w|^(1 - a), for a grid of exponents a.
 *
 * The loss of scales s is the squared error of the products X W' of rows that calibration kept, W' being the rounded
 * (W s) / s, summed over the group's weights as a share of what each produces. Cost: a product of 128 rows per weight
 * and candidate. Source: Lin et al. 2023 (arXiv:2306.00978), eq. 4 and 5; the second form is that of AutoAWQ.
 */
#include "quantize/scale_search.h"

#include "quantize/affine_group.h"
#include "quantize/parallel.h"
#include "quantize/product.h"
#include "quantize/tensor_floats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows are for ranking forty candidates, which differ by per cents: fewer than calibration keeps will do. */
enum { EXPONENTS = 20, FORMS = 2, ROW_BLOCK = 16, ROWS_MOST = 128 };

/* A group with everything that trying scales needs; arrays owned. */
typedef struct search {
    const calibration *calibration;
    const scale_group *group;
    uint32_t group_size;
    uint64_t columns, rows; /* of X */
    float *x;               /* [rows, columns] */
    double *means;          /* [columns] of |x| */
    double *weight_means;   /* [columns] of |w| over the greatest of its group */
    float *matrix;          /* [greatest weight's rows, columns] */
    uint64_t matrix_rows;   /* in it now */
    double *errors;         /* [matrix rows] */
    const float *scales;    /* NULL: errors are those of leaving the weight out */
    bool enough;            /* memory, in all threads */
} search;

static double *new_doubles(uint64_t count)
{
    return calloc(count ? count : 1, sizeof(double));
}

static void search_finish(search *s)
{
    free(s->x);
    free(s->means);
    free(s->weight_means);
    free(s->matrix);
    free(s->errors);
}

/* Mean magnitude of each column, over the rows that reached the group. */
static void take_means(search *s, uint32_t group)
{
    const double *sums = calibration_sums(s->calibration->inputs[group].record);

    for (uint64_t k = 0; k < s->columns && sums[s->columns] > 0; k++)
        s->means[k] = sums[k] / sums[s->columns];
}

static bool is_zero(const float *row, uint64_t columns)
{
    for (uint64_t k = 0; k < columns; k++)
        if (row[k] != 0.0f)
            return false;
    return true;
}

/* Keeps ROWS_MOST rows that lie evenly among those that are not zero, as are the places that an expert did not fill. */
static void thin_rows(search *s)
{
    uint64_t filled = 0, kept;

    for (uint64_t r = 0; r < s->rows; r++)
        if (!is_zero(s->x + r * s->columns, s->columns))
            memmove(s->x + filled++ * s->columns, s->x + r * s->columns, s->columns * sizeof *s->x);
    kept = filled < ROWS_MOST ? filled : ROWS_MOST;
    for (uint64_t r = 0; r < kept; r++)
        memmove(s->x + r * s->columns, s->x + r * filled / kept * s->columns, s->columns * sizeof *s->x);
    s->rows = kept ? kept : 1; /* a row of zeros, where no token went */
}

static tn_status search_init(search *s, uint32_t group, tn_error *err)
{
    const calibration *c = s->calibration;
    uint64_t weight_rows = 1;

    s->group = &c->groups.groups[group];
    s->columns = s->group->columns;
    s->rows = calibration_row_count(c);
    for (uint32_t i = 0; i < s->group->weight_count; i++) {
        uint64_t rows = c->groups.weights[s->group->weight_first + i].rows;
        weight_rows = rows > weight_rows ? rows : weight_rows;
    }
    s->x = calloc(s->rows * s->columns, sizeof *s->x);
    s->means = new_doubles(s->columns);
    s->weight_means = new_doubles(s->columns);
    s->matrix = calloc(weight_rows * s->columns, sizeof *s->matrix);
    s->errors = new_doubles(weight_rows);
    if (!s->x || !s->means || !s->weight_means || !s->matrix || !s->errors) {
        search_finish(s);
        return tn_fail(err, TN_E_MEMORY, "a search over %llu rows of %llu columns", (unsigned long long)weight_rows,
                       (unsigned long long)s->columns);
    }
    memcpy(s->x, calibration_rows_of(c, group, c->inputs[group].record), s->rows * s->columns * sizeof *s->x);
    thin_rows(s);
    take_means(s, group);
    return TN_OK;
}

static tn_status read_weight(search *s, const tn_source *source, uint32_t index, tn_error *err)
{
    const tensor_rows *rows = &s->calibration->groups.weights[s->group->weight_first + index];
    s->matrix_rows = rows->rows;
    return tensor_floats(source, rows->tensor, rows->row0 * s->columns, rows->rows * s->columns, s->matrix, err);
}

/* ---- the loss ---- */

/* What rounding takes from a row of the weight, or the row itself. */
static void row_error(const search *s, const float *row, float *ret_error)
{
    if (!s->scales) {
        memcpy(ret_error, row, s->columns * sizeof *row);
        return;
    }
    for (uint64_t k = 0; k < s->columns; k += s->group_size) {
        float *scaled = ret_error + k;
        const float *scales = s->scales + k;
        float rounded[256];
        for (uint32_t i = 0; i < s->group_size; i++)
            scaled[i] = row[k + i] * scales[i];
        affine_grid grid = affine_grid_for(scaled, s->group_size, 1.0f);
        for (uint32_t i0 = 0; i0 < s->group_size; i0 += 256) {
            uint32_t count = s->group_size - i0 < 256 ? s->group_size - i0 : 256;
            affine_round(grid, scaled + i0, count, NULL, rounded);
            for (uint32_t i = 0; i < count; i++)
                scaled[i0 + i] = (rounded[i] - scaled[i0 + i]) / scales[i0 + i];
        }
    }
}

static void add_errors(void *ctx, uint64_t begin, uint64_t end)
{
    search *s = ctx;
    float *error = calloc(ROW_BLOCK * s->columns, sizeof *error);
    float *y = calloc(ROW_BLOCK * s->rows, sizeof *y);

    for (uint64_t n0 = begin; error && y && n0 < end; n0 += ROW_BLOCK) {
        uint64_t count = end - n0 < ROW_BLOCK ? end - n0 : ROW_BLOCK;
        for (uint64_t i = 0; i < count; i++)
            row_error(s, s->matrix + (n0 + i) * s->columns, error + i * s->columns);
        product(s->x, s->rows, error, count, s->columns, y, ROW_BLOCK);
        for (uint64_t i = 0; i < count; i++) {
            double sum = 0;
            for (uint64_t r = 0; r < s->rows; r++)
                sum += (double)y[r * ROW_BLOCK + i] * (double)y[r * ROW_BLOCK + i];
            s->errors[n0 + i] = sum;
        }
    }
    if (!error || !y)
        __atomic_store_n(&s->enough, false, __ATOMIC_RELAXED);
    free(error);
    free(y);
}

/* The squared error of the weight in hand, over all rows. */
static tn_status weight_error(search *s, const float *scales, double *ret_error, tn_error *err)
{
    s->scales = scales;
    s->enough = true;
    parallel_run(s->matrix_rows, ROW_BLOCK, add_errors, s);
    if (!s->enough)
        return tn_fail(err, TN_E_MEMORY, "products of %llu rows", (unsigned long long)s->rows);
    *ret_error = 0;
    for (uint64_t n = 0; n < s->matrix_rows; n++)
        *ret_error += s->errors[n];
    return TN_OK;
}

/* ---- candidates ---- */

/* Adds |w| / (greatest |w| of its group) of the weight in hand. */
static void add_weight_means(search *s)
{
    for (uint64_t n = 0; n < s->matrix_rows; n++)
        for (uint64_t k = 0; k < s->columns; k += s->group_size) {
            const float *w = s->matrix + n * s->columns + k;
            float greatest = 0x1p-100f;
            for (uint32_t i = 0; i < s->group_size; i++)
                greatest = fabsf(w[i]) > greatest ? fabsf(w[i]) : greatest;
            for (uint32_t i = 0; i < s->group_size; i++)
                s->weight_means[k + i] += (double)(fabsf(w[i]) / greatest);
        }
}

/* Means over columns that share a scale. */
static void share_means(const search *s, double *means, double *scratch)
{
    memset(scratch, 0, s->group->scale_count * sizeof *scratch);
    for (uint64_t k = 0; k < s->columns; k++)
        scratch[scale_group_index(s->group, k)] += means[k];
    for (uint64_t k = 0; k < s->columns; k++)
        means[k] = scratch[scale_group_index(s->group, k)] * (double)s->group->scale_count / (double)s->columns;
}

/* Candidate 0 is no scales at all. Greatest times least is 1, so that folding moves no magnitude elsewhere. */
static void make_candidate(const search *s, uint32_t index, float *ret_scales)
{
    double exponent = (double)(index / FORMS) / EXPONENTS, least = INFINITY, greatest = 0;

    for (uint64_t k = 0; k < s->columns; k++) {
        double scale = pow(s->means[k], exponent);
        if (index % FORMS == 1)
            scale /= pow(s->weight_means[k], 1 - exponent) + 1e-4;
        scale = scale < 1e-4 ? 1e-4 : scale;
        least = scale < least ? scale : least;
        greatest = scale > greatest ? scale : greatest;
        ret_scales[k] = (float)scale;
    }
    double middle = sqrt(least * greatest);
    for (uint64_t k = 0; k < s->columns; k++)
        ret_scales[k] = (float)((double)ret_scales[k] / middle);
}

/* losses[candidate] += this weight's share. */
static tn_status add_losses(search *s, double *losses, float *scales, tn_error *err)
{
    double whole, error;
    tn_status status = weight_error(s, NULL, &whole, err);

    for (uint32_t i = 0; i < EXPONENTS * FORMS && status == TN_OK; i++) {
        make_candidate(s, i, scales);
        status = weight_error(s, scales, &error, err);
        if (status == TN_OK)
            losses[i] += whole > 0 ? error / whole : 0;
    }
    return status;
}

static tn_status choose(search *s, const tn_source *source, float *ret_scales, tn_error *err)
{
    double losses[EXPONENTS * FORMS] = {0};
    double *scratch = new_doubles(s->group->scale_count);
    uint32_t best = 0;
    tn_status status = scratch ? TN_OK : tn_fail(err, TN_E_MEMORY, "means of columns");

    for (uint32_t i = 0; i < s->group->weight_count && status == TN_OK; i++) {
        status = read_weight(s, source, i, err);
        if (status == TN_OK)
            add_weight_means(s);
    }
    if (status == TN_OK) {
        share_means(s, s->means, scratch);
        share_means(s, s->weight_means, scratch);
    }
    for (uint32_t i = 0; i < s->group->weight_count && status == TN_OK; i++) {
        status = read_weight(s, source, i, err);
        if (status == TN_OK)
            status = add_losses(s, losses, ret_scales, err);
    }
    for (uint32_t i = 1; i < EXPONENTS * FORMS && status == TN_OK; i++)
        best = losses[i] < losses[best] ? i : best;
    if (status == TN_OK)
        make_candidate(s, best, ret_scales);
    free(scratch);
    return status;
}

tn_status scale_search(const calibration *c, uint32_t group, const tn_source *source, uint32_t group_size,
                       float **ret_scales, tn_error *err)
{
    search s = {.calibration = c, .group_size = group_size};
    uint64_t columns = c->groups.groups[group].columns;
    float *scales = malloc(columns * sizeof *scales);

    if (!scales)
        return tn_fail(err, TN_E_MEMORY, "%llu scales", (unsigned long long)columns);
    for (uint64_t k = 0; k < columns; k++)
        scales[k] = 1.0f;
    tn_status status = TN_OK;
    if (c->groups.groups[group].fold != FOLD_NONE) {
        status = search_init(&s, group, err);
        if (status == TN_OK) {
            status = choose(&s, source, scales, err);
            search_finish(&s);
        }
    }
    if (status == TN_OK)
        *ret_scales = scales;
    else
        free(scales);
    return status;
}
