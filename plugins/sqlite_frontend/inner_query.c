/* inner_query.c: see inner_query.h. */
#include "inner_query.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

static bool is_blank(const char *text)
{
    return text[strspn(text, " \t\r\n;")] == '\0';
}

/* "SELECT", "WITH" and "VALUES" read; PRAGMA, ATTACH or BEGIN may well do more than a read-only statement is said to
 * do. */
static bool is_query(const char *text)
{
    static const char *const words[] = {"select", "with", "values"};

    text += strspn(text, " \t\r\n");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sqlite3_strnicmp(text, words[i], (int)strlen(words[i])) == 0)
            return true;
    return false;
}

static tn_status check(sqlite3_stmt *statement, const char *query, const char *tail, tn_error *err)
{
    if (!is_query(query) || !statement)
        return tn_fail(err, TN_E_ARGUMENT, "the query must begin with SELECT, WITH or VALUES");
    if (!is_blank(tail))
        return tn_fail(err, TN_E_ARGUMENT, "the query holds more than one statement: '%.60s'", tail);
    if (!sqlite3_stmt_readonly(statement))
        return tn_fail(err, TN_E_ARGUMENT, "the query writes; it may only read");
    int count = sqlite3_column_count(statement);
    if (count < 2 || count > 3)
        return tn_fail(err, TN_E_ARGUMENT, "the query must give (key, prompt) or (key, prompt, params), not %d columns",
                       count);
    return TN_OK;
}

tn_status inner_query_prepare(sqlite3 *db, const char *query, sqlite3_stmt **ret_statement, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    const char *tail = NULL;
    tn_status status;

    if (sqlite3_prepare_v2(db, query, -1, &statement, &tail) != SQLITE_OK)
        return tn_fail(err, TN_E_ARGUMENT, "in the query: %s", sqlite3_errmsg(db));
    status = check(statement, query, tail, err);
    if (status != TN_OK) {
        sqlite3_finalize(statement);
        return status;
    }
    *ret_statement = statement;
    return TN_OK;
}

bool inner_query_is_within_a_write(sqlite3 *db)
{
    for (sqlite3_stmt *other = sqlite3_next_stmt(db, NULL); other; other = sqlite3_next_stmt(db, other))
        if (sqlite3_stmt_busy(other) && !sqlite3_stmt_readonly(other))
            return true;
    return false;
}

static tn_status copy_rows(sqlite3_stmt *rows, sqlite3_stmt *insert, tn_error *err)
{
    int code;

    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(rows); i++)
            sqlite3_bind_value(insert, i + 1, sqlite3_column_value(rows, i));
        if (sqlite3_step(insert) != SQLITE_DONE)
            return tn_fail(err, TN_E_IO, "the query's rows cannot be kept: %s",
                           sqlite3_errmsg(sqlite3_db_handle(insert)));
        sqlite3_reset(insert);
    }
    if (code == SQLITE_INTERRUPT)
        return tn_fail(err, TN_E_CANCELLED, "interrupted");
    if (code != SQLITE_DONE)
        return tn_fail(err, TN_E_ARGUMENT, "in the query: %s", sqlite3_errmsg(sqlite3_db_handle(rows)));
    return TN_OK;
}

static tn_status fill_copy(sqlite3 *copy, sqlite3_stmt *rows, sqlite3_stmt **ret_statement, tn_error *err)
{
    sqlite3_stmt *insert = NULL;
    tn_status status = TN_OK;

    if (sqlite3_exec(copy, "CREATE TABLE asked(key, prompt, params); BEGIN", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(copy, "INSERT INTO asked VALUES (?1, ?2, ?3)", -1, &insert, NULL) != SQLITE_OK)
        status = tn_fail(err, TN_E_IO, "the query's rows cannot be kept: %s", sqlite3_errmsg(copy));
    if (status == TN_OK)
        status = copy_rows(rows, insert, err);
    sqlite3_finalize(insert);
    if (status == TN_OK && (sqlite3_exec(copy, "COMMIT", NULL, NULL, NULL) != SQLITE_OK ||
                            sqlite3_prepare_v2(copy, "SELECT key, prompt, params FROM asked ORDER BY rowid", -1,
                                               ret_statement, NULL) != SQLITE_OK))
        status = tn_fail(err, TN_E_IO, "the query's rows cannot be kept: %s", sqlite3_errmsg(copy));
    return status;
}

tn_status inner_query_copy(sqlite3_stmt **statement, sqlite3 **ret_copy, tn_error *err)
{
    sqlite3 *copy = NULL;
    sqlite3_stmt *copied = NULL;
    tn_status status = TN_OK;

    if (sqlite3_open_v2("", &copy, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        status = tn_fail(err, TN_E_IO, "no temporary database for the query's rows");
    if (status == TN_OK)
        status = fill_copy(copy, *statement, &copied, err);
    if (status != TN_OK) {
        sqlite3_close(copy);
        return status;
    }
    sqlite3_finalize(*statement);
    *statement = copied;
    *ret_copy = copy;
    return TN_OK;
}

text_span inner_query_text(sqlite3_stmt *statement, int index)
{
    if (index >= sqlite3_column_count(statement) || sqlite3_column_type(statement, index) == SQLITE_NULL)
        return (text_span){NULL, 0};
    const char *bytes = (const char *)sqlite3_column_text(statement, index);
    return (text_span){bytes ? bytes : "", (size_t)sqlite3_column_bytes(statement, index)};
}
