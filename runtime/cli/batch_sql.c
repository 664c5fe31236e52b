/* batch_sql.c: `tenon batch sql`: a job of SQL's llm_submit, in a process of its own. The database stays the source of
 * what is asked and answered; the extension does the work, here as in any other program that loads it. */
#include "cli/batch.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

enum { END_BUSY_MS = 30000 };

typedef struct sql_flags {
    const char *service, *query, *target, *options, *extension, *server, *end, *message;
    bool json;
} sql_flags;

static tn_status fail_sqlite(sqlite3 *db, const char *path, tn_error *err)
{
    return tn_fail(err, TN_E_IO, "%.200s: %.280s", path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* Only this load: SQL's own load_extension stays off. */
static tn_status load(sqlite3 *db, const char *extension, tn_error *err)
{
    char *message = NULL;

    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    int code = sqlite3_load_extension(db, extension, NULL, &message);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    tn_status status = code == SQLITE_OK
                           ? TN_OK
                           : tn_fail(err, TN_E_IO, "%.200s: %.280s", extension, message ? message : "not loaded");
    sqlite3_free(message);
    return status;
}

/* The first row of sql with texts bound, for the caller to finalize; none is an error. */
static tn_status first_row(sqlite3 *db, const char *path, const char *sql, const char *const *texts, int count,
                           sqlite3_stmt **ret_row, tn_error *err)
{
    int code = sqlite3_prepare_v2(db, sql, -1, ret_row, NULL);

    for (int i = 0; code == SQLITE_OK && i < count; i++)
        code = sqlite3_bind_text(*ret_row, i + 1, texts[i], -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(*ret_row);
    if (code == SQLITE_ROW)
        return TN_OK;
    tn_status status = code == SQLITE_DONE ? tn_fail(err, TN_E_NOT_FOUND, "%.200s: the job is gone", path)
                                           : fail_sqlite(db, path, err);
    sqlite3_finalize(*ret_row);
    *ret_row = NULL;
    return status;
}

static tn_status submit(sqlite3 *db, const char *path, const sql_flags *f, char ret_job[24], tn_error *err)
{
    const char *const texts[] = {f->service, f->query, f->target, f->options};
    sqlite3_stmt *row;

    tn_status status = first_row(db, path, "SELECT llm_server(?1)", &f->server, 1, &row, err);
    if (status != TN_OK)
        return status;
    sqlite3_finalize(row);
    status = first_row(db, path, "SELECT llm_submit(?1, ?2, ?3, ?4)", texts, 4, &row, err);
    if (status != TN_OK)
        return status;
    snprintf(ret_job, 24, "%lld", (long long)sqlite3_column_int64(row, 0));
    sqlite3_finalize(row);
    return TN_OK;
}

/* Where the job is: its state and counts, after a while. */
static tn_status look(sqlite3 *db, const char *path, const char *job, char ret_state[24], job_counts *ret_counts,
                      tn_error *err)
{
    char message[400];
    sqlite3_stmt *row;
    tn_status status = first_row(db, path, "SELECT llm_wait(CAST(?1 AS INTEGER), 200)", &job, 1, &row, err);

    if (status != TN_OK)
        return status;
    sqlite3_finalize(row);
    status =
        first_row(db, path, "SELECT state, rows_done, rows_failed, coalesce(message, '') FROM llm_jobs WHERE id = ?1",
                  &job, 1, &row, err);
    if (status != TN_OK)
        return status;
    snprintf(ret_state, 24, "%s", (const char *)sqlite3_column_text(row, 0));
    uint64_t done = (uint64_t)sqlite3_column_int64(row, 1), failed = (uint64_t)sqlite3_column_int64(row, 2);
    *ret_counts = (job_counts){.ok = done > failed ? done - failed : 0, .failed = failed};
    snprintf(message, sizeof message, "%s", (const char *)sqlite3_column_text(row, 3));
    sqlite3_finalize(row);
    if (strcmp(ret_state, "failed") == 0 || strcmp(ret_state, "cancelled") == 0)
        return tn_fail(err, TN_E_IO, "%.100s, job %s: it is %s%s%s", path, job, ret_state, *message ? ": " : "",
                       message);
    return TN_OK;
}

static void print_counts(job_counts counts)
{
    printf("{\"rows\": %" PRIu64 ", \"ok\": %" PRIu64 ", \"null\": 0, \"error\": %" PRIu64 "}\n",
           counts.ok + counts.failed, counts.ok, counts.failed);
    fflush(stdout);
}

/* Until the job has ended, or a signal says stop: what was not written is asked again by the next. */
static tn_status follow(sqlite3 *db, const char *path, const sql_flags *f, job_counts *ret_counts, tn_error *err)
{
    const batch_watch watch = watch_start("batch");
    char job[24], state[24] = "running";

    tn_status status = submit(db, path, f, job, err);
    while (status == TN_OK && strcmp(state, "running") == 0) {
        if (*watch.stop)
            return tn_fail(err, TN_E_CANCELLED, "stopped; the same command goes on");
        status = look(db, path, job, state, ret_counts, err);
        if (status == TN_OK && f->json)
            print_counts(*ret_counts);
    }
    return status;
}

/* Says in the database that nobody goes on with the target's job, where that says otherwise. */
static tn_status end_job(sqlite3 *db, const char *path, const sql_flags *f, tn_error *err)
{
    const char *const texts[] = {f->target, f->end, f->message};
    sqlite3_stmt *row;

    sqlite3_busy_timeout(db, END_BUSY_MS);
    tn_status status =
        first_row(db, path,
                  "UPDATE llm_jobs SET state = ?2, message = ?3, runner = NULL, updated = "
                  "CURRENT_TIMESTAMP WHERE target = ?1 AND state IN ('submitted', 'running') RETURNING id",
                  texts, 3, &row, err);
    if (status == TN_OK && sqlite3_step(row) != SQLITE_DONE)
        status = fail_sqlite(db, path, err);
    if (status == TN_OK)
        sqlite3_finalize(row);
    return status == TN_E_NOT_FOUND ? TN_OK : status;
}

static int run_end(sqlite3 *db, const char *path, const sql_flags *f)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = end_job(db, path, f, &err);

    if (status != TN_OK)
        fprintf(stderr, "tenon: %s\n", err.msg);
    sqlite3_close(db);
    return status == TN_OK ? 0 : EXIT_FAILURE;
}

static int run_sql(const command *command, int argc, char **argv)
{
    sql_flags f = {.options = "{}", .server = CLIENT_SERVER_DEFAULT};
    const flag flags[] = {
        {"service", "NAME", FLAG_STRING, &f.service, NULL, "the model's name at the server"},
        {"query", "SQL", FLAG_STRING, &f.query, NULL, "gives (key, prompt [, params])"},
        {"target", "TABLE", FLAG_STRING, &f.target, NULL, "takes the answers"},
        {"options", "JSON", FLAG_STRING, &f.options, NULL, "of llm_submit (default {})"},
        {"extension", "FILE", FLAG_STRING, &f.extension, NULL, "tenon_sqlite.so"},
        {"server", "ADDRESS", FLAG_STRING, &f.server, NULL, "unix:/PATH or http://HOST:PORT"},
        {"end", "STATE", FLAG_STRING, &f.end, NULL,
         "cancelled or failed: only says so in the database, of one that runs"},
        {"message", "TEXT", FLAG_STRING, &f.message, NULL, "with --end: why"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "how far it is, as lines of JSON on standard output"},
    };
    job_counts counts = {0};
    sqlite3 *db = NULL;
    args a;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    const char *path = a.positional[0];
    if (!f.target || (!f.end && (!f.service || !f.query || !f.extension))) {
        fprintf(stderr, "tenon batch sql: --service, --query, --target and --extension are all needed\n");
        args_finish(&a);
        return EXIT_USAGE;
    }
    const bool open = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) == SQLITE_OK;
    if (open && f.end) {
        code = run_end(db, path, &f);
        args_finish(&a);
        return code;
    }
    tn_status status = open ? load(db, f.extension, &err) : fail_sqlite(db, path, &err);
    if (status == TN_OK)
        status = follow(db, path, &f, &counts, &err);
    code = watch_finish(f.json ? NULL : path, status, &counts, &err);
    fflush(NULL);
    /* Not closed: a runner's thread may use the extension; what it has not written is asked again. */
    _exit(code);
}

const command command_batch_sql = {
    .name = "batch sql",
    .arguments = "DATABASE",
    .summary = "run a job of SQLite's llm_submit in a process of its own",
    .help =
        "What `SELECT llm_submit(SERVICE, QUERY, TARGET, OPTIONS)` begins, from here and until it has ended. The job "
        "is in "
        "the\n"
        "database: after a kill, the same command, or the same statement, goes on with the keys that have no answer.",
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_sql,
};
