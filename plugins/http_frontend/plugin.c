/* plugin.c: the entry of the http_frontend plugin. */
#include "frontend.h"
#include "options.h"

#include <string.h>

static tn_status init(const tn_host *host, tn_error *err)
{
    (void)host, (void)err;
    return TN_OK;
}

static void fini(void)
{
}

static const void *get_interface(const char *id)
{
    return strcmp(id, TN_FRONTEND_ID) == 0 ? &http_frontend_table : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_FRONTEND_ID, NULL};
    static tn_plugin plugin = {.magic = TN_PLUGIN_MAGIC,
                               .struct_size = sizeof plugin,
                               .abi_major = TN_ABI_MAJOR,
                               .abi_built = TN_ABI_MINOR,
                               .abi_min = TN_ABI_MINOR,
                               .id = "http_frontend",
                               .version = HTTP_FRONTEND_VERSION,
                               .vendor = "Tenon",
                               .license = "Apache-2.0",
                               .provides = provides,
                               .init = init,
                               .fini = fini,
                               .get_interface = get_interface,
                               .options = http_option_table,
                               .option_stride = sizeof(tn_option)};
    plugin.option_count = http_option_count;
    return &plugin;
}
