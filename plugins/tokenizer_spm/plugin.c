/* plugin.c: tokenizer_spm's handshake. Its one table is in tokenizer.c. */
#include "tokenizer.h"

#include "tenon/entry.h"

TN_PLUGIN_ENTRY(TN_TOKENIZER_ID, &tokenizer_table, .id = "tokenizer_spm", .version = "0.1.0", .vendor = "Tenon",
                .license = "Apache-2.0")
