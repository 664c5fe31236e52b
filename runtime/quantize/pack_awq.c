/* runtime/quantize/pack_awq.c: see pack_awq.h.
 *
 * The squared error of a group's part of a product, summed over rows x, is e^T H e with e the errors of its weights and
 * H = sum x x^T [g, g], made once per group. Rows of the weight fall to threads by eights, which share words.
 * Source: Lin et al. 2023 (arXiv:2306.00978), section 4.1 (clipping); AutoAWQ's WQLinear_GEMM (layout).
 */
#include "quantize/pack_awq.h"

#include "base/half.h"
#include "base/weight_block.h"
#include "quantize/affine_group.h"
#include "quantize/parallel.h"
#include "quantize/product.h"
#include "quantize/tensor_floats.h"

#include <stdlib.h>
#include <string.h>

/* Steps: a multiple of what product takes at once. */
enum { WORD_OUTPUTS = 8, SHRINK_STEPS = 12 };
static const float shrink_least = 0.6f;

static pack_part part(const char *suffix, const char *dtype, uint64_t rows, uint64_t columns, uint64_t width)
{
    return (pack_part){suffix, dtype, 2, {rows, columns}, rows * columns * width};
}

uint32_t pack_awq_parts(uint32_t group_size, uint64_t n, uint64_t k, pack_part ret_parts[PACK_PARTS_MAX])
{
    ret_parts[AWQ_QWEIGHT] = part("qweight", "I32", k, n / WORD_OUTPUTS, 4);
    ret_parts[AWQ_QZEROS] = part("qzeros", "I32", k / group_size, n / WORD_OUTPUTS, 4);
    ret_parts[AWQ_SCALES] = part("scales", "F16", k / group_size, n, 2);
    return AWQ_PARTS;
}

typedef struct packing {
    const folded_tensor *fold;
    const uint8_t *matrix; /* [n, k] */
    uint32_t type, group_size;
    uint64_t n, k, rows; /* rows of the calibration */
    float *gram;         /* [k / g][g, g]: H of each group */
    float *x;            /* [rows, k], divided by the columns' scales */
    float *xt;           /* [g, rows] of one group */
    void *const *data;
    bool finite, enough;
} packing;

/* ---- what inputs are like ---- */

static void make_gram(packing *p)
{
    uint64_t g = p->group_size;

    for (uint64_t k0 = 0; k0 < p->k; k0 += g) {
        for (uint64_t r = 0; r < p->rows; r++)
            for (uint64_t i = 0; i < g; i++)
                p->xt[i * p->rows + r] = p->x[r * p->k + k0 + i] / p->fold->columns[k0 + i];
        product(p->xt, g, p->xt, g, p->rows, p->gram + k0 * g, g);
    }
}

static tn_status packing_init(packing *p, const calibration *calibration, const char *name, tn_error *err)
{
    p->rows = calibration_row_count(calibration);
    p->gram = calloc(p->k * p->group_size, sizeof *p->gram);
    p->x = calloc(p->rows * p->k, sizeof *p->x);
    p->xt = calloc(p->rows * p->group_size, sizeof *p->xt);
    if (!p->gram || !p->x || !p->xt)
        return tn_fail(err, TN_E_MEMORY, "tensor %s", name);
    tn_status status = calibration_rows(calibration, p->fold->group, p->x, err);
    if (status == TN_OK)
        make_gram(p);
    return status;
}

static void packing_finish(packing *p)
{
    free(p->gram);
    free(p->x);
    free(p->xt);
}

/* ---- one group of a row ---- */

static affine_grid grid_of_step(const float *values, uint32_t g, int step)
{
    return affine_grid_for(values, g, 1.0f - (1.0f - shrink_least) * (float)step / (float)(SHRINK_STEPS - 1));
}

/* All steps are tried at once: errors e: [SHRINK_STEPS, g], and H e: [g, SHRINK_STEPS], in scratch. */
static affine_grid choose_grid(const float *gram, const float *values, uint32_t g, float *scratch)
{
    float *he = scratch + (uint64_t)SHRINK_STEPS * g;
    double error[SHRINK_STEPS] = {0};
    int best = 0;

    for (int step = 0; step < SHRINK_STEPS; step++) {
        float *e = scratch + (uint64_t)step * g;
        affine_round(grid_of_step(values, g, step), values, g, NULL, e);
        for (uint32_t i = 0; i < g; i++)
            e[i] -= values[i];
    }
    product(gram, g, scratch, SHRINK_STEPS, g, he, SHRINK_STEPS);
    for (uint32_t i = 0; i < g; i++)
        for (int step = 0; step < SHRINK_STEPS; step++)
            error[step] += (double)scratch[(uint64_t)step * g + i] * (double)he[i * SHRINK_STEPS + (uint64_t)step];
    for (int step = 1; step < SHRINK_STEPS; step++)
        best = error[step] < error[best] ? step : best;
    return grid_of_step(values, g, best);
}

