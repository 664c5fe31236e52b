/* registry_change.c: `tenon registry alias`, `default`, `copy`, `rm` and `gc`. */
#include "cli/registry.h"

#include <stdlib.h>
#include <string.h>

/* Most of these: flags parsed, the registry opened, one thing done. */
typedef tn_status (*change)(registry *registry, const args *args, void *ctx, tn_error *err);

static int run_change(const command *command, const flag *flags, uint32_t count, int argc, char **argv, change change,
                      void *ctx)
{
    args a;
    registry *registry = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, count, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!open_registry(&a, false, &registry))
        code = EXIT_FAILURE;
    else
        code = change(registry, &a, ctx, &err) == TN_OK ? 0 : report(&err);
    registry_close(registry);
    args_finish(&a);
    return code;
}

/* ---- alias ---- */

static tn_status change_alias(registry *registry, const args *a, void *ctx, tn_error *err)
{
    (void)ctx;
    if (strcmp(a->positional[0], "set") == 0)
        return registry_set_alias(registry, a->positional[1], a->positional[2], err);
    if (strcmp(a->positional[0], "unset") == 0)
        return registry_unset_alias(registry, a->positional[1], a->positional[2], err);
    return tn_fail(err, TN_E_ARGUMENT, "registry alias takes set or unset, not '%.100s'", a->positional[0]);
}

static int run_alias(const command *command, int argc, char **argv)
{
    return run_change(command, NULL, 0, argc, argv, change_alias, NULL);
}

const command command_registry_alias = {
    .name = "registry alias",
    .arguments = "set NAME@VERSION ALIAS | unset NAME ALIAS",
    .summary = "let an alias point to a version, or take it away",
    .help = "NAME:ALIAS then means that version. Setting an alias that exists moves it.",
    .positional_min = 3,
    .positional_max = 3,
    .run = run_alias,
};

/* ---- default ---- */

static tn_status change_default(registry *registry, const args *a, void *ctx, tn_error *err)
{
    (void)ctx;
    return registry_set_default(registry, a->positional[0], err);
}

static int run_default(const command *command, int argc, char **argv)
{
    return run_change(command, NULL, 0, argc, argv, change_default, NULL);
}

const command command_registry_default = {
    .name = "registry default",
    .arguments = "NAME@VERSION",
    .summary = "choose the version that the bare name means",
    .help = "Until one is chosen, the bare name means the version that was logged last.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_default,
};

/* ---- copy ---- */

static int copy(const args *a, const registration *registration, bool json)
{
    registry *registry = NULL;
    registered added;
    tn_error err = TN_ERROR_INIT;

    if (!open_registry(a, false, &registry))
        return EXIT_FAILURE;
    tn_status status = registry_copy(registry, a->positional[0], registration, &added, &err);
    registry_close(registry);
    if (status != TN_OK)
        return report(&err);
    print_registered(&added, json);
    return 0;
}

static int run_copy(const command *command, int argc, char **argv)
{
    version_flags version = {0};
    registration registration;
    bool json = false;
    const flag flags[] = {
        VERSION_FLAGS(version),
        {"json", NULL, FLAG_SWITCH, &json, NULL, "print what was added as JSON"},
    };
    args a;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    code = version_flags_read(command, &version, a.positional[1], &registration) ? copy(&a, &registration, json)
                                                                                 : EXIT_USAGE;
    version_flags_finish(&version);
    args_finish(&a);
    return code;
}

const command command_registry_copy = {
    .name = "registry copy",
    .arguments = "NAME[@VERSION|:ALIAS] NEW-NAME",
    .summary = "give a version another name",
    .help = "The copy has the same digest and takes no space; tags, metrics and notes are those given here.",
    .positional_min = 2,
    .positional_max = 2,
    .run = run_copy,
};

/* ---- rm ---- */

static tn_status change_rm(registry *registry, const args *a, void *ctx, tn_error *err)
{
    uint32_t count = 0;
    (void)ctx;
    tn_status status = registry_remove(registry, a->positional[0], &count, err);
    if (status == TN_OK)
        printf("removed %u version%s; `tenon registry gc` frees what no other needs\n", count, count == 1 ? "" : "s");
    return status;
}

static int run_rm(const command *command, int argc, char **argv)
{
    return run_change(command, NULL, 0, argc, argv, change_rm, NULL);
}

const command command_registry_rm = {
    .name = "registry rm",
    .arguments = "NAME[@VERSION|:ALIAS]",
    .summary = "remove a version, or all versions of a name",
    .help = "Aliases of what is removed go with it. The space is freed by `tenon "
            "registry gc`.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_rm,
};

/* ---- gc ---- */

typedef struct gc_request {
    bool dry, json;
} gc_request;

static tn_status change_gc(registry *registry, const args *a, void *ctx, tn_error *err)
{
    const gc_request *request = ctx;
    registry_garbage garbage = {0};
    char size[32];

    (void)a;
    tn_status status = registry_collect(registry, request->dry, &garbage, err);
    if (status != TN_OK)
        return status;
    plan_format_bytes(garbage.bytes, size);
    if (request->json)
        printf("{\"removed\": %s, \"blobs\": %llu, \"bytes\": %llu, \"folders\": %u}\n",
               request->dry ? "false" : "true", (unsigned long long)garbage.blobs, (unsigned long long)garbage.bytes,
               garbage.folders);
    else
        printf("%s %llu files (%s) and %u folders\n", request->dry ? "would remove" : "removed",
               (unsigned long long)garbage.blobs, size, garbage.folders);
    return TN_OK;
}

static int run_gc(const command *command, int argc, char **argv)
{
    gc_request request = {0};
    const flag flags[] = {
        {"dry-run", NULL, FLAG_SWITCH, &request.dry, NULL, "only say what would be removed"},
        {"json", NULL, FLAG_SWITCH, &request.json, NULL, "as one JSON object"},
    };
    return run_change(command, flags, 2, argc, argv, change_gc, &request);
}

const command command_registry_gc = {
    .name = "registry gc",
    .arguments = "",
    .summary = "free what no version needs, and what stopped runs left",
    .help = "Safe beside anything else that uses the registry. Downloads that were cut off go too, unless somebody is "
            "at them.",
    .run = run_gc,
};
