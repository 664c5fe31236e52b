/* plugin.c: tokenizer_bpe's handshake. Its one table is in tokenizer.c. */
#include "tokenizer.h"

#include "tenon/entry.h"

static tn_status init(const tn_host *host, tn_error *err)
{
    (void)err;
    tokenizer_set_host(host);
    return TN_OK;
}

static void fini(void)
{
    tokenizer_set_host(NULL);
}

TN_PLUGIN_ENTRY(TN_TOKENIZER_ID, &tokenizer_table, .id = "tokenizer_bpe", .version = "0.1.0", .vendor = "Tenon",
                .license = "Apache-2.0", .init = init, .fini = fini)
