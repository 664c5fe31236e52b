/* runtime/gateway/gateway.h: the models of all services behind one door: tn.models, and for each a tn_engine whose
 * requests go to engine processes over unix sockets (plugins/socket_frontend is the other end).
 *
 * A route is one service: its names, its tokenizer and chat template (opened here, in this process), and the instances
 * that run it. Instances come and go; the route's engine stays. A request goes to the ready instance with the fewest
 * running. Without one it waits, in order, until one is attached or its deadline passes (TN_E_DEVICE_LOST: a server
 * that is not there, where TN_E_AGAIN is one that is asked too much), and `wake` is called. When an instance is lost,
 * requests that have produced no token move to another instance or wait; others end with an error. Thread-safe; no lock
 * is held while `wake` runs.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "settings/settings.h"
#include "tenon/chat.h"
#include "tenon/models.h"
#include "tenon/stats.h"

typedef struct gateway gateway;
typedef struct gateway_route gateway_route;

typedef struct gateway_route_options {
    const char *service; /* the first served name, unique among routes */
    /* Of the service's instances: model.path, model.served_model_name, plugins. Moved, if the route is added. */
    settings *settings;
    uint32_t queue_max;       /* requests waiting for an instance, before TN_E_AGAIN */
    uint32_t wake_timeout_ms; /* how long a request waits for one */
    /* Requests wait and there is no instance: once per such time. Called by the gateway's own thread, which holds no
     * lock, and must return at once; it may call anything here but gateway_route_remove and gateway_destroy. */
    void (*wake)(void *ctx, gateway_route *route);
    void *ctx;
    gateway_route *replaces; /* has the same names until gateway_route_replace; NULL: none */
    /* What gateway_route_told said of an earlier route of the same model and settings, so that requests may come before
     * an instance does; NULL: nothing. What does not fit the tokenizer, or is of another version, counts as nothing. */
    const char *told;
    uint32_t max_model_len, max_num_seqs; /* of the instances to come, whatever is told; 0: as told */
} gateway_route_options;

typedef struct gateway_activity {
    uint32_t instances, running, waiting;
    uint64_t idle_ms;          /* since a request last ran or waited; 0 while one does */
    uint64_t requests, tokens; /* ever */
} gateway_activity;

tn_status gateway_create(gateway **ret_gateway, tn_error *err);
void gateway_destroy(gateway *gateway); /* every route removed and every engine released before; NULL is fine. [ctl] */

/* Opens tokenizer and chat template; options are copied, their settings end with the route. The engine is found by name
 * from the first attach on, or at once if an earlier route's instances have `told`; before, find says TN_E_AGAIN with
 * the note. TN_E_ARGUMENT: a name is taken. [ctl] */
tn_status gateway_route_add(gateway *gateway, const gateway_route_options *options, gateway_route **ret_route,
                            tn_error *err);
/* What find says while no instance was ever attached, and what requests that wait in vain are told ("chat is LOADING,
 * 42 %"). A status other than TN_E_AGAIN says that the service has failed: what waits ends with it at once, and so does
 * find, until a note with TN_E_AGAIN or TN_OK. [any] */
void gateway_route_note(gateway_route *route, tn_status status, const char *sentence);
/* From now on `route`, which was added with `replaces` and attached, is found in its place. What runs there runs on,
 * and who holds its engine may go on with it, until it is removed. */
void gateway_route_replace(gateway_route *replaced, gateway_route *route);
/* Ends what waits and runs with TN_E_CANCELLED. The engine stays valid for those that hold it. [ctl] */
void gateway_route_remove(gateway_route *route);

/* It stays valid, though removed, until released: for calls that another thread may outrun. [any] */
void gateway_route_retain(gateway_route *route);
void gateway_route_release(gateway_route *route);
/* What the instances say of themselves, as a text for gateway_route_options.told; owned by the caller. TN_E_NOT_FOUND:
 * none was ever attached. [any] */
tn_status gateway_route_told(gateway_route *route, char **ret_text, tn_error *err);

/* Connects and shakes hands (the instance says what tn_engine_info says). Instances of one route must agree on what
 * they serve. Blocks, for 5 s at most. [ctl] */
tn_status gateway_attach(gateway_route *route, const char *instance, const char *socket_path, tn_error *err);
/* No new requests to it; *ret_running: how many are left there. TN_E_NOT_FOUND: no such instance. [any] */
tn_status gateway_drain(gateway_route *route, const char *instance, uint32_t *ret_running);
/* Disconnects; what still runs there moves or ends as when an instance is lost. Unknown instances are fine. [any] */
void gateway_detach(gateway_route *route, const char *instance);
/* Whether it answers: its tn_health as last heard, at most a second old. TN_E_DEVICE_LOST: its connection has ended.
 * TN_E_NOT_FOUND: no such instance. Never blocks on the instance. [any] */
tn_status gateway_health(gateway_route *route, const char *instance, tn_health *ret_health, tn_error *err);
void gateway_route_activity(gateway_route *route, gateway_activity *ret_activity); /* [any] */

/* For front ends: tn.models, its object, and the tables of the engines it returns. */
tn_models *gateway_models(gateway *gateway);
extern const tn_models_table gateway_models_table;
extern const tn_engine_table gateway_engine_table;
extern const tn_chat_table gateway_chat_table;
/* As the instances say: counters, gauges and histograms summed over the route's instances. */
extern const tn_stats_table gateway_stats_table;

#endif
