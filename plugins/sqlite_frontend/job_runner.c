/* job_runner.c: SQL on a handle of its own.
 *
 * What is left to do is copied to a temporary table first, so that no lock on the database is held while the model
 * works; answers gather in another one and go to the target in short transactions, 64 rows or one second apart. What a
 * killed runner had not written is asked again by the next.
 */
#include "job_runner.h"

#include "inner_query.h"
#include "map_table.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

SQLITE_EXTENSION_INIT3

enum { ROWS_PER_WRITE = 64 };

typedef struct job_runner {
    sqlite3 *db;
    job job;
    client_server server;
    char *service, *query, *target, *options;
} job_runner;

static void destroy(job_runner *runner)
{
    if (!runner)
        return;
    sqlite3_close(runner->db);
    free(runner->service);
    free(runner->query);
    free(runner->target);
    free(runner->options);
    free(runner);
}

/* SQL with the target's name in it; NULL: out of memory. */
static tn_status run_on_target(const job_runner *runner, const char *format, tn_error *err)
{
    char *sql = sqlite3_mprintf(format, runner->target);
    tn_status status =
        sql ? job_execute(runner->db, sql, NULL, 0, err) : tn_fail(err, TN_E_MEMORY, "out of memory for the job");

    sqlite3_free(sql);
    return status;
}

/* The query's rows whose keys the target does not have yet. */
static tn_status list_work(const job_runner *runner, tn_error *err)
{
    sqlite3_stmt *statement;
    tn_status status = inner_query_prepare(runner->db, runner->query, &statement, err);

    if (status != TN_OK)
        return status;
    const char *columns = sqlite3_column_count(statement) == 3 ? "key, prompt, params" : "key, prompt";
    size_t bytes = strlen(runner->query);
    sqlite3_finalize(statement);
    while (bytes > 0 && strchr("; \t\r\n", runner->query[bytes - 1]))
        bytes--;
    char *sql =
        sqlite3_mprintf("INSERT INTO temp.llm_work(%s) SELECT * FROM (%.*s\n)", columns, (int)bytes, runner->query);
    if (!sql)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the job");
    status = job_execute(runner->db, "CREATE TEMP TABLE llm_work(key NOT NULL UNIQUE, prompt, params)", NULL, 0, err);
    if (status == TN_OK)
        status = job_execute(runner->db, sql, NULL, 0, err);
    sqlite3_free(sql);
    if (status == TN_OK)
        status = run_on_target(runner, "DELETE FROM temp.llm_work WHERE key IN (SELECT key FROM main.\"%w\")", err);
    if (status == TN_OK)
        status = run_on_target(runner, "CREATE TEMP TABLE llm_done AS SELECT * FROM main.\"%w\" WHERE 0", err);
    return status;
}

/* Answers that have gathered go to the target. TN_E_CANCELLED: the job is not ours any more. */
static tn_status write_down(const job_runner *runner, tn_error *err)
{
    tn_status status = job_execute(runner->db, "BEGIN IMMEDIATE", NULL, 0, err);

    if (status != TN_OK)
        return status;
    if (!job_progress(runner->db, &runner->job))
        status = tn_fail(err, TN_E_CANCELLED, "the job was cancelled");
    if (status == TN_OK)
        status = run_on_target(runner, "INSERT OR IGNORE INTO main.\"%w\" SELECT * FROM temp.llm_done", err);
    if (status == TN_OK)
        status = job_execute(runner->db, "DELETE FROM temp.llm_done", NULL, 0, err);
    if (status == TN_OK)
        status = job_execute(runner->db, "COMMIT", NULL, 0, err);
    if (status != TN_OK)
        job_execute(runner->db, "ROLLBACK", NULL, 0, NULL);
    return status;
}

