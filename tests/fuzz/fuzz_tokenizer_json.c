/* fuzz_tokenizer_json.c: any bytes as tokenizer.json, or as the file that FUZZ_FILE names. */
#include "fuzz_tokenizer.h"

#include <string.h>

#ifndef FUZZ_FILE
#define FUZZ_FILE "tokenizer.json"
#endif

typedef struct fuzz_file {
    const uint8_t *data;
    size_t size;
} fuzz_file;

static tn_status fuzz_meta(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    const fuzz_file *file = source->ctx;
    if (strcmp(key, FUZZ_FILE) != 0)
        return TN_E_NOT_FOUND;
    *ret_meta = (tn_meta){.struct_size = sizeof *ret_meta,
                          .kind = TN_META_STRING,
                          .count = file->size,
                          .string = (const char *)file->data};
    return TN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_file file = {data, size};
    tn_source source = {
        .struct_size = sizeof source, .ctx = &file, .container = "safetensors", .path = "fuzz", .meta = fuzz_meta};
    fuzz_tokenizer(&source);
    return 0;
}
