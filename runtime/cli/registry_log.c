/* registry_log.c: `tenon registry log NAME PATH`. */
#include "cli/registry.h"

static int run_log(const command *command, int argc, char **argv)
{
    version_flags version = {0};
    string_list include = {0}, exclude = {0};
    const char *revision = NULL;
    bool json = false;
    const flag flags[] = {
        VERSION_FLAGS(version),
        CHOICE_FLAGS(include, exclude),
        {"revision", "REV", FLAG_STRING, &revision, NULL,
         "of a Hugging Face cache entry: a ref or a commit (default main)"},
        {"json", NULL, FLAG_SWITCH, &json, NULL, "print what was added as JSON"},
    };
    args a;
    registry *registry = NULL;
    registration registration;
    registered added;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!version_flags_read(command, &version, a.positional[0], &registration)) {
        code = EXIT_USAGE;
    } else if (!open_registry(&a, true, &registry)) {
        code = EXIT_FAILURE;
    } else {
        const file_choice choice = choice_of(&include, &exclude);
        weights_progress progress = progress_start("logging", NULL);
        tn_status status =
            registry_log(registry, a.positional[1], revision, &choice, &registration, &progress, &added, &err);
        progress_finish();
        code = status == TN_OK ? 0 : report(&err);
    }
    if (code == 0)
        print_registered(&added, json);
    registry_close(registry);
    version_flags_finish(&version);
    args_finish(&a);
    return code;
}

const command command_registry_log = {
    .name = "registry log",
    .arguments = "NAME PATH",
    .summary = "add a version: a model directory, a GGUF file or a Hugging Face cache entry",
    .help =
        "Copies the files into the store. PATH is a GGUF file, a directory of safetensors files or one with a single "
        "GGUF file, or\n"
        "an entry of Hugging Face's cache (models--ORG--NAME, or one of its snapshots), whose hashes are checked. "
        "Hidden\n"
        "files are left out; pickle files (.bin, .pt, .pth, .pkl, .ckpt) and links that lead out of the directory are\n"
        "refused. If it is stopped, nothing is left but garbage for `tenon registry gc`.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_log,
};
