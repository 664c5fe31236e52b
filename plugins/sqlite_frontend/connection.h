/* connection.h: what the extension keeps for one SQLite connection. */
#ifndef SQLITE_CONNECTION_H
#define SQLITE_CONNECTION_H

#include "answer_cache.h"
#include "client/yes_no.h"

#include <sqlite3ext.h>

typedef struct sql_connection {
    uint32_t holders; /* functions and tables that are registered with it, and who registers them */
    sqlite3 *db;
    client_server server;
    char address[600];     /* as it was given */
    request_window *calls; /* for scalar functions, one row at a time; NULL until the first */
    answer_cache *cache;
    char *filter_service; /* whose tokens `filter` holds; NULL: nobody's */
    yes_no filter;
    client_answer last_fault; /* of a scalar whose row failed; no root */
} sql_connection;

/* Server and key from TENON_SERVER and TENON_API_KEY, else the daemon's socket. */
tn_status sql_connection_create(sqlite3 *db, sql_connection **ret_connection, tn_error *err);
/* SQLite lets each function and table go on its own, when the handle closes or before (sqlite3_drop_modules): whatever
 * is registered retains the connection, and releases it as its destructor. The last one to release it destroys it. */
sql_connection *sql_connection_retain(sql_connection *connection);
void sql_connection_release(void *connection);
/* "NAME: MESSAGE" as UTF-8, which a message that quotes something, or was cut, need not be. For sqlite3_free; NULL: out
 * of memory. */
char *sql_told(const char *name, const char *message);
/* Another server; what was known of the old one is forgotten. */
tn_status sql_connection_use(sql_connection *connection, const char *address, const char *api_key, tn_error *err);
/* Makes `calls` if there are none yet. */
tn_status sql_connection_open_calls(sql_connection *connection, tn_error *err);
/* One request. Options' deadline and retries hold; NULL: the defaults. The body is moved in every case. */
tn_status sql_connection_call(sql_connection *connection, client_request request, const run_options *options,
                              bool wants_text, client_answer *ret_answer, tn_error *err);
/* A client_waiter: sleeps a tenth of a second at most, then sees whether the statement was interrupted. context: the
 * sqlite3. */
bool sql_wait(void *db, int fd, uint32_t ms);

#endif
