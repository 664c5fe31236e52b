/* plugins/cuda_tp/plugin.c: the handshake. */
#include "backend.h"
#include "host_log.h"

#include <string.h>

static tn_status plugin_init(const tn_host *host, tn_error *err)
{
    (void)err;
    host_log_begin(host);
    return TN_OK;
}

static void plugin_fini(void)
{
}

static const void *plugin_get_interface(const char *id)
{
    return strcmp(id, TN_BACKEND_ID) == 0 ? cuda_tp_backend() : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_BACKEND_ID, NULL};
    static const tn_plugin plugin = {
        .magic = TN_PLUGIN_MAGIC,
        .struct_size = sizeof plugin,
        .abi_major = TN_ABI_MAJOR,
        .abi_built = TN_ABI_MINOR,
        .abi_min = TN_ABI_MINOR,
        .id = "cuda_tp",
        .version = "0.1.0",
        .vendor = "Tenon",
        .license = "Apache-2.0",
        .provides = provides,
        .init = plugin_init,
        .fini = plugin_fini,
        .get_interface = plugin_get_interface,
        .option_stride = sizeof(tn_option),
    };
    return &plugin;
}
