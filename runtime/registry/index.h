/* runtime/registry/index.h: the SQLite file that says which versions exist; and statements on it, in one line each.
 *
 * The index is the truth: what it does not name is not in the registry, whatever lies in the store. Writers hold its
 * write lock while they touch the store, so that they exclude each other and `gc`. A connection belongs to one thread.
 */
#ifndef REGISTRY_INDEX_H
#define REGISTRY_INDEX_H

#include "tenon/error.h"

#include <sqlite3.h>
#include <stdbool.h>

/* Opens path, or makes it when create; brings an older schema up to date. TN_E_NOT_FOUND: there is none, or nothing in
 * it.
 * TN_E_UNSUPPORTED: a newer Tenon made it. TN_E_CORRUPT: it is something else, or damaged. */
tn_status index_open(const char *path, bool create, sqlite3 **ret_db, tn_error *err);
void index_close(sqlite3 *db);

/* A statement with its parameters. types: for each a letter, t text (NULL is null), i int64_t, d double. */
tn_status index_prepare(sqlite3 *db, sqlite3_stmt **ret_statement, tn_error *err, const char *sql, const char *types,
                        ...);
/* The next row; *ret_row false: there is none. */
tn_status index_step(sqlite3_stmt *statement, bool *ret_row, tn_error *err);
/* Runs a statement that returns no rows. */
tn_status index_run(sqlite3 *db, tn_error *err, const char *sql, const char *types, ...);
/* Text of a column; "" for null. Borrowed until the next step. */
const char *index_text(sqlite3_stmt *statement, int column);

/* Takes the write lock, waiting for its holder. */
tn_status index_begin(sqlite3 *db, tn_error *err);
/* The same for whom a long time's work hangs on it. */
tn_status index_begin_patiently(sqlite3 *db, tn_error *err);
/* Reads all of it: TN_E_CORRUPT where parts contradict each other, so that a row may be there and not be found. */
tn_status index_check(sqlite3 *db, tn_error *err);
/* Commits what succeeded, undoes what failed; returns status, or what the commit said. */
tn_status index_end(sqlite3 *db, tn_status status, tn_error *err);

#endif
