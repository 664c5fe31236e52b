/* worker.c: a job's steps, each begun again by the next daemon if this one dies in it.
 *
 * A batch: its file is checked by a process (its bytes are a stranger's), run by another, which goes on where its row
 * log ends, and what has been answered becomes two files of the store, whose ids were drawn when the batch was made.
 * A command is run alone: its output is where its owner wanted it. A run that ends by itself before the end is tried
 * again, as long as rows get answered in between.
 */
#include "jobs/state.h"

#include "base/clock.h"
#include "batch/output.h"
#include "file/directory.h"
#include "jobs/process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    WORDS = 96,
    TRIES = 4,     /* of a run without an answer in between */
    LOOK_MS = 100, /* for a service that comes up */
    STOP_MS = 2000,
    CANCEL_MS = 30000,
    ORPHAN_MS = 10000, /* that a run of a daemon that was killed gets to end */
    EXIT_DONE = 0,
    EXIT_ROWS_FAILED = 3
};

/* Rows wait behind everybody else: what bounds them is the job's own time. An engine that hangs is ended by its
 * service, and a row of it is asked again. */
#define ROW_TIMEOUT_S "86400"

typedef struct work {
    jobs *jobs;
    const char *id;
    json_t *job;       /* owned: as it was when the work began */
    uint64_t asked_ms; /* when its process was told to end; 0: it was not */
    bool killed;
    bool begun_before; /* by another daemon, whose process may still be there */
    bool counted;      /* the process has said how far it is */
    json_int_t answered;
    json_t *said; /* owned: its last line */
    int errors;   /* owned: a file in memory of what it says is wrong, since a full disk has no room for that; -1: none
                     yet */
} work;

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static const json_t *task_of(const work *w)
{
    return json_object_get(w->job, "task");
}

static bool is_kind(const work *w, const char *kind)
{
    return strcmp(text_of(task_of(w), "kind"), kind) == 0;
}

static bool is_batch(const work *w)
{
    return is_kind(w, "batch");
}

/* ---- why it may have to end ---- */

typedef enum demand { GO_ON, STOP, CANCEL, EXPIRE } demand;

static demand demand_on(const work *w)
{
    pthread_mutex_lock(&w->jobs->lock);
    const json_t *job = jobs_look(w->jobs, w->id);
    bool cancelled = strcmp(text_of(job, "status"), "cancelling") == 0;
    bool expired = is_batch(w) && json_integer_value(json_object_get(job, "expires_at")) <= (json_int_t)time(NULL);
    demand demand = w->jobs->stopping ? STOP : cancelled ? CANCEL : expired ? EXPIRE : GO_ON;
    pthread_mutex_unlock(&w->jobs->lock);
    return demand;
}

/* A process is asked to end first, which keeps the answers of its rows in flight. */
static int end_it(work *w, demand demand)
{
    if (!w->asked_ms) {
        w->asked_ms = clock_ms();
        return SIGTERM;
    }
    if (w->killed || clock_ms() < w->asked_ms + (demand == STOP ? STOP_MS : CANCEL_MS))
        return 0;
    w->killed = true;
    return SIGKILL;
}

static int signal_on_demand(void *ctx)
{
    const demand demand = demand_on(ctx);
    return demand == GO_ON ? 0 : end_it(ctx, demand);
}

/* For the check of a file, by which an expired batch knows its rows. */
static int signal_on_cancel(void *ctx)
{
    const demand demand = demand_on(ctx);
    return demand == STOP || demand == CANCEL ? end_it(ctx, demand) : 0;
}

/* For what is done of a job that ends, too. */
static int signal_on_stop(void *ctx)
{
    return demand_on(ctx) == STOP ? end_it(ctx, STOP) : 0;
}

/* Waits, but not past a wish that it ends. */
static void pause_for(const work *w, uint32_t ms)
{
    const struct timespec until = clock_after_ms(ms);

    pthread_mutex_lock(&w->jobs->lock);
    int code = 0;
    while (code == 0 && !w->jobs->stopping && strcmp(text_of(jobs_look(w->jobs, w->id), "status"), "cancelling") != 0)
        code = pthread_cond_clockwait(&w->jobs->changed, &w->jobs->lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&w->jobs->lock);
}

/* ---- processes ---- */

