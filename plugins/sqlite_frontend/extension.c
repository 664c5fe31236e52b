/* extension.c: the door that SQLite knocks at: .load tenon_sqlite, or load_extension(). */
#include "job_functions.h"
#include "local_engine.h"
#include "map_table.h"
#include "scalars.h"

SQLITE_EXTENSION_INIT1

#define EXPORT __attribute__((visibility("default")))

EXPORT int sqlite3_tenonsqlite_init(sqlite3 *db, char **ret_error, const sqlite3_api_routines *api);

/* The library stays loaded when the connection closes: libcurl keeps state of its own in the process. */
EXPORT int sqlite3_tenonsqlite_init(sqlite3 *db, char **ret_error, const sqlite3_api_routines *api)
{
    sql_connection *connection;
    tn_error err = TN_ERROR_INIT;

    SQLITE_EXTENSION_INIT2(api);
    if (sql_connection_create(db, &connection, &err) != TN_OK) {
        *ret_error = sqlite3_mprintf("%s", err.msg);
        return SQLITE_ERROR;
    }
    int code = scalars_register(db, connection);
    if (code == SQLITE_OK)
        code = job_functions_register(db, connection);
    if (code == SQLITE_OK)
        code = local_engine_register(db, connection);
    if (code == SQLITE_OK)
        code = map_table_register(db, connection);
    sql_connection_release(connection); /* what was registered holds it */
    return code == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : code;
}
