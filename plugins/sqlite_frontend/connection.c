/* connection.c: see connection.h. */
#include "connection.h"

#include "base/utf8.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

enum { INTERRUPT_MS = 100 };

static void destroy(sql_connection *connection)
{
    if (!connection)
        return;
    request_window_destroy(connection->calls);
    answer_cache_destroy(connection->cache);
    free(connection->filter_service);
    free(connection);
}

tn_status sql_connection_create(sqlite3 *db, sql_connection **ret_connection, tn_error *err)
{
    const char *address = secure_getenv("TENON_SERVER");
    sql_connection *connection = calloc(1, sizeof *connection);
    tn_status status = TN_OK;

    if (!connection || !(connection->cache = answer_cache_create()))
        status = tn_fail(err, TN_E_MEMORY, "tenon: out of memory");
    if (status == TN_OK) {
        connection->holders = 1;
        connection->db = db;
        status = sql_connection_use(connection, address && *address ? address : CLIENT_SERVER_DEFAULT,
                                    secure_getenv("TENON_API_KEY"), err);
    }
    if (status != TN_OK) {
        destroy(connection);
        return status;
    }
    *ret_connection = connection;
    return TN_OK;
}

sql_connection *sql_connection_retain(sql_connection *connection)
{
    connection->holders++;
    return connection;
}

void sql_connection_release(void *context)
{
    sql_connection *connection = context;

    TN_ASSERT(connection->holders > 0);
    if (--connection->holders == 0)
        destroy(connection);
}

char *sql_told(const char *name, const char *message)
{
    char *text = sqlite3_mprintf("%s: %s", name, message);

    if (text)
        utf8_repair(text);
    return text;
}

tn_status sql_connection_use(sql_connection *connection, const char *address, const char *api_key, tn_error *err)
{
    tn_status status = client_server_parse(address, api_key, &connection->server, err);

    if (status != TN_OK)
        return status;
    snprintf(connection->address, sizeof connection->address, "%s", address);
    request_window_destroy(connection->calls);
    connection->calls = NULL;
    answer_cache_clear(connection->cache);
    free(connection->filter_service);
    connection->filter_service = NULL;
    return TN_OK;
}

tn_status sql_connection_open_calls(sql_connection *connection, tn_error *err)
{
    window_limits limits = window_limits_default();

    if (connection->calls)
        return TN_OK;
    limits.window = 1;
    limits.ordered = false;
    return request_window_create(&connection->server, &limits, &connection->calls, err);
}

tn_status sql_connection_call(sql_connection *connection, client_request request, const run_options *options,
                              bool wants_text, client_answer *ret_answer, tn_error *err)
{
    window_limits limits = options ? options->limits : window_limits_default();
    tn_status status = sql_connection_open_calls(connection, err);

    if (status != TN_OK) {
        free(request.body);
        return status;
    }
    request_window_adjust(connection->calls, limits.retries, limits.timeout_ms);
    return client_call(connection->calls, request, sql_wait, connection->db, wants_text, ret_answer, err);
}

/* A statement of its own meets the connection's interrupt flag; sqlite3_is_interrupted is younger (3.41). */
static bool is_interrupted(sqlite3 *db)
{
    sqlite3_stmt *probe = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT 1", -1, &probe, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(probe);
    sqlite3_finalize(probe);
    return code == SQLITE_INTERRUPT;
}

bool sql_wait(void *db, int fd, uint32_t ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int count = poll(&ready, 1, ms < INTERRUPT_MS ? (int)ms : INTERRUPT_MS);

    return count > 0 || !is_interrupted(db);
}
