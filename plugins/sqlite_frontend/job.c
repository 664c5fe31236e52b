/* job.c: see job.h. */
#include "job.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

SQLITE_EXTENSION_INIT3

enum { BUSY_MS = 30000 };

static const char jobs_table[] =
    "CREATE TABLE IF NOT EXISTS llm_jobs(id INTEGER PRIMARY KEY, service TEXT NOT NULL, query TEXT NOT NULL, "
    "target TEXT NOT NULL UNIQUE, options TEXT NOT NULL, state TEXT NOT NULL, message TEXT, "
    "rows_done INTEGER NOT NULL DEFAULT 0, rows_failed INTEGER NOT NULL DEFAULT 0, runner TEXT, "
    "created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, updated TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)";

static tn_status fail_sqlite(sqlite3 *db, tn_error *err)
{
    return tn_fail(err, sqlite3_errcode(db) == SQLITE_NOMEM ? TN_E_MEMORY : TN_E_IO, "%s", sqlite3_errmsg(db));
}

tn_status job_database_open(sqlite3 *of, sqlite3 **ret_db, tn_error *err)
{
    const char *path = sqlite3_db_filename(of, "main");
    sqlite3 *db = NULL;

    if (!path || !*path)
        return tn_fail(err, TN_E_UNSUPPORTED, "a job needs a database in a file: it outlives the connection");
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK) {
        tn_status status = tn_fail(err, TN_E_IO, "'%.300s': %s", path, db ? sqlite3_errmsg(db) : "out of memory");
        sqlite3_close(db);
        return status;
    }
    if (!sqlite3_db_mutex(db)) { /* built without threads, or configured so: then no handle has one */
        sqlite3_close(db);
        return tn_fail(err, TN_E_UNSUPPORTED, "this SQLite runs without threads, which jobs need");
    }
    sqlite3_busy_timeout(db, BUSY_MS);
    *ret_db = db;
    return TN_OK;
}

tn_status job_execute(sqlite3 *db, const char *sql, const char *const *texts, int count, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    for (int i = 0; code == SQLITE_OK && i < count; i++)
        code = sqlite3_bind_text(statement, i + 1, texts[i], -1, SQLITE_STATIC);
    while (code == SQLITE_OK || code == SQLITE_ROW)
        code = sqlite3_step(statement);
    tn_status status = code == SQLITE_DONE ? TN_OK : fail_sqlite(db, err);
    sqlite3_finalize(statement);
    return status;
}

/* "PID/START" of a process, its start in clock ticks since boot; "" if there is no such process. */
static void describe_process(long pid, char *text, size_t capacity)
{
    char path[64], stat[1024];
    FILE *file;

    text[0] = '\0';
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    file = fopen(path, "re");
    if (!file)
        return;
    size_t bytes = fread(stat, 1, sizeof stat - 1, file);
    fclose(file);
    stat[bytes] = '\0';
    const char *field = strrchr(stat, ')'); /* ends the program's name, the second field; the start is the 22nd */
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field)
        snprintf(text, capacity, "%ld/%.20s", pid, field + 1);
    char *end = strchr(text, ' ');
    if (end)
        *end = '\0';
}

static bool is_alive(const char *runner)
{
    char now[64];

    describe_process(strtol(runner, NULL, 10), now, sizeof now);
    size_t bytes = strlen(now);
    return bytes > 0 && strncmp(now, runner, bytes) == 0 && runner[bytes] == '/';
}

/* "PID/START/NUMBER": a thread whose job was cancelled and taken again is not the one that took it. */
static void name_runner(char *text, size_t capacity)
{
    static atomic_uint number;
    char process[48];

    describe_process(getpid(), process, sizeof process);
    snprintf(text, capacity, "%s/%u", process, atomic_fetch_add(&number, 1));
}

static tn_status make_target(sqlite3 *db, const char *target, tn_error *err)
{
    char *sql = sqlite3_mprintf("CREATE TABLE IF NOT EXISTS \"%w\"(key NOT NULL UNIQUE, value TEXT, status TEXT, "
                                "error_code TEXT, error TEXT, finish_reason TEXT, prompt_tokens INTEGER, "
                                "completion_tokens INTEGER, latency_ms INTEGER, attempts INTEGER)",
                                target);
    tn_status status =
        sql ? job_execute(db, sql, NULL, 0, err) : tn_fail(err, TN_E_MEMORY, "out of memory for the job");

    sqlite3_free(sql);
    return status;
}

/* Whether column `index` of the current row is text. */
static bool is_text(sqlite3_stmt *statement, int index, const char *text)
{
    const char *found = (const char *)sqlite3_column_text(statement, index);
    return found && strcmp(found, text) == 0;
}

