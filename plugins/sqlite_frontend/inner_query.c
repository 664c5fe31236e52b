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

text_span inner_query_text(sqlite3_stmt *statement, int index)
{
    if (index >= sqlite3_column_count(statement) || sqlite3_column_type(statement, index) == SQLITE_NULL)
        return (text_span){NULL, 0};
    const char *bytes = (const char *)sqlite3_column_text(statement, index);
    return (text_span){bytes ? bytes : "", (size_t)sqlite3_column_bytes(statement, index)};
}
