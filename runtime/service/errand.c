/* errand.c: see errand.h. */
#include "service/errand.h"

#include "service/state.h"

#include <stdlib.h>
#include <string.h>

/* ---- on its thread ---- */

static tn_status add_route(errand *errand)
{
    services *s = errand->services;
    settings *settings;
    tn_status status = settings_read(NULL, (const char *const *)errand->made.at, &settings, &errand->err);
    if (status != TN_OK)
        return status;
    const gateway_route_options options = {
        .service = errand->service,
        .settings = settings,
        .queue_max = (uint32_t)settings_integer(s->settings, "server", "queue_max"),
        .wake_timeout_ms = (uint32_t)(settings_number(s->settings, "server", "wake_timeout") * 1000),
        .wake = routes_on_wake,
        .ctx = s,
        .replaces = errand->replaced,
        .told = errand->told,
        .max_model_len = errand->max_model_len,
        .max_num_seqs = errand->max_num_seqs,
    };
    status = gateway_route_add(s->gateway, &options, &errand->route, &errand->err);
    if (status != TN_OK)
        settings_destroy(settings);
    return status;
}

static void *run(void *ctx)
{
    errand *errand = ctx;
    errand->status = errand->adds ? add_route(errand) : TN_OK;
    if (errand->status == TN_OK && errand->instance[0]) {
        errand->status = gateway_attach(errand->route, errand->instance, errand->socket, &errand->err);
        if (errand->status != TN_OK && errand->adds)
            gateway_route_remove(errand->route);
    }
    services *s = errand->services;
    atomic_store(&errand->done, true);
    services_signal(s); /* it is there until the errand has been joined */
    return NULL;
}

/* ---- life ---- */

static void free_errand(errand *errand)
{
    if (!errand->adds)
        gateway_route_release(errand->route);
    engine_settings_finish(&errand->made);
    free(errand->told);
    free(errand);
}

static void copy_text(char *to, size_t capacity, const char *text)
{
    TN_ASSERT(strlen(text) < capacity);
    strcpy(to, text);
}

static errand *errand_make(services *s, const errand_task *task)
{
    errand *errand = calloc(1, sizeof *errand);
    if (!errand)
        return NULL;
    errand->services = s;
    errand->adds = task->made != NULL;
    errand->route = task->route;
    errand->replaced = task->replaced;
    errand->max_model_len = task->max_model_len;
    errand->max_num_seqs = task->max_num_seqs;
    errand->err = (tn_error)TN_ERROR_INIT;
    copy_text(errand->service, sizeof errand->service, task->service);
    if (task->instance) {
        copy_text(errand->instance, sizeof errand->instance, task->instance);
        copy_text(errand->socket, sizeof errand->socket, task->socket);
    }
    if (task->told)
        errand->told = strdup(task->told); /* without it, what is told is not known: no harm */
    if (!errand->adds)
        gateway_route_retain(errand->route);
    return errand;
}

tn_status errand_start(services *s, const errand_task *task, errand **ret_errand, tn_error *err)
{
    errand *errand = errand_make(s, task);
    if (!errand)
        return tn_fail(err, TN_E_MEMORY, "an errand");
    if (task->made)
        errand->made = *task->made;
    int code = pthread_create(&errand->thread, NULL, run, errand);
    if (code != 0) {
        errand->made = (engine_settings){.count = 0};
        free_errand(errand);
        return tn_fail(err, TN_E_MEMORY, "a thread to reach the engine of %s: %s", task->service, strerror(code));
    }
    if (task->made)
        *task->made = (engine_settings){.count = 0};
    errand->next = s->errands;
    s->errands = errand;
    *ret_errand = errand;
    return TN_OK;
}

void errand_wait(errand *errand)
{
    if (!errand->joined)
        pthread_join(errand->thread, NULL);
    errand->joined = true;
}

void errand_finish(errand *errand)
{
    struct errand **at = &errand->services->errands;
    errand_wait(errand);
    while (*at != errand)
        at = &(*at)->next;
    *at = errand->next;
    free_errand(errand);
}

void errand_abandon(errand *errand)
{
    if (errand)
        errand->abandoned = true;
}

static void undo(errand *errand)
{
    errand_wait(errand);
    if (errand->status != TN_OK)
        return;
    if (errand->adds)
        gateway_route_remove(errand->route);
    else
        gateway_detach(errand->route, errand->instance);
}

/* Those that are abandoned and done, or all. */
static void end_errands(services *s, bool all)
{
    for (errand **at = &s->errands; *at;) {
        errand *errand = *at;
        if (!all && !(errand->abandoned && errand_is_done(errand))) {
            at = &errand->next;
            continue;
        }
        *at = errand->next;
        undo(errand);
        free_errand(errand);
    }
}

void errands_sweep(services *s)
{
    end_errands(s, false);
}

void errands_end(services *s)
{
    end_errands(s, true);
}
