/* fuzz_safetensors.c: any bytes as a safetensors file. */
#include "fuzz_checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_error err = TN_ERROR_INIT;
    checkpoint *opened = NULL;

    tn_status status = safetensors_open_memory("fuzz.safetensors", data, size, &opened, &err);
    TN_ASSERT((status == TN_OK) == (opened != NULL));
    TN_ASSERT((status == TN_OK) == (err.msg[0] == 0));
    if (opened)
        fuzz_checkpoint(opened);
    return 0;
}
