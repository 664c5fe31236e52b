/* front.h: the front end as a whole: what it serves, its listeners, its calls in flight.
 *
 * Threads: per listener a small pool of libmicrohttpd threads parses requests and writes answers; one poller thread
 * takes the engine's events and appends them to the calls they belong to. A connection that waits is suspended and
 * costs no thread. `lock` guards the members below it, and the calls in the table. It is never held while libmicrohttpd
 * is called, because that library may hold a lock of its own around our callbacks; calling the engine under it is fine.
 */
#ifndef HTTP_FRONT_H
#define HTTP_FRONT_H

#include "base/one_model.h"
#include "byte_buffer.h"
#include "listener.h"
#include "options.h"
#include "tenon/auth.h"
#include "tenon/frontend.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

struct admin_call;
struct http_call;
struct http_model;

/* One open connection, from accept to close; a list, so that the poller can cut off those that dawdle. */
typedef struct http_peer {
    struct http_peer *next, *previous;
    struct http_call *call;   /* in flight on it, NULL: none */
    struct admin_call *admin; /* the same */
    uint64_t id;              /* tells it from past owners of the same descriptor */
    int fd;
    bool local_user;             /* a process of this user's, or of root's, on a Unix socket */
    bool loopback;               /* a process of this machine, on an IP socket */
    uint64_t hung_up_ms;         /* when it closed its sending side; 0: it has not */
    uint64_t receiving_since_ms; /* 0: a request has fully arrived and is being answered */
} http_peer;

typedef struct http_door {
    http_listener listener;
    struct MHD_Daemon *daemon;
} http_door;

struct tn_front {
    const tn_host *host;
    tn_engine *engine; /* the one model of `tenon serve`; NULL in the daemon */
    const tn_engine_table *engine_api;
    const tn_chat_table *chat;
    const tn_stats_table *stats;
    tn_models *models;
    const tn_models_table *models_api;
    const tn_auth_table *auth; /* NULL: this core has none */
    tn_admin *admin;           /* NULL: nothing to administrate */
    const tn_admin_table *admin_api;
    one_model only; /* behind models, where the core gives an engine alone */
    http_options options;
    char address[256];
    char mhd_words[256]; /* libmicrohttpd's last complaint while it starts */
    atomic_bool starting;
    http_door doors[HTTP_LISTENERS_MAX];
    uint32_t door_count;

    int epoll_fd, wake_fd;
    uint64_t models_generation; /* of models, when the poller last looked */
    pthread_t poller;
    bool poller_runs;

    atomic_bool draining;            /* refuse new work; written by drain and stop */
    atomic_uint_fast64_t body_bytes; /* of bodies being received, over all connections */

    pthread_mutex_t lock;
    pthread_cond_t idle;            /* signalled when call_count or admin_count falls to 0 */
    bool stopping;                  /* no call may be suspended any more */
    struct http_model *models_open; /* in use, or used before */
    uint64_t next_model_id;
    struct admin_call *admin_calls;
    uint32_t admin_count, upload_count; /* uploads: those of them whose body is read as it comes */
    http_peer *peers;
    uint64_t next_peer_id;
    struct http_call **calls; /* [call_capacity], NULL: free */
    uint32_t *free_slots;
    uint32_t call_capacity, free_count, call_count, next_generation;
};

static inline void front_lock(tn_front *front)
{
    pthread_mutex_lock(&front->lock);
}

static inline void front_unlock(tn_front *front)
{
    pthread_mutex_unlock(&front->lock);
}

#endif
