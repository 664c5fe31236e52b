/* ops_plugin.c: a plugin that provides tn.ops and nothing else: host memory without a single kernel. With FAULT_*, one
 * that tenon-check must speak of.
 */
#include "tenon/interp.h"

#include <string.h>

#ifndef FIXTURE_NAME
#define FIXTURE_NAME "ops_only"
#endif

#ifdef FAULT_OPS_MISSPELT
#define PROVIDED "tn.opps/1"
#else
#define PROVIDED TN_OPS_ID
#endif

#ifdef FAULT_OPS_CRASH
static tn_status run(tn_dev *dev, const tn_ops_args *args, tn_error *err)
{
    (void)dev;
    if (args->node->op == TN_OP_RMS_NORM)
        abort();
    return tn_fail(err, TN_E_UNSUPPORTED, "not written yet");
}
#endif

#ifdef FAULT_OPS_SILENT
static tn_status alloc(tn_dev *dev, uint64_t bytes, uint32_t usage, uint64_t *ret_handle, tn_error *err)
{
    (void)dev, (void)bytes, (void)usage, (void)ret_handle, (void)err;
    return TN_E_IO;
}
#endif

static const void *get_interface(const char *id)
{
    static tn_ops_table table;

    if (strcmp(id, PROVIDED))
        return NULL;
    table = *tn_interp_host_ops();
#ifdef FAULT_OPS_CRASH
    table.run = run;
#endif
#ifdef FAULT_OPS_SILENT
    table.alloc = alloc;
#endif
    return &table;
}

static const char *const provides[] = {PROVIDED, NULL};
static const tn_plugin descriptor = {
    .magic = TN_PLUGIN_MAGIC,
    .struct_size = sizeof descriptor,
    .abi_major = TN_ABI_MAJOR,
    .abi_built = TN_ABI_MINOR,
    .abi_min = 1,
    .id = FIXTURE_NAME,
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
