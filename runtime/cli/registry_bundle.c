/* registry_bundle.c: `tenon registry export` and `import`. */
#include "cli/registry.h"

/* ---- export ---- */

static int run_export(const command *command, int argc, char **argv)
{
    args a;
    registry *registry = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, NULL, 0, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!open_registry(&a, false, &registry)) {
        code = EXIT_FAILURE;
    } else {
        weights_progress progress = progress_start("exporting", NULL);
        tn_status status = registry_export(registry, a.positional[0], a.positional[1], &progress, &err);
        progress_finish();
        code = status == TN_OK ? 0 : report(&err);
    }
    registry_close(registry);
    args_finish(&a);
    return code;
}

const command command_registry_export = {
    .name = "registry export",
    .arguments = "NAME[@VERSION|:ALIAS] BUNDLE.tar",
    .summary = "write a version as one file, for a machine without a network",
    .help = "The bundle is a plain tar file: names, tags and metrics, the manifest, and the files under their SHA-256. "
            "Aliases stay\n"
            "here. The digest that `tenon registry show` prints is what to compare on the other side.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_export,
};

/* ---- import ---- */

static int run_import(const command *command, int argc, char **argv)
{
    version_flags version = {0};
    const char *name = NULL;
    bool json = false;
    const flag flags[] = {
        VERSION_FLAGS(version),
        {"name", "NAME", FLAG_STRING, &name, NULL, "the model's name here (default: that in the bundle)"},
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
    if (!version_flags_read(command, &version, name, &registration)) {
        code = EXIT_USAGE;
    } else if (!open_registry(&a, true, &registry)) {
        code = EXIT_FAILURE;
    } else {
        weights_progress progress = progress_start("importing", NULL);
        tn_status status = registry_import(registry, a.positional[0], &registration, &progress, &added, &err);
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

const command command_registry_import = {
    .name = "registry import",
    .arguments = "BUNDLE.tar",
    .summary = "add a version from a bundle, checked byte by byte",
    .help = "Names, tags and metrics are the bundle's unless given here; --version names it here, too. A version that "
            "is there with\n"
            "the same digest is left as it is; --alias points to it all the same.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_import,
};
