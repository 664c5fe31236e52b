/* plugins/quant_compressed/plugin.c: the tn.quant table and the plugin's entry. */
#include "quant_compressed.h"

#include <string.h>

static const char *const methods[] = {"compressed-tensors", "fp8", "mxfp4", NULL};

static const packed_format format = {
    .kind = {.plugin = "quant_compressed", .methods = methods},
    .settings_bytes = sizeof(compressed_settings),
    .read_settings = compressed_read_settings,
    .find = compressed_find,
};

static tn_status quant_open(const tn_source *source, tn_qmodel **ret_qmodel, tn_error *err)
{
    return packed_open(&format, source, ret_qmodel, err);
}

static const char *quant_formats(void)
{
    return "compressed-tensors, fp8, mxfp4";
}

static const tn_quant_table table = {
    .struct_size = sizeof table,
    .open = quant_open,
    .close = packed_close,
    .shape = packed_shape,
    .produces = packed_produces,
    .transcode = packed_transcode,
    .reference = packed_reference,
    .formats = quant_formats,
};

static const void *plugin_get_interface(const char *id)
{
    return strcmp(id, TN_QUANT_ID) == 0 ? &table : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_QUANT_ID, NULL};
    static const tn_plugin plugin = {
        .magic = TN_PLUGIN_MAGIC,
        .struct_size = sizeof plugin,
        .abi_major = TN_ABI_MAJOR,
        .abi_built = TN_ABI_MINOR,
        .abi_min = TN_ABI_MINOR,
        .id = "quant_compressed",
        .version = "0.1.0",
        .vendor = "Tenon",
        .license = "Apache-2.0",
        .provides = provides,
        .get_interface = plugin_get_interface,
    };
    return &plugin;
}
