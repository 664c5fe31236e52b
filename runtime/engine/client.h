/* runtime/engine/client.h: a front end's mailbox: events in order, and the fd that says there are some.
 *
 * Two kinds of event node: TOKEN and PROMPT events use the client's own pool of queue_cap nodes, which bounds what a
 * slow client can pile up (the loop does not step a sequence without a free node); ACCEPTED, CHOICE and DONE nodes lie
 * in the request, so the end of a request can always be told. Every node keeps its text until the poll after the one
 * that delivered it.
 */
#ifndef ENGINE_CLIENT_H
#define ENGINE_CLIENT_H

#include "engine/prefix_cache.h"
#include "tenon/engine.h"

#include <pthread.h>
#include <stdatomic.h>

struct request;

typedef struct event_node {
    struct event_node *next;
    struct request *done; /* DONE: the request to free when the node is recycled */
    bool pooled;
    char *text;      /* pooled: [event_text_bytes] */
    int32_t *top_id; /* pooled: [max_top_logprobs] */
    float *top_logprob;
    tn_event event;
} event_node;

struct tn_client {
    tn_engine *engine;
    int fd;                   /* eventfd, readable while the queue holds something */
    uint32_t queue_cap;       /* pooled nodes that may wait */
    atomic_uint queued_count; /* that do; the loop adds, poll subtracts */
    atomic_bool stalled;      /* the loop waits for room; poll then wakes it */
    uint32_t reserved;        /* nodes promised to planned rows. Loop thread only, like the next */
    int64_t full_since_ns;    /* when the loop first found no room; 0: there is room */

    pthread_mutex_t mutex;   /* guards what follows */
    pthread_cond_t empty;    /* live_count became 0 */
    bool signalled;          /* fd is readable */
    event_node *head, *tail; /* to be polled */
    event_node *polled;      /* delivered by the last poll */
    event_node *free;
    struct request *live; /* requests whose DONE event is not queued yet */
    uint32_t live_count;
};

tn_status client_create(tn_engine *engine, uint32_t queue_cap, uint32_t text_bytes, uint32_t top_count,
                        tn_client **ret_client, tn_error *err);
/* All requests must be done. NULL is fine. */
void client_destroy(tn_client *client);

/* Enters a request before it is submitted, or removes it when submission fails. [client thread] */
void client_enter(tn_client *client, struct request *request);
void client_leave(tn_client *client, struct request *request);
/* Marks requests as cancelled: `id`, or all if id is 0. False if there is none. [any] */
bool client_cancel(tn_client *client, uint64_t id);
/* Waits until no request is live. [ctl] */
void client_wait_empty(tn_client *client);
/* Pops up to cap events; true in *ret_wake if the loop waits for the room made. [client thread] */
uint32_t client_poll(tn_client *client, tn_event *out, uint32_t stride, uint32_t cap, bool *ret_wake);

/* Events that may still be promised to planned rows. [loop] */
uint32_t client_room(const tn_client *client);
/* A pooled node to fill and push. One must have been promised, and is no longer. [loop] */
event_node *client_take_node(tn_client *client);
/* Queues an event; a DONE event ends the loop's hold on request and client. [loop] */
void client_push(tn_client *client, event_node *node);

#endif
