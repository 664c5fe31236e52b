/* job_functions.c: see job_functions.h. */
#include "job_functions.h"

#include "base/clock.h"
#include "inner_query.h"
#include "job_runner.h"

#include <string.h>

SQLITE_EXTENSION_INIT3

enum { POLL_MS = 50 };

static void raise(sqlite3_context *context, const char *name, tn_status status, const tn_error *err)
{
    char *text = sql_told(name, err->msg);

    if (status == TN_E_CANCELLED)
        sqlite3_result_error_code(context, SQLITE_INTERRUPT);
    else
        sqlite3_result_error(context, text ? text : err->msg, -1);
    sqlite3_free(text);
}

/* What can be known to be wrong before the job begins. */
static tn_status check(sqlite3 *db, const job_text *text, tn_error *err)
{
    sqlite3_stmt *statement;
    run_options options;

    tn_status status = run_options_parse(text->options, strlen(text->options), ON_ERROR_DETAIL, &options, err);
    if (status != TN_OK)
        return status;
    run_options_finish(&options);
    status = inner_query_prepare(db, text->query, &statement, err);
    if (status == TN_OK)
        sqlite3_finalize(statement);
    return status;
}

static tn_status submit(sql_connection *connection, const job_text *text, sqlite3_int64 *ret_id, tn_error *err)
{
    sqlite3 *db;
    job job;
    bool taken;

    tn_status status = job_database_open(connection->db, &db, err);
    if (status != TN_OK)
        return status;
    status = check(db, text, err);
    if (status == TN_OK)
        status = job_claim(db, text, &job, &taken, err);
    if (status == TN_OK && taken)
        status = job_runner_start(db, connection, text, &job, err);
    else
        sqlite3_close(db);
    if (status == TN_OK)
        *ret_id = job.id;
    return status;
}

/* What llm_submit and llm_submit_daemon differ in: who runs the job. */
typedef tn_status job_taker(sql_connection *connection, const job_text *text, sqlite3_int64 *ret_id, tn_error *err);

static void take_job(sqlite3_context *context, int count, sqlite3_value **arguments, const char *function,
                     job_taker *taker)
{
    const char *texts[4] = {NULL, NULL, NULL, "{}"};
    sqlite3_int64 id;
    tn_error err = TN_ERROR_INIT;

    for (int i = 0; i < count; i++)
        if (!(texts[i] = (const char *)sqlite3_value_text(arguments[i])))
            return; /* NULL in, NULL out */
    job_text text = {texts[0], texts[1], texts[2], texts[3]};
    tn_status status = taker(sqlite3_user_data(context), &text, &id, &err);
    if (status == TN_OK)
        sqlite3_result_int64(context, id);
    else
        raise(context, function, status, &err);
}

static void llm_submit(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    take_job(context, count, arguments, "llm_submit", submit);
}

/* ---- to the daemon ---- */

static tn_status ask_daemon(sql_connection *connection, const char *path, const job_text *text, tn_error *err)
{
    json_t *body = json_pack("{s:s, s:s, s:s, s:s, s:s}", "database", path, "service", text->service, "query",
                             text->query, "target", text->target, "options", text->options);
    client_request request = {"/admin/v1/jobs", body ? json_dumps(body, JSON_COMPACT) : NULL};
    client_answer answer;

    json_decref(body);
    if (!request.body)
        return tn_fail(err, TN_E_ARGUMENT, "a text is not UTF-8, or memory is out");
    tn_status status = sql_connection_call(connection, request, NULL, false, &answer, err);
    if (status != TN_OK)
        return status;
    if (answer.kind != ANSWER_OK)
        status = tn_fail(err, TN_E_ARGUMENT, "the daemon does not take the job: %s", answer.message);
    client_answer_finish(&answer);
    return status;
}

/* What no daemon took is not left as if one had. */
static void mark_failed(sqlite3 *db, const char *target, const tn_error *why)
{
    const char *texts[] = {target, why->msg};

    job_execute(db, "UPDATE llm_jobs SET state = 'failed', message = ?2 WHERE target = ?1 AND state = 'submitted'",
                texts, 2, NULL);
}