static void keep_line(void *ctx, const char *line)
{
    work *w = ctx;
    json_t *said = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

    if (json_is_object(said)) {
        json_decref(w->said);
        w->said = json_incref(said);
    }
    json_decref(said);
}

static json_int_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* {"rows", "ok", "null", "error"} of a run. */
static void count_line(void *ctx, const char *line)
{
    work *w = ctx;

    keep_line(ctx, line);
    if (!w->said || !json_object_get(w->said, "rows"))
        return;
    const json_int_t completed = number_of(w->said, "ok") + number_of(w->said, "null");
    const json_int_t failed = number_of(w->said, "error");
    if (!w->counted && !is_batch(w)) /* its log is there: from now on it is gone on with */
        jobs_change(w->jobs, w->id, json_pack("{s:b}", "begun", 1), true);
    w->answered = completed + failed;
    w->counted = true;
    jobs_change(w->jobs, w->id,
                json_pack("{s:{s:I, s:I, s:I}}", "request_counts", "total", number_of(w->said, "rows"), "completed",
                          completed, "failed", failed),
                false);
}

/* The last line of what a process wrote to its standard error. */
static void last_words(const work *w, char *ret_text, size_t bytes)
{
    char tail[1024];
    const off_t room = sizeof tail - 1, end = lseek(w->errors, 0, SEEK_END);
    ssize_t n = end > 0 ? pread(w->errors, tail, (size_t)room, end > room ? end - room : 0) : 0;

    n = n > 0 ? n : 0;
    while (n > 0 && tail[n - 1] == '\n')
        n--;
    tail[n] = '\0';
    const char *line = strrchr(tail, '\n');
    line = line ? line + 1 : tail;
    if (strncmp(line, "tenon: ", 7) == 0)
        line += 7;
    snprintf(ret_text, bytes, "%.400s", *line ? line : "its process has ended without a word");
}

static tn_status run_words(work *w, const char *const *words, const process_watch *watch, int *ret_code, tn_error *err)
{
    if (w->errors < 0)
        w->errors = memfd_create("errors", MFD_CLOEXEC);
    if (w->errors < 0 || ftruncate(w->errors, 0) != 0 || lseek(w->errors, 0, SEEK_SET) != 0)
        return tn_fail(err, TN_E_IO, "a file in memory: %s", strerror(errno));
    json_decref(w->said);
    w->said = NULL;
    w->asked_ms = 0;
    w->killed = false;
    return process_run(w->jobs->program, words, w->errors, watch, ret_code, err);
}

static void fail(work *w, const char *code, const char *message)
{
    jobs_end(w->jobs, w->id, "failed", json_pack("{s:o}", "errors", job_error(code, message)));
}

/* ---- a batch's file ---- */

static job_service look(const work *w, const char *service)
{
    return w->jobs->options.look(w->jobs->options.ctx, service);
}

/* What `tenon batch check` says. False: the batch has ended. */
static bool take_check(work *w)
{
    json_t *errors = json_object_get(w->said, "errors");
    const char *model = text_of(w->said, "model");
    char message[256];

    if (json_array_size(errors) > 0) {
        jobs_end(w->jobs, w->id, "failed", json_pack("{s:{s:s, s:O}}", "errors", "object", "list", "data", errors));
        return false;
    }
    if (!model || look(w, model) == JOB_SERVICE_NONE) {
        snprintf(message, sizeof message, "there is no service '%.100s'", model ? model : "");
        fail(w, "model_not_found", message);
        return false;
    }
    json_t *task = json_deep_copy(task_of(w));
    json_object_set_new(task, "service", json_string(model));
    jobs_change(w->jobs, w->id,
                json_pack("{s:s, s:I, s:s, s:{s:I, s:i, s:i}, s:o}", "status", "in_progress", "in_progress_at",
                          (json_int_t)time(NULL), "model", model, "request_counts", "total", number_of(w->said, "rows"),
                          "completed", 0, "failed", 0, "task", task),
                true);
    return true;
}

