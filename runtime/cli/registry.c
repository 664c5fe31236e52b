/* registry.c: `tenon registry COMMAND`: finds the sub-command; what they share. */
#include "cli/registry.h"

#include <stdlib.h>
#include <string.h>

static const command *const commands[] = {
    &command_registry_log,   &command_registry_list,    &command_registry_show,   &command_registry_verify,
    &command_registry_alias, &command_registry_default, &command_registry_copy,   &command_registry_rm,
    &command_registry_gc,    &command_registry_export,  &command_registry_import, &command_registry_pull,
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int run_registry(const command *command, int argc, char **argv)
{
    return command_family(command, commands, COMMANDS, argc, argv);
}

bool open_registry(const args *args, bool create, registry **ret_registry)
{
    settings *settings = NULL;
    char root[PATH_MAX];
    tn_error err = TN_ERROR_INIT;

    tn_status status = settings_read(args->ini, args->sets, &settings, &err);
    if (status == TN_OK)
        status = registry_root(settings_string(settings, "registry", "path"), root, &err);
    if (status == TN_OK)
        status = registry_open(root, create, ret_registry, &err);
    settings_destroy(settings);
    if (status != TN_OK)
        report(&err);
    return status == TN_OK;
}

/* ---- flags ---- */

static bool refuse_pair(const command *command, const char *flag, const char *text)
{
    fprintf(stderr, "tenon %s: --%s takes %s, not '%s'\n", command->name, flag,
            strcmp(flag, "tag") == 0 ? "KEY=VALUE" : "KEY=NUMBER", text);
    return false;
}

/* KEY=TEXT; the key is a copy of our own. */
static bool read_pair(version_flags *flags, const char *text, registry_pair *ret_pair)
{
    const char *equals = strchr(text, '=');
    char *key = equals ? strndup(text, (size_t)(equals - text)) : NULL;

    if (!key)
        return false;
    flags->owned[flags->owned_count++] = key;
    *ret_pair = (registry_pair){.key = key, .text = equals + 1};
    return true;
}

static bool read_number(registry_pair *pair)
{
    char *end;
    pair->number = strtod(pair->text, &end);
    return end != pair->text && *end == '\0' && pair->number - pair->number == 0; /* finite */
}

bool version_flags_read(const command *command, version_flags *flags, const char *model, registration *ret_registration)
{
    for (uint32_t i = 0; i < flags->tags.count; i++)
        if (!read_pair(flags, flags->tags.at[i], &flags->tag_pairs[i]))
            return refuse_pair(command, "tag", flags->tags.at[i]);
    for (uint32_t i = 0; i < flags->metrics.count; i++)
        if (!read_pair(flags, flags->metrics.at[i], &flags->metric_pairs[i]) || !read_number(&flags->metric_pairs[i]))
            return refuse_pair(command, "metric", flags->metrics.at[i]);
    *ret_registration = (registration){.model = model,
                                       .version = flags->version,
                                       .alias = flags->alias,
                                       .task = flags->task,
                                       .comment = flags->comment,
                                       .tags = flags->tag_pairs,
                                       .metrics = flags->metric_pairs,
                                       .tag_count = flags->tags.count,
                                       .metric_count = flags->metrics.count};
    return true;
}

void version_flags_finish(version_flags *flags)
{
    for (uint32_t i = 0; i < flags->owned_count; i++)
        free(flags->owned[i]);
    flags->owned_count = 0;
}

file_choice choice_of(const string_list *include, const string_list *exclude)
{
    return (file_choice){include->at, exclude->at, include->count, exclude->count};
}

/* ---- answers ---- */

void print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_INDENT(1));
    putchar('\n');
}

void print_registered(const registered *version, bool json)
{
    char size[32];

    if (json) {
        printf("{\"name\": \"%s\", \"version\": \"%s\", \"digest\": \"%s\", \"bytes\": %llu}\n", version->model,
               version->version, version->digest.hex, (unsigned long long)version->bytes);
        return;
    }
    plan_format_bytes(version->bytes, size);
    printf("%s@%s  sha256:%s  %s\n", version->model, version->version, version->digest.hex, size);
}

const command command_registry = {
    .name = "registry",
    .arguments = "COMMAND ...",
    .summary = "named, versioned models in a store of their own: log, list, show, export, ...",
    .help = "Models by name and version, in a store that keeps equal files once and checks what it keeps. Wherever a "
            "command\n"
            "takes a MODEL, it takes registry:NAME too, and NAME@VERSION, NAME@sha256:DIGEST or NAME:ALIAS after the "
            "colon; a bare\n"
            "name is the model's default version. The store is the folder registry.path; default: registry in the "
            "folder that\n"
            "TENON_HOME names, else .local/share/tenon/registry in HOME.",
    .positional_max = ARGS_POSITIONAL_MAX,
    .run = run_registry,
};
