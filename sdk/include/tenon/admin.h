/* tenon/admin.h: "tn.admin", what the daemon lets an administrator do: registry, plan, pools, services, jobs. Resources
 * are named by paths and told as JSON, so that a front end passes them on without knowing them.
 */
#ifndef TENON_ADMIN_H
#define TENON_ADMIN_H

#include "tenon/plugin.h"

TN_BEGIN_DECLS

#define TN_ADMIN_ID "tn.admin/1"

typedef struct tn_admin tn_admin;

/* Where an answer goes. Both are called by the thread that called `call`, head once and first. A status other than
 * TN_OK says that the reader has left; the answer then ends. */
typedef struct tn_admin_sink {
    uint32_t struct_size, reserved0;
    void *ctx;
    /* code: as of HTTP, 200, 404, 409, 422. content_type: "application/json", or "text/plain; charset=utf-8" of logs.
     */
    tn_status (*head)(void *ctx, uint32_t code, const char *content_type);
    /* Copied. Without bytes it only asks whether the reader is still there. */
    tn_status (*write)(void *ctx, const void *bytes, uint64_t n_bytes);
} tn_admin_sink;
TN_SEALED(tn_admin_sink, write);

/* Borrowed for the call. */
typedef struct tn_admin_call {
    uint32_t struct_size, reserved0;
    const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE" */
    const char *path;   /* below the API's root, percent-decoded: "/services/chat", "/services/chat:suspend" */
    const char *query;  /* as it came, without '?'; NULL: none */
    const char *body;   /* JSON; NULL: none */
    uint64_t n_body;
    const char *idempotency_key;       /* a POST with the key of an earlier one gets its answer again; NULL: none */
    const char *caller;                /* name of the token that asks; NULL: whoever asks needs none */
    uint32_t caller_scopes, reserved1; /* TN_SCOPE_* of that token */
    const char *content_type;          /* of the body; NULL: JSON */
    /* Of a body that comes while it is read (`body` is NULL then): waits for its next bytes, at least 1 and at most
     * capacity; *ret_n = 0: it has ended. TN_E_CANCELLED: the client has left. NULL: `body` is all there is. */
    tn_status (*read)(void *read_ctx, void *bytes, uint64_t capacity, uint64_t *ret_n);
    void *read_ctx;
} tn_admin_call;
TN_SEALED(tn_admin_call, read_ctx);

typedef struct tn_admin_table {
    uint32_t struct_size, flags;
    /* Answers every call through sink, refusals too: {"error": {"message", "type", "param"}}. May take as long as what
     * was asked takes (?wait=SECONDS, logs?follow=1); ends early when the reader has left or the daemon ends. [any] */
    void (*call)(tn_admin *admin, const tn_admin_call *call, const tn_admin_sink *sink);
    /* The same for OpenAI's files and batches, of which a caller with a name sees his own: "/files/ID/content",
     * "/batches". A POST to "/files" is multipart/form-data and comes through `read`. [any] */
    void (*call_batch)(tn_admin *admin, const tn_admin_call *call, const tn_admin_sink *sink);
    /* The most bytes that the body of such a POST may have. [any] */
    uint64_t (*upload_bytes_max)(tn_admin *admin);
} tn_admin_table;
TN_SEALED(tn_admin_table, upload_bytes_max);

TN_END_DECLS
#endif
