/* registry_verify.c: `tenon registry verify`. */
#include "cli/registry.h"

static void print_report(const json_t *report)
{
    size_t i, j;
    json_t *version, *sentence;

    json_array_foreach(json_object_get(report, "versions"), i, version)
    {
        const json_t *damage = json_object_get(version, "damage");
        printf("%s@%s  %s\n", json_string_value(json_object_get(version, "model")),
               json_string_value(json_object_get(version, "version")), json_array_size(damage) ? "damaged" : "good");
        json_array_foreach(damage, j, sentence) printf("  %s\n", json_string_value(sentence));
    }
}

static int run_verify(const command *command, int argc, char **argv)
{
    bool deep = false, json = false;
    const flag flags[] = {
        {"deep", NULL, FLAG_SWITCH, &deep, NULL, "open each model as the loader does, too"},
        {"json", NULL, FLAG_SWITCH, &json, NULL, "as one JSON object"},
    };
    args a;
    registry *registry = NULL;
    json_t *report_json = NULL;
    tn_error err = TN_ERROR_INIT;
    int code = args_parse(command, flags, 2, argc, argv, &a);

    if (code >= 0)
        return code;
    if (!open_registry(&a, false, &registry)) {
        code = EXIT_FAILURE;
    } else {
        weights_progress progress = progress_start("verifying", NULL);
        tn_status status =
            registry_verify(registry, a.positional_count ? a.positional[0] : NULL, deep, &progress, &report_json, &err);
        progress_finish();
        code = status == TN_OK ? 0 : report(&err);
    }
    if (report_json) {
        json_int_t damaged = json_integer_value(json_object_get(report_json, "damaged"));
        (json ? print_json : print_report)(report_json);
        if (damaged) {
            fprintf(
                stderr,
                "tenon: %lld of the versions are damaged; import or log them anew after `tenon registry rm` and `gc`\n",
                (long long)damaged);
            code = EXIT_DAMAGE;
        }
    }
    json_decref(report_json);
    registry_close(registry);
    args_finish(&a);
    return code;
}

const command command_registry_verify = {
    .name = "registry verify",
    .arguments = "[NAME[@VERSION|:ALIAS]]",
    .summary = "re-hash what is stored, of one version or of all",
    .help =
        "Reads every file. Exit code 0: all is as it was stored; 4: something is damaged, and the output says what.",
    .positional_max = 1,
    .run = run_verify,
};
