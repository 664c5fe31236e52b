/* runtime/settings/settings.c: the entries of a file and of --set, checked as they arrive, and lookups on them.
 *
 * Entries live in one growing array; a core key's parsed value lives in values[] beside its row of options.c. A file
 * has tens of entries, so lookups are plain scans. Nothing is looked up on the hot path.
 */
#include "settings/settings.h"

#include "base/edit_distance.h"
#include "base/utf8.h"
#include "settings/ini_file.h"
#include "settings/section.h"
#include "settings/value.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES_MAX = 4096, PLACE_BYTES = 160, PLUGIN_KEYS_MAX = 256 };

typedef struct settings_entry {
    char *section, *key;   /* key NULL: the section's header */
    char *text, *absolute; /* absolute: text taken as a path */
    uint32_t line;         /* 0: --set */
} settings_entry;

typedef struct settings_value {
    char *text; /* owned; paths are absolute; NULL: unset */
    value parsed;
} settings_value;

/* A key of a section with a name of its own, such as [pool a]. */
typedef struct settings_named_value {
    char *section; /* "pool a" */
    const settings_option *option;
    settings_value value;
} settings_named_value;

struct settings {
    char *path;   /* of the .ini, NULL: none */
    char *folder; /* absolute; that of the .ini, or the current directory */
    settings_entry *entries;
    uint32_t entry_count, entry_capacity;
    settings_value *values; /* settings_option_count; of sections with a name of their own: the defaults */
    settings_named_value *named;
    uint32_t named_count, named_capacity;
};

static tn_status out_of_memory(tn_error *err)
{
    return tn_fail(err, TN_E_MEMORY, "out of memory while reading settings");
}

/* ---- where an entry came from, for messages ---- */

/* "tenon.ini:12" or "--set". Long paths keep their end, which tells them apart. */
static const char *place_of(const settings *settings, uint32_t line, char out[PLACE_BYTES])
{
    if (!line)
        return "--set";
    size_t n = strlen(settings->path), keep = PLACE_BYTES - 24;
    bool cut = n > keep;
    snprintf(out, PLACE_BYTES, "%s%s:%" PRIu32, cut ? "..." : "", settings->path + (cut ? n - keep : 0), line);
    return out;
}

/* ---- lookup ---- */

static settings_entry *find_entry(const settings *settings, const char *section, const char *key)
{
    for (uint32_t i = 0; i < settings->entry_count; i++) {
        settings_entry *entry = &settings->entries[i];
        if (entry->key && !strcmp(entry->section, section) && !strcmp(entry->key, key))
            return entry;
    }
    return NULL;
}

/* ---- checks ---- */

static tn_status fail_unknown_key(const settings *settings, uint32_t line, const char *section, const char *key,
                                  tn_error *err)
{
    char place[PLACE_BYTES], name[VALUE_SHOWN_BYTES];
    const char *at = place_of(settings, line, place);
    const char *known[64], *elsewhere = NULL;
    size_t count = 0;
    for (uint32_t i = 0; i < settings_option_count && count < 64; i++) {
        if (section_takes(section, &settings_options[i]))
            known[count++] = settings_options[i].key;
        else if (!strcmp(settings_options[i].key, key))
            elsewhere = settings_options[i].section;
    }
    const char *nearest = nearest_name(key, known, count);
    key = value_shown(key, name);
    if (elsewhere)
        return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] has no key \"%s\"; that key belongs in [%s]", at, section, key,
                       elsewhere);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] has no key \"%s\"; did you mean \"%s\"?", at, section, key,
                       nearest);
    char list[256] = "";
    for (size_t i = 0, used = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", known[i]);
    return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] has no key \"%s\"; it has %s", at, section, key, list);
}

static tn_status fail_value(const settings *settings, uint32_t line, const char *section, const char *key,
                            const char *type, const char *text, tn_error *err)
{
    char place[PLACE_BYTES], word[VALUE_SHOWN_BYTES], wanted[160];
    value_type_describe(type, wanted, sizeof wanted);
    return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] %s: \"%s\" is not %s", place_of(settings, line, place), section, key,
                   value_shown(text, word), wanted);
}

