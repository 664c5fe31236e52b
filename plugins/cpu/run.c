/* plugins/cpu/run.c: the step loop of one batch: every thread walks the same steps and meets the others after each. */
#include "model.h"

static void run_step(tn_model *m, const step *s, uint32_t thread)
{
    uint32_t rows = s->outputs ? m->batch->out_count : m->batch->token_count;

    switch (s->kind) {
    case STEP_LINEAR:
    case STEP_LOGITS:
        step_linear(m, s, rows, thread);
        break;
    case STEP_GATED_LINEAR:
        step_gated_linear(m, s, rows, thread);
        break;
    case STEP_KV:
        step_kv(m, s, rows, thread);
        break;
    case STEP_ATTEND:
        step_attend(m, s, thread);
        break;
    case STEP_ATTEND_END:
        step_attend_end(m, s, thread);
        break;
    default:
        step_rows(m, s, rows, thread);
        break;
    }
}

static void run_job(void *context, uint32_t thread)
{
    tn_model *m = context;

    step_rope_tables(m, m->batch->token_count);
    pool_barrier(m->dev->pool);
    for (uint32_t i = 0; i < m->p->step_count; i++) {
        run_step(m, &m->p->steps[i], thread);
        pool_barrier(m->dev->pool);
    }
    step_sample(m, thread);
}

void model_run(tn_model *m, const tn_batch *batch)
{
    batch_begin(m, batch);
    pool_run(m->dev->pool, run_job, m);
    m->batch = NULL;
}
