/* runtime/plugin/loader.h: finds, checks and loads plugins.
 *
 * Order of checks: path (bare name -> plugin directory, or absolute), ownership and permissions of the file and all
 * parents, sha256 pin, ELF, dlopen(RTLD_NOW | RTLD_LOCAL), entry symbol, magic, majors, abi_min/abi_built, frozen
 * prefix, no draft among the interfaces that the core knows, unique id, the plugin's section of the settings;
 * then init, and adoption of every known table. Every refusal is one sentence that a vendor understands, with both
 * version ranges where versions are the reason.
 *
 * A process has one copy of a plugin, however many sets name it: it is initialised once, with the settings of the set
 * that came first, never dlclosed once its entry has run, and its fini runs at exit, in reverse order. A set whose
 * settings for it differ is refused.
 */
#ifndef PLUGIN_LOADER_H
#define PLUGIN_LOADER_H

#include "settings/settings.h"
#include "tenon/backend.h"
#include "tenon/frontend.h"
#include "tenon/ops.h"
#include "tenon/plugin.h"
#include "tenon/quant.h"
#include "tenon/tokenizer.h"

typedef struct plugin_set plugin_set;

/* settings: borrowed until destroy; what plugins read of it is copied. Log lines go to stderr as "level component:
 * text". */
tn_status plugin_set_create(const settings *settings, plugin_set **ret_set, tn_error *err);
void plugin_set_destroy(plugin_set *set); /* plugins live on, see above; NULL is fine */

typedef struct plugin plugin;
/* The index-th plugin of the set in load order, NULL past the last. */
const plugin *plugin_at(const plugin_set *set, uint32_t index);

/* Loads by bare name ("cpu" -> <plugin dir>/cpu.so) or absolute path, optionally followed by " sha256=<64 hex digits>".
 * A second load of the same file returns the same plugin. */
tn_status plugin_load(plugin_set *set, const char *spec, const plugin **ret_plugin, tn_error *err);

const tn_plugin *plugin_descriptor(const plugin *plugin);
const char *plugin_path(const plugin *plugin);

/* Adopted tables: the core's own zero-extended copies, gaps filled with default stubs, mandatory members checked.
 * Borrowed until the set is destroyed. TN_E_UNSUPPORTED says what the plugin provides instead. A plugin that provides
 * tn.ops only is wrapped by sdk/interp into a backend. */
tn_status plugin_backend(const plugin *plugin, const tn_backend **ret_table, tn_error *err);
tn_status plugin_quant(const plugin *plugin, const tn_quant_table **ret_table, tn_error *err);
tn_status plugin_tokenizer(const plugin *plugin, const tn_tokenizer_table **ret_table, tn_error *err);
tn_status plugin_frontend(const plugin *plugin, const tn_frontend_table **ret_table, tn_error *err);
/* The tn_host handed to this plugin. */
const tn_host *plugin_host(const plugin *plugin);

#endif
