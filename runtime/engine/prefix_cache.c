/* prefix_cache.c: chained buckets over page numbers; an entry lives in its page's element, so nothing is allocated. */
#include "engine/prefix_cache.h"

#include "tenon/error.h"

#include <string.h>

uint32_t prefix_cache_block_tokens(const uint32_t *page_tokens, uint32_t group_count)
{
    uint64_t multiple = 1;
    for (uint32_t g = 0; g < group_count; g++) {
        uint64_t a = multiple, b = page_tokens[g];
        while (b > 0) {
            uint64_t rest = a % b;
            a = b;
            b = rest;
        }
        multiple = multiple / a * page_tokens[g];
        if (multiple > PREFIX_BLOCK_TOKENS_MAX)
            return 0;
    }
    return (uint32_t)multiple;
}

void prefix_cache_layout(prefix_cache *cache, const uint64_t *pages, const uint32_t *page_tokens, carve *memory)
{
    cache->pool = carve_array(memory, cache->group_count, sizeof *cache->pool);
    cache->map = carve_array(memory, cache->group_count, sizeof *cache->map);
    for (uint32_t g = 0; g < cache->group_count; g++) {
        kv_pool pool = {.page_count = (uint32_t)pages[g], .page_tokens = page_tokens[g]};
        prefix_map map = {.bucket_count = 1};

        while (map.bucket_count < pool.page_count && map.bucket_count < 1u << 31)
            map.bucket_count *= 2;
        kv_pool_layout(&pool, memory);
        map.bucket = carve_array(memory, map.bucket_count, sizeof *map.bucket);
        map.entry = carve_array(memory, pool.page_count, sizeof *map.entry);
        if (memory->base) {
            cache->pool[g] = pool;
            cache->map[g] = map;
        }
    }
}

void prefix_cache_init(prefix_cache *cache)
{
    for (uint32_t g = 0; g < cache->group_count; g++) {
        kv_pool_init(&cache->pool[g]);
        for (uint32_t b = 0; b < cache->map[g].bucket_count; b++)
            cache->map[g].bucket[b] = KV_PAGE_NONE;
    }
}

hash128 prefix_cache_root(const prefix_cache *cache, const char *salt)
{
    static const char shared[] = "shared";
    /* The terminating NUL keeps the shared root apart from every salt, which is hashed without one. */
    return salt ? siphash_128(cache->secret, salt, strlen(salt)) : siphash_128(cache->secret, shared, sizeof shared);
}

hash128 prefix_cache_chain(const prefix_cache *cache, hash128 before, const int32_t *token)
{
    char bytes[sizeof before + PREFIX_BLOCK_TOKENS_MAX * sizeof *token];
    uint32_t n = cache->block_tokens * (uint32_t)sizeof *token;

    memcpy(bytes, &before, sizeof before);
    memcpy(bytes + sizeof before, token, n);
    return siphash_128(cache->secret, bytes, sizeof before + n);
}

static uint32_t *bucket_of(const prefix_map *map, hash128 hash, uint32_t part)
{
    return &map->bucket[(hash.low + part) & (map->bucket_count - 1)];
}

uint32_t prefix_cache_find(const prefix_cache *cache, uint32_t group, hash128 hash, uint32_t part)
{
    const prefix_map *map = &cache->map[group];
    uint32_t page = *bucket_of(map, hash, part);
    while (page != KV_PAGE_NONE) {
        const prefix_entry *entry = &map->entry[page];
        if (entry->hash.low == hash.low && entry->hash.high == hash.high && entry->part == part)
            return page;
        page = entry->next;
    }
    return KV_PAGE_NONE;
}

/* True if the pages [first, first of block `block` + 1) of that block are known. */
static bool block_known(const prefix_cache *cache, uint32_t group, const hash128 *hash, uint32_t block, uint32_t first)
{
    uint32_t parts = cache->block_tokens / cache->pool[group].page_tokens;
    for (uint32_t part = 0; part < parts; part++)
        if (block * parts + part >= first && prefix_cache_find(cache, group, hash[block], part) == KV_PAGE_NONE)
            return false;
    return true;
}

/* Longest prefix that a full group knows. */
static uint32_t match_full(const prefix_cache *cache, uint32_t group, const hash128 *hash, uint32_t block_count)
{
    uint32_t known = 0;
    while (known < block_count && block_known(cache, group, hash, known, 0))
        known++;
    return known;
}

/* Longest prefix, at most block_count, behind which a window group knows everything a query can see. */
static uint32_t match_window(const prefix_cache *cache, uint32_t group, const hash128 *hash, uint32_t block_count)
{
    const kv_pool *pool = &cache->pool[group];
    for (uint32_t end = block_count; end > 0;) {
        uint64_t tokens = (uint64_t)end * cache->block_tokens;
        uint32_t first = tokens + 1 > pool->window ? (uint32_t)((tokens + 1 - pool->window) / pool->page_tokens) : 0;
        uint32_t block = end;
        while (block > 0 && (uint64_t)block * (cache->block_tokens / pool->page_tokens) > first &&
               block_known(cache, group, hash, block - 1, first))
            block--;
        if ((uint64_t)block * (cache->block_tokens / pool->page_tokens) <= first || block == 0)
            return end;
        end = block - 1; /* no prefix that sees the missing block can be used */
    }
    return 0;
}

uint32_t prefix_cache_match(const prefix_cache *cache, const hash128 *hash, uint32_t block_count)
{
    if (cache->block_tokens == 0)
        return 0;
    for (uint32_t g = 0; g < cache->group_count; g++)
        if (cache->pool[g].window == 0)
            block_count = match_full(cache, g, hash, block_count);
    for (uint32_t g = 0; g < cache->group_count; g++) {
        if (cache->pool[g].window == 0)
            continue;
        uint32_t fits = match_window(cache, g, hash, block_count);
        if (fits < block_count) { /* a shorter prefix must suit the groups before this one, too */
            block_count = fits;
            g = UINT32_MAX;
        }
    }
    return block_count;
}

void prefix_cache_insert(prefix_cache *cache, uint32_t group, hash128 hash, uint32_t part, uint32_t page)
{
    prefix_entry *entry = &cache->map[group].entry[page];
    TN_ASSERT(cache->pool[group].page[page].refs > 0);
    if (entry->cached || prefix_cache_find(cache, group, hash, part) != KV_PAGE_NONE)
        return;
    uint32_t *bucket = bucket_of(&cache->map[group], hash, part);
    *entry = (prefix_entry){.hash = hash, .part = part, .next = *bucket, .cached = true};
    *bucket = page;
}

static void forget(prefix_cache *cache, uint32_t group, uint32_t page)
{
    prefix_map *map = &cache->map[group];
    uint32_t *link = bucket_of(map, map->entry[page].hash, map->entry[page].part);
    while (*link != page)
        link = &map->entry[*link].next;
    *link = map->entry[page].next;
    map->entry[page].cached = false;
}

uint32_t prefix_cache_take(prefix_cache *cache, uint32_t group)
{
    uint32_t page = kv_pool_take(&cache->pool[group]);
    if (cache->map[group].entry[page].cached)
        forget(cache, group, page);
    return page;
}

void prefix_cache_release(prefix_cache *cache, uint32_t group, uint32_t page)
{
    kv_pool_release(&cache->pool[group], page, cache->map[group].entry[page].cached);
}
