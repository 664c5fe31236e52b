/* runtime/model/gguf_reader.h: a position in a GGUF file, and the reads that check what is left before they look. */
#ifndef MODEL_GGUF_READER_H
#define MODEL_GGUF_READER_H

#include "model/container.h"

/* Strings of one metadata array; their index takes 8 bytes each. Four times any known vocabulary's merges. */
enum { GGUF_ARRAY_STRINGS_MAX = 1 << 24 };

typedef struct gguf_reader {
    const char *path;
    const uint8_t *bytes;
    uint64_t size, at;
    const char *part, *name; /* what is being read, for messages: "key", "general.alignment"; name may be "" */
    tn_error *err;
} gguf_reader;

/* Fails with TN_E_CORRUPT, "path: part 'name': " and the text. */
tn_status gguf_refuse(const gguf_reader *reader, const char *format, ...) TN_PRINTF(2, 3);
/* Each fails with TN_E_CORRUPT, naming what runs past the end of the file and by how many bytes. */
tn_status gguf_read_bytes(gguf_reader *reader, const char *what, uint64_t n_bytes, const uint8_t **ret_bytes);
tn_status gguf_read_u32(gguf_reader *reader, const char *what, uint32_t *ret_value);
tn_status gguf_read_u64(gguf_reader *reader, const char *what, uint64_t *ret_value);
/* A length and that many bytes. */
tn_status gguf_read_string(gguf_reader *reader, const char *what, const uint8_t **ret_bytes, uint64_t *ret_n_bytes);

/* Reads a type and a value into entry, whose key is set. Refuses unknown types, nested arrays, booleans that are
 * neither 0 nor 1. */
tn_status gguf_read_value(gguf_reader *reader, meta_entry *entry);
/* Element `index` (< count) of an array entry, in constant time. */
void gguf_array_element(const meta_entry *entry, uint64_t index, tn_meta *ret_meta);

#endif
