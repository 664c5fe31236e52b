/* auth.c: every key is compared over the whole offered token, with no early exit. */
#include "auth.h"

#include <string.h>
#include <strings.h>

static bool same(const char *offered, size_t offered_bytes, const char *key)
{
    size_t key_bytes = strlen(key);
    volatile unsigned char difference = offered_bytes != key_bytes;

    for (size_t i = 0; i < offered_bytes; i++) /* keys are not empty, so the remainder exists */
        difference |= (unsigned char)(offered[i] ^ key[i % key_bytes]);
    return difference == 0;
}

bool auth_accepts(const char *authorization, char *const *keys, uint32_t key_count)
{
    static const char scheme[] = "Bearer ";
    bool accepted = false;

    if (!authorization || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return false;
    const char *offered = authorization + sizeof scheme - 1;
    offered += strspn(offered, " ");
    size_t bytes = strlen(offered);
    if (bytes == 0)
        return false;
    for (uint32_t i = 0; i < key_count; i++)
        accepted |= same(offered, bytes, keys[i]);
    return accepted;
}