/* Reads the target's job into ret_job; its id stays 0 if there is none yet. */
static tn_status find_job(sqlite3 *db, const job_text *text, job *ret_job, bool *ret_running, tn_error *err)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(
        db, "SELECT id, state, coalesce(runner, ''), service, query, options FROM llm_jobs WHERE target = ?1", -1,
        &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, text->target, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    tn_status status = TN_OK;
    if (code == SQLITE_ROW) {
        if (is_text(statement, 3, text->service) && is_text(statement, 4, text->query) &&
            is_text(statement, 5, text->options)) {
            const char *runner = (const char *)sqlite3_column_text(statement, 2);
            ret_job->id = sqlite3_column_int64(statement, 0);
            *ret_running = is_text(statement, 1, "running") && runner && is_alive(runner);
        } else {
            status = tn_fail(err, TN_E_ARGUMENT,
                             "'%.200s' belongs to job %lld with another service, query or options; delete that from "
                             "llm_jobs, or choose another target",
                             text->target, (long long)sqlite3_column_int64(statement, 0));
        }
    } else if (code != SQLITE_DONE) {
        status = fail_sqlite(db, err);
    }
    sqlite3_finalize(statement);
    return status;
}

static tn_status take_job(sqlite3 *db, const job_text *text, const char *state, job *job, tn_error *err)
{
    const char *texts[] = {text->service, text->query, text->target, text->options, job->runner, state};
    tn_status status = job_execute(
        db,
        "INSERT INTO llm_jobs(service, query, target, options, state, runner) VALUES (?1, ?2, ?3, ?4, ?6, ?5) "
        "ON CONFLICT(target) DO UPDATE SET state = ?6, message = NULL, runner = ?5, updated = CURRENT_TIMESTAMP",
        texts, 6, err);

    if (status == TN_OK && job->id == 0)
        job->id = sqlite3_last_insert_rowid(db);
    return status;
}

/* Makes what is missing and puts the job into `state`, unless a living runner has it. */
static tn_status enter(sqlite3 *db, const job_text *text, const char *state, job *ret_job, bool *ret_running,
                       tn_error *err)
{
    job job = *ret_job;
    bool running = false;

    tn_status status = job_execute(db, "BEGIN IMMEDIATE", NULL, 0, err);
    if (status != TN_OK)
        return status;
    status = job_execute(db, jobs_table, NULL, 0, err);
    if (status == TN_OK)
        status = find_job(db, text, &job, &running, err);
    if (status == TN_OK)
        status = make_target(db, text->target, err);
    if (status == TN_OK && !running)
        status = take_job(db, text, state, &job, err);
    if (status == TN_OK)
        status = job_execute(db, "COMMIT", NULL, 0, err);
    if (status != TN_OK) {
        job_execute(db, "ROLLBACK", NULL, 0, NULL);
        return status;
    }
    *ret_job = job;
    *ret_running = running;
    return TN_OK;
}

tn_status job_claim(sqlite3 *db, const job_text *text, job *ret_job, bool *ret_taken, tn_error *err)
{
    job job = {.id = 0};
    bool running;

    name_runner(job.runner, sizeof job.runner);
    tn_status status = enter(db, text, "running", &job, &running, err);
    if (status != TN_OK)
        return status;
    *ret_job = job;
    *ret_taken = !running;
    return TN_OK;
}

tn_status job_register(sqlite3 *db, const job_text *text, job *ret_job, bool *ret_running, tn_error *err)
{
    job job = {.id = 0};
    tn_status status = enter(db, text, "submitted", &job, ret_running, err);

    if (status == TN_OK)
        *ret_job = job;
    return status;
}

/* Runs sql with ?1 the id and ?2 the runner, and ?3, ?4 as given; the rows that it changed. */
static int change_job(sqlite3 *db, const job *job, const char *sql, const char *third, const char *fourth)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);

    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, job->id);
        sqlite3_bind_text(statement, 2, job->runner, -1, SQLITE_STATIC);
        if (third)
            sqlite3_bind_text(statement, 3, third, -1, SQLITE_STATIC);
        if (fourth)
            sqlite3_bind_text(statement, 4, fourth, -1, SQLITE_STATIC);
        code = sqlite3_step(statement);
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? sqlite3_changes(db) : 0;
}

bool job_progress(sqlite3 *db, const job *job, int rows_done, int rows_failed)
{
    char done[16], failed[16];

    snprintf(done, sizeof done, "%d", rows_done);
    snprintf(failed, sizeof failed, "%d", rows_failed);
    return change_job(db, job,
                      "UPDATE llm_jobs SET updated = CURRENT_TIMESTAMP, rows_done = rows_done + CAST(?3 AS INTEGER), "
                      "rows_failed = rows_failed + CAST(?4 AS INTEGER) "
                      "WHERE id = ?1 AND runner = ?2 AND state = 'running'",
                      done, failed) == 1;
}

void job_end(sqlite3 *db, const job *job, const char *state, const char *message)
{
    change_job(db, job,
               "UPDATE llm_jobs SET state = ?3, message = ?4, runner = NULL, updated = CURRENT_TIMESTAMP "
               "WHERE id = ?1 AND runner = ?2 AND state = 'running'",
               state, message);
}
