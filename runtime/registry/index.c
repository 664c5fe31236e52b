/* runtime/registry/index.c: see index.h.
 *
 * A rollback journal rather than a write-ahead log: writes are rare and small, readers need no shared memory file, and
 * a registry on a read-only medium can be read. With synchronous = EXTRA a commit that has returned outlives a power
 * cut.
 */
#include "registry/index.h"

#include <string.h>

enum { APPLICATION_ID = 0x546e5267, /* "TnRg" */ BUSY_MS = 60000, PATIENT_MS = 3600000 };

/* Entry n takes schema n to n + 1. Entries are never changed, only appended. */
static const char *const migrations[] = {
    "CREATE TABLE model (name TEXT PRIMARY KEY, created TEXT NOT NULL, default_version TEXT,"
    " last_number INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE TABLE version (model TEXT NOT NULL REFERENCES model(name), name TEXT NOT NULL, number INTEGER NOT NULL,"
    " digest TEXT NOT NULL, bytes INTEGER NOT NULL, task TEXT, comment TEXT, created TEXT NOT NULL,"
    " PRIMARY KEY (model, name)) WITHOUT ROWID;"
    "CREATE INDEX version_digest ON version(digest);"
    "CREATE TABLE alias (model TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, PRIMARY KEY (model, name),"
    " FOREIGN KEY (model, version) REFERENCES version(model, name) ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE tag (model TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,"
    " PRIMARY KEY (model, version, key),"
    " FOREIGN KEY (model, version) REFERENCES version(model, name) ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE metric (model TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, value REAL NOT NULL,"
    " PRIMARY KEY (model, version, key),"
    " FOREIGN KEY (model, version) REFERENCES version(model, name) ON DELETE CASCADE) WITHOUT ROWID;"
    "CREATE TABLE file (manifest TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, bytes INTEGER NOT NULL,"
    " PRIMARY KEY (manifest, name)) WITHOUT ROWID;"
    "CREATE INDEX file_digest ON file(digest);"
    "CREATE TABLE lease (digest TEXT NOT NULL, holder TEXT NOT NULL, created TEXT NOT NULL,"
    " PRIMARY KEY (digest, holder)) WITHOUT ROWID;",
};
enum { SCHEMA = sizeof migrations / sizeof *migrations };

static tn_status status_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return TN_E_MEMORY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return TN_E_AGAIN;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TN_E_CORRUPT;
    default:
        return TN_E_IO;
    }
}

static tn_status refuse_damaged(const char *path, const char *how, tn_error *err)
{
    return tn_fail(
        err, TN_E_CORRUPT,
        "%.250s: %.60s: the index is damaged; put back a copy of it, or set registry.path to a new folder and "
        "log the folders of views, which lie beside it, anew",
        path, how);
}

static tn_status refuse(sqlite3 *db, tn_error *err)
{
    const char *name = db ? sqlite3_db_filename(db, "main") : NULL, *path = name ? name : "the registry's index";
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    if (status_of(code) == TN_E_AGAIN)
        return tn_fail(err, TN_E_AGAIN, "%.300s: another `tenon registry` command holds the index; try again", path);
    if (status_of(code) == TN_E_CORRUPT)
        return refuse_damaged(path, sqlite3_errmsg(db), err);
    return tn_fail(err, status_of(code), "%.300s: %s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* ---- statements ---- */

static bool bind(sqlite3_stmt *statement, const char *types, va_list arguments)
{
    int code = SQLITE_OK;

    for (int i = 0; types[i] && code == SQLITE_OK; i++) {
        TN_ASSERT(strchr("tid", types[i]));
        if (types[i] == 't')
            code = sqlite3_bind_text(statement, i + 1, va_arg(arguments, const char *), -1, SQLITE_TRANSIENT);
        else if (types[i] == 'i')
            code = sqlite3_bind_int64(statement, i + 1, va_arg(arguments, int64_t));
        else
            code = sqlite3_bind_double(statement, i + 1, va_arg(arguments, double));
    }
    return code == SQLITE_OK;
}

static tn_status prepare(sqlite3 *db, sqlite3_stmt **ret_statement, tn_error *err, const char *sql, const char *types,
                         va_list arguments)
{
    sqlite3_stmt *statement;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        return refuse(db, err);
    if (!bind(statement, types, arguments)) {
        tn_status status = refuse(db, err);
        sqlite3_finalize(statement);
        return status;
    }
    *ret_statement = statement;
    return TN_OK;
}

tn_status index_prepare(sqlite3 *db, sqlite3_stmt **ret_statement, tn_error *err, const char *sql, const char *types,
                        ...)
{
    va_list arguments;
    va_start(arguments, types);
    tn_status status = prepare(db, ret_statement, err, sql, types, arguments);
    va_end(arguments);
    return status;
}

tn_status index_step(sqlite3_stmt *statement, bool *ret_row, tn_error *err)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return refuse(sqlite3_db_handle(statement), err);
    *ret_row = code == SQLITE_ROW;
    return TN_OK;
}

tn_status index_run(sqlite3 *db, tn_error *err, const char *sql, const char *types, ...)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    va_list arguments;

    va_start(arguments, types);
    tn_status status = prepare(db, &statement, err, sql, types, arguments);
    va_end(arguments);
    if (status == TN_OK)
        status = index_step(statement, &row, err);
    sqlite3_finalize(statement);
    return status;
}

