/* tenon/frontend.h: "tn.frontend", a door into the engine: HTTP, SQL, a socket. */
#ifndef TENON_FRONTEND_H
#define TENON_FRONTEND_H

#include "tenon/admin.h"
#include "tenon/chat.h"
#include "tenon/models.h"
#include "tenon/stats.h"

TN_BEGIN_DECLS

#define TN_FRONTEND_ID "tn.frontend/1"

typedef struct tn_front tn_front;

/* What a front end serves; all borrowed until stop returns. */
typedef struct tn_frontend_args {
    uint32_t struct_size, flags;
    const tn_host *host;
    tn_engine *engine; /* the model, where there is one; NULL in the daemon */
    const tn_engine_table *engine_api;
    const tn_chat_table *chat;
    const tn_stats_table *stats;
    tn_models *models;
    const tn_models_table *models_api;
    tn_admin *admin; /* NULL: this process has nothing to administrate */
    const tn_admin_table *admin_api;
} tn_frontend_args;
TN_SEALED(tn_frontend_args, admin_api);

typedef struct tn_frontend_table {
    uint32_t struct_size, flags;
    /* Opens its door; returns once it answers. The message names address and reason on failure. Mandatory. [ctl] */
    tn_status (*start)(const tn_frontend_args *args, tn_front **ret_front, tn_error *err);
    /* Where it can be reached, for people: "http://127.0.0.1:8000". Borrowed until stop. Mandatory. [any] */
    const char *(*address)(const tn_front *front);
    /* Refuses new work, waits up to ms for the rest; TN_E_AGAIN if some remains. Mandatory. [ctl] */
    tn_status (*drain)(tn_front *front, uint32_t ms, tn_error *err);
    void (*stop)(tn_front *front); /* Mandatory; NULL is fine. [ctl] */
} tn_frontend_table;
TN_SEALED(tn_frontend_table, stop);

TN_END_DECLS
#endif
