/* fuzz_tokenizer_gguf.c: any bytes as a GGUF file, for what its tokenizer metadata may say. */
#include "fuzz_tokenizer.h"

#include "model/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    checkpoint *opened = NULL;
    if (gguf_open_memory("fuzz.gguf", data, size, &opened, NULL) == TN_OK) {
        fuzz_tokenizer(checkpoint_source(opened));
        checkpoint_close(opened);
    }
    return 0;
}
