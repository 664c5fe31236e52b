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
    const char *idempotency_key; /* a POST with the key of an earlier one gets its answer again; NULL: none */
} tn_admin_call;
TN_SEALED(tn_admin_call, idempotency_key);

typedef struct tn_admin_table {
    uint32_t struct_size, flags;
    /* Answers every call through sink, refusals too: {"error": {"message", "type", "param"}}. May take as long as what
     * was asked takes (?wait=SECONDS, logs?follow=1); ends early when the reader has left or the daemon ends. [any] */
    void (*call)(tn_admin *admin, const tn_admin_call *call, const tn_admin_sink *sink);
} tn_admin_table;
TN_SEALED(tn_admin_table, call);

TN_END_DECLS
#endif
