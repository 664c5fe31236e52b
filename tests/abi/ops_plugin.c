/* ops_plugin.c: a plugin that provides tn.ops and nothing else: host memory without a single kernel. */
#include "tenon/interp.h"

#include <string.h>

static const void *get_interface(const char *id)
{
    return strcmp(id, TN_OPS_ID) ? NULL : tn_interp_host_ops();
}

static const char *const provides[] = {TN_OPS_ID, NULL};
static const tn_plugin descriptor = {
    .magic = TN_PLUGIN_MAGIC,
    .struct_size = sizeof descriptor,
    .abi_major = TN_ABI_MAJOR,
    .abi_built = TN_ABI_MINOR,
    .abi_min = 1,
    .id = "ops_only",
    .version = "1",
    .vendor = "Tenon's tests",
    .license = "Apache-2.0",
    .provides = provides,
    .get_interface = get_interface,
};

const tn_plugin *tn_plugin_entry(void)
{
    return &descriptor;
}
