/* runtime/registry/digest.h: the names of contents: SHA-256 for the store, Git's blob hash for what hubs say of small
 * files. */
#ifndef REGISTRY_DIGEST_H
#define REGISTRY_DIGEST_H

#include "tenon/error.h"

#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdbool.h>

enum { DIGEST_HEX = 64, GIT_HEX = 40 };

typedef struct digest {
    char hex[DIGEST_HEX + 1]; /* lower case */
} digest;

/* Both hashes of one file's bytes, as they come. */
typedef struct file_hash {
    struct sha256_ctx sha256;
    struct sha1_ctx git;
} file_hash;

/* bytes: of the whole file; Git hashes its size first. */
void file_hash_init(file_hash *hash, uint64_t bytes);
void file_hash_update(file_hash *hash, const void *data, size_t bytes);
void file_hash_finish(file_hash *hash, digest *ret_digest, char ret_git[GIT_HEX + 1]);

digest digest_of_bytes(const void *data, size_t bytes);
bool digest_equal(const digest *a, const digest *b);
/* Whether text is exactly `count` lower-case hexadecimal digits. NULL is not. */
bool is_hex(const char *text, size_t count);
/* False: not 64 lower-case hexadecimal digits. */
bool digest_parse(const char *text, digest *ret_digest);

#endif
