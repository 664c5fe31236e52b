/* inspect.c: `tenon inspect MODEL`: validates a model file and lists what is in it. */
#include "cli/command.h"
#include "model/describe.h"

#include <stdlib.h>

static int run_inspect(const command *command, int argc, char **argv)
{
    bool json = false;
    const flag flags[] = {{"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"}};
    tn_error err = TN_ERROR_INIT;
    checkpoint *checkpoint = NULL;
    char *path = NULL;
    args a;
    int code = args_parse(command, flags, 1, argc, argv, &a);

    if (code >= 0)
        return code;
    tn_status status = find_model(&a, a.positional[0], &path, &err);
    if (status == TN_OK)
        status = checkpoint_open(path, &checkpoint, &err);
    if (status == TN_OK)
        checkpoint_describe(checkpoint, stdout, json);
    checkpoint_close(checkpoint);
    free(path);
    args_finish(&a);
    return status == TN_OK ? 0 : report(&err);
}

const command command_inspect = {
    .name = "inspect",
    .arguments = "MODEL",
    .summary = "validate a model file or directory and list its metadata and tensors",
    .help = "Reads headers only. A file that violates its format is refused with the reason.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_inspect,
};