static tn_status check_range(const settings *settings, const settings_option *option, const char *section,
                             uint32_t line, const value *parsed, const char *text, tn_error *err)
{
    bool ranged = parsed->kind == VALUE_INTEGER || parsed->kind == VALUE_NUMBER || parsed->kind == VALUE_SIZE;
    if (!ranged || (parsed->number >= option->min && parsed->number <= option->max))
        return TN_OK;
    char place[PLACE_BYTES], word[VALUE_SHOWN_BYTES];
    return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] %s: %s is outside %.15g to %.15g", place_of(settings, line, place),
                   section, option->key, value_shown(text, word), option->min, option->max);
}

/* ---- values ---- */

static char *join_path(const char *folder, const char *path)
{
    if (*path == '/')
        return strdup(path);
    size_t n = strlen(folder) + strlen(path) + 2;
    char *joined = malloc(n);
    if (joined)
        snprintf(joined, n, "%s/%s", folder, path);
    return joined;
}

static bool is_path(const value *parsed, const char *text)
{
    return parsed->kind == VALUE_PATH ||
           (parsed->kind == VALUE_MODEL && strncmp(text, SETTINGS_REGISTRY, strlen(SETTINGS_REGISTRY)) != 0);
}

static settings_named_value *find_named(const settings *settings, const char *section, const settings_option *option)
{
    for (uint32_t i = 0; i < settings->named_count; i++) {
        if (settings->named[i].option == option && !strcmp(settings->named[i].section, section))
            return &settings->named[i];
    }
    return NULL;
}

/* Where the value of a key belongs; NULL: out of memory. */
static settings_value *slot_of(settings *settings, const settings_option *option, const char *section)
{
    if (!section || !strchr(section, ' '))
        return &settings->values[option - settings_options];
    settings_named_value *found = find_named(settings, section, option);
    if (found)
        return &found->value;
    if (settings->named_count == settings->named_capacity) {
        uint32_t capacity = settings->named_capacity ? settings->named_capacity * 2 : 16;
        settings_named_value *named = realloc(settings->named, capacity * sizeof *named);
        if (!named)
            return NULL;
        settings->named = named;
        settings->named_capacity = capacity;
    }
    char *copy = strdup(section);
    if (!copy)
        return NULL;
    settings->named[settings->named_count] = (settings_named_value){.section = copy, .option = option};
    return &settings->named[settings->named_count++].value;
}

/* section: NULL for the default. */
static tn_status set_value(settings *settings, const settings_option *option, const char *section, const char *text,
                           const char *folder, uint32_t line, tn_error *err)
{
    settings_value fresh = {0};
    const char *shown_section = section ? section : option->section;
    if (!value_parse(option->type, text, &fresh.parsed))
        return fail_value(settings, line, shown_section, option->key, option->type, text, err);
    tn_status status = check_range(settings, option, shown_section, line, &fresh.parsed, text, err);
    if (status != TN_OK)
        return status;
    fresh.text = is_path(&fresh.parsed, text) ? join_path(folder, text) : strdup(text);
    settings_value *slot = fresh.text ? slot_of(settings, option, section) : NULL;
    if (!slot) {
        free(fresh.text);
        return out_of_memory(err);
    }
    free(slot->text);
    *slot = fresh;
    return TN_OK;
}

/* ---- entries ---- */

static void entry_clear(settings_entry *entry)
{
    free(entry->section);
    free(entry->key);
    free(entry->text);
    free(entry->absolute);
}

static tn_status entries_reserve_one(settings *settings, tn_error *err)
{
    if (settings->entry_count < settings->entry_capacity)
        return TN_OK;
    if (settings->entry_count >= ENTRIES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "more than %d settings", ENTRIES_MAX);
    uint32_t capacity = settings->entry_capacity ? settings->entry_capacity * 2 : 64;
    settings_entry *entries = realloc(settings->entries, capacity * sizeof *entries);
    if (!entries)
        return out_of_memory(err);
    settings->entries = entries;
    settings->entry_capacity = capacity;
    return TN_OK;
}

