/* plugin.c: the entry of the socket_frontend plugin. */
#include "front.h"

#include <string.h>

static const tn_option options[] = {
    {sizeof(tn_option), 0, "path", "path", NULL,
     "Socket file to listen on, for a gateway of the same user; it is made with mode 0600."},
};

static const void *get_interface(const char *id)
{
    return strcmp(id, TN_FRONTEND_ID) == 0 ? &socket_frontend_table : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_FRONTEND_ID, NULL};
    static const tn_plugin plugin = {.magic = TN_PLUGIN_MAGIC,
                                     .struct_size = sizeof plugin,
                                     .abi_major = TN_ABI_MAJOR,
                                     .abi_built = TN_ABI_MINOR,
                                     .abi_min = TN_ABI_MINOR,
                                     .id = "socket_frontend",
                                     .version = SOCKET_FRONTEND_VERSION,
                                     .vendor = "Tenon",
                                     .license = "Apache-2.0",
                                     .provides = provides,
                                     .get_interface = get_interface,
                                     .options = options,
                                     .option_count = sizeof options / sizeof *options,
                                     .option_stride = sizeof(tn_option)};
    return &plugin;
}
