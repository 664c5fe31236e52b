/* plugins/quant_awq/plugin.c: the tn.quant table and the plugin's entry. */
#include "quant_awq.h"

static const char *const methods[] = {"awq", NULL};

static const packed_format format = {
    .kind = {.plugin = "quant_awq", .methods = methods, .side_file = "quant_config.json"},
    .settings_bytes = sizeof(awq_settings),
    .read_settings = awq_read_settings,
    .find = awq_find,
};

PACKED_PLUGIN("quant_awq", &format, "awq")
