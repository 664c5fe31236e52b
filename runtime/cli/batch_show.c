/* batch_show.c: `tenon batch status`, `list`, `errors` and `cancel`. */
#include "cli/batch.h"
#include "cli/batch_daemon.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* The end of such a command's help. */
#define JOBS_HELP \
    "With --server, of the jobs that a daemon runs, by their ids: those of /v1/batches and of /admin/v1/jobs."

typedef enum batch_state { STATE_RUNNING, STATE_DONE, STATE_STOPPED } batch_state;

static const char *const state_names[] = {"running", "done", "stopped"};

static batch_state state_of(job_log *log, const char *success)
{
    return job_log_writer(log) != 0 ? STATE_RUNNING : access(success, F_OK) == 0 ? STATE_DONE : STATE_STOPPED;
}

static json_int_t total_of(const job_log *log)
{
    return json_integer_value(json_object_get(job_log_head(log), "rows"));
}

static void print_text(const char *name, job_log *log, const char *success)
{
    job_counts counts = job_log_counts(log);

    print_plain(stdout, name);
    printf("  %s  %" PRIu64 " of %lld rows: %" PRIu64 " answered, %" PRIu64 " without a prompt, %" PRIu64 " failed\n",
           state_names[state_of(log, success)], job_log_rows(log), (long long)total_of(log), counts.ok, counts.null,
           counts.failed);
}

