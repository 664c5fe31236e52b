/* runtime/service/services.h: the services of a daemon: what operators wished for, and the engines that run it.
 *
 * A service is a model on a pool under a name, with as many instances as are wished for; an instance is one engine
 * process. A wish is on the disk when the function that takes it returns; one thread brings about what was wished for,
 * and outlives no engine: services_close and even the death of the process leave engines running, and services_open
 * finds them again. Thread-safe: every function but open and close may be called from any thread. JSON results are
 * owned by the caller.
 *
 * Errors of all: TN_E_NOT_FOUND: there is no such service, and the message says which there are.
 */
#ifndef SERVICE_SERVICES_H
#define SERVICE_SERVICES_H

#include "gateway/gateway.h"
#include "settings/settings.h"

#include <jansson.h>

typedef struct services services;

/* X(name). PENDING: not looked at yet. PLANNING: memory is being reserved. LOADING: the first instance is on its way.
 * READY: as many as wanted answer. DEGRADED: fewer do, or an update has failed and what was before still serves.
 * SUSPENDED: no process; the first request resumes it. FAILED: given up; message, exit_code, needed_bytes, had_bytes
 * say why; resume or update tries again. DELETING: drains, then is gone. */
#define SERVICE_STATES(X) \
    X(PENDING) X(PLANNING) X(LOADING) X(READY) X(DEGRADED) X(SUSPENDING) X(SUSPENDED) X(RESUMING) X(FAILED) X(DELETING)

typedef enum service_state {
#define SERVICE_STATE_ENUM(name) SERVICE_##name,
    SERVICE_STATES(SERVICE_STATE_ENUM)
#undef SERVICE_STATE_ENUM
} service_state;

/* "READY"; and back: false if there is no such state. */
const char *service_state_name(service_state state);
bool service_state_parse(const char *text, service_state *ret_state);

enum { SERVICE_NAME_BYTES_MAX = 63, SERVICE_SETS_MAX = 64, SERVICE_INSTANCES_MAX = 64 };
#define SERVICE_UNCHANGED UINT32_MAX /* of services_update: as it is */

/* What an operator asks for. Strings are borrowed for the call. */
typedef struct service_spec {
    const char *name;  /* [a-z0-9._-]{1,63}, the first a letter or digit */
    const char *model; /* registry name[@version|:alias], pinned to its digest; or an absolute path */
    const char *pool;  /* as `tenon pool list` names it */
    uint32_t gpus;     /* devices of an instance, its tensor_parallel_size; 0: as many as it takes */
    uint32_t min_instances, max_instances; /* 0 <= min <= max, 1 <= max */
    uint32_t autosuspend_s;                /* min = 0: seconds without a request until it is suspended; 0: never */
    /* "key=value" of settings, NULL-terminated; NULL: none. "model." and "engine." may be left out: max_model_len=8192.
     * What the daemon itself sets is refused: model.path, frontend.plugins, backend.tensor_parallel_size and the like.
     */
    const char *const *sets;
} service_spec;

/* Everything but name, model and pool at its default: one instance, suspended after half an hour. */
#define SERVICE_SPEC_INIT                                             \
    {                                                                 \
        .min_instances = 0, .max_instances = 1, .autosuspend_s = 1800 \
    }

/* The spec that a section [service NAME] asks for; `section` is "service NAME". *ret_sets is owned by the caller
 * (free), its texts and all others are borrowed from the settings. */
tn_status service_spec_of_section(const settings *settings, const char *section, service_spec *ret_spec,
                                  const char ***ret_sets, tn_error *err);

typedef struct services_options {
    /* Of the daemon: [server], [pool NAME], and what instances take over; outlives services. */
    const settings *settings;
    gateway *gateway; /* moved: services_close destroys it, when no front end holds an engine of it any more */
    /* Sentences that an operator may want in a log: engines that died, services that were given up. NULL: nobody reads.
     * [any] */
    void (*tell)(const char *sentence);
    const char *program; /* that engines are made of; NULL: this one, `tenon` */
} services_options;

