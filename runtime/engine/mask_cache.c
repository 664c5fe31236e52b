/* mask_cache.c: chained buckets, and one list in order of use. */
#include "engine/mask_cache.h"

#include <stdlib.h>

bool mask_cache_init(mask_cache *cache, uint32_t words)
{
    *cache = (mask_cache){.words = words};
    cache->mask = calloc((size_t)MASK_CACHE_ENTRIES * words, sizeof *cache->mask);
    return cache->mask != NULL;
}

void mask_cache_finish(mask_cache *cache)
{
    free(cache->mask);
    cache->mask = NULL;
}

static void unlink_entry(mask_cache *cache, uint32_t index)
{
    mask_entry *entry = &cache->entry[index];
    *(entry->newer ? &cache->entry[entry->newer].older : &cache->newest) = entry->older;
    *(entry->older ? &cache->entry[entry->older].newer : &cache->oldest) = entry->newer;
}

static void link_newest(mask_cache *cache, uint32_t index)
{
    mask_entry *entry = &cache->entry[index];
    entry->newer = 0;
    entry->older = cache->newest;
    *(cache->newest ? &cache->entry[cache->newest].newer : &cache->oldest) = index;
    cache->newest = index;
}

/* A place for a new key. */
static uint32_t take_place(mask_cache *cache)
{
    if (cache->count < MASK_CACHE_ENTRIES)
        return ++cache->count;
    uint32_t index = cache->oldest;
    uint32_t *at = &cache->bucket[cache->entry[index].key.low % MASK_CACHE_BUCKETS];
    while (*at != index)
        at = &cache->entry[*at].chain;
    *at = cache->entry[index].chain;
    unlink_entry(cache, index);
    return index;
}

uint32_t *mask_cache_find(mask_cache *cache, hash128 key, bool *ret_known)
{
    uint32_t *bucket = &cache->bucket[key.low % MASK_CACHE_BUCKETS], index = *bucket;

    while (index != 0 && (cache->entry[index].key.low != key.low || cache->entry[index].key.high != key.high))
        index = cache->entry[index].chain;
    *ret_known = index != 0;
    if (index != 0) {
        unlink_entry(cache, index);
    } else {
        index = take_place(cache);
        cache->entry[index] = (mask_entry){.key = key, .chain = *bucket};
        *bucket = index;
    }
    link_newest(cache, index);
    return cache->mask + (size_t)(index - 1) * cache->words;
}
