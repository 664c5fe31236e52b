/* operation.c: see operation.h. A table of fixed size; a slot's thread is joined by whoever takes the slot next. */
#include "admin/operation.h"

#include "base/clock.h"
#include "base/hex.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { RUNNING_MAX = 4 /* programs_run would refuse more */ };

struct operation {
    operations *all;
    char id[OPERATION_ID_BYTES]; /* "": free */
    const char *kind;
    uint64_t number, created_ms;
    pthread_t thread;
    operation_work *work;
    void (*drop)(void *ctx);
    void *ctx;
    bool running;
    double progress;
    answer answer; /* once it does not run */
};

struct operations {
    pthread_mutex_t lock; /* guards all below; changed tells of every end, and of stopping */
    pthread_cond_t changed;
    bool stopping;
    uint32_t running;
    uint64_t next_number;
    operation at[OPERATIONS_MAX];
};

tn_status operations_create(operations **ret_operations, tn_error *err)
{
    operations *all = calloc(1, sizeof *all);
    if (!all)
        return tn_fail(err, TN_E_MEMORY, "out of memory for operations");
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->changed, NULL);
    *ret_operations = all;
    return TN_OK;
}

/* Not locked; it has ended or is about to. */
static void forget(operation *operation)
{
    if (!operation->id[0])
        return;
    pthread_join(operation->thread, NULL);
    answer_finish(&operation->answer);
    *operation = (struct operation){.running = false};
}

void operations_stop(operations *all)
{
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void operations_destroy(operations *all)
{
    if (!all)
        return;
    for (uint32_t i = 0; i < OPERATIONS_MAX; i++)
        forget(&all->at[i]);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

/* ---- running ---- */

void operation_progress(operation *operation, double share)
{
    pthread_mutex_lock(&operation->all->lock);
    operation->progress = share < 0 ? 0 : share > 1 ? 1 : share;
    pthread_mutex_unlock(&operation->all->lock);
}

static void *run(void *argument)
{
    operation *operation = argument;
    operations *all = operation->all;
    answer answer = operation->work(operation->ctx, operation);
    operation->drop(operation->ctx);

    pthread_mutex_lock(&all->lock);
    operation->answer = answer;
    operation->running = false;
    if (answer.code < 400)
        operation->progress = 1;
    all->running--;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* A free one, else the oldest that has ended: fewer run than there are. */
static operation *make_room(operations *all)
{
    operation *best = NULL;
    for (uint32_t i = 0; i < OPERATIONS_MAX; i++) {
        operation *at = &all->at[i];
        if (!at->running && (!best || at->number < best->number))
            best = at;
    }
    TN_ASSERT(best);
    forget(best); /* its thread has nothing left to do */
    return best;
}

static const char *state_of(const operation *operation)
{
    return operation->running ? "running" : operation->answer.code < 400 ? "done" : "failed";
}

/* Locked. */
static json_t *describe(const operation *operation)
{
    const answer *answer = &operation->answer;
    bool failed = !operation->running && answer->code >= 400;
    json_t *result = operation->running || failed ? NULL : answer->json;
    json_t *copy = result ? json_deep_copy(result) : json_null();
    json_t *error = failed ? json_deep_copy(json_object_get(answer->json, "error")) : NULL;
    return json_pack("{s:s, s:s, s:s, s:f, s:I, s:o, s:o, s:o}", "id", operation->id, "kind", operation->kind, "state",
                     state_of(operation), "progress", operation->progress, "created", (json_int_t)operation->created_ms,
                     "code", operation->running ? json_null() : json_integer(answer->code), "result", copy, "error",
                     error ? error : json_null());
}

/* Locked. Its id cannot be guessed, though who may ask for it may ask for all. */
static operation *enter(operations *all, const char *kind, operation_work *work, void (*drop)(void *ctx), void *ctx)
{
    uint8_t id[(OPERATION_ID_BYTES - 1) / 2];
    operation *operation = make_room(all);
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
        return NULL;
    *operation = (struct operation){.all = all,
                                    .kind = kind,
                                    .number = ++all->next_number,
                                    .created_ms = calendar_ms(),
                                    .work = work,
                                    .drop = drop,
                                    .ctx = ctx,
                                    .running = true};
    if (pthread_create(&operation->thread, NULL, run, operation) != 0) {
        *operation = (struct operation){.running = false};
        return NULL;
    }
    hex_of(id, sizeof id, operation->id);
    all->running++;
    return operation;
}

void operation_start(operations *all, const char *kind, operation_work *work, void (*drop)(void *ctx), void *ctx,
                     answer *ret_answer)
{
    pthread_mutex_lock(&all->lock);
    bool full = all->running == RUNNING_MAX;
    const operation *operation = full || all->stopping ? NULL : enter(all, kind, work, drop, ctx);
    json_t *json = operation ? describe(operation) : NULL;
    bool stopping = all->stopping;
    pthread_mutex_unlock(&all->lock);
    if (!operation)
        drop(ctx);
    *ret_answer = operation  ? answer_json(202, json)
                  : stopping ? answer_error(503, NULL, "the daemon is ending")
                  : full     ? answer_error(429, NULL, "%d operations run already; try again later", RUNNING_MAX)
                             : answer_error(500, NULL, "there is no room for another operation");
}

/* ---- looking ---- */

static operation *find(operations *all, const char *id)
{
    for (uint32_t i = 0; i < OPERATIONS_MAX; i++)
        if (all->at[i].id[0] && strcmp(all->at[i].id, id) == 0)
            return &all->at[i];
    return NULL;
}

json_t *operation_json(operations *all, const char *id, uint32_t wait_ms)
{
    const struct timespec deadline = clock_after_ms(wait_ms);
    const operation *operation;
    int code = 0;
    pthread_mutex_lock(&all->lock);
    while ((operation = find(all, id)) && operation->running && code == 0 && !all->stopping)
        code = pthread_cond_clockwait(&all->changed, &all->lock, CLOCK_MONOTONIC, &deadline);
    json_t *json = operation ? describe(operation) : NULL;
    pthread_mutex_unlock(&all->lock);
    return json;
}

json_t *operations_json(operations *all)
{
    json_t *array = json_array();
    pthread_mutex_lock(&all->lock);
    for (uint64_t number = all->next_number; number > 0 && all->next_number - number < OPERATIONS_MAX; number--)
        for (uint32_t i = 0; i < OPERATIONS_MAX; i++)
            if (all->at[i].id[0] && all->at[i].number == number)
                json_array_append_new(array, describe(&all->at[i]));
    pthread_mutex_unlock(&all->lock);
    return array;
}
