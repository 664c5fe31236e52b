/* plugins/cpu/run.c: one batch as a job of the pool: rotation tables, the program's steps, sampling. */
#include "model.h"

static uint32_t begin_step(void *context, uint32_t index)
{
    tn_model *m = context;

    if (index == 0) {
        m->rows = m->batch->token_count;
        return m->p->rope_count ? rows_begin(m) : 0;
    }
    if (index > m->p->step_count)
        return m->out_count;
    const step *s = &m->p->steps[index - 1];
    m->rows = s->outputs ? m->batch->out_count : m->batch->token_count;
    switch (s->kind) {
    case STEP_LINEAR:
    case STEP_LOGITS:
    case STEP_GATED_LINEAR:
        return linear_begin(m, s);
    case STEP_ATTEND:
        return attend_begin(m, s);
    case STEP_ATTEND_END:
        return attend_end_begin(m, s);
    case STEP_PERMUTE:
        m->rows *= s->part_count;
        return rows_begin(m);
    case STEP_MOE_GATHER:
        return moe_gather_begin(m, s);
    case STEP_MOE_PERMUTE:
        m->rows *= s->chosen;
        return rows_begin(m);
    case STEP_MOE_GATED:
    case STEP_MOE_DOWN:
        return moe_linear_begin(m, s);
    default:
        return rows_begin(m);
    }
}

static void run_item(void *context, uint32_t index, uint32_t item, uint32_t thread)
{
    tn_model *m = context;
    const step *s = index ? &m->p->steps[index - 1] : NULL;

    if (!s) {
        rope_tables_item(m, item);
        return;
    }
    if (index > m->p->step_count) {
        sample_item(m, item, thread);
        return;
    }
    switch (s->kind) {
    case STEP_LINEAR:
    case STEP_LOGITS:
        linear_item(m, s, item, thread);
        break;
    case STEP_GATED_LINEAR:
        gated_linear_item(m, s, item, thread);
        break;
    case STEP_KV:
        kv_item(m, s, item, thread);
        break;
    case STEP_ATTEND:
        attend_item(m, s, item, thread);
        break;
    case STEP_ATTEND_END:
        attend_end_item(m, s, item);
        break;
    case STEP_MOE_GATED:
        moe_gated_item(m, s, item, thread);
        break;
    case STEP_MOE_DOWN:
        moe_down_item(m, s, item, thread);
        break;
    default:
        rows_item(m, s, item, thread);
        break;
    }
}

void model_run(tn_model *m, const tn_batch *batch)
{
    pool_job job = {.step_count = m->p->step_count + 2, .begin = begin_step, .item = run_item, .context = m};

    batch_begin(m, batch);
    pool_run(m->dev->pool, &job);
    m->batch = NULL;
}
