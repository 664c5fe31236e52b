/* batch_file.c: `tenon batch check` and `tenon batch export`: OpenAI's files of a batch. */
#include "cli/batch.h"

#include "batch/check.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static int run_check(const command *command, int argc, char **argv)
{
    const char *endpoint = "/v1/chat/completions";
    const flag flags[] = {{"endpoint", "PATH", FLAG_STRING, &endpoint, NULL,
                           "what each line's url must be (default /v1/chat/completions)"}};
    json_t *found = NULL;
    args a;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, 1, argc, argv, &a);

    if (code >= 0)
        return code;
    if (batch_check(a.positional[0], endpoint, &found, &err) == TN_OK) {
        json_dumpf(found, stdout, JSON_COMPACT);
        putchar('\n');
        code = json_array_size(json_object_get(found, "errors")) ? EXIT_ROWS_FAILED : 0;
    } else {
        code = report(&err);
    }
    json_decref(found);
    args_finish(&a);
    return code;
}

const command command_batch_check = {
    .name = "batch check",
    .arguments = "FILE",
    .summary = "what is wrong with a file of OpenAI's batch lines",
    .help = "Reads every line, asks nothing, and prints one JSON object: {\"rows\", \"model\", \"errors\": [{\"code\", "
            "\"message\", \"line\",\n"
            "\"param\"}]}, of errors the first 100. Exit code 0: it can be run; 3: it has errors.",
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_check,
};

typedef struct export_flags {
    const char *answers, *errors, *expired, *cancelled;
} export_flags;

/* As OpenAI's error files say it. False: there are none to tell. */
static bool find_unasked(const export_flags *f, output_unasked *ret_unasked)
{
    if (f->expired)
        *ret_unasked = (output_unasked){f->expired, "batch_expired",
                                        "the time of the batch was over before this row could be asked"};
    else if (f->cancelled)
        *ret_unasked =
            (output_unasked){f->cancelled, "batch_cancelled", "the batch was cancelled before this row was asked"};
    return f->expired || f->cancelled;
}

static tn_status export_halves(const char *name, const export_flags *f, job_counts *ret_counts, uint64_t *ret_unasked,
                               tn_error *err)
{
    output_unasked unasked;
    const bool told = find_unasked(f, &unasked);
    batch_output output;
    job_log *log = NULL;
    tn_status status = output_parse(name, &output, err);

    if (status == TN_OK && !(told && access(output.job, F_OK) != 0)) /* a batch that asked nothing has no log */
        status = job_log_open(output.job, JOB_LOG_READ, &log, err);
    if (status == TN_OK)
        status = output_export(log, told ? &unasked : NULL, f->answers, f->errors, ret_counts, ret_unasked, err);
    job_log_close(log);
    return status;
}

static int run_export(const command *command, int argc, char **argv)
{
    export_flags f = {0};
    const flag flags[] = {
        {"answers", "FILE", FLAG_STRING, &f.answers, NULL, "takes the rows that have an answer"},
        {"errors", "FILE", FLAG_STRING, &f.errors, NULL, "takes the rows that failed"},
        {"expired", "INPUT", FLAG_STRING, &f.expired, NULL,
         "the batch's input, whose time is over: rows that were never asked are errors, batch_expired"},
        {"cancelled", "INPUT", FLAG_STRING, &f.cancelled, NULL, "the same of one that was cancelled: batch_cancelled"},
    };
    job_counts counts = {0};
    uint64_t unasked = 0;
    args a;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = EXIT_USAGE;
    if (!f.answers || !f.errors) {
        fprintf(stderr, "tenon batch export: --answers and --errors are both needed\n");
    } else if (f.expired && f.cancelled) {
        fprintf(stderr, "tenon batch export: --expired and --cancelled exclude each other\n");
    } else if (export_halves(a.positional[0], &f, &counts, &unasked, &err) != TN_OK) {
        code = report(&err);
    } else {
        printf("{\"ok\": %" PRIu64 ", \"error\": %" PRIu64 ", \"unasked\": %" PRIu64 "}\n", counts.ok + counts.null,
               counts.failed, unasked);
        code = 0;
    }
    args_finish(&a);
    return code;
}

const command command_batch_export = {
    .name = "batch export",
    .arguments = "OUT",
    .summary = "the answers of a batch so far, as two files",
    .help =
        "JSON lines of the rows that have an answer, and of those that failed, from the log of a batch that is done, "
        "was\n"
        "stopped or runs. Each file appears as a whole, empty ones too.",
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_export,
};
