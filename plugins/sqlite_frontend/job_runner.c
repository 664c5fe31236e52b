/* job_runner.c: two handles of its own.
 *
 * A statement over llm_map holds a read lock on its handle's database for as long as the model works. So what is left
 * to do is copied to a temporary database first, where that statement runs; the application's is only touched in short
 * transactions that write answers down, 64 rows or one second apart. What a killed runner had not written is asked
 * again by the next. A row whose connection broke has no answer, and is asked again in a further round, until a round
 * brings no other answers: the server, or this runner with it, may be about to be killed.
 */
#include "job_runner.h"

#include "base/utf8.h"
#include "client/run_options.h"
#include "inner_query.h"
#include "map_table.h"

#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

SQLITE_EXTENSION_INIT3

enum { ROWS_PER_WRITE = 64, COLUMNS = 10, STATUS_COLUMN = 2, LOST_COLUMN = COLUMNS };

typedef struct job_runner {
    sqlite3 *db;      /* the application's database */
    sqlite3 *scratch; /* llm_work(key, prompt, params): what is left to do; llm_lost(key): of it, in this round */
    job job;
    client_server server;
    char *service, *query, *target, *options;     /* options: what the round is asked with */
    bool hides_errors;                            /* on_error is 'null', which the rounds are not asked with */
    sqlite3_value *kept[ROWS_PER_WRITE][COLUMNS]; /* owned: answers that are not written down yet */
    int kept_count;
    bool tells_lost;              /* a row whose connection breaks is an error: the round before brought nothing else */
    uint64_t lost, kept_in_round; /* rows of this round */
} job_runner;

static void forget_kept(job_runner *runner)
{
    for (int row = 0; row < runner->kept_count; row++)
        for (int i = 0; i < COLUMNS; i++)
            sqlite3_value_free(runner->kept[row][i]);
    runner->kept_count = 0;
}

static void destroy(job_runner *runner)
{
    if (!runner)
        return;
    forget_kept(runner);
    sqlite3_close(runner->scratch);
    sqlite3_close(runner->db);
    free(runner->service);
    free(runner->query);
    free(runner->target);
    free(runner->options);
    free(runner);
}

static tn_status fail_sqlite(sqlite3 *db, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%s", sqlite3_errmsg(db));
}

/* A statement on the application's database with the target's name for %w. */
static tn_status prepare_on_target(const job_runner *runner, const char *format, sqlite3_stmt **ret_statement,
                                   tn_error *err)
{
    char *sql = sqlite3_mprintf(format, runner->target);
    int code = sql ? sqlite3_prepare_v2(runner->db, sql, -1, ret_statement, NULL) : SQLITE_NOMEM;

    sqlite3_free(sql);
    return code == SQLITE_OK ? TN_OK : fail_sqlite(runner->db, err);
}

/* The current row of `rows` goes to `work`, unless `known` finds its key. */
static tn_status copy_row(const job_runner *runner, sqlite3_stmt *rows, sqlite3_stmt *known, sqlite3_stmt *work,
                          tn_error *err)
{
    sqlite3_bind_value(known, 1, sqlite3_column_value(rows, 0));
    int code = sqlite3_step(known);
    sqlite3_reset(known);
    if (code == SQLITE_ROW)
        return TN_OK;
    if (code != SQLITE_DONE)
        return fail_sqlite(runner->db, err);
    for (int i = 0; i < sqlite3_column_count(rows); i++)
        sqlite3_bind_value(work, i + 1, sqlite3_column_value(rows, i));
    code = sqlite3_step(work);
    sqlite3_reset(work);
    if (code == SQLITE_CONSTRAINT)
        return tn_fail(err, TN_E_ARGUMENT, "the query's keys must be unique and not NULL: '%.100s' is not",
                       sqlite3_column_type(rows, 0) == SQLITE_NULL ? "NULL"
                                                                   : (const char *)sqlite3_column_text(rows, 0));
    return code == SQLITE_DONE ? TN_OK : fail_sqlite(runner->scratch, err);
}

static tn_status copy_rows(const job_runner *runner, sqlite3_stmt *rows, tn_error *err)
{
    sqlite3_stmt *known = NULL, *work = NULL;
    int code = SQLITE_ROW;

    tn_status status = prepare_on_target(runner, "SELECT 1 FROM \"%w\" WHERE key = ?1", &known, err);
    if (status == TN_OK &&
        sqlite3_prepare_v2(runner->scratch, "INSERT INTO llm_work VALUES (?1, ?2, ?3)", -1, &work, NULL) != SQLITE_OK)
        status = fail_sqlite(runner->scratch, err);
    while (status == TN_OK && (code = sqlite3_step(rows)) == SQLITE_ROW)
        status = copy_row(runner, rows, known, work, err);
    if (status == TN_OK && code != SQLITE_DONE)
        status = fail_sqlite(runner->db, err);
    sqlite3_finalize(known);
    sqlite3_finalize(work);
    return status;
}

