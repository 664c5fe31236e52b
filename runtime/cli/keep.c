/* keep.c: `tenon keep FOLDER`: what the daemon starts for each engine, so that the engine does not need the daemon. */
#include "cli/command.h"
#include "service/keeper.h"

#include <limits.h>
#include <unistd.h>

static int run_keep(const command *command, int argc, char **argv)
{
    int64_t log_bytes_max = 16 << 20, log_files = 4;
    const flag flags[] = {
        {"log-bytes-max", "N", FLAG_INTEGER, &log_bytes_max, NULL, "size at which a new file of the log is begun"},
        {"log-files", "N", FLAG_INTEGER, &log_files, NULL, "files of the log that are kept"},
    };
    args a;
    char program[PATH_MAX];
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    ssize_t bytes = readlink("/proc/self/exe", program, sizeof program - 1);
    program[bytes > 0 ? bytes : 0] = '\0';
    tn_status status = log_files < 1 || log_files > 100 || log_bytes_max < 4096
                           ? tn_fail(&err, TN_E_ARGUMENT, "keep: 1 to 100 files of at least 4096 bytes")
                           : keeper_run(program, a.positional[0], (uint64_t)log_bytes_max, (uint32_t)log_files, &err);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_keep = {
    .name = "keep",
    .arguments = "FOLDER",
    .summary = "run one engine for the daemon: its log, and how it ended",
    .help = "`tenon daemon` starts it; FOLDER holds engine.ini. SIGTERM is passed on to the engine.",
    .positional_min = 1,
    .positional_max = 1,
    .settings = SETTINGS_UNREAD,
    .run = run_keep,
};
