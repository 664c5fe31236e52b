/* inner_query.h: the statement whose rows are asked: prepared on the connection that runs it, one statement, that only
 * reads. */
#ifndef SQLITE_INNER_QUERY_H
#define SQLITE_INNER_QUERY_H

#include "client/question.h"

#include <sqlite3ext.h>

/* (key, prompt [, params]) or more columns than that are refused. Errors name what is wrong with the query. The
 * statement is the caller's to finalize. */
tn_status inner_query_prepare(sqlite3 *db, const char *query, sqlite3_stmt **ret_statement, tn_error *err);
/* Whether a statement that writes is running on db: one that reads llm_map to write what it says, as a rule. The query
 * must not meet the rows of that one, which answer its own. */
bool inner_query_is_within_a_write(sqlite3 *db);
/* Reads the statement to its end into a temporary database, which spills to disk, and puts a statement that reads that
 * one in its place. The database is the caller's to close, after the statement. Errors: TN_E_CANCELLED when
 * interrupted; then the statement is as it was. */
tn_status inner_query_copy(sqlite3_stmt **statement, sqlite3 **ret_copy, tn_error *err);
/* Column `index` of the current row; bytes NULL for SQL's NULL, and for a column that the statement does not have.
 * Borrowed until the next step. A BLOB is given as its bytes. */
text_span inner_query_text(sqlite3_stmt *statement, int index);

#endif
