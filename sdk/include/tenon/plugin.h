/* tenon/plugin.h: the handshake between the core and a plugin.
 *
 * A plugin is a shared object with exactly one exported symbol, tn_plugin_entry, which returns static data.
 * The core accepts it iff the majors are equal, abi_min <= core minor and abi_built >= the oldest minor the core
 * supports. It reads nothing else, and runs nothing else, before that holds. Plugins are never unloaded.
 */
#ifndef TENON_PLUGIN_H
#define TENON_PLUGIN_H

#include "tenon/error.h"
#include "tenon/draft.h"

TN_BEGIN_DECLS

/* Interface ids look like "tn.backend/1". A table with a number above 0 is frozen: it grows by appending, and what breaks
 * it is another interface, "/2", beside it. While a table is a draft (/0) its id ends in a hash of the SDK headers, so
 * that only a plugin built from the very same text is accepted. */
#define TN_DRAFT_ID(name) name "/0:" TN_DRAFT_HASH

enum { TN_LOG_ERROR = 0, TN_LOG_WARNING = 1, TN_LOG_INFO = 2, TN_LOG_DEBUG = 3 };

/* Everything a plugin may call. Filled by the core, valid from init until the process ends. */
typedef struct tn_host tn_host;
struct tn_host {
    uint32_t struct_size;
    uint16_t abi_major, abi_minor; /* of the core */
    void *ctx;                     /* the core's; pass the tn_host, not this */
    const uint32_t *log_level;     /* highest TN_LOG_* worth formatting; read relaxed. [any] */
    /* One line, without newline. component: short noun such as "cpu". [any] */
    void (*log)(const tn_host *host, uint32_t level, const char *component, const char *utf8);
    /* The plugin's own setting `key` from the .ini section named by its id, its declared default, or NULL when it
     * has neither. Borrowed until the process ends. [any] */
    const char *(*config)(const tn_host *host, const char *key);
    /* A service of the core by interface id, NULL if this core has none. Borrowed until the process ends. [any] */
    const void *(*get_interface)(const tn_host *host, const char *id);
};
TN_SEALED(tn_host, get_interface);

/* One key the plugin reads through tn_host.config. The core refuses keys that no one declared, naming the
 * nearest, checks values against `type`, and prints this table in `tenon plugins --options`. */
typedef struct tn_option {
    uint32_t struct_size, reserved0;
    const char *key;
    const char *type; /* string, path, bool, integer, number, size (8k, 2GiB), list, or alternatives: "auto|size", "a|b" */
    const char *default_value; /* NULL: unset */
    const char *help;          /* one sentence */
} tn_option;
TN_SEALED(tn_option, help);

#define TN_PLUGIN_MAGIC 0x4E4E4554u /* "TENN" */

typedef struct tn_plugin {
    /* Frozen for all majors. */
    uint32_t magic, struct_size;
    uint16_t abi_major, abi_built, abi_min, reserved0; /* built: SDK minor; min: oldest core minor it can live with */
    uint32_t flags, reserved1;                         /* both 0 */
    const char *id;      /* [a-z0-9_]+, unique in the process; names the .ini section of its settings */
    const char *version; /* the plugin's own, for people */
    const char *vendor, *license;
    const char *const *provides; /* interface ids, NULL-terminated */
    /* Called once, before any table is asked for. No device work. NULL: nothing to do. [ctl] */
    tn_status (*init)(const tn_host *host, tn_error *err);
    /* Called once at the process's exit, only after a successful init. NULL: nothing to do. [ctl] */
    void (*fini)(void);
    /* The table behind one of `provides`, static lifetime; NULL if unknown. [any] */
    const void *(*get_interface)(const char *id);
    /* Appended in minor 1. */
    const tn_option *options; /* option_count entries of option_stride bytes */
    uint32_t option_count, option_stride;
} tn_plugin;
TN_SEALED(tn_plugin, option_stride);
TN_STATIC_ASSERT(offsetof(tn_plugin, id) == 24, "tn_plugin: the prefix is frozen");
TN_STATIC_ASSERT(TN_END(tn_plugin, get_interface) == 88, "tn_plugin: the prefix is frozen");

/* The one exported symbol. Returns static data; no work, no allocation. [any] */
TN_EXPORT const tn_plugin *tn_plugin_entry(void);
typedef const tn_plugin *(*tn_plugin_entry_fn)(void);

TN_END_DECLS
#endif
