/* batch.c: `tenon batch COMMAND`: finds the sub-command; what they share. */
#include "cli/batch.h"

#include "hub/late_curl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const command *const commands[] = {
    &command_batch_run,   &command_batch_status, &command_batch_list,   &command_batch_cancel, &command_batch_errors,
    &command_batch_retry, &command_batch_check,  &command_batch_export, &command_batch_sql,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int run_batch(const command *command, int argc, char **argv)
{
    return command_family(command, commands, COMMANDS, argc, argv);
}

/* ---- the server ---- */

/* *ret_token: owned; NULL: none. */
static bool read_token(const connection_flags *flags, char **ret_token)
{
    uint64_t bytes;
    const char *given = flags->token ? flags->token : flags->token_file ? NULL : secure_getenv("TENON_API_KEY");

    *ret_token = NULL;
    if (flags->token_file) {
        *ret_token = read_input(flags->token_file, &bytes);
        if (!*ret_token)
            return false;
        (*ret_token)[strcspn(*ret_token, "\r\n")] = '\0';
    } else if (given) {
        *ret_token = strdup(given);
    }
    return true;
}

static bool is_within(const command *command, const char *flag, int64_t value, int64_t least, int64_t most)
{
    if (value >= least && value <= most)
        return true;
    fprintf(stderr, "tenon %s: --%s takes %lld to %lld\n", command->name, flag, (long long)least, (long long)most);
    return false;
}

bool connection_open(const command *command, const connection_flags *flags, const args *args,
                     batch_connection *ret_connection, int *ret_code)
{
    daemon_address address;
    tn_error err = TN_ERROR_INIT;
    char *token = NULL;

    *ret_code = EXIT_USAGE;
    if (flags->token && flags->token_file) {
        fprintf(stderr, "tenon %s: --token and --token-file exclude each other\n", command->name);
        return false;
    }
    if (!is_within(command, "window", flags->window, 1, CLIENT_WINDOW_MAX) ||
        !is_within(command, "retries", flags->retries, 0, CLIENT_RETRIES_MAX) ||
        !is_within(command, "timeout", flags->timeout_s, 1, 86400))
        return false;
    *ret_code = EXIT_FAILURE;
    if (!read_token(flags, &token))
        return false;
    tn_status status = daemon_address_find(flags->server, args, &address, &err);
    if (status == TN_OK)
        status = late_curl_load(&err);
    if (status == TN_OK)
        status = client_server_parse(address.text, token, &ret_connection->server, &err);
    free(token);
    ret_connection->limits = (window_limits){.window = (uint32_t)flags->window,
                                             .retries = (uint32_t)flags->retries,
                                             .timeout_ms = (uint32_t)flags->timeout_s * 1000,
                                             .ordered = true};
    if (status != TN_OK)
        report(&err);
    return status == TN_OK;
}

/* ---- running ---- */

static volatile sig_atomic_t stop_asked;
static weights_progress shown;

/* The second signal ends the process at once. Who pressed Ctrl-C is told, since rows in flight may take a while. */
static void ask_to_stop(int signal_number)
{
    static const char told[] = "\ntenon: rows in flight are finished, others are not asked; Ctrl-C again ends at once\n";

    const int code = errno;

    stop_asked = 1;
    signal(signal_number, SIG_DFL);
    ssize_t written = signal_number == SIGINT ? write(STDERR_FILENO, told, sizeof told - 1) : 0;
    (void)written; /* nobody is there to be told */
    errno = code;
}

batch_watch watch_start(const char *label)
{
    struct sigaction action = {.sa_handler = ask_to_stop};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    shown = progress_start(label, "rows");
    return (batch_watch){.stop = &stop_asked, .report = shown.report, .context = shown.ctx};
}

int watch_finish(const char *output, tn_status status, const job_counts *counts, const tn_error *err)
{
    progress_finish();
    if (status != TN_OK)
        return report(err);
    if (output)
        printf("%s: %" PRIu64 " rows: %" PRIu64 " answered, %" PRIu64 " without a prompt, %" PRIu64 " failed\n", output,
               counts->ok + counts->null + counts->failed, counts->ok, counts->null, counts->failed);
    if (counts->failed == 0)
        return 0;
    fprintf(stderr,
            "tenon: some rows failed; `tenon batch errors` lists them, `tenon batch retry-failed` asks them again\n");
    return EXIT_ROWS_FAILED;
}

const command command_batch = {
    .name = "batch",
    .arguments = "COMMAND ...",
    .summary = "a table or file of prompts through a server: run, status, list, cancel, errors, retry-failed, check, "
               "export, sql",
    .help =
        "Every row of an input asked of a server once, many at a time, through kills of either side. A batch is its "
        "output\n"
        "OUT: beside it stand OUT.job, the log of all answers so far, and OUT.success once all is written. "
        "For an output\n"
        "sqlite:DATABASE?TABLE these are DATABASE.TABLE.job and DATABASE.TABLE.success.",
    .positional_max = ARGS_POSITIONAL_MAX,
    .run = run_batch,
};
