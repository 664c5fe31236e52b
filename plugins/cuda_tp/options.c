/* plugins/cuda_tp/options.c: see options.h. */
#include "options.h"

static const char *nccl_library = "libnccl.so.2";

const tn_option options_table[] = {
    {.struct_size = sizeof(tn_option),
     .key = "nccl_library",
     .type = "string",
     .default_value = "libnccl.so.2",
     .help = "NCCL, which ranks on several GPUs need: a name that the loader finds, or an absolute path."},
};
_Static_assert(sizeof options_table / sizeof *options_table == OPTION_COUNT, "the handshake counts them");

/* An empty value would be this program itself to dlopen. */
static tn_status read_library(const tn_host *host, const char *key, const char **chosen, tn_error *err)
{
    const char *value = host->config(host, key);

    if (value && !value[0])
        return tn_fail(err, TN_E_ARGUMENT, "[cuda_tp] %s is empty: leave it out, or name a library", key);
    if (value)
        *chosen = value;
    return TN_OK;
}

tn_status options_read(const tn_host *host, tn_error *err)
{
    return read_library(host, "nccl_library", &nccl_library, err);
}

const char *options_nccl_library(void)
{
    return nccl_library;
}
