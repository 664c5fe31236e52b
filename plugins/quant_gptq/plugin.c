/* plugins/quant_gptq/plugin.c: the tn.quant table and the plugin's entry. */
#include "quant_gptq.h"

static const char *const methods[] = {"gptq", NULL};

static const packed_format format = {
    .kind = {.plugin = "quant_gptq", .methods = methods, .side_file = "quantize_config.json"},
    .settings_bytes = sizeof(gptq_settings),
    .read_settings = gptq_read_settings,
    .find = gptq_find,
};

PACKED_PLUGIN("quant_gptq", &format, "gptq")
