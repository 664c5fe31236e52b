/* job_functions.h: llm_submit(service, query, target [, options]) and llm_wait(job [, timeout_ms]). */
#ifndef SQLITE_JOB_FUNCTIONS_H
#define SQLITE_JOB_FUNCTIONS_H

#include "connection.h"

int job_functions_register(sqlite3 *db, sql_connection *connection);

#endif
