/* map_table.c: an eponymous virtual table whose arguments are hidden columns.
 *
 * A cursor holds the inner statement, stepped as far as the window has room, and the rows in flight with their keys;
 * rows that have been handed on are forgotten, so memory does not grow with the table. Closing the cursor early (LIMIT)
 * cancels what is in flight.
 */
#include "map_table.h"

#include "client/row_map.h"
#include "inner_query.h"

#include <stdlib.h>
#include <string.h>

SQLITE_EXTENSION_INIT3

static const char schema[] = "CREATE TABLE llm_map("
                             "key, value TEXT, status TEXT, error_code TEXT, error TEXT, finish_reason TEXT, "
                             "prompt_tokens INTEGER, completion_tokens INTEGER, latency_ms INTEGER, attempts INTEGER, "
                             "service HIDDEN, query HIDDEN, options HIDDEN)";
enum {
    COLUMN_KEY,
    COLUMN_VALUE,
    COLUMN_STATUS,
    COLUMN_ERROR_CODE,
    COLUMN_ERROR,
    COLUMN_FINISH_REASON,
    COLUMN_PROMPT_TOKENS,
    COLUMN_COMPLETION_TOKENS,
    COLUMN_LATENCY_MS,
    COLUMN_ATTEMPTS,
    COLUMN_SERVICE,
    COLUMN_QUERY,
    COLUMN_OPTIONS
};
enum { ARGUMENT_SERVICE = 1, ARGUMENT_QUERY = 2, ARGUMENT_OPTIONS = 4 };

typedef struct map_table {
    sqlite3_vtab base;
    sql_connection *connection;
} map_table;

typedef struct map_cursor {
    sqlite3_vtab_cursor base;
    row_map *map;
    sqlite3_stmt *statement; /* NULL: all its rows have been read */
    sqlite3 *copy;           /* where it reads within a statement that writes; NULL: from the connection's database */
    sqlite3_value **keys;    /* by slot, owned */
    uint32_t key_count;
    sqlite3_value *key; /* of the current row, owned */
    client_answer answer;
    sqlite3_int64 rowid;
    bool at_end;
} map_cursor;

static int connect_table(sqlite3 *db, void *connection, int count, const char *const *arguments,
                         sqlite3_vtab **ret_table, char **ret_error)
{
    (void)count;
    (void)arguments;
    (void)ret_error;
    int code = sqlite3_declare_vtab(db, schema);
    if (code != SQLITE_OK)
        return code;
    sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    map_table *table = sqlite3_malloc(sizeof *table);
    if (!table)
        return SQLITE_NOMEM;
    *table = (map_table){.connection = connection};
    *ret_table = &table->base;
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *table)
{
    sqlite3_free(table);
    return SQLITE_OK;
}

