/* group.c: one thread per rank, which enqueues tickets on its stream in order. The first failure of any rank is
 * remembered, aborts what the ranks do together, and is what every wait from then on returns.
 */
#include "model.h"

#include <errno.h>
#include <string.h>

void ranks_fail(tn_model *m, tn_status status, const char *message)
{
    pthread_mutex_lock(&m->lock);
    if (m->failure == TN_OK) {
        m->failure = status;
        tn_fail(&m->failure_err, status, "%s", message);
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (m->dev->ranks)
        m->dev->ranks->api->abort(m->dev->ranks);
}

/* The next ticket to enqueue; NULL: stop. */
static ticket *next_ticket(rank *r)
{
    tn_model *m = r->model;
    ticket *t = NULL;

    pthread_mutex_lock(&m->lock);
    while (!m->stopping && r->enqueued == m->posted)
        pthread_cond_wait(&m->changed, &m->lock);
    if (!m->stopping)
        t = &m->tickets[(r->enqueued + 1) % IN_FLIGHT];
    pthread_mutex_unlock(&m->lock);
    return t;
}

static void finish_ticket(rank *r)
{
    tn_model *m = r->model;

    pthread_mutex_lock(&m->lock);
    r->enqueued++;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

tn_status ranks_check(tn_model *m, tn_error *err)
{
    pthread_mutex_lock(&m->lock);
    tn_status status = m->failure == TN_OK ? TN_OK : tn_fail(err, m->failure, "%s", m->failure_err.msg);
    pthread_mutex_unlock(&m->lock);
    return status;
}

static void *rank_main(void *argument)
{
    rank *r = argument;
    tn_model *m = r->model;
    tn_error err = TN_ERROR_INIT;

    if (m->dev->api->use(m->dev->ordinal[r->index], &err) != TN_OK)
        ranks_fail(m, TN_E_DEVICE_LOST, err.msg);
    for (const ticket *t = next_ticket(r); t; t = next_ticket(r)) {
        tn_status status = ranks_check(m, NULL) == TN_OK ? run_step(r, t, &err) : TN_OK;
        if (status != TN_OK) {
            char message[sizeof err.msg];
            snprintf(message, sizeof message, "rank %u: %.480s", r->index, err.msg);
            ranks_fail(m, status, message);
        }
        finish_ticket(r);
    }
    return NULL;
}

tn_status ranks_start(tn_model *m, tn_error *err)
{
    for (uint32_t i = 0; i < m->p->world; i++) {
        rank *r = &m->ranks[i];
        int code = pthread_create(&r->thread, NULL, rank_main, r);
        if (code)
            return tn_fail(err, TN_E_INTERNAL, "cannot start the thread of rank %u: %s", i, strerror(code));
        r->started = true;
    }
    return TN_OK;
}

void ranks_stop(tn_model *m)
{
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    for (uint32_t i = 0; i < m->p->world; i++)
        if (m->ranks[i].started)
            pthread_join(m->ranks[i].thread, NULL);
}

void ranks_post(tn_model *m)
{
    pthread_mutex_lock(&m->lock);
    m->posted++;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static bool all_enqueued(const tn_model *m, uint64_t id)
{
    for (uint32_t i = 0; i < m->p->world; i++)
        if (m->ranks[i].enqueued < id)
            return false;
    return true;
}

tn_status ranks_wait(tn_model *m, const ticket *t, tn_error *err)
{
    pthread_mutex_lock(&m->lock);
    while (m->failure == TN_OK && !all_enqueued(m, t->id))
        pthread_cond_wait(&m->changed, &m->lock);
    pthread_mutex_unlock(&m->lock);
    tn_status status = ranks_check(m, err);
    for (uint32_t i = 0; i < m->p->world && status == TN_OK; i++)
        status = m->dev->api->event_wait(m->ranks[i].done[t->id % IN_FLIGHT], err);
    return status == TN_OK ? ranks_check(m, err) : status; /* a wait that an abort ended */
}