static bool check_file(work *w)
{
    char path[PATH_MAX], message[512];
    const char *const words[] = {"batch", "check", path, "--endpoint", text_of(w->job, "endpoint"), NULL};
    const process_watch watch = {w, keep_line, signal_on_cancel};
    tn_error err = TN_ERROR_INIT;
    int code;

    job_files_path(w->jobs->files, text_of(w->job, "input_file_id"), path);
    tn_status status = run_words(w, words, &watch, &code, &err);
    const demand demand = demand_on(w);
    if (demand == STOP || demand == CANCEL)
        return demand == CANCEL;
    if (status == TN_OK && w->said)
        return take_check(w);
    last_words(w, message, sizeof message);
    fail(w, "validation_failed", status == TN_OK ? message : err.msg);
    return false;
}

/* ---- running ---- */

static bool add_words_of_task(const work *w, const char **words, uint32_t *count)
{
    const json_t *list = json_object_get(task_of(w), "words"), *word;
    size_t i;

    json_array_foreach(list, i, word)
    {
        if (*count + 2 >= WORDS || !json_is_string(word))
            return false;
        words[(*count)++] = json_string_value(word);
    }
    return true;
}

/* Whose log another process still writes: one of a daemon that was killed. It ends by itself, when its reader has. A
 * job that begins has none: who writes there is somebody else, whom its run will name. */
static void wait_for_orphan(const work *w, const char *log)
{
    const uint64_t until = clock_ms() + ORPHAN_MS;
    const struct timespec pause = {.tv_nsec = 20 * 1000000};
    pid_t writer;

    while (w->begun_before && (writer = job_log_writer_of(log)) > 0 && clock_ms() < until) {
        kill(writer, SIGKILL); /* the log bears it */
        nanosleep(&pause, NULL);
    }
}

/* What stands at the output of a command was looked at when it was made; only overwriting is done once. */
static const char *mode_of(const work *w)
{
    const char *mode = text_of(task_of(w), "mode");

    pthread_mutex_lock(&w->jobs->lock);
    bool begun = json_is_true(json_object_get(jobs_look(w->jobs, w->id), "begun"));
    pthread_mutex_unlock(&w->jobs->lock);
    return mode && strcmp(mode, "overwrite") == 0 && !begun ? "overwrite" : "resume";
}

/* One run of SQL's job, of which all is in the database, who runs it as well. */
static tn_status run_sql(work *w, int *ret_code, tn_error *err)
{
    const process_watch watch = {w, count_line, signal_on_demand};
    const char *words[WORDS + 1] = {"batch",  "sql",      text_of(task_of(w), "input"),
                                    "--json", "--server", w->jobs->server};
    uint32_t count = 6;

    if (!add_words_of_task(w, words, &count))
        return tn_fail(err, TN_E_ARGUMENT, "the job has too many words");
    w->counted = false;
    return run_words(w, words, &watch, ret_code, err);
}

