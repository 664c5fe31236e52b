/* runtime/settings/settings.h: one .ini file plus --set overrides, checked against the table of known keys.
 *
 * options.c lists every key of the core: section, key, type, default, range, one sentence. Sections that are not the
 * core's belong to the plugin of that id, whose own tn_option table is checked once it is loaded. Every error names
 * file, line and key, and the nearest known name. Strings are borrowed until settings_destroy. Immutable after
 * settings_read: [any] thread.
 */
#ifndef SETTINGS_SETTINGS_H
#define SETTINGS_SETTINGS_H

#include "tenon/plugin.h"

#include <stdbool.h>

typedef struct settings settings;

/* What a value of type "model" begins with when it is no path. */
#define SETTINGS_REGISTRY "registry:"

/* path: NULL for defaults only. overrides: "section.key=value", NULL-terminated, or NULL; they win over the file, a
 * later one over an earlier one; within the file a key may stand once. Values of type "path" come out absolute:
 * relative ones are taken relative to the .ini's folder (overrides and defaults: to the current directory). */
tn_status settings_read(const char *path, const char *const *overrides, settings **ret_settings, tn_error *err);
void settings_destroy(settings *settings);

/* Values of core keys; the key must be in options.c (asserted) and has been validated by settings_read. Defaults apply.
 */
const char *settings_string(const settings *settings, const char *section, const char *key); /* NULL: unset */
bool settings_bool(const settings *settings, const char *section, const char *key);
int64_t settings_integer(const settings *settings, const char *section, const char *key); /* also sizes, in bytes */
double settings_number(const settings *settings, const char *section, const char *key);
/* "auto" was given, or is the default. */
bool settings_is_auto(const settings *settings, const char *section, const char *key);

/* Repeats a refusal of what `section.key` (a core key) names, with the place where it was set in front: "tenon.ini:12:
 * [backend] plugin: reason". A default has no place. Returns status. */
tn_status settings_fail(const settings *settings, const char *section, const char *key, tn_status status,
                        const char *reason, tn_error *err);

/* The index-th section of a kind that may stand often, each with a name of its own: "pool a" for kind "pool", in the
 * order of the file; NULL past the last. Its keys are read as any other's: settings_string(s, "pool a", "device"). */
const char *settings_named_section(const settings *settings, const char *kind, uint32_t index);

/* What a file or --set gave, as text; paths of core keys are absolute, those of plugins' keys as they were given. */
typedef struct settings_given {
    const char *section, *key, *text;
} settings_given;
/* The index-th, in their order; false past the last. */
bool settings_given_at(const settings *settings, uint32_t index, settings_given *ret_given);

/* Checks section `id` against a plugin's table: unknown keys and bad values are errors naming file and line. */
tn_status settings_check_plugin(const settings *settings, const char *id, const tn_option *options, uint32_t count,
                                uint32_t stride, tn_error *err);
/* Raw value from section `id`, NULL if absent. settings_plugin_path: the same made absolute, as for a core key. */
const char *settings_plugin_value(const settings *settings, const char *id, const char *key);
const char *settings_plugin_path(const settings *settings, const char *id, const char *key);
/* After plugins are loaded: a section that belongs to nobody is an error with the nearest name. all: plugin_ids are
 * those of all plugins; else a section that comes near to no name may be of one that is not loaded. */
tn_status settings_check_sections(const settings *settings, const char *const *plugin_ids, bool all, tn_error *err);

/* One row of options.c, for `tenon plugins --options`. */
typedef struct settings_option {
    const char *section, *key; /* section "pool NAME": every section that is called pool and something */
    const char *type;          /* value.h */
    const char *default_value; /* NULL: unset */
    double min, max;           /* integers, numbers and sizes, inclusive; ignored otherwise */
    const char *help;          /* one sentence */
} settings_option;
extern const settings_option settings_options[];
extern const uint32_t settings_option_count;

#endif
