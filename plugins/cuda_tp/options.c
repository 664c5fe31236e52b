/* plugins/cuda_tp/options.c: see options.h. */
#include "options.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *nccl_library = "libnccl.so.2", *cublaslt_library;
static bool one_shot_is_set;
static uint64_t one_shot_bytes;

const tn_option options_table[] = {
    {.struct_size = sizeof(tn_option),
     .key = "nccl_library",
     .type = "string",
     .default_value = "libnccl.so.2",
     .help = "NCCL, which ranks on several GPUs need: a name that the loader finds, or an absolute path."},
    {.struct_size = sizeof(tn_option),
     .key = "cublaslt_library",
     .type = "string",
     .help =
         "cuBLASLt, for products of many rows where engine.batch_invariant is off; unset: libcublasLt.so.13 or 12."},
    {.struct_size = sizeof(tn_option),
     .key = "one_shot_bytes",
     .type = "auto|integer",
     .default_value = "auto",
     .help = "Sums over ranks of up to this many bytes read the other devices' memory in one step, 0 for none."},
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

static tn_status read_one_shot(const tn_host *host, tn_error *err)
{
    const char *value = host->config(host, "one_shot_bytes");
    char *end = NULL;

    one_shot_is_set = value && strcmp(value, "auto") != 0;
    if (!one_shot_is_set)
        return TN_OK;
    errno = 0;
    unsigned long long bytes = strtoull(value, &end, 10);
    if (errno || end == value || *end || value[0] == '-')
        return tn_fail(err, TN_E_ARGUMENT, "[cuda_tp] one_shot_bytes = %.40s: auto, or a number of bytes", value);
    one_shot_bytes = bytes;
    return TN_OK;
}

tn_status options_read(const tn_host *host, tn_error *err)
{
    tn_status status = read_library(host, "nccl_library", &nccl_library, err);
    if (status == TN_OK)
        status = read_library(host, "cublaslt_library", &cublaslt_library, err);
    return status == TN_OK ? read_one_shot(host, err) : status;
}

const char *options_nccl_library(void)
{
    return nccl_library;
}

const char *options_cublaslt_library(void)
{
    return cublaslt_library;
}

uint64_t options_one_shot_bytes(uint64_t automatic)
{
    return one_shot_is_set ? one_shot_bytes : automatic;
}