/* ---- the layout ---- */

/* Nibble i of a word is output 8c + order[i]. */
static void set_nibble(uint8_t *words, uint64_t row, uint64_t n_all, uint64_t n, uint8_t code)
{
    static const uint8_t place[WORD_OUTPUTS] = {0, 4, 1, 5, 2, 6, 3, 7};
    uint32_t i = place[n % WORD_OUTPUTS];
    words[row * (n_all / 2) + n / WORD_OUTPUTS * 4 + i / 2] |= (uint8_t)(code << (i % 2 * 4));
}

static void pack_group(const packing *p, uint64_t n, uint64_t k0, const float *values, float *scratch, uint8_t *codes)
{
    uint32_t g = p->group_size;
    affine_grid grid = choose_grid(p->gram + k0 * g, values, g, scratch);

    affine_round(grid, values, g, codes, NULL);
    for (uint32_t i = 0; i < g; i++)
        set_nibble(p->data[AWQ_QWEIGHT], k0 + i, p->n, n, codes[i]);
    set_nibble(p->data[AWQ_QZEROS], k0 / g, p->n, n, (uint8_t)grid.zero);
    floats_convert(TN_F16, (uint8_t *)p->data[AWQ_SCALES] + 2 * (k0 / g * p->n + n), TN_F32, &grid.scale, 1);
}

/* A row as it is rounded. False: not finite. */
static bool scaled_row(const packing *p, uint64_t n, float *row)
{
    float by = p->fold->rows ? p->fold->rows[n] : 1.0f;
    uint32_t bad = 0;

    floats_convert(TN_F32, row, p->type, p->matrix + n * p->k * tn_scalar_bytes(p->type), p->k);
    for (uint64_t k = 0; k < p->k; k++) {
        row[k] = row[k] * p->fold->columns[k] / by;
        bad |= (bits_from_float(row[k]) & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

static void pack_rows(void *ctx, uint64_t begin, uint64_t end)
{
    packing *p = ctx;
    float *row = malloc(p->k * sizeof *row), *scratch = malloc(2ull * SHRINK_STEPS * p->group_size * sizeof *scratch);
    uint8_t *codes = malloc(p->group_size);

    if (!row || !scratch || !codes)
        __atomic_store_n(&p->enough, false, __ATOMIC_RELAXED);
    for (uint64_t n = begin; row && scratch && codes && n < end; n++) {
        if (!scaled_row(p, n, row)) {
            __atomic_store_n(&p->finite, false, __ATOMIC_RELAXED);
            break;
        }
        for (uint64_t k0 = 0; k0 < p->k; k0 += p->group_size)
            pack_group(p, n, k0, row + k0, scratch, codes);
    }
    free(row);
    free(scratch);
    free(codes);
}

tn_status pack_awq_weight(const calibration *calibration, const folded_tensor *fold, uint32_t group_size,
                          const tn_tensor_src *tensor, void *const data[PACK_PARTS_MAX], tn_error *err)
{
    packing p = {.fold = fold,
                 .matrix = tensor->data,
                 .type = tensor_float_type(tensor),
                 .group_size = group_size,
                 .n = (uint64_t)tensor->dim[0],
                 .k = (uint64_t)tensor->dim[1],
                 .data = data,
                 .finite = true,
                 .enough = true};

    tn_status status = packing_init(&p, calibration, tensor->name, err);
    if (status == TN_OK) {
        parallel_run(p.n, WORD_OUTPUTS, pack_rows, &p);
        if (!p.enough)
            status = tn_fail(err, TN_E_MEMORY, "tensor %s", tensor->name);
        else if (!p.finite)
            status = tn_fail(err, TN_E_CORRUPT, "tensor %s holds a value that is not a finite number", tensor->name);
    }
    packing_finish(&p);
    return status;
}
