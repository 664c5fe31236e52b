/* engine_settings.c: see engine_settings.h. A later setting takes the place of an earlier one of the same key. */
#include "service/engine_settings.h"

#include "settings/section.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_BYTES_MAX = 4000 }; /* INI_FILE_LINE_MAX less what stands around it */

static size_t key_bytes(const char *setting)
{
    return (size_t)(strchr(setting, '=') - setting) + 1;
}

static tn_status put_text(engine_settings *list, char *text, tn_error *err)
{
    for (uint32_t i = 0; text && i < list->count; i++)
        if (strncmp(list->at[i], text, key_bytes(text)) == 0) {
            free(list->at[i]);
            list->at[i] = text;
            return TN_OK;
        }
    char **grown = text ? realloc(list->at, (list->count + 2) * sizeof *grown) : NULL;
    if (!grown) {
        free(text);
        return tn_fail(err, TN_E_MEMORY, "an engine's settings");
    }
    list->at = grown;
    list->at[list->count++] = text;
    list->at[list->count] = NULL;
    return TN_OK;
}

static tn_status put(engine_settings *list, const char *key, const char *value, tn_error *err)
{
    char *text = NULL;
    return put_text(list, asprintf(&text, "%s=%s", key, value) < 0 ? NULL : text, err);
}

static tn_status put_number(engine_settings *list, const char *key, uint64_t value, tn_error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return put(list, key, text, err);
}

/* Whether one of a list of plugins, as settings give it, is `id`: "/usr/lib/cpu.so sha256=..." is cpu. */
static bool names_plugin(const char *specs, const char *id)
{
    size_t id_bytes = strlen(id);
    while (specs && *specs) {
        specs += strspn(specs, ", \t");
        size_t bytes = strcspn(specs, ", \t");
        const char *base = specs, *end = specs + bytes;
        for (const char *at = specs; at < end; at++)
            if (*at == '/')
                base = at + 1;
        if ((size_t)(end - base) >= id_bytes && strncmp(base, id, id_bytes) == 0 &&
            (base + id_bytes == end || strncmp(base + id_bytes, ".so", 3) == 0))
            return true;
        specs = end;
    }
    return false;
}

static const char *backend_of(const settings *base, const pool *pool)
{
    return pool->backend ? pool->backend : settings_string(base, "backend", "plugin");
}

/* "cpu.threads=4": of a plugin. Within the gateway, which only loads plugins to read with them, all services must agree
 * on what those are set to: there nothing is. */
static bool is_plugins_own(const char *setting)
{
    char section[64];
    snprintf(section, sizeof section, "%.*s", (int)strcspn(setting, "."), setting);
    return !section_is_core(section);
}

/* Whether a section of the daemon's settings is for this engine too. */
static bool is_shared(const settings *base, const pool *pool, engine_purpose purpose, const char *section)
{
    static const char *const shared[] = {"plugins", "model", "backend", "quant", "tokenizer", "engine", "log"};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (strcmp(section, shared[i]) == 0)
            return true;
    if (purpose == ENGINE_TARGET && (strcmp(section, "auth") == 0 || strcmp(section, "http_frontend") == 0))
        return true;
    if (section_is_core(section))
        return purpose == ENGINE_PLAN && strncmp(section, "pool ", 5) == 0 && strcmp(section + 5, pool->name) == 0;
    if (purpose == ENGINE_ROUTE)
        return false;
    return names_plugin(backend_of(base, pool), section) ||
           names_plugin(settings_string(base, "quant", "plugins"), section) ||
           names_plugin(settings_string(base, "tokenizer", "plugins"), section);
}

static tn_status put_base(engine_settings *list, const settings *base, const pool *pool, engine_purpose purpose,
                          tn_error *err)
{
    settings_given given;
    tn_status status = TN_OK;
    for (uint32_t i = 0; status == TN_OK && settings_given_at(base, i, &given); i++) {
        char key[160];
        snprintf(key, sizeof key, "%.64s.%.80s", given.section, given.key);
        if (is_shared(base, pool, purpose, given.section) && strcmp(key, "model.path") != 0)
            status = put(list, key, given.text, err);
    }
    return status;
}

/* The service's name first, then what it set. */
static tn_status put_names(engine_settings *list, const wish *wish, tn_error *err)
{
    static const char key[] = "model.served_model_name=";
    char names[4096];
    snprintf(names, sizeof names, "%s", wish->name);
    for (char **set = wish->sets; *set; set++)
        if (strncmp(*set, key, sizeof key - 1) == 0)
            snprintf(names, sizeof names, "%s,%s", wish->name, *set + sizeof key - 1);
    return put(list, "model.served_model_name", names, err);
}

static tn_status put_plan(engine_settings *list, const engine_plan *plan, tn_error *err)
{
    tn_status status = put_number(list, "backend.tensor_parallel_size", plan->world, err);
    if (status == TN_OK)
        status = put_number(list, "model.max_model_len", plan->max_model_len, err);
    if (status == TN_OK)
        status = put_number(list, "engine.max_num_seqs", plan->max_num_seqs, err);
    if (status == TN_OK)
        status = put_number(list, "engine.max_num_batched_tokens", plan->max_num_batched_tokens, err);
    if (status == TN_OK)
        status = put_number(list, "engine.kv_cache_memory_bytes", plan->kv_bytes, err);
    return status;
}

