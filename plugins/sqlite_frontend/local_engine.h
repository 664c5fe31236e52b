/* local_engine.h: the model inside this process: libtenon, loaded only when llm_load asks for it.
 *
 * The engine and its HTTP front end run here, on a Unix socket in a folder of its own that nobody else may enter, so
 * that every field, check and answer is the server's, and the rest of the extension does not know the difference. One
 * model for a process, until it ends; connections that load the same path share it.
 */
#ifndef SQLITE_LOCAL_ENGINE_H
#define SQLITE_LOCAL_ENGINE_H

#include "connection.h"

/* path: what model.path may be. settings: JSON object of "section.key" to text, number or bool; NULL: none (and those
 * of a model that is loaded already are not looked at). *ret_address: where it answers, borrowed for the process's
 * life; *ret_name: the service's name, likewise. */
tn_status local_engine_load(const char *path, const char *settings, const char **ret_address, const char **ret_name,
                            tn_error *err);
/* llm_load(path [, settings]): the name, and the connection asks there from now on. */
int local_engine_register(sqlite3 *db, sql_connection *connection);

#endif
