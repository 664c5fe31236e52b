/* map_table.h: llm_map(service, query [, options]): the rows of a query, asked many at a time, as a table. */
#ifndef SQLITE_MAP_TABLE_H
#define SQLITE_MAP_TABLE_H

#include "connection.h"

/* Registers the table; it takes the connection, and destroys it when the module goes (also if this fails). */
int map_table_register(sqlite3 *db, sql_connection *connection);

#endif
