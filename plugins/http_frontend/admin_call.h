/* admin_call.h: one request below /admin/v1, /v1/files or /v1/batches, answered by tn.admin on a thread of its own,
 * since it may take as long as what was asked takes. The connection is suspended meanwhile.
 *
 * Held by its connection and by its thread; front->lock guards what they share. JSON is collected and sent whole,
 * unless it grows long; anything else is a stream. A thread that writes faster than the client reads waits, and learns
 * that the client has left from its next write, for which zero bytes will do. An upload's thread begins with the head
 * of its request and reads the body as it comes: a client that is faster than the disk waits.
 */
#ifndef HTTP_ADMIN_CALL_H
#define HTTP_ADMIN_CALL_H

#include "api_error.h"
#include "front.h"

enum { ADMIN_CALLS_MAX = 32, UPLOADS_MAX = 8 };

typedef struct admin_call admin_call;

typedef struct admin_question {
    const char *method, *path; /* borrowed; path: below the root */
    bool batch, upload;        /* tn.admin's call_batch is asked; the body follows by admin_call_take */
    const tn_identity *caller; /* borrowed; without a name: someone who needs no token */
} admin_question;

/* body is moved; empty for an upload. 503: too many are under way. */
tn_status admin_call_start(tn_front *front, struct MHD_Connection *connection, http_peer *peer,
                           const admin_question *question, byte_buffer *body, admin_call **ret_call, api_error *error);
/* Bytes of an upload's body: how many were taken. Where that is not all, the connection is suspended until there is
 * room. What nobody wants any more is dropped. */
size_t admin_call_take(admin_call *call, const char *bytes, size_t n);
void admin_call_end_body(admin_call *call); /* it has come whole */
/* The connection waits, or answers: after start, and whenever it was resumed. */
enum MHD_Result admin_call_answer(admin_call *call);
void admin_call_finish(admin_call *call); /* the connection is done with it; NULL is fine */

/* The client has left. Under lock; returns the connection to resume once the lock is released, NULL: none. */
struct MHD_Connection *admin_call_abandon(admin_call *call);
/* Abandons all, resumes their connections, and waits until their threads have ended. No connection is suspended for one
 * afterwards, nor will be. Needs front->stopping. [ctl] */
void admin_calls_stop(tn_front *front);

#endif