/* One run; *ret_code as of `tenon batch run`. */
static tn_status run_once(work *w, int *ret_code, tn_error *err)
{
    const json_t *task = task_of(w);
    char input[PATH_MAX], output[PATH_MAX], window[16];
    batch_output place;
    const char *words[WORDS + 1] = {"batch", "run"};
    const process_watch watch = {w, count_line, signal_on_demand};
    uint32_t count = 2;

    snprintf(window, sizeof window, "%u", w->jobs->options.window);
    if (is_batch(w)) {
        job_files_path(w->jobs->files, text_of(w->job, "input_file_id"), input);
        job_path(w->jobs, w->id, "out.jsonl", output);
    }
    tn_status status = output_parse(is_batch(w) ? output : text_of(task, "output"), &place, err);
    if (status != TN_OK)
        return status;
    wait_for_orphan(w, place.job);
    const char *const own[] = {text_of(task, "service"),
                               "--in",
                               is_batch(w) ? input : text_of(task, "input"),
                               "--out",
                               is_batch(w) ? output : text_of(task, "output"),
                               "--mode",
                               mode_of(w),
                               "--server",
                               w->jobs->server,
                               "--window",
                               window,
                               "--timeout",
                               ROW_TIMEOUT_S,
                               "--json"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        words[count++] = own[i];
    if (!add_words_of_task(w, words, &count))
        return tn_fail(err, TN_E_ARGUMENT, "the job has too many words");
    w->counted = false;
    return run_words(w, words, &watch, ret_code, err);
}

/* Until every row has an answer, or it is to end. NULL: it did; else why not, into message. */
static const char *run_rows(work *w, char *message, size_t bytes)
{
    uint32_t tries = 0;
    json_int_t before = -1;

    while (demand_on(w) == GO_ON) {
        const char *service = text_of(task_of(w), "service");
        const job_service is = look(w, service);
        if (is == JOB_SERVICE_COMING) { /* rows would wait for less time */
            pause_for(w, LOOK_MS);
            continue;
        }
        if (is == JOB_SERVICE_NONE) {
            snprintf(message, bytes, "there is no service '%.100s'", service);
            return message;
        }
        tn_error err = TN_ERROR_INIT;
        int code = -1;
        tn_status status = (is_kind(w, "sql") ? run_sql : run_once)(w, &code, &err);
        if (status == TN_OK && (code == EXIT_DONE || code == EXIT_ROWS_FAILED))
            return NULL;
        if (demand_on(w) != GO_ON)
            break;
        last_words(w, message, bytes);
        if (status != TN_OK)
            snprintf(message, bytes, "%.400s", err.msg);
        /* Before the first row: it will say so again; unless an earlier daemon's process is only now taking the log. */
        if (status == TN_OK && code > 0 && !w->counted && !w->begun_before)
            return message;
        tries = w->answered > before ? 1 : tries + 1;
        before = w->answered;
        if (tries >= TRIES)
            return message;
        pause_for(w, 1000u << (tries - 1));
    }
    return NULL;
}

/* ---- the end ---- */

/* Rows of a batch's file: 0 until it has been checked. */
static json_int_t total_of(const work *w)
{
    pthread_mutex_lock(&w->jobs->lock);
    const json_int_t total = number_of(json_object_get(jobs_look(w->jobs, w->id), "request_counts"), "total");
    pthread_mutex_unlock(&w->jobs->lock);
    return total;
}

typedef struct row_counts {
    json_int_t ok, failed, unasked;
} row_counts;

/* Writes the files of what has been answered, and of what never will be. */
static tn_status export_rows(work *w, demand why, row_counts *ret_counts, tn_error *err)
{
    char input[PATH_MAX], out[PATH_MAX], good[PATH_MAX], bad[PATH_MAX], log[PATH_MAX + 8], message[512];
    const bool told = total_of(w) > 0 && (why == EXPIRE || why == CANCEL);
    const char *const unasked = !told ? NULL : why == EXPIRE ? "--expired" : "--cancelled";
    const char *const words[] = {"batch", "export", out, "--answers", good, "--errors", bad, unasked, input, NULL};
    const process_watch watch = {w, keep_line, signal_on_stop};
    int code = -1;

    *ret_counts = (row_counts){0};
    job_files_path(w->jobs->files, text_of(w->job, "input_file_id"), input);
    job_path(w->jobs, w->id, "out.jsonl", out);
    job_path(w->jobs, w->id, "answers.jsonl", good);
    job_path(w->jobs, w->id, "errors.jsonl", bad);
    snprintf(log, sizeof log, "%s.job", out);
    if (!told && access(log, F_OK) != 0)
        return TN_OK;
    wait_for_orphan(w, log);
    tn_status status = run_words(w, words, &watch, &code, err);
    if (status == TN_OK && (code != EXIT_DONE || !w->said)) {
        last_words(w, message, sizeof message);
        return tn_fail(err, TN_E_IO, "%s", message);
    }
    *ret_counts = (row_counts){number_of(w->said, "ok"), number_of(w->said, "error"), number_of(w->said, "unasked")};
    return status;
}

static tn_status adopt(work *w, const char *name, const char *task_id, const char *kind, tn_error *err)
{
    char path[PATH_MAX], filename[JOB_ID_BYTES + 32];
    const file_label label = {.filename = filename, .purpose = "batch_output", .owner = text_of(w->job, "owner")};

    job_path(w->jobs, w->id, name, path);
    snprintf(filename, sizeof filename, "%s_%s.jsonl", w->id, kind);
    return job_files_adopt(w->jobs->files, text_of(task_of(w), task_id), path, &label, err);
}

/* The ids of files that hold nothing stay null. */
static tn_status make_files(work *w, demand why, json_t *changes, tn_error *err)
{
    row_counts rows;
    tn_status status = export_rows(w, why, &rows, err);
    const bool good = rows.ok > 0, bad = rows.failed + rows.unasked > 0;

    if (status == TN_OK && good)
        status = adopt(w, "answers.jsonl", "output_file_id", "output", err);
    if (status == TN_OK && bad)
        status = adopt(w, "errors.jsonl", "error_file_id", "error", err);
    if (status != TN_OK)
        return status;
    if (good)
        json_object_set(changes, "output_file_id", json_object_get(task_of(w), "output_file_id"));
    if (bad)
        json_object_set(changes, "error_file_id", json_object_get(task_of(w), "error_file_id"));
    json_object_set_new(
        changes, "request_counts",
        json_pack("{s:I, s:I, s:I}", "total", total_of(w), "completed", rows.ok, "failed", rows.failed));
    return TN_OK;
}

/* SQL's row says that it runs, or will, until somebody says otherwise. */
static tn_status end_sql(work *w, const char *state, const char *message, tn_error *err)
{
    const process_watch watch = {w, keep_line, signal_on_stop};
    char text[512];
    const char *const words[] = {"batch",
                                 "sql",
                                 text_of(task_of(w), "input"),
                                 "--target",
                                 text_of(task_of(w), "output"),
                                 "--end",
                                 state,
                                 "--message",
                                 message,
                                 NULL};
    int code = -1;
    tn_status status = run_words(w, words, &watch, &code, err);

    if (status != TN_OK || code == EXIT_DONE)
        return status;
    last_words(w, text, sizeof text);
    return tn_fail(err, TN_E_IO, "%s", text);
}

/* fault: why not all rows have an answer; NULL: nothing is wrong. */
static void finish(work *w, const char *fault)
{
    const demand demand = demand_on(w);
    const char *end = demand == CANCEL ? "cancelled" : demand == EXPIRE ? "expired" : fault ? "failed" : "completed";
    char folder[PATH_MAX];
    json_t *changes = json_object();
    tn_error err = TN_ERROR_INIT;
    tn_status status = TN_OK;

    if (is_batch(w)) {
        jobs_change(w->jobs, w->id,
                    json_pack("{s:s, s:I}", "status", "finalizing", "finalizing_at", (json_int_t)time(NULL)), true);
        status = make_files(w, demand, changes, &err);
    }
    if (is_kind(w, "sql") && strcmp(end, "completed") != 0)
        status = end_sql(w, end, fault ? fault : "cancelled at the daemon", &err);
    if (is_kind(w, "sql") && status != TN_OK && fault && demand_on(w) != STOP)
        status = TN_OK; /* the first fault says more: often it is that there is no such database */
    if (status != TN_OK && demand_on(w) == STOP) {
        json_decref(changes);
        return;
    }
    if (fault || status != TN_OK)
        json_object_set_new(changes, "errors", job_error("batch_failed", status != TN_OK ? err.msg : fault));
    jobs_end(w->jobs, w->id, status == TN_OK ? end : "failed", changes);
    job_path(w->jobs, w->id, "", folder);
    if (status == TN_OK)
        directory_remove(folder, &err); /* what stays goes with the job */
}

void job_work(jobs *jobs, const char *id)
{
    work w = {.jobs = jobs, .id = id, .job = jobs_find(jobs, id), .errors = -1};
    char folder[PATH_MAX], message[640] = "";
    const char *fault = NULL;
    bool goes_on = true;

    if (!w.job)
        return;
    job_path(jobs, id, "", folder);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        snprintf(message, sizeof message, "%.300s: %s", folder, strerror(errno));
        fail(&w, "batch_failed", message);
        json_decref(w.job);
        return;
    }
    const char *state = text_of(w.job, "status");
    w.begun_before = strcmp(state, "validating") != 0;
    if (strcmp(state, "validating") == 0 && is_batch(&w)) {
        goes_on = check_file(&w);
        json_decref(w.job);
        w.job = jobs_find(jobs, id);
    } else if (strcmp(state, "validating") == 0) {
        jobs_change(jobs, id,
                    json_pack("{s:s, s:I}", "status", "in_progress", "in_progress_at", (json_int_t)time(NULL)), true);
    }
    if (goes_on && w.job) {
        fault = run_rows(&w, message, sizeof message);
        if (demand_on(&w) != STOP)
            finish(&w, fault);
    }
    json_decref(w.job);
    json_decref(w.said);
    if (w.errors >= 0)
        close(w.errors);
}
