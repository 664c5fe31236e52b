/* runtime/gateway/state.h: what the gateway's parts share.
 *
 * gateway.lock guards every member of every struct here, but those that are marked constant. It is held while sockets
 * are read and written, which never blocks, and never while foreign code runs: `wake` is called by the io thread,
 * behind it and behind any lock of a front end's. The io thread knows a link by its number only, so that whoever holds
 * the lock may end one.
 */
#ifndef GATEWAY_STATE_H
#define GATEWAY_STATE_H

#include "base/clock.h"
#include "base/wire/engine_frame.h"
#include "gateway/gateway.h"
#include "instance/instance.h"

#include <pthread.h>

enum { GATEWAY_LINKS_MAX = 64, GATEWAY_NAME_MAX = 127 };

typedef struct gateway_link gateway_link;
typedef struct remote_client remote_client;
typedef struct remote_request remote_request;
typedef struct remote_series remote_series;
typedef struct remote_value remote_value;

/* ---- what waits to be polled ---- */

typedef struct remote_event {
    struct remote_event *next;
    remote_request *done; /* DONE: the request to free when the event has been taken */
    uint64_t link;        /* number of the link that the event came over, which gets credit for it; 0: made here */
    bool owned;           /* by itself; else by the request */
    tn_event event;
} remote_event;

/* A channel of a link's: this client there. */
typedef struct remote_channel {
    struct remote_channel *next; /* of the link's */
    gateway_link *link;
    remote_client *client;
    uint32_t number;
    uint32_t credit; /* events that the instance may still send */
    uint32_t owed;   /* taken by the client, not given back yet */
} remote_channel;

/* A tn_client. */
struct remote_client {
    remote_client *next; /* of the route's */
    gateway_route *route;
    int fd; /* eventfd, readable while the queue holds something */
    bool signalled;
    uint32_t queue_cap;
    remote_event *head, *tail; /* to be polled */
    remote_event *polled;      /* delivered by the last poll */
    remote_request *live;      /* whose DONE event is not queued yet */
};

typedef struct remote_choice {
    remote_event ending; /* of a choice that ends here */
    uint64_t text_bytes;
    uint32_t token_count;
    bool ended;
} remote_choice;

struct remote_request {
    remote_client *client;
    remote_request *live_next, *live_previous;       /* of the client's */
    remote_request *waiting_next, *waiting_previous; /* of the route's */
    uint64_t id;                                     /* what submit returned */
    uint64_t tag;       /* of this try: slot, and a number that tells it from past owners of the slot */
    gateway_link *link; /* NULL: waits, or is over */
    remote_channel *channel;
    uint64_t remote_id;  /* once taken */
    uint64_t tried;      /* bits of the links that refused it */
    int64_t deadline_ms; /* while it waits */
    wire_buffer part;    /* its parameters, until it produces something */
    uint64_t user, seed, prompt_tokens, cached_tokens, generated_tokens;
    bool waits, taken, cancelled;
    bool seeded;   /* seed is known: ACCEPTED was told, or the request has one */
    bool accepted; /* ACCEPTED was told */
    bool produced; /* an event after that was told: it cannot move any more */
    uint32_t choice_count;
    remote_choice *choice; /* [choice_count] */
    remote_event ending;   /* the DONE event, made here */
    char error[FRAME_TEXT_MAX + 1];
};

/* ---- links: connections to instances ---- */

struct gateway_link {
    gateway_link *next;
    gateway_route *route;
    char name[GATEWAY_NAME_MAX + 1];
    uint64_t number; /* never used again */
    uint64_t bit;    /* one of 64, unique among the route's links */
    int fd;          /* -1: lost */
    uint32_t watched;
    bool draining;
    bool broken; /* reason says why; the io thread will lose it */
    wire_buffer in, out;
    remote_channel *channels;
    uint32_t running; /* requests sent and not over */
    tn_error reason;  /* why it was lost */
    tn_health health; /* as last heard */
    uint32_t retry_after;
    int64_t heard_ms;
    bool health_asked, stats_asked;
    remote_value *values; /* [route->series_count at most] of its series, as last heard */
    uint32_t value_count;
};

/* ---- routes ---- */

struct gateway_route {
    gateway *gateway; /* constant, as the next ones */
    char *service;
    instance instance; /* tokenizer and chat template; nothing else is open; its settings are owned */
    uint64_t identity;
    const char *names[INSTANCE_NAMES_MAX + 2]; /* NULL-terminated; service is the first */
    uint32_t queue_max, wake_timeout_ms;
    void (*wake)(void *ctx, gateway_route *route);
    void *ctx;