static tn_status hand_over(sql_connection *connection, const job_text *text, sqlite3_int64 *ret_id, tn_error *err)
{
    sqlite3 *db;
    job job;
    bool running = false;

    tn_status status = job_database_open(connection->db, &db, err);
    if (status != TN_OK)
        return status;
    status = check(db, text, err);
    if (status == TN_OK)
        status = job_register(db, text, &job, &running, err);
    if (status == TN_OK && !running) {
        status = ask_daemon(connection, sqlite3_db_filename(connection->db, "main"), text, err);
        if (status != TN_OK && err)
            mark_failed(db, text->target, err);
    }
    sqlite3_close(db);
    if (status == TN_OK)
        *ret_id = job.id;
    return status;
}

static void llm_submit_daemon(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    take_job(context, count, arguments, "llm_submit_daemon", hand_over);
}

/* ---- waiting ---- */

/* The job's state now, as malloc'd text (sqlite3_free). */
static tn_status read_state(sqlite3 *db, sqlite3_int64 id, char **ret_state, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT state FROM llm_jobs WHERE id = ?1", -1, &statement, NULL);

    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, id);
        code = sqlite3_step(statement);
    }
    tn_status status = TN_OK;
    if (code == SQLITE_ROW)
        *ret_state = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
    else if (code == SQLITE_DONE)
        status = tn_fail(err, TN_E_NOT_FOUND, "there is no job %lld", (long long)id);
    else
        status = tn_fail(err, TN_E_IO, "%s", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    if (status == TN_OK && !*ret_state)
        return tn_fail(err, TN_E_MEMORY, "out of memory");
    return status;
}

static tn_status wait_for(const sql_connection *connection, sqlite3_int64 id, uint64_t ms, char **ret_state,
                          tn_error *err)
{
    uint64_t end = clock_ms() + ms;
    sqlite3 *db;

    tn_status status = job_database_open(connection->db, &db, err);
    if (status != TN_OK)
        return status;
    for (;;) {
        status = read_state(db, id, ret_state, err);
        if (status != TN_OK || (strcmp(*ret_state, "running") != 0 && strcmp(*ret_state, "submitted") != 0) ||
            clock_ms() >= end)
            break;
        sqlite3_free(*ret_state);
        *ret_state = NULL;
        sqlite3_sleep(POLL_MS);
        if (!sql_wait(connection->db, -1, 0)) {
            status = tn_fail(err, TN_E_CANCELLED, "interrupted");
            break;
        }
    }
    sqlite3_close(db);
    return status;
}

/* Reads through another handle: the application's may be inside a transaction, and see the past. */
static void llm_wait(sqlite3_context *context, int count, sqlite3_value **arguments)
{
    uint64_t ms = UINT32_MAX;
    char *state = NULL;
    tn_error err = TN_ERROR_INIT;

    for (int i = 0; i < count; i++)
        if (sqlite3_value_type(arguments[i]) == SQLITE_NULL)
            return;
    if (count > 1)
        ms = sqlite3_value_int64(arguments[1]) > 0 ? (uint64_t)sqlite3_value_int64(arguments[1]) : 0;
    tn_status status = wait_for(sqlite3_user_data(context), sqlite3_value_int64(arguments[0]), ms, &state, &err);
    if (status == TN_OK)
        sqlite3_result_text(context, state, -1, SQLITE_TRANSIENT);
    else
        raise(context, "llm_wait", status, &err);
    sqlite3_free(state);
}

int job_functions_register(sqlite3 *db, sql_connection *connection)
{
    const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    int code = SQLITE_OK;

    for (int count = 3; code == SQLITE_OK && count <= 4; count++)
        code = sqlite3_create_function_v2(db, "llm_submit", count, flags, sql_connection_retain(connection), llm_submit,
                                          NULL, NULL, sql_connection_release);
    for (int count = 3; code == SQLITE_OK && count <= 4; count++)
        code = sqlite3_create_function_v2(db, "llm_submit_daemon", count, flags, sql_connection_retain(connection),
                                          llm_submit_daemon, NULL, NULL, sql_connection_release);
    for (int count = 1; code == SQLITE_OK && count <= 2; count++)
        code = sqlite3_create_function_v2(db, "llm_wait", count, flags, sql_connection_retain(connection), llm_wait,
                                          NULL, NULL, sql_connection_release);
    return code;
}
