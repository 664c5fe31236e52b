/* runtime/batch/output_table.c: see output_table.h. */
#include "batch/output_table.h"

#include <sqlite3.h>
#include <unistd.h>

enum { BUSY_MS = 60000 };

static tn_status refuse(const batch_output *output, sqlite3 *db, tn_error *err)
{
    return tn_fail(err, sqlite3_errcode(db) == SQLITE_NOMEM ? TN_E_MEMORY : TN_E_IO, "%.200s: %s", output->path,
                   db ? sqlite3_errmsg(db) : "out of memory");
}

static tn_status open_database(const batch_output *output, sqlite3 **ret_db, tn_error *err)
{
    if (sqlite3_open(output->path, ret_db) != SQLITE_OK)
        return refuse(output, *ret_db, err);
    sqlite3_busy_timeout(*ret_db, BUSY_MS);
    return TN_OK;
}

tn_status output_table_exists(const batch_output *output, bool *ret_exists, tn_error *err)
{
    static const char sql[] = "SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE";
    sqlite3 *db = NULL;
    sqlite3_stmt *find = NULL;

    *ret_exists = false;
    if (access(output->path, F_OK) != 0)
        return TN_OK;
    tn_status status = open_database(output, &db, err);
    if (status == TN_OK && (sqlite3_prepare_v2(db, sql, -1, &find, NULL) != SQLITE_OK ||
                            sqlite3_bind_text(find, 1, output->table, -1, SQLITE_STATIC) != SQLITE_OK))
        status = refuse(output, db, err);
    if (status == TN_OK) {
        int code = sqlite3_step(find);
        *ret_exists = code == SQLITE_ROW;
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            status = refuse(output, db, err);
    }
    sqlite3_finalize(find);
    sqlite3_close(db);
    return status;
}

static int bind_value(sqlite3_stmt *insert, int column, const json_t *value)
{
    if (json_is_integer(value))
        return sqlite3_bind_int64(insert, column, json_integer_value(value));
    if (json_is_string(value))
        return sqlite3_bind_text64(insert, column, json_string_value(value), json_string_length(value),
                                   SQLITE_TRANSIENT, SQLITE_UTF8);
    return sqlite3_bind_null(insert, column);
}

typedef struct table_writer {
    const batch_output *output;
    sqlite3 *db;
    sqlite3_stmt *insert;
} table_writer;

static tn_status write_row(void *context, const json_t *record, tn_error *err)
{
    table_writer *writer = context;

    for (int i = 0; i < OUTPUT_COLUMNS; i++)
        if (bind_value(writer->insert, i + 1, json_object_get(record, output_columns[i])) != SQLITE_OK)
            return refuse(writer->output, writer->db, err);
    if (sqlite3_step(writer->insert) != SQLITE_DONE || sqlite3_reset(writer->insert) != SQLITE_OK)
        return refuse(writer->output, writer->db, err);
    return TN_OK;
}

static tn_status run_sql(table_writer *writer, const char *format, tn_error *err)
{
    char *sql = sqlite3_mprintf(format, writer->output->table, writer->output->table);
    int code = sql ? sqlite3_exec(writer->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return code == SQLITE_OK ? TN_OK : refuse(writer->output, writer->db, err);
}

static tn_status write_all_rows(table_writer *writer, job_log *log, tn_error *err)
{
    tn_status status =
        run_sql(writer,
                "BEGIN IMMEDIATE; DROP TABLE IF EXISTS \"%w\"; CREATE TABLE \"%w\" (key TEXT PRIMARY KEY,"
                " value TEXT, status TEXT NOT NULL, error_code TEXT, error TEXT, finish_reason TEXT,"
                " prompt_tokens INTEGER, completion_tokens INTEGER, latency_ms INTEGER,"
                " attempts INTEGER)",
                err);
    if (status != TN_OK)
        return status;
    char *sql = sqlite3_mprintf("INSERT INTO \"%w\" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", writer->output->table);
    if (!sql || sqlite3_prepare_v2(writer->db, sql, -1, &writer->insert, NULL) != SQLITE_OK)
        status = refuse(writer->output, writer->db, err);
    sqlite3_free(sql);
    if (status == TN_OK)
        status = job_log_each(log, write_row, writer, err);
    sqlite3_finalize(writer->insert);
    return status == TN_OK ? run_sql(writer, "COMMIT", err) : status;
}

tn_status output_table_write(const batch_output *output, job_log *log, tn_error *err)
{
    table_writer writer = {.output = output};
    tn_status status = open_database(output, &writer.db, err);

    if (status == TN_OK)
        status = write_all_rows(&writer, log, err);
    sqlite3_close(writer.db); /* which undoes what is not committed */
    return status;
}
