/* load_plugin.c PLUGIN.so: what a core does with a tn.ops plugin, in a program that knows the installed SDK only:
 * loads, shakes hands, configures, wraps the table in the interpreter, and plans for a device it has not opened.
 */
#include "tenon/interp.h"
#include "tenon/plugin.h"

#include <dlfcn.h>
#include <string.h>

static uint32_t log_level = TN_LOG_DEBUG;
static uint32_t log_lines;
static const tn_plugin *plugin;

static void host_log(const tn_host *host, uint32_t level, const char *component, const char *text)
{
    (void)host;
    printf("log %u %s: %s\n", level, component, text);
    log_lines++;
}

/* Every option has its default. */
static const char *host_config(const tn_host *host, const char *key)
{
    (void)host;
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        const tn_option *option =
            (const tn_option *)(const void *)((const char *)plugin->options + (size_t)i * plugin->option_stride);
        if (strcmp(option->key, key) == 0)
            return option->default_value;
    }
    return NULL;
}

static const void *host_get_interface(const tn_host *host, const char *id)
{
    (void)host, (void)id;
    return NULL;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    return 1;
}

int main(int argc, char **argv)
{
    static const tn_host host = {.struct_size = sizeof host,
                                 .abi_major = TN_ABI_MAJOR,
                                 .abi_minor = TN_ABI_MINOR,
                                 .log_level = &log_level,
                                 .log = host_log,
                                 .config = host_config,
                                 .get_interface = host_get_interface};
    tn_error err = TN_ERROR_INIT;
    tn_devinfo info = {.struct_size = sizeof info};
    const tn_backend *backend = NULL;

    void *object = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!object)
        return fail("dlopen", argc == 2 ? dlerror() : "one argument: the plugin");
    tn_plugin_entry_fn entry;
    *(void **)&entry = dlsym(object, "tn_plugin_entry");
    if (!entry)
        return fail("dlsym", dlerror());
    plugin = entry();
    if (plugin->magic != TN_PLUGIN_MAGIC || strcmp(plugin->provides[0], TN_OPS_ID) != 0)
        return fail("handshake", plugin->provides[0]);
    if (plugin->init(&host, &err) != TN_OK)
        return fail("init", err.msg);
    if (tn_interp_backend(plugin->get_interface(TN_OPS_ID), &backend, &err) != TN_OK)
        return fail("interpreter", err.msg);
    if (backend->device(0, &info, &err) != TN_OK || backend->device(1, &info, &err) != TN_E_NOT_FOUND)
        return fail("device", err.msg);
    printf("%s: %s, %llu bytes\n", plugin->id, info.name, (unsigned long long)info.mem_total);
    return log_lines > 0 && info.mem_total > 0 ? 0 : fail("plugin", "it logged nothing or has no memory");
}
