/* registry_pull.c: `tenon registry pull ORG/NAME`. */
#include "cli/registry.h"
#include "hub/pull.h"

#include <stdlib.h>
#include <string.h>

typedef struct pull_flags {
    version_flags version;
    string_list include, exclude;
    const char *name, *revision, *endpoint, *token_file;
    int64_t parallel, retries;
    bool json;
} pull_flags;

static weights_progress begin(const char *label)
{
    progress_finish();
    return progress_start(label, NULL);
}

/* The first line of --token-file, else HF_TOKEN. *ret_token owned; NULL: there is none. False: printed why. */
static bool find_token(const pull_flags *f, char **ret_token)
{
    const char *variable = secure_getenv("HF_TOKEN");
    uint64_t bytes;

    if (f->token_file) {
        *ret_token = read_input(f->token_file, &bytes);
        if (*ret_token)
            (*ret_token)[strcspn(*ret_token, "\r\n")] = '\0';
        return *ret_token != NULL;
    }
    *ret_token = variable && variable[0] ? strdup(variable) : NULL;
    return true;
}

static bool read_settings(const args *args, settings **ret_settings)
{
    tn_error err = TN_ERROR_INIT;
    tn_status status = settings_read(args->ini, args->sets, ret_settings, &err);

    if (status != TN_OK)
        report(&err);
    return status == TN_OK;
}

static int check_flags(const pull_flags *f)
{
    tn_error err = TN_ERROR_INIT;

    if (f->parallel < 1 || f->parallel > PULL_PARALLEL_MAX)
        tn_fail(&err, TN_E_ARGUMENT, "--parallel takes 1 to %d", PULL_PARALLEL_MAX);
    else if (f->retries < 0 || f->retries > PULL_RETRIES_MAX)
        tn_fail(&err, TN_E_ARGUMENT, "--retries takes 0 to %d", PULL_RETRIES_MAX);
    else
        return -1;
    report(&err);
    return EXIT_USAGE;
}

static int pull(registry *registry, const settings *settings, const pull_flags *f, const char *repository,
                const registration *registration)
{
    const file_choice choice = choice_of(&f->include, &f->exclude);
    registered added;
    char *token = NULL;
    tn_error err = TN_ERROR_INIT;

    if (!find_token(f, &token))
        return EXIT_FAILURE;
    const pull_request request = {.endpoint = f->endpoint,
                                  .repository = repository,
                                  .revision = f->revision,
                                  .token = token,
                                  .ca_file = settings_string(settings, "registry", "ca_file"),
                                  .parallel = (uint32_t)f->parallel,
                                  .retries = (uint32_t)f->retries,
                                  .choice = &choice,
                                  .registration = registration,
                                  .begin = begin};
    tn_status status = registry_pull(registry, &request, &added, &err);
    progress_finish();
    free(token);
    if (status != TN_OK)
        return report(&err);
    print_registered(&added, f->json);
    return 0;
}

static int run_pull(const command *command, int argc, char **argv)
{
    pull_flags f = {.revision = "main", .endpoint = "https://huggingface.co", .parallel = 4, .retries = 5};
    const flag flags[] = {
        VERSION_FLAGS(f.version),
        CHOICE_FLAGS(f.include, f.exclude),
        {"name", "NAME", FLAG_STRING, &f.name, NULL,
         "the model's name here (default: the repository's, without its owner)"},
        {"revision", "REV", FLAG_STRING, &f.revision, NULL, "a branch, tag or commit (default main)"},
        {"endpoint", "URL", FLAG_STRING, &f.endpoint, NULL,
         "the hub (default https://huggingface.co); http to this machine only"},
        {"token-file", "FILE", FLAG_STRING, &f.token_file, NULL,
         "a file that holds the token (default: the variable HF_TOKEN)"},
        {"parallel", "N", FLAG_INTEGER, &f.parallel, NULL, "files at once (default 4)"},
        {"retries", "N", FLAG_INTEGER, &f.retries, NULL,
         "tries without progress before a file is given up (default 5)"},
        {"json", NULL, FLAG_SWITCH, &f.json, NULL, "print what was added as JSON"},
    };
    args a;
    registry *registry = NULL;
    settings *settings = NULL;
    registration registration;
    int code = args_parse(command, flags, sizeof flags / sizeof *flags, argc, argv, &a);

    if (code >= 0)
        return code;
    const char *slash = strrchr(a.positional[0], '/');
    const char *name = f.name ? f.name : slash ? slash + 1 : a.positional[0];
    code = check_flags(&f);
    if (code < 0 && !version_flags_read(command, &f.version, name, &registration))
        code = EXIT_USAGE;
    if (code < 0)
        code = open_registry(&a, true, &registry) && read_settings(&a, &settings)
                   ? pull(registry, settings, &f, a.positional[0], &registration)
                   : EXIT_FAILURE;
    settings_destroy(settings);
    registry_close(registry);
    version_flags_finish(&f.version);
    args_finish(&a);
    return code;
}

const command command_registry_pull = {
    .name = "registry pull",
    .arguments = "ORG/NAME",
    .summary = "add a version from a Hugging Face style hub; the only command that asks the outside for anything",
    .help =
        "Files are downloaded side by side, resumed where they were cut off (now, or by the same pull later), and "
        "checked against\n"
        "the hashes that the hub states. Large files that the store has already are not downloaded. Pickle files are "
        "refused: leave\n"
        "them out with --exclude '*.bin'. The token goes to the endpoint only, not where it redirects to. The "
        "certificate of a hub\n"
        "of one's own: registry.ca_file. Proxies: https_proxy, all_proxy and no_proxy, as libcurl reads them.",
    .positional_min = 1,
    .positional_max = 1,
    .run = run_pull,
};
