/* runtime/registry/digest.c: see digest.h. */
#include "registry/digest.h"

#include "base/hex.h"

#include <string.h>

void file_hash_init(file_hash *hash, uint64_t bytes)
{
    char head[40];
    int head_bytes = snprintf(head, sizeof head, "blob %llu", (unsigned long long)bytes) + 1;

    sha256_init(&hash->sha256);
    sha1_init(&hash->git);
    sha1_update(&hash->git, (size_t)head_bytes, (const uint8_t *)head);
}

void file_hash_update(file_hash *hash, const void *data, size_t bytes)
{
    sha256_update(&hash->sha256, bytes, data);
    sha1_update(&hash->git, bytes, data);
}

void file_hash_finish(file_hash *hash, digest *ret_digest, char ret_git[GIT_HEX + 1])
{
    uint8_t sha256[SHA256_DIGEST_SIZE], git[SHA1_DIGEST_SIZE];

    sha256_digest(&hash->sha256, sizeof sha256, sha256);
    sha1_digest(&hash->git, sizeof git, git);
    hex_of(sha256, sizeof sha256, ret_digest->hex);
    hex_of(git, sizeof git, ret_git);
}

digest digest_of_bytes(const void *data, size_t bytes)
{
    struct sha256_ctx context;
    uint8_t sum[SHA256_DIGEST_SIZE];
    digest digest;

    sha256_init(&context);
    sha256_update(&context, bytes, data);
    sha256_digest(&context, sizeof sum, sum);
    hex_of(sum, sizeof sum, digest.hex);
    return digest;
}

bool digest_equal(const digest *a, const digest *b)
{
    return memcmp(a->hex, b->hex, DIGEST_HEX) == 0;
}

bool is_hex(const char *text, size_t count)
{
    return text && strlen(text) == count && strspn(text, "0123456789abcdef") == count;
}

bool digest_parse(const char *text, digest *ret_digest)
{
    if (!is_hex(text, DIGEST_HEX))
        return false;
    memcpy(ret_digest->hex, text, DIGEST_HEX + 1);
    return true;
}
