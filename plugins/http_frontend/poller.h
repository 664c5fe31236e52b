/* poller.h: the thread that takes the engine's events, notices clients that hang up, and cuts off those that dawdle. */
#ifndef HTTP_POLLER_H
#define HTTP_POLLER_H

#include "front.h"

struct http_model;

/* [ctl] */
tn_status poller_open(tn_front *front, tn_error *err); /* what models are watched with */
tn_status poller_start(tn_front *front, tn_error *err);
/* Sets stopping, aborts every call, resumes every suspended connection, and joins. After it no connection is suspended,
 * nor will one be. Fine if it never started. [ctl] */
void poller_stop(tn_front *front);
/* Closes its descriptors, once no thread is left that may call the functions below. [ctl] */
void poller_finish(tn_front *front);
/* Notices when the peer closes its sending side, which libmicrohttpd does not while a connection is suspended, nor,
 * with edge-triggered epoll, when the end comes together with the last bytes. [libmicrohttpd threads] */
void poller_watch_peer(tn_front *front, const http_peer *peer);
void poller_forget_peer(tn_front *front, const http_peer *peer);
/* Events of a model's client; under lock, where it matters. */
tn_status poller_watch_model(tn_front *front, const struct http_model *model, tn_error *err);
void poller_forget_model(tn_front *front, const struct http_model *model);
/* Makes the poller look again at what it waits for. [any] */
void poller_wake(tn_front *front);

#endif