tn_status engine_settings_make(const settings *base, const wish *wish, const pool *pool, engine_purpose purpose,
                               const char *socket, engine_settings *ret_list, tn_error *err)
{
    engine_settings list = {0};
    tn_status status = TN_OK;
    char pool_nodes[160];
    snprintf(pool_nodes, sizeof pool_nodes, "pool %.120s.nodes", pool->name);
    if (purpose != ENGINE_TARGET) /* other machines have a folder of their own, unless told otherwise */
        status = put(&list, "plugins.path", settings_string(base, "plugins", "path"), err);
    if (status == TN_OK)
        status = put_base(&list, base, pool, purpose, err);
    for (char **set = wish->sets; status == TN_OK && *set; set++)
        if (purpose != ENGINE_ROUTE || !is_plugins_own(*set))
            status = put_text(&list, strdup(*set), err);
    if (status == TN_OK)
        status = put_names(&list, wish, err);
    if (status == TN_OK)
        status = put(&list, "model.path", wish->path, err);
    if (status == TN_OK && pool->backend)
        status = put(&list, "backend.plugin", pool->backend, err);
    /* Whoever plans knows a pool by its section, which may have no key. */
    if (status == TN_OK && purpose == ENGINE_PLAN)
        status = put_number(&list, pool_nodes, pool->nodes, err);
    if (status == TN_OK && purpose == ENGINE_PLAN && wish->gpus)
        status = put_number(&list, "backend.tensor_parallel_size", wish->gpus, err);
    if (status == TN_OK && purpose != ENGINE_PLAN)
        status = put_plan(&list, &wish->plan, err);
    if (status == TN_OK && purpose == ENGINE_SERVE)
        status = put(&list, "frontend.plugins", "socket_frontend", err);
    if (status == TN_OK && purpose == ENGINE_SERVE)
        status = put(&list, "socket_frontend.path", socket, err);
    if (status == TN_OK && purpose == ENGINE_TARGET)
        status = put(&list, "frontend.plugins", "http_frontend", err);
    if (status != TN_OK) {
        engine_settings_finish(&list);
        return status;
    }
    *ret_list = list;
    return TN_OK;
}

void engine_settings_finish(engine_settings *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->at[i]);
    free(list->at);
    *list = (engine_settings){0};
}

tn_status engine_settings_copy(const engine_settings *list, engine_settings *ret_list, tn_error *err)
{
    engine_settings copy = {0};
    tn_status status = TN_OK;
    for (uint32_t i = 0; status == TN_OK && i < list->count; i++)
        status = put_text(&copy, strdup(list->at[i]), err);
    if (status != TN_OK) {
        engine_settings_finish(&copy);
        return status;
    }
    *ret_list = copy;
    return TN_OK;
}

tn_status engine_settings_put(engine_settings *list, const char *key, const char *value, tn_error *err)
{
    if (!wish_fits_a_line(value) || strlen(key) + strlen(value) > VALUE_BYTES_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "%.80s: \"%.80s\" is not a line of a settings file", key, value);
    return put(list, key, value, err);
}

/* The index of a key; list->count: it is not there. */
static uint32_t find_key(const engine_settings *list, const char *key)
{
    size_t bytes = strlen(key);
    uint32_t i = 0;
    while (i < list->count && (strncmp(list->at[i], key, bytes) != 0 || list->at[i][bytes] != '='))
        i++;
    return i;
}

void engine_settings_remove(engine_settings *list, const char *key)
{
    uint32_t i = find_key(list, key);
    if (i == list->count)
        return;
    free(list->at[i]);
    memmove(&list->at[i], &list->at[i + 1], (list->count - i) * sizeof *list->at); /* and the NULL */
    list->count--;
}

const char *engine_settings_value(const engine_settings *list, const char *key)
{
    uint32_t i = find_key(list, key);
    return i < list->count ? strchr(list->at[i], '=') + 1 : NULL;
}

char *engine_settings_text(const engine_settings *list)
{
    char *text = NULL;
    size_t bytes;
    FILE *file = open_memstream(&text, &bytes);
    if (!file)
        return NULL;
    for (uint32_t i = 0; i < list->count; i++) {
        const char *at = list->at[i], *dot = strchr(at, '.'), *equals = strchr(at, '=');
        if (i == 0 || strncmp(list->at[i - 1], at, (size_t)(dot - at) + 1) != 0)
            fprintf(file, "[%.*s]\n", (int)(dot - at), at);
        fprintf(file, "%.*s = %s\n", (int)(equals - dot - 1), dot + 1, equals + 1);
    }
    bool failed = ferror(file);
    if (fclose(file) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

tn_status engine_settings_write(const engine_settings *list, const char *path, tn_error *err)
{
    char *text = engine_settings_text(list);
    FILE *file = text ? fopen(path, "we") : NULL;
    if (!file) {
        bool memory = !text;
        free(text);
        return memory ? tn_fail(err, TN_E_MEMORY, "an engine's settings")
                      : tn_fail(err, TN_E_IO, "%.400s: %s", path, strerror(errno));
    }
    bool failed = fputs(text, file) < 0;
    free(text);
    if (fclose(file) != 0 || failed)
        return tn_fail(err, TN_E_IO, "%.400s: it could not be written: %s", path, strerror(errno));
    return TN_OK;
}