/* The query's rows whose keys the target does not have yet. */
static tn_status list_work(const job_runner *runner, tn_error *err)
{
    sqlite3_stmt *rows;

    tn_status status = inner_query_prepare(runner->db, runner->query, &rows, err);
    if (status != TN_OK)
        return status;
    status = job_execute(runner->scratch, "CREATE TABLE llm_work(key NOT NULL UNIQUE, prompt, params)", NULL, 0, err);
    if (status == TN_OK)
        status = job_execute(runner->scratch, "CREATE TABLE llm_lost(key NOT NULL UNIQUE)", NULL, 0, err);
    if (status == TN_OK)
        status = job_execute(runner->scratch, "BEGIN", NULL, 0, err);
    if (status == TN_OK)
        status = copy_rows(runner, rows, err);
    if (status == TN_OK)
        status = job_execute(runner->scratch, "COMMIT", NULL, 0, err);
    sqlite3_finalize(rows);
    return status;
}

static tn_status insert_kept(const job_runner *runner, tn_error *err)
{
    sqlite3_stmt *insert;
    tn_status status = prepare_on_target(
        runner, "INSERT OR IGNORE INTO \"%w\" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", &insert, err);

    if (status != TN_OK)
        return status;
    for (int row = 0; status == TN_OK && row < runner->kept_count; row++) {
        for (int i = 0; i < COLUMNS; i++)
            sqlite3_bind_value(insert, i + 1, runner->kept[row][i]);
        if (sqlite3_step(insert) != SQLITE_DONE)
            status = fail_sqlite(runner->db, err);
        sqlite3_reset(insert);
    }
    sqlite3_finalize(insert);
    return status;
}

static int count_failed(const job_runner *runner)
{
    int failed = 0;

    for (int row = 0; row < runner->kept_count; row++) {
        const char *text = (const char *)sqlite3_value_text(runner->kept[row][STATUS_COLUMN]);
        failed += text && strcmp(text, "error") == 0;
    }
    return failed;
}

/* Answers that have gathered go to the target. TN_E_CANCELLED: the job is not ours any more. */
static tn_status write_down(job_runner *runner, tn_error *err)
{
    tn_status status = job_execute(runner->db, "BEGIN IMMEDIATE", NULL, 0, err);

    if (status != TN_OK)
        return status;
    if (!job_progress(runner->db, &runner->job, runner->kept_count, count_failed(runner)))
        status = tn_fail(err, TN_E_CANCELLED, "the job was cancelled");
    if (status == TN_OK)
        status = insert_kept(runner, err);
    if (status == TN_OK)
        status = job_execute(runner->db, "COMMIT", NULL, 0, err);
    if (status != TN_OK)
        job_execute(runner->db, "ROLLBACK", NULL, 0, NULL);
    forget_kept(runner);
    return status;
}

static tn_status keep_row(job_runner *runner, sqlite3_stmt *answers, tn_error *err)
{
    sqlite3_value **row = runner->kept[runner->kept_count];
    int copied = 0;

    while (copied < COLUMNS && (row[copied] = sqlite3_value_dup(sqlite3_column_value(answers, copied))))
        copied++;
    if (copied < COLUMNS) { /* half a row is none */
        while (copied > 0)
            sqlite3_value_free(row[--copied]);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the job");
    }
    runner->kept_count++;
    runner->kept_in_round++;
    return TN_OK;
}

static tn_status note_lost(job_runner *runner, sqlite3_stmt *answers, tn_error *err)
{
    sqlite3_stmt *insert;

    runner->lost++;
    if (sqlite3_prepare_v2(runner->scratch, "INSERT INTO llm_lost VALUES (?1)", -1, &insert, NULL) != SQLITE_OK)
        return fail_sqlite(runner->scratch, err);
    sqlite3_bind_value(insert, 1, sqlite3_column_value(answers, 0));
    sqlite3_step(insert);
    return sqlite3_finalize(insert) == SQLITE_OK ? TN_OK : fail_sqlite(runner->scratch, err);
}

/* The work of the next round: the rows that this one lost. */
static tn_status keep_lost_work(const job_runner *runner, tn_error *err)
{
    tn_status status =
        job_execute(runner->scratch, "DELETE FROM llm_work WHERE key NOT IN (SELECT key FROM llm_lost)", NULL, 0, err);

    return status == TN_OK ? job_execute(runner->scratch, "DELETE FROM llm_lost", NULL, 0, err) : status;
}

