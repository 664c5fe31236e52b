/* scalars.h: llm_complete, llm_chat, llm_try, llm_json, llm_filter, llm_embed, llm_tokens: one row at a time; and
 * llm_server, llm_last_error. */
#ifndef SQLITE_SCALARS_H
#define SQLITE_SCALARS_H

#include "connection.h"

/* Registers all; an SQLite error code. The connection is borrowed until the functions go. */
int scalars_register(sqlite3 *db, sql_connection *connection);

#endif
