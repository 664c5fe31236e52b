/* runtime/plugin/process.c: dlopen, handshake, init and adoption of one plugin, and the list of those that passed.
 *
 * A plugin enters the list only when all of it succeeded. One that was refused stays mapped (its code may have started
 * threads) but is not reachable; its few bytes are kept, since its init may have kept the tn_host.
 */
#include "plugin/process.h"

#include "auth/auth.h"
#include "group/rendezvous.h"
#include "plugin/adopt.h"
#include "plugin/handshake.h"
#include "settings/section.h"
#include "tenon/interp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER; /* guards list and at_exit_set; held through init */
static plugin *list;                                          /* newest first */
static bool at_exit_set;
static uint32_t log_level = TN_LOG_INFO;

/* ---- what a plugin may call ---- */

static void host_log(const tn_host *host, uint32_t level, const char *component, const char *utf8)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    (void)host;
    if (level <= __atomic_load_n(&log_level, __ATOMIC_RELAXED))
        fprintf(stderr, "%s %s: %s\n", names[level < TN_LOG_DEBUG ? level : TN_LOG_DEBUG], component, utf8);
}

static const tn_option *option_at(const tn_plugin *descriptor, uint32_t index)
{
    return (const void *)((const char *)descriptor->options + (size_t)index * descriptor->option_stride);
}

static const char *host_config(const tn_host *host, const char *key)
{
    const plugin *plugin = host->ctx;
    for (uint32_t i = 0; i < plugin->descriptor.option_count; i++) {
        if (!strcmp(option_at(&plugin->descriptor, i)->key, key))
            return plugin->config[i];
    }
    return NULL;
}

static const void *host_get_interface(const tn_host *host, const char *id)
{
    const struct {
        const char *id;
        const void *table;
    } services[] = {{TN_RENDEZVOUS_ID, &rendezvous_table}, {TN_AUTH_ID, &auth_table}};
    (void)host;
    for (size_t i = 0; i < sizeof services / sizeof *services; i++)
        if (strcmp(id, services[i].id) == 0)
            return services[i].table;
    return NULL;
}

void process_set_log_level(uint32_t level)
{
    __atomic_store_n(&log_level, level, __ATOMIC_RELAXED);
}

/* ---- settings of one plugin ---- */

static const char *wanted_value(const settings *settings, const char *id, const tn_option *option)
{
    const char *value = strcmp(option->type, "path") ? settings_plugin_value(settings, id, option->key)
                                                     : settings_plugin_path(settings, id, option->key);
    return value ? value : option->default_value;
}

static tn_status copy_config(const settings *settings, plugin *plugin, tn_error *err)
{
    const tn_plugin *d = &plugin->descriptor;
    tn_status status = settings_check_plugin(settings, d->id, d->options, d->option_count, d->option_stride, err);
    if (status != TN_OK)
        return status;
    plugin->config = calloc(d->option_count + 1, sizeof *plugin->config);
    if (!plugin->config)
        return tn_fail(err, TN_E_MEMORY, "out of memory while loading plugin %s", d->id);
    for (uint32_t i = 0; i < d->option_count; i++) {
        const char *value = wanted_value(settings, d->id, option_at(d, i));
        plugin->config[i] = value ? strdup(value) : NULL;
        if (value && !plugin->config[i])
            return tn_fail(err, TN_E_MEMORY, "out of memory while loading plugin %s", d->id);
    }
    return TN_OK;
}

/* A plugin already here keeps the settings it was initialised with. */
static tn_status check_same_config(const settings *settings, const plugin *plugin, tn_error *err)
{
    const tn_plugin *d = &plugin->descriptor;
    tn_status status = settings_check_plugin(settings, d->id, d->options, d->option_count, d->option_stride, err);
    for (uint32_t i = 0; status == TN_OK && i < d->option_count; i++) {
        const char *key = option_at(d, i)->key;
        const char *wanted = wanted_value(settings, d->id, option_at(d, i)), *held = plugin->config[i];
        if (wanted == held || (wanted && held && !strcmp(wanted, held)))
            continue;
        status =
            tn_fail(err, TN_E_ARGUMENT,
                    "plugin %s is already loaded in this process with %s = %.80s, not %.80s; a process has one copy "
                    "of a plugin, so give both runtimes the same value",
                    d->id, key, held ? held : "(unset)", wanted ? wanted : "(unset)");
    }
    return status;
}

/* ---- loading ---- */

static tn_status open_object(const plugin_file *file, const tn_plugin **ret_theirs, tn_error *err)
{
    void *object = dlopen(file->path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.160s cannot be loaded: %.240s; link it with -Wl,-z,defs to see missing symbols when it is "
            "built",
            file->path, dlerror());
    void *symbol = dlsym(object, "tn_plugin_entry");
    tn_plugin_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    if (!symbol) {
        dlclose(object); /* nothing of it is in use: constructors apart, no code of it has run */
        return tn_fail(err, TN_E_ARGUMENT,
                       "plugin %.200s does not export tn_plugin_entry, the one symbol of a Tenon plugin: declare it "
                       "TN_EXPORT and link with the SDK's plugin.map",
                       file->path);
    }
    *ret_theirs = entry();
    return TN_OK;
}

