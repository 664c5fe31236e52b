/* runtime/quantize/mixture.c: rows are routed, and those of one expert gathered and multiplied together. */
#include "quantize/mixture.h"

#include "base/expert_route.h"
#include "interp/kernels.h"
#include "quantize/product.h"

#include <stdlib.h>
#include <string.h>

typedef struct run {
    const mixture *m;
    uint32_t *choice; /* [rows][chosen] */
    double *share;    /* [rows][chosen] */
    uint32_t *row;    /* [rows] those that go to the expert */
    double *row_share;
    float *in, *gate, *up, *out; /* [rows] of width, hidden, hidden, width */
    float *logits;               /* [rows][experts] */
} run;

static void run_finish(run *r)
{
    free(r->choice);
    free(r->share);
    free(r->row);
    free(r->row_share);
    free(r->in);
    free(r->gate);
    free(r->up);
    free(r->out);
    free(r->logits);
}

static tn_status run_init(run *r, tn_error *err)
{
    const mixture *m = r->m;

    r->choice = calloc(m->rows * m->chosen, sizeof *r->choice);
    r->share = calloc(m->rows * m->chosen, sizeof *r->share);
    r->row = calloc(m->rows, sizeof *r->row);
    r->row_share = calloc(m->rows, sizeof *r->row_share);
    r->in = calloc(m->rows * m->width, sizeof *r->in);
    r->gate = calloc(m->rows * m->hidden, sizeof *r->gate);
    r->up = calloc(m->rows * m->hidden, sizeof *r->up);
    r->out = calloc(m->rows * m->width, sizeof *r->out);
    r->logits = calloc(m->rows * m->experts, sizeof *r->logits);
    if (r->choice && r->share && r->row && r->row_share && r->in && r->gate && r->up && r->out && r->logits)
        return TN_OK;
    return tn_fail(err, TN_E_MEMORY, "a mixture over %llu rows", (unsigned long long)m->rows);
}

static void route(run *r)
{
    const mixture *m = r->m;

    product_parallel(m->x, m->rows, m->router, NULL, m->experts, m->width, r->logits);
    for (uint64_t i = 0; i < m->rows; i++)
        expert_route(r->logits + i * m->experts, m->experts, m->chosen, m->normalised, r->choice + i * m->chosen,
                     r->share + i * m->chosen);
}

/* The rows that chose the expert, in order, into `in`; returns their number. */
static uint64_t gather(run *r, uint32_t expert)
{
    const mixture *m = r->m;
    uint64_t count = 0;

    for (uint64_t i = 0; i < m->rows * m->chosen; i++) {
        if (r->choice[i] != expert)
            continue;
        r->row[count] = (uint32_t)(i / m->chosen);
        r->row_share[count] = r->share[i];
        memcpy(r->in + count * m->width, m->x + r->row[count] * m->width, m->width * sizeof *r->in);
        count++;
    }
    return count;
}

static tn_status run_expert(run *r, uint32_t expert, float *y, tn_error *err)
{
    const mixture *m = r->m;
    uint64_t rows = gather(r, expert), at = expert * m->hidden * m->width;

    if (rows == 0)
        return TN_OK;
    product_parallel(r->in, rows, m->gate + at, NULL, m->hidden, m->width, r->gate);
    product_parallel(r->in, rows, m->up + at, NULL, m->hidden, m->width, r->up);
    interp_gated(r->gate, r->up, rows * m->hidden, m->activation, r->gate);
    tn_status status = m->see_hidden(m->ctx, expert, r->gate, rows, err);
    product_parallel(r->gate, rows, m->down + at, NULL, m->width, m->hidden, r->out);
    for (uint64_t i = 0; i < rows; i++) {
        float *to = y + r->row[i] * m->width;
        interp_add_scaled(to, r->out + i * m->width, r->row_share[i], m->width, to);
    }
    return status;
}

tn_status mixture_run(const mixture *m, float *ret_y, tn_error *err)
{
    run r = {.m = m};
    tn_status status = run_init(&r, err);

    if (status == TN_OK) {
        route(&r);
        memset(ret_y, 0, m->rows * m->width * sizeof *ret_y);
    }
    for (uint32_t e = 0; e < m->experts && status == TN_OK; e++)
        status = run_expert(&r, e, ret_y, err);
    run_finish(&r);
    return status;
}