const char *index_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

tn_status index_begin(sqlite3 *db, tn_error *err)
{
    return index_run(db, err, "BEGIN IMMEDIATE", "");
}

tn_status index_begin_patiently(sqlite3 *db, tn_error *err)
{
    sqlite3_busy_timeout(db, PATIENT_MS);
    tn_status status = index_begin(db, err);
    sqlite3_busy_timeout(db, BUSY_MS);
    return status;
}

tn_status index_end(sqlite3 *db, tn_status status, tn_error *err)
{
    if (status == TN_OK)
        status = index_run(db, err, "COMMIT", "");
    if (status != TN_OK && !sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL); /* if this fails too, closing the connection undoes it */
    return status;
}

tn_status index_check(sqlite3 *db, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    tn_status status = index_prepare(db, &statement, err, "PRAGMA integrity_check(1)", "");

    if (status == TN_OK)
        status = index_step(statement, &row, err);
    if (status == TN_OK && strcmp(index_text(statement, 0), "ok") != 0)
        status = refuse_damaged(sqlite3_db_filename(db, "main"), index_text(statement, 0), err);
    sqlite3_finalize(statement);
    return status;
}

/* ---- opening ---- */

static tn_status read_number(sqlite3 *db, const char *sql, int64_t *ret_number, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    tn_status status = index_prepare(db, &statement, err, sql, "");

    if (status == TN_OK)
        status = index_step(statement, &row, err);
    if (status == TN_OK && row)
        *ret_number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

static tn_status run_script(sqlite3 *db, const char *sql, tn_error *err)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? TN_OK : refuse(db, err);
}

/* Another process may have brought it up to date meanwhile, so the number is read again under the lock. */
static tn_status migrate(sqlite3 *db, tn_error *err)
{
    char numbers[96];
    int64_t schema = 0;
    tn_status status = index_begin(db, err);

    if (status != TN_OK)
        return status;
    status = read_number(db, "PRAGMA user_version", &schema, err);
    for (int64_t next = schema; next < SCHEMA && status == TN_OK; next++)
        status = run_script(db, migrations[next], err);
    snprintf(numbers, sizeof numbers, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, SCHEMA);
    if (status == TN_OK && schema < SCHEMA)
        status = run_script(db, numbers, err);
    return index_end(db, status, err);
}

/* All at one moment: another process may be making the index. */
static tn_status read_state(sqlite3 *db, int64_t *ret_application, int64_t *ret_schema, int64_t *ret_tables,
                            tn_error *err)
{
    tn_status status = index_run(db, err, "BEGIN", "");

    if (status != TN_OK)
        return status;
    status = read_number(db, "PRAGMA application_id", ret_application, err);
    if (status == TN_OK)
        status = read_number(db, "PRAGMA user_version", ret_schema, err);
    if (status == TN_OK)
        status = read_number(db, "SELECT count(*) FROM sqlite_master", ret_tables, err);
    return index_end(db, status, err);
}

/* An empty file is the beginning of an index, or what is left of one: nothing is removed by what it does not name. */
static tn_status check_schema(sqlite3 *db, bool create, tn_error *err)
{
    int64_t application = 0, schema = 0, tables = 0;
    const char *path = sqlite3_db_filename(db, "main");
    tn_status status = read_state(db, &application, &schema, &tables, err);

    if (status != TN_OK)
        return status;
    if (!create && tables == 0 && schema == 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%.300s is empty", path);
    if (tables > 0 && application != APPLICATION_ID)
        return tn_fail(err, TN_E_CORRUPT, "%.300s is not the index of a registry; set registry.path to another folder",
                       path);
    if (schema > SCHEMA)
        return tn_fail(err, TN_E_UNSUPPORTED,
                       "%.300s was made by a newer Tenon: its schema is %lld, this one knows %d; use that Tenon", path,
                       (long long)schema, SCHEMA);
    return schema < SCHEMA ? migrate(db, err) : TN_OK;
}

tn_status index_open(const char *path, bool create, sqlite3 **ret_db, tn_error *err)
{
    sqlite3 *db = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (create ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &db, flags, NULL);
    tn_status status = TN_OK;

    if (code != SQLITE_OK)
        status = tn_fail(err, (code & 0xff) == SQLITE_CANTOPEN && !create ? TN_E_NOT_FOUND : status_of(code),
                         "%.300s: %s", path, sqlite3_errstr(code));
    if (status == TN_OK) {
        sqlite3_busy_timeout(db, BUSY_MS);
        status =
            run_script(db, "PRAGMA foreign_keys = ON; PRAGMA synchronous = EXTRA; PRAGMA trusted_schema = OFF", err);
    }
    if (status == TN_OK)
        status = check_schema(db, create, err);
    if (status != TN_OK) {
        index_close(db);
        return status;
    }
    *ret_db = db;
    return TN_OK;
}

void index_close(sqlite3 *db)
{
    sqlite3_close(db);
}
