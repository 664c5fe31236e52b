/* runtime/group/store_server.h: the thread at rank 0 that serves a store_hub on one address. */
#ifndef GROUP_STORE_SERVER_H
#define GROUP_STORE_SERVER_H

#include "group/store.h"

typedef struct store_server store_server;

/* Listens on the first address of args->address that this machine has, and on nothing else. args' strings and the
 * member's are borrowed until stop. [ctl] */
tn_status store_server_start(const tcp_store_args *args, const store_member *member, store_server **ret_server,
                             tn_error *err);
/* Serves until every member has left, at most linger_ms, then ends the thread. NULL is fine. [ctl] */
void store_server_stop(store_server *server, uint32_t linger_ms);

#endif