static tn_status check_id(const plugin *fresh, tn_error *err)
{
    const char *id = fresh->descriptor.id;
    if (section_is_core(id))
        return tn_fail(
            err, TN_E_ARGUMENT,
            "plugin %.200s: its id \"%s\" is the name of a section of the core's settings: choose another id",
            fresh->file.path, id);
    for (const plugin *other = list; other; other = other->next) {
        if (strcmp(other->descriptor.id, id) != 0)
            continue;
        if (strcmp(other->file.path, fresh->file.path) == 0) /* an installation that the process has outlived */
            return tn_fail(err, TN_E_ARGUMENT,
                           "plugin %.200s was replaced since this process loaded it: start the process anew",
                           fresh->file.path);
        return tn_fail(err, TN_E_ARGUMENT,
                       "plugin %.160s has the id \"%s\", which %.160s already has; ids are unique in a process: load "
                       "one of the two, or rename one",
                       fresh->file.path, id, other->file.path);
    }
    return TN_OK;
}

static tn_status run_init(plugin *fresh, tn_error *err)
{
    tn_error why = TN_ERROR_INIT;
    if (!fresh->descriptor.init)
        return TN_OK;
    tn_status status = fresh->descriptor.init(&fresh->host, &why);
    if (status == TN_OK)
        return TN_OK;
    return tn_fail(err, status, "plugin %.120s: its init failed: %.300s", fresh->file.path,
                   *why.msg ? why.msg : tn_status_text(status));
}

static tn_status adopt_tables(plugin *fresh, tn_error *err)
{
    const struct {
        const adopt_table *table;
        void *ours;
    } tables[] = {{&adopt_backend, &fresh->backend},
                  {&adopt_ops, &fresh->ops},
                  {&adopt_quant, &fresh->quant},
                  {&adopt_tokenizer, &fresh->tokenizer},
                  {&adopt_frontend, &fresh->frontend}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (!handshake_provides(&fresh->descriptor, tables[i].table->id))
            continue;
        const void *theirs = fresh->descriptor.get_interface(tables[i].table->id);
        tn_status status = adopt(tables[i].table, fresh->file.path, theirs, tables[i].ours, err);
        if (status != TN_OK)
            return status;
    }
    if (fresh->backend.struct_size && fresh->backend.max_in_flight == 0)
        return tn_fail(err, TN_E_ARGUMENT,
                       "plugin %.200s: its tn.backend table says max_in_flight 0: at least one ticket must fit between "
                       "submit and wait",
                       fresh->file.path);
    return TN_OK;
}

/* Single-op kernels become a backend through the interpreter, unless the plugin brings its own. */
static tn_status wrap_ops(plugin *fresh, tn_error *err)
{
    const tn_backend *wrapped = NULL;
    if (!fresh->ops.struct_size || fresh->backend.struct_size)
        return TN_OK;
    tn_status status = tn_interp_backend(&fresh->ops, &wrapped, err);
    return status == TN_OK ? adopt(&adopt_backend, fresh->file.path, wrapped, &fresh->backend, err) : status;
}

static void run_all_fini(void)
{
    for (plugin *at = list; at; at = at->next) {
        if (at->descriptor.fini)
            at->descriptor.fini();
    }
}

static tn_status bring_up(const settings *settings, plugin *fresh, tn_error *err)
{
    const tn_plugin *theirs = NULL;
    tn_status status = open_object(&fresh->file, &theirs, err);
    if (status == TN_OK)
        status = handshake_check(fresh->file.path, theirs, &fresh->descriptor, err);
    if (status == TN_OK)
        status = check_id(fresh, err);
    if (status == TN_OK)
        status = copy_config(settings, fresh, err);
    if (status == TN_OK)
        status = run_init(fresh, err);
    if (status != TN_OK)
        return status;
    status = adopt_tables(fresh, err);
    if (status == TN_OK)
        status = wrap_ops(fresh, err);
    if (status != TN_OK && fresh->descriptor.fini)
        fresh->descriptor.fini();
    return status;
}

static tn_status load_fresh(const settings *settings, const plugin_file *file, const plugin **ret_plugin, tn_error *err)
{
    plugin *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return tn_fail(err, TN_E_MEMORY, "out of memory while loading plugin %s", file->path);
    fresh->file = *file;
    fresh->host = (tn_host){.struct_size = sizeof(tn_host),
                            .abi_major = TN_ABI_MAJOR,
                            .abi_minor = TN_ABI_MINOR,
                            .ctx = fresh,
                            .log_level = &log_level,
                            .log = host_log,
                            .config = host_config,
                            .get_interface = host_get_interface};
    tn_status status = bring_up(settings, fresh, err);
    if (status != TN_OK) {
        static plugin *refused; /* keeps them reachable; see the file comment */
        fresh->next = refused;
        refused = fresh;
        return status;
    }
    fresh->next = list;
    list = fresh;
    if (!at_exit_set)
        at_exit_set = atexit(run_all_fini) == 0;
    *ret_plugin = fresh;
    return TN_OK;
}

tn_status process_load(const settings *settings, const plugin_file *file, const plugin **ret_plugin, tn_error *err)
{
    pthread_mutex_lock(&list_lock);
    plugin *known = list;
    while (known && (known->file.device != file->device || known->file.inode != file->inode))
        known = known->next;
    tn_status status = known ? check_same_config(settings, known, err) : load_fresh(settings, file, ret_plugin, err);
    if (known && status == TN_OK)
        *ret_plugin = known;
    pthread_mutex_unlock(&list_lock);
    return status;
}