    gateway_route *next;
    uint32_t references; /* the list's own, front ends, and calls of wake under way */
    bool removed;
    bool retired; /* not found by its names: not yet, or not any more */
    bool known; /* info is set, and constant from here on */
    frame_info info;
    void *info_storage;
    tn_status note_status;
    char note[FRAME_TEXT_MAX + 1];
    gateway_link *links;
    uint64_t link_bits;
    remote_client *clients;
    remote_request *waiting_head, *waiting_tail;
    uint32_t waiting_count, running_count;
    bool wake_wanted; /* by the io thread */
    bool woken;
    int64_t woken_ms, idle_since_ms;
    uint64_t requests, tokens;
    remote_series *series; /* [series_count] */
    uint32_t series_count;
};

typedef struct request_slot {
    remote_request *request; /* NULL: free */
    uint32_t generation, next_free;
} request_slot;

struct gateway {
    pthread_mutex_t lock;
    pthread_cond_t heard; /* statistics have come in, or will not */
    pthread_t io;
    bool io_runs, stopping;
    int epoll_fd, wake_fd;
    uint64_t generation;
    uint64_t next_link, next_channel, next_request;
    gateway_route *routes;
    request_slot *slots;             /* [slot_count] */
    uint32_t slot_count, first_free; /* first_free: slot_count: none */
};

void gateway_lock(gateway *g);
void gateway_unlock(gateway *g);
/* The io thread looks again at what it waits for. */
void gateway_kick(gateway *g);

/* The rest is called with the lock held, unless marked otherwise. */

/* models.c */
void route_release(gateway_route *route); /* not locked */
static inline tn_engine *route_engine(gateway_route *route)
{
    return (tn_engine *)(void *)route;
}
static inline gateway_route *engine_route(tn_engine *engine)
{
    return (gateway_route *)(void *)engine;
}

/* remote_client.c */
void client_push_event(remote_client *client, remote_event *event);
void client_free_events(remote_event *list);

/* remote_request.c */
/* Not locked. *ret_request has no slot yet. */
tn_status request_make(remote_client *client, const tn_request *asked, remote_request **ret_request, tn_error *err);
void request_free(remote_request *request); /* NULL is fine; has no slot */
/* Enters it at its client, or removes it. */
tn_status request_enter(remote_request *request, tn_error *err);
void request_leave(remote_request *request);
/* A new tag for another try. */
void request_retag(remote_request *request);
remote_request *request_find(gateway *g, uint64_t tag);
/* Tells its client that it is over: what is open of its choices, and DONE. It has no link and does not wait. */
void request_end(remote_request *request, uint32_t finish, tn_status status, const char *text);
/* An event from an instance; takes the event over. */
void request_take_event(remote_request *request, remote_event *event);

/* attach.c */
/* Of gateway_route_options.told: makes it known, if it fits. */
void attach_recall(gateway_route *route, const gateway_route_options *options);

/* dispatch.c */
/* Sends a new request, or lets it wait. TN_E_AGAIN: too many do. Otherwise it may be over when this returns. */
tn_status dispatch_request(remote_request *request, tn_error *err);
/* Those that wait, as far as there are links for them. */
void dispatch_waiting(gateway_route *route);
/* Takes a request from its link. */
void dispatch_recall(remote_request *request);
void dispatch_stop_waiting(remote_request *request);
/* Another try elsewhere, now or later, in the order of age. It has produced nothing. */
void dispatch_move(remote_request *request);
/* Whether another link than those that have refused it takes requests. */
bool dispatch_has_choice(const remote_request *request);
/* Ends those that wait with the route's note, where that says that the service has failed. */
void dispatch_note(gateway_route *route);
/* Ends those whose deadline has passed; returns the next deadline, 0: none. */
int64_t dispatch_expire(gateway_route *route, int64_t now_ms);
void dispatch_want_wake(gateway_route *route);

/* link.c */
/* Sends what is in out as far as it goes, and watches for the rest. */
void link_flush(gateway_link *link);
/* Ready for reading. */
void link_receive(gateway_link *link);
void link_send_note(gateway_link *link, const frame_note *note);
/* It is of no more use: the io thread, or a detach, loses it. */
void link_break(gateway_link *link, const char *reason);
/* Closes it; what ran there moves or ends. The struct stays, and says why. */
void link_lose(gateway_link *link);
void link_free(gateway_link *link); /* lost before */
/* Takes requests: connected, not draining, not known to have failed, not behind with reading. */
bool link_takes(const gateway_link *link);
void link_ask(gateway_link *link, uint64_t what);
tn_status link_channel(gateway_link *link, remote_client *client, remote_channel **ret_channel, tn_error *err);
void link_close_channel(remote_channel *channel);
void link_give_credit(remote_channel *channel);
gateway_link *route_find_link(gateway_route *route, const char *name);
tn_health link_health(const gateway_link *link, int64_t now_ms);

/* remote_stats.c */
tn_status stats_take_frame(gateway_link *link, const uint8_t *frame, size_t n, tn_error *err);
/* The link's counters stay in the sums. */
void stats_keep_counters(gateway_link *link);
void stats_free(gateway_route *route);

/* io.c */
tn_status io_start(gateway *g, tn_error *err);
void io_stop(gateway *g);
void io_watch(gateway_link *link, uint32_t events); /* 0: not at all */

#endif
