/* tenon/entry.h: the entry of a plugin that has one table, for those who would write no more than its name.
 *
 *     TN_PLUGIN_ENTRY(TN_QUANT_ID, &table, .id = "quant_mine", .version = "1.0.0", .vendor = "Me", .license = "MIT")
 *
 * Nothing here is part of the ABI: it is the text that every such plugin would have. C only.
 */
#ifndef TENON_ENTRY_H
#define TENON_ENTRY_H

#include "tenon/plugin.h"

#include <string.h>

/* Defines tn_plugin_entry. table: an expression for the table's address, evaluated when the core asks for it. What
 * follows are initialisers of tn_plugin: id, version, vendor and license, then init, fini and options if there are any.
 * The plugin declares itself built against this SDK, and lives with no older minor. */
#define TN_PLUGIN_ENTRY(table_id, table, ...)                                        \
    static const void *tn_plugin_entry_table(const char *id)                         \
    {                                                                                \
        return strcmp(id, table_id) == 0 ? (table) : NULL;                           \
    }                                                                                \
    const tn_plugin *tn_plugin_entry(void)                                           \
    {                                                                                \
        static const char *const provides[] = {table_id, NULL};                      \
        static const tn_plugin plugin = {.magic = TN_PLUGIN_MAGIC,                   \
                                         .struct_size = (uint32_t)sizeof(tn_plugin), \
                                         .abi_major = TN_ABI_MAJOR,                  \
                                         .abi_built = TN_ABI_MINOR,                  \
                                         .abi_min = TN_ABI_MINOR,                    \
                                         .provides = provides,                       \
                                         .get_interface = tn_plugin_entry_table,     \
                                         __VA_ARGS__};                               \
        return &plugin;                                                              \
    }

#endif
