/* runtime/plugin/process.h: the plugins of this process, each loaded and initialised once, alive until exit.
 *
 * A shared object has one set of globals however often it is opened, so its state belongs to the process, not to one of
 * several runtimes in it. Internal to runtime/plugin.
 */
#ifndef PLUGIN_PROCESS_H
#define PLUGIN_PROCESS_H

#include "plugin/loader.h"
#include "plugin/plugin_file.h"

#include <stdbool.h>

struct plugin {
    struct plugin *next; /* loaded before this one */
    plugin_file file;
    tn_plugin descriptor; /* the core's copy */
    tn_host host;
    char **config; /* one per option: value, default or NULL; owned */
    tn_backend backend; /* adopted tables; struct_size 0: not provided */
    tn_ops_table ops;
    tn_quant_table quant;
    tn_tokenizer_table tokenizer;
    tn_frontend_table frontend;
};

/* Highest level that is still logged, by all plugins of the process. [any] */
void process_set_log_level(uint32_t level);
/* Returns the plugin in `file` (already checked), loading it if it is not in the process yet. [any] */
tn_status process_load(const settings *settings, const plugin_file *file, const plugin **ret_plugin, tn_error *err);

#endif
