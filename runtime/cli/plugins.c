/* plugins.c: `tenon plugins`: what is in the plugin directory, and whether this core accepts it. */
#include "cli/command.h"
#include "tenon/auth.h"
#include "tenon/rendezvous.h"
#include "version.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void print_option(const char *section, const char *key, const char *type, const char *default_value,
                         const char *help)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", section, key);
    printf("    %-36s %-12s default %-14s %s\n", name, type, default_value ? default_value : "(unset)", help);
}

static void print_core_options(void)
{
    printf("settings of the core\n");
    for (uint32_t i = 0; i < settings_option_count; i++) {
        const settings_option *option = &settings_options[i];
        print_option(option->section, option->key, option->type, option->default_value, option->help);
    }
}

static void print_options(const tn_plugin *descriptor)
{
    if (!TN_HAS(descriptor, tn_plugin, option_stride))
        return;
    for (uint32_t i = 0; i < descriptor->option_count; i++) {
        const tn_option *option = (const tn_option *)(const void *)((const char *)descriptor->options +
                                                                    (size_t)i * descriptor->option_stride);
        print_option(descriptor->id, option->key, option->type, option->default_value, option->help);
    }
}

static void print_plugin(const plugin *plugin, bool options)
{
    const tn_plugin *d = plugin_descriptor(plugin);

    printf("%s %s\n    by %s, %s; built for ABI %u.%u, needs core >= %u.%u\n    %s\n   ", d->id, d->version, d->vendor,
           d->license, d->abi_major, d->abi_built, d->abi_major, d->abi_min, plugin_path(plugin));
    for (uint32_t i = 0; d->provides[i]; i++)
        printf(" %s", d->provides[i]);
    printf("\n");
    if (options)
        print_options(d);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_module(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return bytes > 3 && strcmp(entry->d_name + bytes - 3, ".so") == 0;
}

/* Lists one directory; returns how many were refused, -1 if it cannot be read. */
static int list_directory(plugin_set *set, const char *path, bool options)
{
    struct dirent **entries;
    int refused = 0;
    int count = scandir(path, &entries, is_module, by_name);

    if (count < 0) {
        fprintf(stderr, "tenon: plugin directory %s: %s (plugins.path names another)\n", path, strerror(errno));
        return -1;
    }
    for (int i = 0; i < count; i++) {
        tn_error err = TN_ERROR_INIT;
        const plugin *plugin;
        entries[i]->d_name[strlen(entries[i]->d_name) - 3] = '\0';
        if (plugin_load(set, entries[i]->d_name, &plugin, &err) == TN_OK) {
            print_plugin(plugin, options);
        } else {
            printf("%s: refused: %s\n", entries[i]->d_name, err.msg);
            refused++;
        }
        free(entries[i]);
    }
    free(entries);
    return refused;
}

static int run_plugins(const command *command, int argc, char **argv)
{
    bool options = false;
    const flag flags[] = {
        {"options", NULL, FLAG_SWITCH, &options, NULL, "list every setting, the core's and each plugin's"}};
    args a;
    settings *settings = NULL;
    plugin_set *set = NULL;
    tn_error err = TN_ERROR_INIT;
    int refused = 0;
    int code = args_parse(command, flags, 1, argc, argv, &a);

    if (code >= 0)
        return code;
    tn_status status = settings_read(a.ini, a.sets, &settings, &err);
    if (status == TN_OK)
        status = plugin_set_create(settings, &set, &err);
    if (status == TN_OK) {
        const char *path = settings_string(settings, "plugins", "path");
        if (options)
            print_core_options();
        refused = list_directory(set, path ? path : TENON_PLUGIN_DIR, options);
        printf("from the core, for plugins: %s, %s\n", TN_RENDEZVOUS_ID, TN_AUTH_ID);
    }
    plugin_set_destroy(set);
    settings_destroy(settings);
    args_finish(&a);
    if (status != TN_OK)
        return report(&err);
    return refused == 0 ? 0 : EXIT_FAILURE;
}

const command command_plugins = {
    .name = "plugins",
    .arguments = "",
    .summary = "list plugins: version, ABI range, interfaces, path",
    .help = "Loads every module in the plugin directory and prints what it is, or why this core refuses it.",
    .positional_min = 0,
    .positional_max = 0,
    .run = run_plugins,
};
