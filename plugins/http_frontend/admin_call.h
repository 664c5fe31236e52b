/* admin_call.h: one request below /admin/v1, answered by tn.admin on a thread of its own, since it may take as long as
 * what was asked takes. The connection is suspended meanwhile.
 *
 * Held by its connection and by its thread; front->lock guards what they share. JSON is collected and sent whole,
 * unless it grows long; anything else is a stream. A thread that writes faster than the client reads waits, and learns
 * that the client has left from its next write, for which zero bytes will do.
 */
#ifndef HTTP_ADMIN_CALL_H
#define HTTP_ADMIN_CALL_H

#include "api_error.h"
#include "front.h"

enum { ADMIN_CALLS_MAX = 32 };

typedef struct admin_call admin_call;

/* path: below the API's root. body is moved. 503: too many are under way. */
tn_status admin_call_start(tn_front *front, struct MHD_Connection *connection, http_peer *peer, const char *method,
                           const char *path, byte_buffer *body, admin_call **ret_call, api_error *error);
/* The connection waits, or answers: after start, and whenever it was resumed. */
enum MHD_Result admin_call_answer(admin_call *call);
void admin_call_finish(admin_call *call); /* the connection is done with it; NULL is fine */

/* The client has left. Under lock; returns the connection to resume once the lock is released, NULL: none. */
struct MHD_Connection *admin_call_abandon(admin_call *call);
/* Abandons all, resumes their connections, and waits until their threads have ended. No connection is suspended for one
 * afterwards, nor will be. Needs front->stopping. [ctl] */
void admin_calls_stop(tn_front *front);

#endif
