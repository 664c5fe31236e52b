/* runtime/plugin/loader.c: the plugins one runtime named, and their tables. The work is in plugin_file.c (which file),
 * process.c (loading, once per process), handshake.c and adopt.c (what it says and offers).
 */
#include "plugin/loader.h"

#include "plugin/handshake.h"
#include "plugin/process.h"

#include <stdlib.h>
#include <string.h>

enum { SET_PLUGINS_MAX = 64 };

struct plugin_set {
    const settings *settings; /* borrowed */
    const plugin *plugins[SET_PLUGINS_MAX];
    uint32_t count;
};

static uint32_t level_of(const char *name)
{
    static const char *const names[] = {"error", "warning", "info"};
    for (uint32_t level = 0; level < sizeof names / sizeof *names; level++) {
        if (!strcmp(name, names[level]))
            return level;
    }
    return TN_LOG_DEBUG;
}

tn_status plugin_set_create(const settings *settings, plugin_set **ret_set, tn_error *err)
{
    plugin_set *set = calloc(1, sizeof *set);
    if (!set)
        return tn_fail(err, TN_E_MEMORY, "out of memory: plugin set");
    set->settings = settings;
    process_set_log_level(level_of(settings_string(settings, "log", "level")));
    *ret_set = set;
    return TN_OK;
}

void plugin_set_destroy(plugin_set *set)
{
    free(set);
}

const plugin *plugin_at(const plugin_set *set, uint32_t index)
{
    return index < set->count ? set->plugins[index] : NULL;
}

tn_status plugin_load(plugin_set *set, const char *spec, const plugin **ret_plugin, tn_error *err)
{
    plugin_file file;
    const plugin *found = NULL;
    tn_status status = plugin_file_find(spec, settings_string(set->settings, "plugins", "path"), &file, err);
    if (status == TN_OK)
        status = process_load(set->settings, &file, &found, err);
    if (status != TN_OK)
        return status;
    uint32_t at = 0;
    while (at < set->count && set->plugins[at] != found)
        at++;
    if (at == SET_PLUGINS_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "more than %d plugins are named", SET_PLUGINS_MAX);
    if (at == set->count)
        set->plugins[set->count++] = found;
    *ret_plugin = found;
    return TN_OK;
}

const tn_plugin *plugin_descriptor(const plugin *plugin)
{
    return &plugin->descriptor;
}

const char *plugin_path(const plugin *plugin)
{
    return plugin->file.path;
}

const tn_host *plugin_host(const plugin *plugin)
{
    return &plugin->host;
}

static tn_status fail_missing(const plugin *plugin, const char *role, const char *id, tn_error *err)
{
    char provided[200];
    handshake_describe_provides(&plugin->descriptor, provided, sizeof provided);
    return tn_fail(err, TN_E_UNSUPPORTED, "plugin %.160s is not a %s: it provides %s, not %s", plugin->file.path, role,
                   provided, id);
}

tn_status plugin_backend(const plugin *plugin, const tn_backend **ret_table, tn_error *err)
{
    if (!plugin->backend.struct_size)
        return fail_missing(plugin, "backend", TN_BACKEND_ID, err);
    *ret_table = &plugin->backend;
    return TN_OK;
}

tn_status plugin_quant(const plugin *plugin, const tn_quant_table **ret_table, tn_error *err)
{
    if (!plugin->quant.struct_size)
        return fail_missing(plugin, "quantization plugin", TN_QUANT_ID, err);
    *ret_table = &plugin->quant;
    return TN_OK;
}

tn_status plugin_tokenizer(const plugin *plugin, const tn_tokenizer_table **ret_table, tn_error *err)
{
    if (!plugin->tokenizer.struct_size)
        return fail_missing(plugin, "tokenizer", TN_TOKENIZER_ID, err);
    *ret_table = &plugin->tokenizer;
    return TN_OK;
}

tn_status plugin_frontend(const plugin *plugin, const tn_frontend_table **ret_table, tn_error *err)
{
    if (!plugin->frontend.struct_size)
        return fail_missing(plugin, "front end", TN_FRONTEND_ID, err);
    *ret_table = &plugin->frontend;
    return TN_OK;
}
