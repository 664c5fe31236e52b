/* runtime/service/errand.h: what may take seconds, done on a thread of its own and without the services' lock: a route
 * added, for which a tokenizer is read, and an engine attached, which may answer late or never.
 *
 * The supervisor starts errands and asks how they went; nobody waits for one. One that is of no use any more is
 * abandoned: what it brings about is undone when it has ended.
 */
#ifndef SERVICE_ERRAND_H
#define SERVICE_ERRAND_H

#include "service/engine_process.h"

#include <pthread.h>
#include <stdatomic.h>

/* What is asked for. */
typedef struct errand_task {
    const char *service;                  /* borrowed */
    engine_settings *made;                /* of the route to add, moved; NULL: `route` is there */
    uint32_t max_model_len, max_num_seqs; /* the same */
    const char *told;                     /* see gateway_route_options; borrowed */
    gateway_route *replaced;              /* the same */
    gateway_route *route;                 /* to attach to */
    const char *instance;                 /* borrowed; NULL: nothing is attached */
    const char *socket;                   /* borrowed */
} errand_task;

typedef struct errand {
    struct errand *next; /* of services.errands */
    struct services *services;
    pthread_t thread;
    atomic_bool done; /* set by the thread at its end; what follows is the thread's until then */
    bool joined, abandoned, adds;
    char service[SERVICE_NAME_BYTES_MAX + 1], instance[INSTANCE_ID_BYTES], socket[SOCKET_PATH_BYTES];
    engine_settings made; /* of the route that it adds */
    char *told;
    uint32_t max_model_len, max_num_seqs;
    gateway_route *replaced, *route; /* route: the one that was added, or that was there, retained */
    tn_status status;
    tn_error err;
} errand;

/* The supervisor's thread, which holds the mutex. */
tn_status errand_start(struct services *s, const errand_task *task, errand **ret_errand, tn_error *err);
static inline bool errand_is_done(const errand *errand)
{
    return atomic_load(&errand->done);
}
void errand_wait(errand *errand); /* until it is done */
/* Frees one that is done; what it has brought about stays. */
void errand_finish(errand *errand);
void errand_abandon(errand *errand); /* NULL is fine */
/* Those that are abandoned and done. */
void errands_sweep(struct services *s);
/* All of them, which it waits for; no other thread knows of the services. */
void errands_end(struct services *s);

#endif
