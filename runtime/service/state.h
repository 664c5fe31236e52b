/* runtime/service/state.h: what the files of this folder share: services, their instances, and the lock over them.
 *
 * Everything is guarded by services.mutex. Callers change wishes (after writing them down) and the supervisor's thread
 * does the rest; it alone starts, watches and ends processes, and calls the gateway, by errands where that may take
 * long. A service is freed by that thread,
 * so a pointer to one is good for as long as the mutex is held.
 */
#ifndef SERVICE_STATE_H
#define SERVICE_STATE_H

#include "service/engine_process.h"
#include "service/errand.h"
#include "service/machine.h"

#include <pthread.h>

enum { SERVICES_MAX = 256, SERVICE_MESSAGE_BYTES = 800, STORE_BYTES = 1024, FOLDER_BYTES = STORE_BYTES + 16 };

typedef struct engine_instance {
    engine_process process;
    instance_phase phase;
    engine_status status;
    gateway_route *route;        /* that it is attached to; NULL: it is not */
    uint64_t since_ms, heard_ms; /* monotonic */
    uint64_t attach_ms;          /* not attached again before */
    errand *attaching;           /* NULL: none is under way */
    uint32_t running;
    bool exited, forgotten;
    char why[200]; /* it was killed; empty: it was not */
} engine_instance;

typedef struct service {
    wish wish;
    machine machine;
    gateway_route *route;       /* NULL: it could not be made, or not yet */
    gateway_route *retired;     /* of the generation before, for what runs there; NULL: none */
    engine_settings route_made; /* what route was made of */
    uint64_t route_retry_ms;    /* not made again before */
    uint32_t route_generation;  /* that a route was last made for while there was no instance */
    errand *opening;            /* of route; NULL: none is under way */
    engine_instance instances[SERVICE_INSTANCES_MAX + 1];
    uint32_t count;
    service_state state;
    bool asked; /* for by a request, while it had no instance */
    bool resuming;
    uint32_t restart_count;
    gateway_activity activity;
    char message[SERVICE_MESSAGE_BYTES];
    char reason[400];                    /* of the next change of state, for the log; empty: the message, or nothing */
    char told[SERVICE_MESSAGE_BYTES];    /* to the gateway */
    char trouble[SERVICE_MESSAGE_BYTES]; /* of the last try to start or reach an instance; empty: none */
    bool blocked;                        /* the last start found no memory: */
    uint64_t needed_bytes, had_bytes;
    char ended[400]; /* how the last instance ended that was not sent away */
    bool has_exit_code;
    int32_t exit_code;
} service;

struct services {
    const settings *settings;
    gateway *gateway;
    void (*tell)(const char *sentence);
    char program[PATH_MAX];
    char store[STORE_BYTES], services_folder[FOLDER_BYTES], instances_folder[FOLDER_BYTES], logs_folder[FOLDER_BYTES],
        plans_folder[FOLDER_BYTES];
    machine_limits limits;
    int lock;
    int event;                          /* eventfd: something is to be looked at */
    pthread_mutex_t wake_mutex;         /* innermost */
    gateway_route *woken[SERVICES_MAX]; /* that somebody asked for who finds no instance */
    uint32_t woken_count;
    pthread_t thread;
    bool running;

    pthread_mutex_t mutex;
    pthread_cond_t changed;     /* a state, or closing */
    bool closing;               /* nothing is done any more */
    bool ending;                /* as if every service were suspended */
    service *all[SERVICES_MAX]; /* by name */
    uint32_t count;
    ledger ledger;
    errand *errands; /* under way, or not asked about yet */
};

/* ---- finding: the caller holds the mutex ---- */

service *services_find(services *s, const char *name, tn_error *err);
service *service_create(const wish *wish); /* takes the wish over; NULL: out of memory */
void services_insert(services *s, service *service);
void service_finish(services *s, service *service);
/* Wakes the supervisor. [any] */
void services_signal(services *s);
/* The first request or an operator wants it back. TN_E_MEMORY: there is no room, and the numbers are in the service. */
tn_status services_resume(services *s, service *service, tn_error *err);
/* Why the state will change; the last one counts. */
void service_because(service *service, const char *format, ...) TN_PRINTF(2, 3);
/* For the log. */
void services_tell(const services *s, const char *format, ...) TN_PRINTF(2, 3);
/* The wish as it is in memory reaches the disk. */
tn_status services_write(services *s, const service *service, tn_error *err);

/* ---- admission.c ---- */

/* The devices of a plan's pool, for the ledger. */
tn_status admission_pool(const services *s, const wish *wish, pool *ret_pool, ledger_pool *ret_devices, tn_error *err);
/* Reserves an instance's place, under the name of `instance`. TN_E_MEMORY: *ret_plan (may be NULL) gets the numbers,
 * err the sentence. The caller holds the mutex. */
tn_status admission_reserve(services *s, const wish *wish, const char *instance, const ledger_claim **ret_claim,
                            uint64_t *ret_had, json_t *plan, tn_error *err);
/* Whether the pool takes one service more. The caller holds the mutex. */
tn_status admission_count(services *s, const wish *wish, tn_error *err);
/* The registry keeps what the service runs; a path is nobody's to keep. */
tn_status admission_lease(const services *s, const wish *wish, tn_error *err);
void admission_release(const services *s, const wish *wish);
/* What services had that no wish speaks of: their release failed, or somebody removed the store's files. */
tn_status admission_release_gone(services *s, tn_error *err);

/* ---- routes.c: the supervisor's thread ---- */

/* Marks the services that a request has asked for. */
void routes_take_woken(services *s);
/* Whether a setting, "section.key=value", changes what the gateway opens itself, or what instances must agree on. */
bool routes_concern(const char *setting);
void routes_on_wake(void *ctx, gateway_route *route);
/* The door is there before the first instance is, so that requests wait instead of failing. */
void routes_open(services *s, service *service, uint64_t now_ms);
/* Whether the service has no instance, and its door is still that of a generation before. */
bool routes_is_old(const service *service);
/* Those of all services, which are there when it returns if they can be. Before the supervisor runs. */
void routes_open_all(services *s);
/* To the service's route, or to a new one in its place; asked until it is so. TN_E_AGAIN without a sentence: it is
 * under way, or was tried a moment ago. */
tn_status routes_attach(services *s, service *service, engine_instance *instance, uint64_t now_ms, tn_error *err);
/* One whose connection was lost: to the route where it was. Asked like routes_attach. */
void routes_attach_again(services *s, service *service, engine_instance *instance, uint64_t now_ms);
void routes_detach(engine_instance *instance);
/* Removes the route before, when nobody is served there any more. */
void routes_drop_retired(service *service);
/* After an update that was taken back: the route before, if it is still there, is the service's again. */
void routes_take_back(services *s, service *service);
void routes_remove(service *service);

static inline const char *instance_id(const engine_instance *instance)
{
    return instance->process.record.claim.instance;
}
/* Of the generation that is wished for. */
static inline bool instance_is_fresh(const service *service, const engine_instance *instance)
{
    return instance->process.record.generation == service->wish.generation;
}

/* ---- supervisor.c ---- */

tn_status supervisor_start(services *s, tn_error *err);
/* Afterwards nothing is started or ended any more. */
void supervisor_stop(services *s);

/* ---- describe.c: the caller holds the mutex ---- */

json_t *describe_service(const services *s, const service *service);
/* What an operator is to know: message, and what the gateway says to those who ask for it. */
void describe_message(const services *s, const service *service, uint64_t now_ms, char text[SERVICE_MESSAGE_BYTES]);

#endif
