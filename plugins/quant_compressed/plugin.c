/* plugins/quant_compressed/plugin.c: the tn.quant table and the plugin's entry. */
#include "quant_compressed.h"

static const char *const methods[] = {"compressed-tensors", "fp8", "mxfp4", NULL};

static const packed_format format = {
    .kind = {.plugin = "quant_compressed", .methods = methods},
    .settings_bytes = sizeof(compressed_settings),
    .read_settings = compressed_read_settings,
    .find = compressed_find,
};

PACKED_PLUGIN("quant_compressed", &format, "compressed-tensors, fp8, mxfp4")