static tn_status store_entry(settings *settings, const char *section, const char *key, const char *text,
                             const char *folder, uint32_t line, tn_error *err)
{
    tn_status status = entries_reserve_one(settings, err);
    if (status != TN_OK)
        return status;
    settings_entry entry = {.section = strdup(section), .line = line};
    if (key) {
        entry.key = strdup(key);
        entry.text = strdup(text);
        entry.absolute = join_path(folder, text);
    }
    if (!entry.section || (key && (!entry.key || !entry.text || !entry.absolute))) {
        entry_clear(&entry);
        return out_of_memory(err);
    }
    settings_entry *old = key ? find_entry(settings, section, key) : NULL;
    if (old) {
        entry_clear(old);
        *old = entry;
    } else {
        settings->entries[settings->entry_count++] = entry;
    }
    return TN_OK;
}

/* One key from the file (line > 0) or from --set (line 0). */
static tn_status add_entry(settings *settings, const char *section, const char *key, const char *text,
                           const char *folder, uint32_t line, tn_error *err)
{
    char place[PLACE_BYTES], name[VALUE_SHOWN_BYTES];
    const settings_entry *old = key ? find_entry(settings, section, key) : NULL;
    tn_status status = section_check_name(section, place_of(settings, line, place), err);
    if (status != TN_OK)
        return status;
    if (old && line)
        return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] %s is already set in line %" PRIu32 "; keep one of them",
                       place_of(settings, line, place), section, value_shown(key, name), old->line);
    const settings_option *option = key ? section_find_option(section, key) : NULL;
    if (key && !option && section_is_core(section))
        return fail_unknown_key(settings, line, section, key, err);
    if (key && !*text)
        return tn_fail(err, TN_E_ARGUMENT, "%s: [%s] %s has no value; remove the line to get the default",
                       place_of(settings, line, place), section, value_shown(key, name));
    status = option ? set_value(settings, option, section, text, folder, line, err) : TN_OK;
    if (status != TN_OK)
        return status;
    return store_entry(settings, section, key, text, folder, line, err);
}

static tn_status on_ini_line(void *ctx, const char *section, const char *key, const char *text, uint32_t line,
                             tn_error *err)
{
    settings *settings = ctx;
    return add_entry(settings, section, key, text, settings->folder, line, err);
}

/* "section.key=value" */
static tn_status add_override(settings *settings, const char *override, const char *folder, tn_error *err)
{
    char shown_text[VALUE_SHOWN_BYTES], copy[INI_FILE_LINE_MAX + 1];
    size_t n = strlen(override);
    if (n > INI_FILE_LINE_MAX || !utf8_is_valid(override, n))
        return tn_fail(err, TN_E_ARGUMENT, "--set: the argument is longer than 4096 bytes or not valid UTF-8");
    memcpy(copy, override, n + 1);
    char *equals = strchr(copy, '=');
    if (equals)
        *equals = 0;
    char *dot = strchr(copy, '.');
    if (!equals || !dot || dot == copy || dot + 1 == equals)
        return tn_fail(err, TN_E_ARGUMENT, "--set %s: expected section.key=value", value_shown(override, shown_text));
    *dot = 0;
    return add_entry(settings, copy, dot + 1, equals + 1, folder, 0, err);
}

/* ---- life ---- */

/* The folder that relative paths in the file refer to, absolute so that a later chdir changes nothing. */
static tn_status find_folder(const char *path, char *current, char **ret_folder, tn_error *err)
{
    if (!path)
        return (*ret_folder = strdup(current)) ? TN_OK : out_of_memory(err);
    char *real = realpath(path, NULL);
    if (!real)
        return tn_fail(err, TN_E_IO, "cannot open the settings file %s: %s", path, strerror(errno));
    char *slash = strrchr(real, '/');
    *(slash == real ? slash + 1 : slash) = 0;
    *ret_folder = real;
    return TN_OK;
}