/* Locks the store, adopts what still runs, and ends what belongs to no service. TN_E_AGAIN: another daemon has it. */
tn_status services_open(const services_options *options, services **ret_services, tn_error *err);
/* The daemon's folder; borrowed until close. */
const char *services_store(const services *s);
/* Leaves engines running. NULL is fine. */
void services_close(services *s);
/* Ends every engine, within `drain_s` seconds each; wishes stay, and the next services_open starts them again. */
void services_stop_engines(services *s, uint32_t drain_s);

/* TN_E_ARGUMENT: a field is wrong, and the message names it; with err->native_code EEXIST: the name is taken (replace:
 * it is updated instead). TN_E_MEMORY: it does not fit; *ret_plan is then the plan, with "needed_bytes", "had_bytes"
 * and "reserved" [{"service", "instance", "bytes"}] of the pool. On success it is the plan that was made. dry_run:
 * nothing else happens. ret_plan may be NULL; it is set to NULL where there is no plan. */
tn_status services_create(services *s, const service_spec *spec, bool replace, bool dry_run, json_t **ret_plan,
                          tn_error *err);
/* changes: NULL and SERVICE_UNCHANGED leave what is; sets, where not NULL, takes the place of all. Nothing is dropped:
 * the new instances are started beside the old ones, which are drained when those are ready; so there must be memory
 * for both (else TN_E_MEMORY as above; a suspended service needs none). TN_E_AGAIN: somebody else has changed it since
 * this was begun, which may take seconds. */
tn_status services_update(services *s, const char *name, const service_spec *changes, json_t **ret_plan, tn_error *err);
/* SERVICE_UNCHANGED leaves one of them. */
tn_status services_scale(services *s, const char *name, uint32_t min, uint32_t max, tn_error *err);

typedef enum service_verb { SERVICE_SUSPEND, SERVICE_RESUME, SERVICE_DELETE } service_verb;
/* All are wishes, and done when services_wait says so; what is so already is fine. drain_s: what running requests get
 * before they are ended, for suspend and delete. */
tn_status services_do(services *s, const char *name, service_verb verb, uint32_t drain_s, tn_error *err);

/* Waits until the service is in `state` (READY: as many as wanted, all of the last update), or it or its update has
 * failed, or the time is over (TN_E_AGAIN); *ret_service is then its JSON in each case (may be NULL). SERVICE_DELETING:
 * until it is gone, which is TN_OK with *ret_service NULL. */
tn_status services_wait(services *s, const char *name, service_state state, uint32_t timeout_ms, json_t **ret_service,
                        tn_error *err);
/* {"name", "state", "message", "progress" (0..1 while loading, else null), "restart_count", "exit_code" (null: none;
 * -N: signal N), "model", "digest" (null: a path), "path", "pool", "gpus", "min", "max", "autosuspend", "settings"
 * [text], "generation", "created" (ms since 1970), "needed_bytes" (of an instance, all devices), "had_bytes" (of a
 * refusal, else null), "running", "waiting", "idle_ms", "requests", "tokens", "instances": [{"id", "state",
 * "generation", "pid", "started" (ms since 1970), "restart_count", "socket", "log", "memory_bytes" (resident),
 * "reserved_bytes", "devices", "progress", "message"}], "last_log": [text]} */
tn_status services_show(services *s, const char *name, json_t **ret_service, tn_error *err);
/* An array of them, by name. */
json_t *services_list(services *s);

/* Lines of a log, oldest first, without their ends. False: enough. Called by the caller's thread. */
typedef struct log_sink {
    void *ctx;
    bool (*line)(void *ctx, const char *instance, uint64_t time_ms, const char *text, size_t bytes);
} log_sink;
/* Of an instance's log, or of all of the service (instance NULL), from `since_ms` (ms since 1970; 0: all that is kept).
 * follow: until the sink has enough, the service is gone or services_close. Between lines of a quiet log the sink gets
 * (instance NULL, 0, NULL, 0) once a second, so that it can say that its reader has left. */
tn_status services_logs(services *s, const char *name, const char *instance, uint64_t since_ms, bool follow,
                        const log_sink *sink, tn_error *err);

/* Pools with devices, and what is reserved of them, by whom: [{"name", "backend", "max_services", "services",
 * "devices":
 * [{"ordinal", "total_bytes" (null: not known before the first plan), "reserved_bytes", "free_bytes"}], "reserved":
 * [{"service", "instance", "bytes"}]}] */
json_t *services_pools(services *s);

#endif
