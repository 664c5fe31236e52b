/* sdk/check/main.c: tenon-check, the conformance tool for plugins.
 *
 * Loads a plugin the way the core does, tries every table it offers, prints one line per check. Exit status: 0 all
 * passed, 1 some failed, 2 usage.
 */
#include "check/checks.h"

#include "plugin/handshake.h"
#include "version.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: tenon-check [--set PLUGIN_ID.KEY=VALUE]... PLUGIN.so\n"
    "\n"
    "Tries a Tenon plugin: that the core accepts it, that its descriptor and options are in order, and that\n"
    "its tables behave. Backends run a small Llama and are compared with the reference interpreter.\n"
    "\n"
    "  --set PLUGIN_ID.KEY=VALUE  a setting of the plugin, as in the .ini\n"
    "  --help, --version\n";

enum { OVERRIDES_MAX = 64 };

typedef struct arguments {
    const char *overrides[OVERRIDES_MAX + 1];
    const char *file;
} arguments;

/* Negative: go on; else the exit status. */
static int parse_arguments(int argc, char **argv, arguments *args)
{
    uint32_t count = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help"))
            return fputs(usage, stdout) < 0;
        if (!strcmp(argv[i], "--version"))
            return printf("tenon-check %s, ABI %d.%d\n", TENON_VERSION, TN_ABI_MAJOR, TN_ABI_MINOR) < 0;
        if (!strcmp(argv[i], "--set") && i + 1 < argc && count < OVERRIDES_MAX)
            args->overrides[count++] = argv[++i];
        else if (*argv[i] != '-' && !args->file)
            args->file = argv[i];
        else
            return (fputs(usage, stderr), 2);
    }
    if (!args->file)
        return (fputs(usage, stderr), 2);
    return -1;
}

static bool is_known(const char *id)
{
    for (const char *const *known = plugin_known_ids; *known; known++) {
        if (!strcmp(id, *known))
            return true;
    }
    return false;
}

/* A core ignores ids that it does not know, which a misspelt one is too: nothing of such a plugin has been tried. */
static void check_provides(report *report, const tn_plugin *descriptor)
{
    bool any = false;
    for (const char *const *id = descriptor->provides; *id; id++)
        any = any || is_known(*id);
    for (const char *const *id = descriptor->provides; *id; id++) {
        report_begin("provides");
        if (is_known(*id))
            report_pass(report, "%s", *id);
        else if (any)
            report_skip(report, "%s, which this core does not know and ignores", *id);
        else
            report_fail(report, "%s, which this core does not know; it takes ids of the SDK's headers, such as %s", *id,
                        TN_BACKEND_ID);
    }
}

static void check_tables(report *report, const plugin *plugin)
{
    const tn_backend *backend = NULL;
    const tn_quant_table *quant = NULL;
    const tn_tokenizer_table *tokenizer = NULL;
    const tn_frontend_table *frontend = NULL;
    bool is_backend = plugin_backend(plugin, &backend, NULL) == TN_OK;

    check_object(report, plugin, is_backend);
    check_descriptor(report, plugin);
    check_provides(report, plugin_descriptor(plugin));
    if (handshake_provides(plugin_descriptor(plugin), TN_OPS_ID))
        check_ops(report, plugin_descriptor(plugin)->get_interface(TN_OPS_ID));
    if (is_backend) {
        check_backend_probe(report, backend);
        check_backend_run(report, backend);
    }
    if (plugin_quant(plugin, &quant, NULL) == TN_OK)
        check_quant(report, quant);
    if (plugin_tokenizer(plugin, &tokenizer, NULL) == TN_OK)
        check_tokenizer(report, tokenizer);
    if (plugin_frontend(plugin, &frontend, NULL) == TN_OK)
        check_frontend(report, frontend);
}

static void load_and_check(report *report, const arguments *args)
{
    tn_error err = TN_ERROR_INIT;
    settings *settings = NULL;
    plugin_set *set = NULL;
    const plugin *plugin = NULL;
    report_begin("loading");
    char *path = realpath(args->file, NULL);
    tn_status status = settings_read(NULL, args->overrides, &settings, &err);
    if (status == TN_OK)
        status = plugin_set_create(settings, &set, &err);
    if (status == TN_OK)
        status = plugin_load(set, path ? path : args->file, &plugin, &err);
    if (status == TN_OK)
        status = settings_check_sections(settings, (const char *[]){plugin_descriptor(plugin)->id, NULL}, true, &err);
    if (status == TN_OK) {
        report_pass(report, "accepted by a core of ABI %d.%d", TN_ABI_MAJOR, TN_ABI_MINOR);
        check_tables(report, plugin);
    } else {
        report_fail(report, "%s", err.msg);
    }
    plugin_set_destroy(set);
    settings_destroy(settings);
    free(path);
}

int main(int argc, char **argv)
{
    arguments args = {.file = NULL};
    report report = {0};
    int status = parse_arguments(argc, argv, &args);
    if (status >= 0)
        return status;
    report_catch_crashes();
    load_and_check(&report, &args);
    printf("%u passed, %u failed, %u skipped\n", report.passed, report.failed, report.skipped);
    return report.failed ? 1 : 0;
}