static tn_status prepare(const job_runner *runner, sqlite3_stmt **ret_answers, sqlite3_stmt **ret_keep, tn_error *err)
{
    sqlite3 *db = runner->db;
    int code = sqlite3_prepare_v2(
        db,
        "SELECT key, value, status, error_code, error, finish_reason, prompt_tokens, completion_tokens, latency_ms, "
        "attempts FROM llm_map(?1, 'SELECT key, prompt, params FROM temp.llm_work ORDER BY rowid', ?2)",
        -1, ret_answers, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "INSERT INTO temp.llm_done VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", -1,
                                  ret_keep, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(*ret_answers, 1, runner->service, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(*ret_answers, 2, runner->options, -1, SQLITE_STATIC);
    return code == SQLITE_OK ? TN_OK : tn_fail(err, TN_E_IO, "%s", sqlite3_errmsg(db));
}

static int keep_row(sqlite3_stmt *answers, sqlite3_stmt *keep)
{
    int code = SQLITE_OK;

    for (int i = 0; code == SQLITE_OK && i < sqlite3_column_count(answers); i++)
        code = sqlite3_bind_value(keep, i + 1, sqlite3_column_value(answers, i));
    if (code == SQLITE_OK)
        code = sqlite3_step(keep) == SQLITE_DONE ? SQLITE_OK : SQLITE_ERROR;
    sqlite3_reset(keep);
    return code;
}

static tn_status answer_rows(const job_runner *runner, sqlite3_stmt *answers, sqlite3_stmt *keep, tn_error *err)
{
    time_t written = time(NULL);
    tn_status status = TN_OK;
    int code, rows = 0;

    while (status == TN_OK && (code = sqlite3_step(answers)) != SQLITE_DONE) {
        if (code == SQLITE_ROW)
            code = keep_row(answers, keep);
        if (code != SQLITE_OK)
            return tn_fail(err, TN_E_IO, "%s", sqlite3_errmsg(runner->db));
        if (++rows < ROWS_PER_WRITE && time(NULL) == written)
            continue;
        status = write_down(runner, err);
        rows = 0;
        written = time(NULL);
    }
    return status;
}

static tn_status run(job_runner *runner, tn_error *err)
{
    sqlite3_stmt *answers = NULL, *keep = NULL;
    sql_connection *connection;

    tn_status status = sql_connection_create(runner->db, &connection, err);
    if (status != TN_OK)
        return status;
    connection->server = runner->server;
    if (map_table_register(runner->db, connection) != SQLITE_OK)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the job");
    status = list_work(runner, err);
    if (status == TN_OK)
        status = prepare(runner, &answers, &keep, err);
    if (status == TN_OK) {
        tn_error late = TN_ERROR_INIT;
        status = answer_rows(runner, answers, keep, err);
        if (status != TN_E_CANCELLED && write_down(runner, &late) != TN_OK && status == TN_OK)
            status = tn_fail(err, TN_E_IO, "%s", late.msg);
    }
    sqlite3_finalize(answers);
    sqlite3_finalize(keep);
    return status;
}

static void *run_thread(void *context)
{
    job_runner *runner = context;
    tn_error err = TN_ERROR_INIT;
    tn_status status = run(runner, &err);

    job_end(runner->db, &runner->job, status == TN_OK ? "done" : "failed", status == TN_OK ? NULL : err.msg);
    destroy(runner);
    return NULL;
}

/* Signals are the application's: the thread takes none. */
static int start_thread(job_runner *runner)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int code = pthread_create(&thread, &attributes, run_thread, runner);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

tn_status job_runner_start(sqlite3 *db, const sql_connection *connection, const job_text *text, const job *job,
                           tn_error *err)
{
    job_runner *runner = calloc(1, sizeof *runner);

    if (!runner) {
        job_end(db, job, "failed", "out of memory");
        sqlite3_close(db);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the job");
    }
    *runner = (job_runner){.db = db,
                           .job = *job,
                           .server = connection->server,
                           .service = strdup(text->service),
                           .query = strdup(text->query),
                           .target = strdup(text->target),
                           .options = strdup(text->options)};
    if (!runner->service || !runner->query || !runner->target || !runner->options || start_thread(runner) != 0) {
        job_end(db, job, "failed", "no thread or memory for the job");
        destroy(runner);
        return tn_fail(err, TN_E_MEMORY, "no thread or memory for the job");
    }
    return TN_OK;
}
