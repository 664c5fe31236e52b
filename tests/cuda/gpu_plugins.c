/* gpu_plugins.c: see built_plugins.h. */
#include "built_plugins.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef const tn_plugin *(*entry_function)(void);

/* Modules stay open: a CUDA plugin is never closed. */
static const void *interface_of(const char *module, const char *id)
{
    const char *folder = getenv("TENON_PLUGINS");
    char path[4096];
    void *library, *symbol;

    snprintf(path, sizeof path, "%s/%s.so", folder ? folder : ".", module);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    symbol = library ? dlsym(library, "tn_plugin_entry") : NULL;
    if (!symbol) {
        printf("failed: %s\n", dlerror());
        exit(1);
    }
    entry_function entry;
    *(void **)&entry = symbol;
    const void *interface = entry()->get_interface(id);
    if (!interface) {
        printf("failed: %s has no %s\n", path, id);
        exit(1);
    }
    return interface;
}

const tn_quant_table *built_quant(const char *id)
{
    return interface_of(id, TN_QUANT_ID);
}

const tn_backend *built_backend(const char *id)
{
    return interface_of(id, TN_BACKEND_ID);
}

const tn_backend *cuda_tp_backend(void)
{
    static const tn_backend *backend;
    if (!backend)
        backend = built_backend("cuda_tp");
    return backend;
}

uint32_t built_device_count(void)
{
    tn_error err = TN_ERROR_INIT;
    uint32_t count = 0;

    for (tn_status status = TN_OK; status == TN_OK; count += status == TN_OK) {
        tn_devinfo info = {.struct_size = sizeof info};
        status = cuda_tp_backend()->device(count, &info, &err);
    }
    if (!count)
        printf("skipped: %s\n", err.msg);
    return count;
}