/* Arguments reach `filter` in the order service, query, options; the plan's number says which there are. */
static int best_index(sqlite3_vtab *table, sqlite3_index_info *info)
{
    int place[COLUMN_OPTIONS - COLUMN_SERVICE + 1] = {-1, -1, -1}, given = 0, next = 1;

    (void)table;
    for (int i = 0; i < info->nConstraint; i++) {
        int argument = info->aConstraint[i].iColumn - COLUMN_SERVICE;
        if (argument < 0 || info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
            continue;
        if (!info->aConstraint[i].usable)
            return SQLITE_CONSTRAINT; /* another order of the join knows the argument */
        place[argument] = i;
        given |= 1 << argument;
    }
    for (int i = 0; i <= COLUMN_OPTIONS - COLUMN_SERVICE; i++)
        if (place[i] >= 0) {
            info->aConstraintUsage[place[i]].argvIndex = next++;
            info->aConstraintUsage[place[i]].omit = 1;
        }
    info->idxNum = given;
    info->estimatedCost = 1e9;
    info->estimatedRows = 1000;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
    map_cursor *cursor = sqlite3_malloc(sizeof *cursor);

    (void)table;
    if (!cursor)
        return SQLITE_NOMEM;
    *cursor = (map_cursor){.at_end = true};
    *ret_cursor = &cursor->base;
    return SQLITE_OK;
}

static void forget_row(map_cursor *cursor)
{
    sqlite3_value_free(cursor->key);
    cursor->key = NULL;
    client_answer_finish(&cursor->answer);
}

/* Back to a cursor that has not been filtered; requests in flight are cancelled. */
static void reset(map_cursor *cursor)
{
    forget_row(cursor);
    for (uint32_t i = 0; i < cursor->key_count; i++)
        sqlite3_value_free(cursor->keys[i]);
    free(cursor->keys);
    sqlite3_finalize(cursor->statement);
    sqlite3_close(cursor->copy);
    row_map_destroy(cursor->map);
    *cursor = (map_cursor){.base = cursor->base, .at_end = true};
}

static int close_cursor(sqlite3_vtab_cursor *base)
{
    reset((map_cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

static int fail_table(map_cursor *cursor, tn_status status, const tn_error *err)
{
    sqlite3_vtab *table = cursor->base.pVtab;

    reset(cursor);
    if (status == TN_E_CANCELLED)
        return SQLITE_INTERRUPT;
    sqlite3_free(table->zErrMsg);
    table->zErrMsg = sql_told("llm_map", err->msg);
    return status == TN_E_MEMORY ? SQLITE_NOMEM : SQLITE_ERROR;
}

/* Steps the inner statement while the window has room. */
static tn_status fill(map_cursor *cursor, tn_error *err)
{
    while (cursor->statement && row_map_has_room(cursor->map)) {
        int code = sqlite3_step(cursor->statement);
        if (code == SQLITE_INTERRUPT)
            return tn_fail(err, TN_E_CANCELLED, "interrupted");
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            return tn_fail(err, TN_E_ARGUMENT, "in the query: %s",
                           sqlite3_errmsg(sqlite3_db_handle(cursor->statement)));
        if (code == SQLITE_DONE) {
            sqlite3_finalize(cursor->statement);
            cursor->statement = NULL;
            return TN_OK;
        }
        sqlite3_value *key = sqlite3_value_dup(sqlite3_column_value(cursor->statement, 0));
        if (!key)
            return tn_fail(err, TN_E_MEMORY, "out of memory for a row's key");
        uint32_t slot =
            row_map_add(cursor->map, inner_query_text(cursor->statement, 1), inner_query_text(cursor->statement, 2));
        cursor->keys[slot] = key;
    }
    return TN_OK;
}

static tn_status next_row(map_cursor *cursor, sqlite3 *db, tn_error *err)
{
    row_result result;
    bool taken;

    forget_row(cursor);
    for (;;) {
        tn_status status = fill(cursor, err);
        if (status == TN_OK)
            status = row_map_take(cursor->map, &result, &taken, err);
        if (status != TN_OK)
            return status;
        if (taken || (row_map_is_empty(cursor->map) && !cursor->statement))
            break;
        request_window *window = row_map_window(cursor->map);
        if (!sql_wait(db, request_window_fd(window), request_window_timeout_ms(window)))
            return tn_fail(err, TN_E_CANCELLED, "interrupted");
        request_window_step(window);
    }
    cursor->at_end = !taken;
    if (taken) {
        cursor->answer = result.answer;
        cursor->key = cursor->keys[result.slot];
        cursor->keys[result.slot] = NULL;
        cursor->rowid++;
    }
    return TN_OK;
}

static tn_status begin(map_cursor *cursor, const sql_connection *connection, const char *service, const char *query,
                       text_span options_text, tn_error *err)
{
    run_options options;

    tn_status status = run_options_parse(options_text.bytes, options_text.count, ON_ERROR_DETAIL, &options, err);
    if (status == TN_OK)
        status = row_map_create(&connection->server, service, &options, &cursor->map, err);
    if (status == TN_OK)
        status = inner_query_prepare(connection->db, query, &cursor->statement, err);
    if (status == TN_OK && inner_query_is_within_a_write(connection->db))
        status = inner_query_copy(&cursor->statement, &cursor->copy, err);
    if (status != TN_OK)
        return status;
    cursor->key_count = request_window_slots(row_map_window(cursor->map));
    cursor->keys = calloc(cursor->key_count, sizeof *cursor->keys);
    if (!cursor->keys) {
        cursor->key_count = 0;
        return tn_fail(err, TN_E_MEMORY, "out of memory for the rows in flight");
    }
    return next_row(cursor, connection->db, err);
}

static int filter(sqlite3_vtab_cursor *base, int given, const char *plan, int count, sqlite3_value **arguments)
{
    map_cursor *cursor = (map_cursor *)base;
    const sql_connection *connection = ((map_table *)base->pVtab)->connection;
    text_span options = {NULL, 0};
    tn_error err = TN_ERROR_INIT;

    (void)plan;
    reset(cursor);
    if ((given & (ARGUMENT_SERVICE | ARGUMENT_QUERY)) != (ARGUMENT_SERVICE | ARGUMENT_QUERY)) {
        tn_fail(&err, TN_E_ARGUMENT, "needs a service and a query: llm_map('chat', 'SELECT id, prompt FROM t')");
        return fail_table(cursor, TN_E_ARGUMENT, &err);
    }
    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(arguments[i]) == SQLITE_NULL)
            return SQLITE_OK; /* no rows */
    const char *service = (const char *)sqlite3_value_text(arguments[0]);
    const char *query = (const char *)sqlite3_value_text(arguments[1]);
    if (given & ARGUMENT_OPTIONS) {
        options.bytes = (const char *)sqlite3_value_text(arguments[2]);
        options.count = (size_t)sqlite3_value_bytes(arguments[2]);
    }
    if (!service || !query || ((given & ARGUMENT_OPTIONS) && !options.bytes))
        return SQLITE_NOMEM;
    tn_status status = begin(cursor, connection, service, query, options, &err);
    return status == TN_OK ? SQLITE_OK : fail_table(cursor, status, &err);
}

static int next(sqlite3_vtab_cursor *base)
{
    map_cursor *cursor = (map_cursor *)base;
    tn_error err = TN_ERROR_INIT;
    tn_status status = next_row(cursor, ((map_table *)base->pVtab)->connection->db, &err);

    return status == TN_OK ? SQLITE_OK : fail_table(cursor, status, &err);
}

static int at_end(sqlite3_vtab_cursor *base)
{
    return ((map_cursor *)base)->at_end;
}

static void set_text(sqlite3_context *context, const char *text)
{
    if (text && *text)
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void set_count(sqlite3_context *context, int64_t count)
{
    if (count >= 0)
        sqlite3_result_int64(context, count);
}

static int column(sqlite3_vtab_cursor *base, sqlite3_context *context, int index)
{
    const map_cursor *cursor = (map_cursor *)base;
    const client_answer *answer = &cursor->answer;

    switch (index) {
    case COLUMN_KEY:
        sqlite3_result_value(context, cursor->key);
        break;
    case COLUMN_VALUE:
        if (answer->value)
            sqlite3_result_text64(context, answer->value, answer->value_bytes, SQLITE_TRANSIENT, SQLITE_UTF8);
        break;
    case COLUMN_STATUS:
        set_text(context, client_answer_status(answer));
        break;
    case COLUMN_ERROR_CODE:
        set_text(context, answer->code);
        break;
    case COLUMN_ERROR:
        set_text(context, answer->message);
        break;
    case COLUMN_FINISH_REASON:
        set_text(context, answer->finish_reason);
        break;
    case COLUMN_PROMPT_TOKENS:
        set_count(context, answer->prompt_tokens);
        break;
    case COLUMN_COMPLETION_TOKENS:
        set_count(context, answer->completion_tokens);
        break;
    case COLUMN_LATENCY_MS:
        set_count(context, answer->attempts > 0 ? (int64_t)answer->latency_ms : -1);
        break;
    case COLUMN_ATTEMPTS:
        set_count(context, answer->attempts);
        break;
    default: /* the arguments need not be seen again */
        break;
    }
    return SQLITE_OK;
}

static int row_number(sqlite3_vtab_cursor *base, sqlite3_int64 *ret_rowid)
{
    *ret_rowid = ((map_cursor *)base)->rowid;
    return SQLITE_OK;
}

int map_table_register(sqlite3 *db, sql_connection *connection)
{
    static const sqlite3_module module = {.xConnect = connect_table,
                                          .xBestIndex = best_index,
                                          .xDisconnect = disconnect_table,
                                          .xDestroy = disconnect_table,
                                          .xOpen = open_cursor,
                                          .xClose = close_cursor,
                                          .xFilter = filter,
                                          .xNext = next,
                                          .xEof = at_end,
                                          .xColumn = column,
                                          .xRowid = row_number};

    return sqlite3_create_module_v2(db, "llm_map", &module, sql_connection_retain(connection), sql_connection_release);
}
