/* batch_run.c: `tenon batch run` and `tenon batch retry-failed`. */
#include "base/clock.h"
#include "cli/batch.h"

#include <inttypes.h>
#include <string.h>

typedef struct run_flags {
    connection_flags connection;
    const char *input, *output, *mode, *key, *prompt, *system;
    bool raw, json;
    string_list params;
    int64_t max_tokens;
} run_flags;

static bool read_mode(const char *text, batch_mode *ret_mode)
{
    static const char *const names[] = {"error", "overwrite", "resume"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_mode = (batch_mode)i;
            return true;
        }
    fprintf(stderr, "tenon batch run: --mode takes error, overwrite or resume, not '%s'\n", text);
    return false;
}

/* What the rows and the command decide. */
static bool is_own(const char *key)
{
    static const char *const own[] = {"model", "messages", "prompt", "stream", "stream_options", "n", "echo"};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(key, own[i]) == 0)
            return true;
    return false;
}

/* KEY=VALUE, where VALUE is JSON or else a text. */
static bool read_param(const char *text, json_t *params)
{
    const char *equals = strchr(text, '=');
    char *key = equals && equals > text ? strndup(text, (size_t)(equals - text)) : NULL;
    bool taken = false;

    if (key && is_own(key)) {
        fprintf(stderr, "tenon batch run: --param %s is set by the rows and the command\n", key);
    } else if (key) {
        json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        taken = json_object_set_new(params, key, value ? value : json_string(equals + 1)) == 0;
        if (!taken)
            fprintf(stderr, "tenon batch run: --param %s is not valid UTF-8\n", key);
    } else {
        fprintf(stderr, "tenon batch run: --param takes KEY=VALUE, not '%s'\n", text);
    }
    free(key);
    return taken;
}

/* NULL: printed why. */
static json_t *read_params(const run_flags *flags)
{
    json_t *params = json_object();
    bool good = params != NULL;

    if (good && flags->max_tokens != 0)
        good = json_object_set_new(params, "max_tokens", json_integer(flags->max_tokens)) == 0;
    for (uint32_t i = 0; i < flags->params.count && good; i++)
        good = read_param(flags->params.at[i], params);
    if (good)
        return params;
    json_decref(params);
    return NULL;
}

static bool check_flags(const run_flags *flags)
{
    const char *missing = !flags->input ? "in" : !flags->output ? "out" : NULL;

    if (missing)
        fprintf(stderr, "tenon batch run: --%s is missing; `tenon batch run --help` explains it\n", missing);
    else if (flags->raw && flags->system)
        fprintf(stderr, "tenon batch run: --system needs the chat template, which --raw leaves out\n");
    return !missing && !(flags->raw && flags->system);
}

/* One line, no more often than readers can use them, and one behind the last row. */
static void print_counts(job_counts counts, uint64_t rows)
{
    static uint64_t printed_ms; /* 0: never */
    const uint64_t now_ms = clock_ms();

    if (printed_ms && now_ms < printed_ms + 200 && counts.ok + counts.null + counts.failed < rows)
        return;
    printed_ms = now_ms;
    printf("{\"rows\": %" PRIu64 ", \"ok\": %" PRIu64 ", \"null\": %" PRIu64 ", \"error\": %" PRIu64 "}\n", rows,
           counts.ok, counts.null, counts.failed);
    fflush(stdout);
}

static int run_job(const command *command, const run_flags *flags, const args *args, batch_request *request)
{
    batch_connection connection;
    job_counts counts = {0};
    tn_error err = TN_ERROR_INIT;
    int code;

    if (!connection_open(command, &flags->connection, args, &connection, &code))
        return code;
    batch_watch watch = watch_start("batch");
    if (flags->json)
        watch.counts = print_counts;
    tn_status status = batch_run(request, &connection, &watch, &counts, &err);
    return watch_finish(flags->json ? NULL : request->output, status, &counts, &err);
}

