/* plugin.c: what the core sees of this plugin: who made it, its settings, and one table.
 *
 * Change id, version, vendor and licence first. The id names the plugin's section of the .ini.
 */
#include "device.h"
#include "tenon/entry.h"

#include <errno.h>
#include <stdlib.h>

#define TEMPLATE_MEMORY "4294967296"

static const tn_ops_table ops = {.struct_size = sizeof ops,
                                 .device = device_describe,
                                 .open = device_open,
                                 .close = device_close,
                                 .alloc = device_alloc,
                                 .free = device_free,
                                 .put = device_put,
                                 .get = device_get,
                                 .sync = device_sync,
                                 .run = kernels_run};

static const tn_option options[] = {
    {sizeof(tn_option), 0, "memory", "integer", TEMPLATE_MEMORY, "Bytes of memory that the device claims to have."},
};

static tn_status init(const tn_host *host, tn_error *err)
{
    const char *text = host->config(host, "memory");
    char *end = NULL;

    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);
    if (errno || end == text || *end)
        return tn_fail(err, TN_E_ARGUMENT, "template: memory = %s is not a number of bytes", text);
    device_set_memory(bytes);
    host->log(host, TN_LOG_INFO, "template", "linear and rms_norm run on the device, the rest in the reference");
    return TN_OK;
}

static void fini(void)
{
}

TN_PLUGIN_ENTRY(TN_OPS_ID, &ops, .id = "template", .version = "0.1.0", .vendor = "Example Vendor",
                .license = "Apache-2.0", .init = init, .fini = fini, .options = options,
                .option_count = sizeof options / sizeof *options, .option_stride = sizeof *options)
