/* charsmap.c: walks the trie byte by byte, every index checked, because the blob is the file's. Source: sentencepiece
 * (normalizer.cc) and darts-clone (darts.h) for the layout of a unit.
 */
#include "charsmap.h"

#include "base/utf8.h"

#include <string.h>

static uint32_t read_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

tn_status charsmap_load(charsmap *map, const void *blob, uint64_t bytes, tn_error *err)
{
    enum { TRIE_BYTES_MIN = 4 };
    const unsigned char *at = blob;
    *map = (charsmap){0};
    if (bytes == 0)
        return TN_OK;
    uint64_t trie_bytes = bytes >= 4 ? read_u32(at) : 0;
    if (bytes < 4 || trie_bytes < TRIE_BYTES_MIN || trie_bytes % 4 != 0 || trie_bytes >= bytes - 4)
        return tn_fail(err, TN_E_CORRUPT, "precompiled_charsmap of %llu bytes holds no trie and replacements",
                       (unsigned long long)bytes);
    uint64_t text_bytes = bytes - 4 - trie_bytes;
    const char *text = (const char *)at + 4 + trie_bytes;
    if (text_bytes > UINT32_MAX || text[text_bytes - 1] != '\0' || !utf8_is_valid(text, (size_t)text_bytes))
        return tn_fail(err, TN_E_CORRUPT, "precompiled_charsmap's replacements are not terminated UTF-8");
    map->unit = malloc((size_t)trie_bytes);
    map->text = malloc((size_t)text_bytes);
    if (!map->unit || !map->text) {
        charsmap_finish(map);
        return tn_fail(err, TN_E_MEMORY, "no memory for a precompiled_charsmap");
    }
    map->unit_count = (uint32_t)(trie_bytes / 4);
    map->text_bytes = (uint32_t)text_bytes;
    for (uint32_t i = 0; i < map->unit_count; i++)
        map->unit[i] = read_u32(at + 4 + 4 * (size_t)i);
    memcpy(map->text, text, (size_t)text_bytes);
    return TN_OK;
}

void charsmap_finish(charsmap *map)
{
    free(map->unit);
    free(map->text);
    *map = (charsmap){0};
}

static uint32_t offset_of(uint32_t unit)
{
    return unit >> 10 << ((unit & 1u << 9) >> 6);
}

/* The replacement that a unit's leaf names, NULL if it names none. */
static const char *leaf_text(const charsmap *map, uint32_t leaf)
{
    uint32_t value = leaf < map->unit_count ? map->unit[leaf] & 0x7FFFFFFFu : UINT32_MAX;
    if (value >= map->text_bytes || (map->text[value] & 0xC0) == 0x80)
        return NULL;
    return map->text + value;
}

size_t charsmap_match(const charsmap *map, const char *text, size_t n, bool longest, const char **ret_text)
{
    size_t matched = 0;
    uint32_t at = map->unit ? offset_of(map->unit[0]) : 0;
    for (size_t i = 0; map->unit && i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (byte == 0 || at >= map->unit_count || (map->unit[at] & 0x800000FFu) != byte)
            break;
        bool has_leaf = map->unit[at] >> 8 & 1;
        at ^= offset_of(map->unit[at]);
        bool whole = i + 1 == n || (text[i + 1] & 0xC0) != 0x80;
        const char *replacement = has_leaf && whole ? leaf_text(map, at) : NULL;
        if (!replacement)
            continue;
        matched = i + 1;
        *ret_text = replacement;
        if (!longest)
            break;
    }
    return matched;
}