static tn_status set_defaults(settings *settings, const char *current, tn_error *err)
{
    for (uint32_t i = 0; i < settings_option_count; i++) {
        const settings_option *option = &settings_options[i];
        tn_status status =
            option->default_value ? set_value(settings, option, NULL, option->default_value, current, 0, err) : TN_OK;
        TN_ASSERT(status == TN_OK || status == TN_E_MEMORY);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

static tn_status read_all(settings *settings, const char *path, const char *const *overrides, tn_error *err)
{
    char current[PATH_MAX];
    if (!getcwd(current, sizeof current))
        return tn_fail(err, TN_E_IO, "cannot tell the current directory: %s", strerror(errno));
    tn_status status = find_folder(path, current, &settings->folder, err);
    if (status == TN_OK)
        status = set_defaults(settings, current, err);
    if (status == TN_OK && path)
        status = ini_file_read(path, on_ini_line, settings, err);
    for (; status == TN_OK && overrides && *overrides; overrides++)
        status = add_override(settings, *overrides, current, err);
    return status;
}

tn_status settings_read(const char *path, const char *const *overrides, settings **ret_settings, tn_error *err)
{
    settings *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return out_of_memory(err);
    fresh->path = path ? strdup(path) : NULL;
    fresh->values = calloc(settings_option_count, sizeof *fresh->values);
    tn_status status = (path && !fresh->path) || !fresh->values ? out_of_memory(err) : TN_OK;
    if (status == TN_OK)
        status = read_all(fresh, path, overrides, err);
    if (status != TN_OK) {
        settings_destroy(fresh);
        return status;
    }
    *ret_settings = fresh;
    return TN_OK;
}

void settings_destroy(settings *settings)
{
    if (!settings)
        return;
    for (uint32_t i = 0; i < settings->entry_count; i++)
        entry_clear(&settings->entries[i]);
    for (uint32_t i = 0; settings->values && i < settings_option_count; i++)
        free(settings->values[i].text);
    for (uint32_t i = 0; i < settings->named_count; i++) {
        free(settings->named[i].section);
        free(settings->named[i].value.text);
    }
    free(settings->named);
    free(settings->entries);
    free(settings->values);
    free(settings->folder);
    free(settings->path);
    free(settings);
}

/* ---- reading core keys ---- */

static const settings_value *value_of(const settings *settings, const char *section, const char *key, const char *type)
{
    const settings_option *option = section_find_option(section, key);
    TN_ASSERT(option);
    TN_ASSERT(!type || value_type_has(option->type, type));
    const settings_named_value *named = strchr(section, ' ') ? find_named(settings, section, option) : NULL;
    return named ? &named->value : &settings->values[option - settings_options];
}

const char *settings_string(const settings *settings, const char *section, const char *key)
{
    return value_of(settings, section, key, NULL)->text;
}

bool settings_bool(const settings *settings, const char *section, const char *key)
{
    return value_of(settings, section, key, "bool")->parsed.boolean;
}

int64_t settings_integer(const settings *settings, const char *section, const char *key)
{
    const settings_value *slot = value_of(settings, section, key, NULL);
    TN_ASSERT(slot->parsed.kind == VALUE_INTEGER || slot->parsed.kind == VALUE_SIZE);
    return slot->parsed.integer;
}

double settings_number(const settings *settings, const char *section, const char *key)
{
    const settings_value *slot = value_of(settings, section, key, "number");
    return slot->parsed.number;
}

bool settings_is_auto(const settings *settings, const char *section, const char *key)
{
    const char *text = value_of(settings, section, key, "auto")->text;
    return text && !strcmp(text, "auto");
}

tn_status settings_fail(const settings *settings, const char *section, const char *key, tn_status status,
                        const char *reason, tn_error *err)
{
    char place[PLACE_BYTES];
    const settings_entry *entry = find_entry(settings, section, key);
    if (!entry)
        return tn_fail(err, status, "%s", reason);
    return tn_fail(err, status, "%s: [%s] %s: %s", place_of(settings, entry->line, place), section, key, reason);
}

const char *settings_named_section(const settings *settings, const char *kind, uint32_t index)
{
    size_t n = strlen(kind);
    for (uint32_t i = 0; i < settings->entry_count; i++) {
        const char *section = settings->entries[i].section;
        uint32_t before = 0;
        if (strncmp(section, kind, n) != 0 || section[n] != ' ')
            continue;
        while (before < i && strcmp(settings->entries[before].section, section) != 0)
            before++;
        if (before == i && index-- == 0)
            return section;
    }
    return NULL;
}

bool settings_given_at(const settings *settings, uint32_t index, settings_given *ret_given)
{
    for (uint32_t i = 0; i < settings->entry_count; i++) {
        const settings_entry *entry = &settings->entries[i];
        if (!entry->key || index-- > 0)
            continue;
        const settings_option *option = section_find_option(entry->section, entry->key);
        value parsed;
        bool path = option && value_parse(option->type, entry->text, &parsed) && is_path(&parsed, entry->text);
        *ret_given = (settings_given){entry->section, entry->key, path ? entry->absolute : entry->text};
        return true;
    }
    return false;
}

/* ---- plugins' sections ---- */

/* The plugin's index-th option, as far as it is filled in; what an older plugin lacks is NULL. */
static tn_option option_at(const tn_option *options, uint32_t index, uint32_t stride)
{
    tn_option option = {0};
    size_t bytes = stride < sizeof option ? stride : sizeof option;
    memcpy(&option, (const char *)options + (size_t)index * stride, bytes);
    return option;
}

static tn_status check_plugin_entry(const settings *settings, const settings_entry *entry, const tn_option *options,
                                    uint32_t count, uint32_t stride, tn_error *err)
{
    char place[PLACE_BYTES], name[VALUE_SHOWN_BYTES];
    const char *known[PLUGIN_KEYS_MAX];
    size_t known_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        tn_option option = option_at(options, i, stride);
        value parsed;
        if (!strcmp(option.key, entry->key))
            return value_parse(option.type, entry->text, &parsed)
                       ? TN_OK
                       : fail_value(settings, entry->line, entry->section, entry->key, option.type, entry->text, err);
        if (known_count < PLUGIN_KEYS_MAX)
            known[known_count++] = option.key;
    }
    const char *nearest = nearest_name(entry->key, known, known_count);
    const char *at = place_of(settings, entry->line, place), *key = value_shown(entry->key, name);
    if (nearest)
        return tn_fail(err, TN_E_ARGUMENT, "%s: plugin \"%s\" has no key \"%s\"; did you mean \"%s\"?", at,
                       entry->section, key, nearest);
    return tn_fail(err, TN_E_ARGUMENT, "%s: plugin \"%s\" has no key \"%s\"; `tenon plugins --options` lists its keys",
                   at, entry->section, key);
}

tn_status settings_check_plugin(const settings *settings, const char *id, const tn_option *options, uint32_t count,
                                uint32_t stride, tn_error *err)
{
    for (uint32_t i = 0; i < settings->entry_count; i++) {
        const settings_entry *entry = &settings->entries[i];
        if (!entry->key || strcmp(entry->section, id))
            continue;
        tn_status status = check_plugin_entry(settings, entry, options, count, stride, err);
        if (status != TN_OK)
            return status;
    }
    return TN_OK;
}

const char *settings_plugin_value(const settings *settings, const char *id, const char *key)
{
    const settings_entry *entry = find_entry(settings, id, key);
    return entry ? entry->text : NULL;
}

const char *settings_plugin_path(const settings *settings, const char *id, const char *key)
{
    const settings_entry *entry = find_entry(settings, id, key);
    return entry ? entry->absolute : NULL;
}

static const char *nearest_section(const char *section, const char *const *plugin_ids)
{
    const char *known[PLUGIN_KEYS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < settings_option_count; i++)
        known[count++] = settings_options[i].section;
    for (; plugin_ids && *plugin_ids && count < PLUGIN_KEYS_MAX; plugin_ids++)
        known[count++] = *plugin_ids;
    return nearest_name(section, known, count);
}

tn_status settings_check_sections(const settings *settings, const char *const *plugin_ids, bool all, tn_error *err)
{
    for (uint32_t i = 0; i < settings->entry_count; i++) {
        const settings_entry *entry = &settings->entries[i];
        bool known = section_is_core(entry->section);
        for (const char *const *id = plugin_ids; !known && id && *id; id++)
            known = !strcmp(*id, entry->section);
        if (known)
            continue;
        char place[PLACE_BYTES], name[VALUE_SHOWN_BYTES];
        const char *nearest = nearest_section(entry->section, plugin_ids);
        const char *at = place_of(settings, entry->line, place), *section = value_shown(entry->section, name);
        if (nearest)
            return tn_fail(err, TN_E_ARGUMENT, "%s: there is no section [%s]; did you mean [%s]?", at, section,
                           nearest);
        if (!all)
            continue;
        return tn_fail(
            err, TN_E_ARGUMENT,
            "%s: section [%s] belongs neither to the core nor to a loaded plugin; load its plugin or remove it", at,
            section);
    }
    return TN_OK;
}