static tn_status answer_rows(job_runner *runner, sqlite3_stmt *answers, tn_error *err)
{
    time_t written = time(NULL);
    tn_status status = TN_OK;
    int code;

    while (status == TN_OK && (code = sqlite3_step(answers)) != SQLITE_DONE) {
        if (code != SQLITE_ROW)
            return fail_sqlite(runner->scratch, err);
        bool is_lost = !runner->tells_lost && sqlite3_column_int(answers, LOST_COLUMN);
        status = is_lost ? note_lost(runner, answers, err) : keep_row(runner, answers, err);
        if (status == TN_OK && (runner->kept_count == ROWS_PER_WRITE || time(NULL) != written)) {
            status = write_down(runner, err);
            written = time(NULL);
        }
    }
    return status;
}

static tn_status open_scratch(job_runner *runner, tn_error *err)
{
    sql_connection *connection;

    if (sqlite3_open_v2("", &runner->scratch, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return tn_fail(err, TN_E_IO, "no temporary database for the job");
    tn_status status = sql_connection_create(runner->scratch, &connection, err);
    if (status != TN_OK)
        return status;
    connection->server = runner->server;
    if (map_table_register(runner->scratch, connection) != SQLITE_OK)
        status = tn_fail(err, TN_E_MEMORY, "out of memory for the job");
    sql_connection_release(connection); /* the table holds it */
    return status;
}

/* Asks what is in llm_work, once. */
static tn_status run_round(job_runner *runner, tn_error *err)
{
    static const char sql[] =
        "SELECT key, value, status, iif(?3, NULL, error_code), iif(?3, NULL, error), finish_reason, prompt_tokens, "
        "completion_tokens, latency_ms, attempts, error_code IS 'connection_lost' "
        "FROM llm_map(?1, 'SELECT key, prompt, params FROM llm_work ORDER BY rowid', ?2)";
    sqlite3_stmt *answers = NULL;
    tn_error late = TN_ERROR_INIT;

    if (sqlite3_prepare_v2(runner->scratch, sql, -1, &answers, NULL) != SQLITE_OK)
        return fail_sqlite(runner->scratch, err);
    sqlite3_bind_text(answers, 1, runner->service, -1, SQLITE_STATIC);
    sqlite3_bind_text(answers, 2, runner->options, -1, SQLITE_STATIC);
    sqlite3_bind_int(answers, 3, runner->hides_errors);
    tn_status status = answer_rows(runner, answers, err);
    if (status != TN_E_CANCELLED && write_down(runner, &late) != TN_OK && status == TN_OK)
        status = tn_fail(err, TN_E_IO, "%s", late.msg);
    sqlite3_finalize(answers);
    return status;
}

/* value: moved. */
static tn_status set_option(job_runner *runner, const char *key, json_t *value, tn_error *err)
{
    json_t *root = json_loads(*runner->options ? runner->options : "{}", JSON_REJECT_DUPLICATES, NULL);
    char *text = json_object_set_new(root, key, value) == 0 ? json_dumps(root, JSON_COMPACT) : NULL;

    json_decref(root);
    if (!text)
        return tn_fail(err, TN_E_MEMORY, "out of memory for the options");
    free(runner->options);
    runner->options = text;
    return TN_OK;
}

/* Which rows were lost is in their code, so the rounds are asked for that whatever becomes of it. */
static tn_status ask_for_codes(job_runner *runner, tn_error *err)
{
    run_options options;
    tn_status status = run_options_parse(runner->options, strlen(runner->options), ON_ERROR_DETAIL, &options, err);

    if (status != TN_OK)
        return status;
    runner->hides_errors = options.on_error == ON_ERROR_NULL;
    run_options_finish(&options);
    return runner->hides_errors ? set_option(runner, "on_error", json_string("detail"), err) : TN_OK;
}

/* The first rows of a further round were bad ones before, and say nothing of the others. */
static tn_status prepare_next_round(job_runner *runner, tn_error *err)
{
    tn_status status = keep_lost_work(runner, err);

    return status == TN_OK ? set_option(runner, "breaker", json_false(), err) : status;
}

static tn_status run(job_runner *runner, tn_error *err)
{
    tn_status status = open_scratch(runner, err);

    if (status == TN_OK)
        status = ask_for_codes(runner, err);
    if (status == TN_OK)
        status = list_work(runner, err);
    do {
        runner->lost = runner->kept_in_round = 0;
        if (status == TN_OK)
            status = run_round(runner, err);
        if (status == TN_OK && runner->lost > 0)
            status = prepare_next_round(runner, err);
        runner->tells_lost = runner->kept_in_round == 0;
    } while (status == TN_OK && runner->lost > 0);
    return status;
}

static void *run_thread(void *context)
{
    job_runner *runner = context;
    tn_error err = TN_ERROR_INIT;
    tn_status status = run(runner, &err);

    utf8_repair(err.msg); /* may quote a key, cut */
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
