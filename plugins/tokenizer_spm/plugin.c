/* plugin.c: tokenizer_spm's handshake. Its one table is in tokenizer.c. */
#include "tokenizer.h"

#include <string.h>

static const void *get_interface(const char *id)
{
    return strcmp(id, TN_TOKENIZER_ID) == 0 ? &tokenizer_table : NULL;
}

const tn_plugin *tn_plugin_entry(void)
{
    static const char *const provides[] = {TN_TOKENIZER_ID, NULL};
    static const tn_plugin plugin = {
        .magic = TN_PLUGIN_MAGIC,
        .struct_size = (uint32_t)sizeof(tn_plugin),
        .abi_major = TN_ABI_MAJOR,
        .abi_built = TN_ABI_MINOR,
        .abi_min = TN_ABI_MINOR,
        .id = "tokenizer_spm",
        .version = "0.1.0",
        .vendor = "Tenon",
        .license = "Apache-2.0",
        .provides = provides,
        .get_interface = get_interface,
    };
    return &plugin;
}
