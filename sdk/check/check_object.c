/* sdk/check/check_object.c: exports, needed libraries, descriptor strings, option table. */
#include "check/checks.h"

#include "check/elf_symbols.h"
#include "settings/value.h"

#include <string.h>

typedef struct object_findings {
    uint32_t strangers, foreign;
    char stranger[80], libraries[200]; /* the first stranger; all foreign libraries */
} object_findings;

static void on_export(void *ctx, const char *name)
{
    object_findings *findings = ctx;
    if (!strcmp(name, "tn_plugin_entry"))
        return;
    if (findings->strangers++ == 0)
        snprintf(findings->stranger, sizeof findings->stranger, "%s", name);
}

/* Libraries that every system of this platform has, or that come with the compiler. */
static bool is_common_library(const char *name)
{
    static const char *const common[] = {"libc.so",   "libm.so",       "libdl.so",     "libpthread.so", "librt.so",
                                         "ld-linux",  "libgcc_s.so",   "libstdc++.so", "libgomp.so",    "libatomic.so",
                                         "libc.musl", "linux-vdso.so", "libasan.so",   "libubsan.so",   "libtsan.so"};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        if (!strncmp(name, common[i], strlen(common[i])))
            return true;
    }
    return false;
}

static void on_needed(void *ctx, const char *name)
{
    object_findings *findings = ctx;
    size_t used = strlen(findings->libraries);
    if (is_common_library(name))
        return;
    findings->foreign++;
    snprintf(findings->libraries + used, sizeof findings->libraries - used, "%s%s", used ? ", " : "", name);
}

void check_object(report *report, const plugin *plugin, bool is_backend)
{
    object_findings findings = {0};
    tn_error err = TN_ERROR_INIT;
    report_begin("exported symbols");
    if (elf_symbols_visit(plugin_path(plugin), on_export, on_needed, &findings, &err) != TN_OK) {
        report_fail(report, "%s", err.msg);
        return;
    }
    if (findings.strangers)
        report_fail(report, "%u besides tn_plugin_entry, the first is %s: link with the SDK's plugin.map",
                    findings.strangers, findings.stranger);
    else
        report_pass(report, "tn_plugin_entry and nothing else");

    report_begin("needed libraries");
    if (is_backend && findings.foreign)
        report_fail(
            report,
            "%s: find driver and vendor libraries with dlopen, so that `tenon plan` and clear errors work where "
            "they are missing",
            findings.libraries);
    else
        report_pass(report, "%s", findings.foreign ? findings.libraries : "only the system's");
}

static const tn_option *option_at(const tn_plugin *descriptor, uint32_t index)
{
    return (const void *)((const char *)descriptor->options + (size_t)index * descriptor->option_stride);
}

static bool check_option(report *report, const tn_option *option)
{
    value parsed;
    if (option->key[strspn(option->key, "abcdefghijklmnopqrstuvwxyz0123456789_")])
        report_fail(report, "\"%s\": keys consist of a-z, 0-9 and _", option->key);
    else if (option->default_value && !value_parse(option->type, option->default_value, &parsed))
        report_fail(report, "\"%s\": its default \"%s\" is not of its type %s", option->key, option->default_value,
                    option->type);
    else if (!*option->help || option->help[strlen(option->help) - 1] != '.')
        report_fail(report, "\"%s\": its help must be a sentence", option->key);
    else
        return true;
    return false;
}

void check_descriptor(report *report, const plugin *plugin)
{
    const tn_plugin *descriptor = plugin_descriptor(plugin);
    report_begin("descriptor");
    if (!*descriptor->version || !*descriptor->vendor || !*descriptor->license)
        report_fail(report, "version, vendor and license must not be empty");
    else
        report_pass(report, "%s %s, %s, %s", descriptor->id, descriptor->version, descriptor->vendor,
                    descriptor->license);

    report_begin("unknown interface");
    if (descriptor->get_interface("tn.nothing/1"))
        report_fail(report, "get_interface must return NULL for ids the plugin does not know");
    else
        report_pass(report, "get_interface returns NULL");

    report_begin("options");
    for (uint32_t i = 0; i < descriptor->option_count; i++) {
        if (!check_option(report, option_at(descriptor, i)))
            return;
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(option_at(descriptor, i)->key, option_at(descriptor, j)->key))
                continue;
            report_fail(report, "\"%s\" is declared twice", option_at(descriptor, i)->key);
            return;
        }
    }
    report_pass(report, "%u declared", descriptor->option_count);
}