static int run_run(const command *command, int argc, char **argv)
{
    run_flags f = {.connection = CONNECTION_FLAGS_DEFAULT, .mode = "error"};
    const flag flags[] = {
        {"in", "INPUT", FLAG_STRING, &f.input, NULL, "NAME.jsonl, NAME.csv or 'sqlite:DATABASE?QUERY'"},
        {"out", "OUT", FLAG_STRING, &f.output, NULL, "NAME.jsonl, NAME.csv or 'sqlite:DATABASE?TABLE'"},
        {"mode", "MODE", FLAG_STRING, &f.mode, NULL,
         "if OUT is there: error (default), overwrite, or resume: ask what has no answer yet"},
        {"key", "COLUMN", FLAG_STRING, &f.key, NULL, "of CSV and SQLite (default key; without one, the row's number)"},
        {"prompt", "COLUMN", FLAG_STRING, &f.prompt, NULL, "of CSV and SQLite (default prompt)"},
        {"raw", NULL, FLAG_SWITCH, &f.raw, NULL, "prompts go to the model as they are, without the chat template"},
        {"system", "TEXT", FLAG_STRING, &f.system, NULL, "what the system says before each prompt"},
        {"max-tokens", "N", FLAG_INTEGER, &f.max_tokens, NULL, "of each answer; the same as --param max_tokens=N"},
        {"param", "KEY=VALUE", FLAG_STRINGS, &f.params, NULL,
         "a field of every request, such as temperature=0; may be repeated; a row's own wins"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "how far it is, as lines of JSON on standard output"},
        CONNECTION_FLAGS(f.connection),
    };
    args a;
    batch_request request;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    request = (batch_request){.input = f.input,
                              .output = f.output,
                              .service = a.positional[0],
                              .columns = {f.key, f.prompt},
                              .raw = f.raw,
                              .system = f.system};
    code = EXIT_USAGE;
    if (check_flags(&f) && read_mode(f.mode, &request.mode))
        request.params = read_params(&f);
    if (request.params)
        code = run_job(command, &f, &a, &request);
    json_decref(request.params);
    args_finish(&a);
    return code;
}

const command command_batch_run = {
    .name = "batch run",
    .arguments = "SERVICE --in INPUT --out OUT",
    .summary = "ask every row of a file or table",
    .help =
        "SERVICE is the model's name at the server. A line of JSON is {\"key\", \"prompt\" or \"messages\", "
        "parameters...} or "
        "OpenAI's\n"
        "{\"custom_id\", \"method\", \"url\", \"body\"}; CSV begins with a line of names; CSV and SQLite may have a "
        "column "
        "params of JSON\n"
        "objects. Keys must differ; a row without a key has its number. Rows are asked in order and answers kept in "
        "OUT.job, so "
        "--mode\n"
        "resume goes on after a kill of either side; OUT comes at the end, as a whole. A prompt of NULL is not asked.\n"
        "Exit code 0: every row has an answer; 1: it did not get to the end; 3: it did, and some rows "
        "failed.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_run,
};

static int run_retry(const command *command, int argc, char **argv)
{
    connection_flags f = CONNECTION_FLAGS_DEFAULT;
    const flag flags[] = {CONNECTION_FLAGS(f)};
    batch_connection connection;
    job_counts counts = {0};
    tn_error err = TN_ERROR_INIT;
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (connection_open(command, &f, &a, &connection, &code)) {
        batch_watch watch = watch_start("batch");
        tn_status status = batch_retry(a.positional[0], &connection, &watch, &counts, &err);
        code = watch_finish(a.positional[0], status, &counts, &err);
    }
    args_finish(&a);
    return code;
}

const command command_batch_retry = {
    .name = "batch retry-failed",
    .arguments = "OUT",
    .summary = "ask the rows of a finished batch that failed again",
    .help =
        "Reads the input again, which must be as it was, asks the rows whose answer is an error, and writes OUT anew.\n"
        "Exit codes as of `tenon batch run`.\n" DAEMON_ADDRESS_HELP,
    .positional_min = 1,
    .positional_max = 1,
    .run = run_retry,
};
