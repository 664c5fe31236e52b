/* group.c: one thread per rank, which enqueues tickets on its stream in order. The first failure of any rank is
 * remembered, aborts what the ranks do together, and is what every wait from then on returns.
 */
#include "model.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    POLL_NS = 20000, /* a step takes milliseconds, and the next one is enqueued behind it */
    SETTLE_SECONDS = 2
};

void ranks_fail(tn_model *m, tn_status status, const char *message)
{
    pthread_mutex_lock(&m->lock);
    if (m->failure == TN_OK) {
        m->failure = status;
        tn_fail(&m->failure_err, status, "%s", message);
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    one_shot_abort(&m->one_shot);
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

static void fail_with_rank(const rank *r, tn_status status, const tn_error *err)
{
    char message[sizeof err->msg];

    snprintf(message, sizeof message, "rank %u: %.480s", r->index, err->msg);
    ranks_fail(r->model, status, message);
}

static void *rank_main(void *argument)
{
    rank *r = argument;
    tn_model *m = r->model;
    tn_error err = TN_ERROR_INIT;

    if (m->dev->api->use(r->ordinal, &err) != TN_OK)
        ranks_fail(m, TN_E_DEVICE_LOST, err.msg);
    for (const ticket *t = next_ticket(r); t; t = next_ticket(r)) {
        tn_status status = ranks_check(m, NULL) == TN_OK ? step_enqueue(r, t, &err) : TN_OK;
        if (status != TN_OK)
            fail_with_rank(r, status, &err);
        finish_ticket(r);
    }
    return NULL;
}

tn_status ranks_start(tn_model *m, tn_error *err)
{
    for (uint32_t i = 0; i < m->dev->count; i++) {
        rank *r = &m->ranks[i];
        int code = pthread_create(&r->thread, NULL, rank_main, r);
        if (code)
            return tn_fail(err, TN_E_INTERNAL, "cannot start the thread of rank %u: %s", r->index, strerror(code));
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
    for (uint32_t i = 0; i < m->dev->count; i++)
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

static tn_status rank_query(const rank *r, uint64_t id, bool *ret_done, tn_error *err)
{
    tn_model *m = r->model;

    pthread_mutex_lock(&m->lock);
    bool enqueued = r->enqueued >= id;
    pthread_mutex_unlock(&m->lock);
    *ret_done = false;
    if (!enqueued)
        return TN_OK; /* its thread sees what fails */
    tn_status status = m->dev->api->use(r->ordinal, err);
    if (status == TN_OK)
        status = m->dev->api->event_query(r->done[id % IN_FLIGHT], ret_done, err);
    if (status == TN_OK && !*ret_done && m->dev->ranks)
        status = m->dev->ranks->api->check(m->dev->ranks, r->index, err);
    return status;
}

bool ranks_are_done(tn_model *m, uint64_t id)
{
    bool all = true;

    for (uint32_t i = 0; i < m->dev->count; i++) {
        tn_error err = TN_ERROR_INIT;
        bool done = false;
        tn_status status = rank_query(&m->ranks[i], id, &done, &err);
        if (status != TN_OK)
            fail_with_rank(&m->ranks[i], status, &err);
        all = all && done;
    }
    return all;
}

/* A device that has failed says so only to who asks it, and the others wait for it in a collective for ever: so all are
 * asked in turn, and none is waited for. */
tn_status ranks_wait(tn_model *m, const ticket *t, tn_error *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};

    while (!ranks_are_done(m, t->id) && ranks_check(m, NULL) == TN_OK)
        nanosleep(&pause, NULL);
    return ranks_check(m, err);
}

bool ranks_settle(tn_model *m)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct timespec now, end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += SETTLE_SECONDS;
    for (;;) {
        if (ranks_are_done(m, m->posted))
            return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (ranks_check(m, NULL) != TN_OK || now.tv_sec > end.tv_sec)
            return false;
        nanosleep(&pause, NULL);
    }
}