static void print_object(const char *name, job_log *log, const char *success)
{
    job_counts counts = job_log_counts(log);
    const json_t *service = json_object_get(job_log_head(log), "service");
    json_t *object = json_pack("{s:s, s:s, s:O*, s:I, s:I, s:I, s:I, s:I}", "job", name, "state",
                               state_names[state_of(log, success)], "service", service, "rows", total_of(log), "done",
                               (json_int_t)job_log_rows(log), "ok", (json_int_t)counts.ok, "null",
                               (json_int_t)counts.null, "error", (json_int_t)counts.failed);

    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* The log of OUT; NULL: printed why. */
static job_log *open_log(const char *name, batch_output *ret_output)
{
    tn_error err = TN_ERROR_INIT;
    job_log *log = NULL;
    tn_status status = output_parse(name, ret_output, &err);

    if (status == TN_OK)
        status = job_log_open(ret_output->job, JOB_LOG_READ, &log, &err);
    if (status != TN_OK)
        report(&err);
    return log;
}

static int run_status(const command *command, int argc, char **argv)
{
    bool json = false;
    daemon_flags daemon = {0};
    const flag flags[] = {{"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"}, DAEMON_FLAGS(daemon)};
    batch_output output;
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (daemon.server) {
        code = batch_daemon_status(&daemon, &a, a.positional[0], json);
        args_finish(&a);
        return code;
    }
    job_log *log = open_log(a.positional[0], &output);
    if (log)
        (json ? print_object : print_text)(a.positional[0], log, output.success);
    job_log_close(log);
    args_finish(&a);
    return log ? 0 : EXIT_FAILURE;
}

const command command_batch_status = {
    .name = "batch status",
    .arguments = "OUT",
    .summary = "how far a batch has come: running, done or stopped, and its rows",
    .help =
        "running: a process is at it. done: the output is written. stopped: neither; `tenon batch run --mode resume` "
        "goes on.\n" JOBS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_status,
};

/* ---- list ---- */

static int is_job(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return bytes > 4 && strcmp(entry->d_name + bytes - 4, ".job") == 0;
}

static bool print_job(const char *folder, const char *entry, bool json)
{
    char path[PATH_MAX], success[PATH_MAX + 16];
    tn_error err = TN_ERROR_INIT;
    job_log *log = NULL;
    int stem = (int)strlen(entry) - 4;

    snprintf(path, sizeof path, "%s/%s", folder, entry);
    snprintf(success, sizeof success, "%s/%.*s.success", folder, stem, entry);
    if (job_log_open(path, JOB_LOG_READ, &log, &err) != TN_OK) {
        report(&err);
        return false;
    }
    path[strlen(path) - 4] = '\0';
    (json ? print_object : print_text)(path, log, success);
    job_log_close(log);
    return true;
}

static int run_list(const command *command, int argc, char **argv)
{
    bool json = false, good = true;
    daemon_flags daemon = {0};
    const flag flags[] = {{"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object per line"},
                          DAEMON_FLAGS(daemon)};
    struct dirent **entries = NULL;
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (daemon.server) {
        code = batch_daemon_list(&daemon, &a, json);
        args_finish(&a);
        return code;
    }
    const char *folder = a.positional_count ? a.positional[0] : ".";
    int count = scandir(folder, &entries, is_job, alphasort);
    if (count < 0) {
        fprintf(stderr, "tenon: %s: %s\n", folder, strerror(errno));
        good = false;
    }
    for (int i = 0; i < count; i++) {
        good = print_job(folder, entries[i]->d_name, json) && good;
        free(entries[i]);
    }
    free(entries);
    args_finish(&a);
    return good ? 0 : EXIT_FAILURE;
}

const command command_batch_list = {
    .name = "batch list",
    .arguments = "[FOLDER]",
    .summary = "the batches whose outputs lie in a folder",
    .help = "One line for each NAME.job in FOLDER (default: this one), as `tenon batch status` prints it.\n" JOBS_HELP,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_list,
};

/* ---- errors ---- */

static tn_status print_error(void *context, const json_t *record, tn_error *err)
{
    (void)context;
    if (strcmp(json_string_value(json_object_get(record, "status")), "error") != 0)
        return TN_OK;
    json_t *line = json_pack("{s:O, s:O, s:O}", "key", json_object_get(record, "key"), "error_code",
                             json_object_get(record, "error_code"), "error", json_object_get(record, "error"));
    if (!line)
        return tn_fail(err, TN_E_CORRUPT, "a record lacks 'key', 'error_code' or 'error'");
    json_dumpf(line, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(line);
    return TN_OK;
}

static int run_errors(const command *command, int argc, char **argv)
{
    batch_output output;
    tn_error err = TN_ERROR_INIT;
    args a;
    int code = args_parse(command, NULL, 0, argc, argv, &a);

    if (code >= 0)
        return code;
    job_log *log = open_log(a.positional[0], &output);
    code = log ? 0 : EXIT_FAILURE;
    if (log && job_log_each(log, print_error, NULL, &err) != TN_OK)
        code = report(&err);
    job_log_close(log);
    args_finish(&a);
    return code;
}

const command command_batch_errors = {
    .name = "batch errors",
    .arguments = "OUT",
    .summary = "the rows that failed so far, and why",
    .help = "One JSON object per line: {\"key\", \"error_code\", \"error\"}.",
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_errors,
};

/* ---- cancel ---- */

static int cancel(const char *name, job_log *log)
{
    pid_t writer = job_log_writer(log);

    if (writer == 0) {
        fprintf(stderr, "tenon: %s: no process is running this batch\n", name);
        return EXIT_FAILURE;
    }
    if (writer < 0 || kill(writer, SIGTERM) != 0) {
        fprintf(stderr, "tenon: %s: the process that runs it cannot be told: %s\n", name,
                writer < 0 ? "it is on another machine or in another container" : strerror(errno));
        return EXIT_FAILURE;
    }
    printf("%s: process %d has been told to stop\n", name, (int)writer);
    return 0;
}

static int run_cancel(const command *command, int argc, char **argv)
{
    daemon_flags daemon = {0};
    const flag flags[] = {DAEMON_FLAGS(daemon)};
    batch_output output;
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (daemon.server) {
        code = batch_daemon_cancel(&daemon, &a, a.positional[0]);
        args_finish(&a);
        return code;
    }
    job_log *log = open_log(a.positional[0], &output);
    code = log ? cancel(a.positional[0], log) : EXIT_FAILURE;
    job_log_close(log);
    args_finish(&a);
    return code;
}

const command command_batch_cancel = {
    .name = "batch cancel",
    .arguments = "OUT",
    .summary = "tell the process that runs a batch to ask nothing more",
    .help = "It waits for the rows in flight, keeps their answers and ends with exit code 1; `tenon batch run --mode "
            "resume` "
            "goes on\n"
            "some day. Told twice, it ends at once, and rows in flight are asked again then.\n" JOBS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_cancel,
};
