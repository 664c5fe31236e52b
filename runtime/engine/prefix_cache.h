/* runtime/engine/prefix_cache.h: which KV pages hold which prefix of tokens, so that equal prefixes are computed once.
 *
 * Tokens are hashed in blocks of block_tokens (the least common multiple of the groups' page sizes), each block's hash
 * taking in the one before, so a hash names a whole prefix. The hash is keyed with a secret drawn at start: a client
 * can neither construct a collision nor tell one. A page is found by (group, block hash, part of the block). Pages stay
 * cached until the pool reuses them, least recently used first. Loop thread only, except the hashing.
 */
#ifndef ENGINE_PREFIX_CACHE_H
#define ENGINE_PREFIX_CACHE_H

#include "engine/kv_pool.h"
#include "engine/siphash.h"

enum { PREFIX_BLOCK_TOKENS_MAX = 4096 };

typedef struct prefix_entry {
    hash128 hash;
    uint32_t part; /* which page of the block */
    uint32_t next; /* page number of the next entry in the bucket */
    bool cached;
} prefix_entry;

typedef struct prefix_map {
    uint32_t bucket_count; /* a power of two */
    uint32_t *bucket;      /* [bucket_count] page numbers */
    prefix_entry *entry;   /* [page_count] indexed by page */
} prefix_map;

typedef struct prefix_cache {
    uint64_t secret[2];
    uint32_t block_tokens; /* 0: no caching; at most PREFIX_BLOCK_TOKENS_MAX */
    uint32_t group_count;
    kv_pool *pool;   /* [group_count] */
    prefix_map *map; /* [group_count] */
} prefix_cache;

/* Takes the arrays of the cache and its pools; group_count and block_tokens must be set, pages: [group_count]. */
void prefix_cache_layout(prefix_cache *cache, const uint64_t *pages, const uint32_t *page_tokens, carve *memory);
void prefix_cache_init(prefix_cache *cache);
/* Least common multiple of the page sizes; 0 if it exceeds PREFIX_BLOCK_TOKENS_MAX. */
uint32_t prefix_cache_block_tokens(const uint32_t *page_tokens, uint32_t group_count);

/* Hash that a prefix of no tokens has under a salt (NULL: the shared one). [any thread] */
hash128 prefix_cache_root(const prefix_cache *cache, const char *salt);
/* Hash of the prefix that ends with these block_tokens tokens. [any thread] */
hash128 prefix_cache_chain(const prefix_cache *cache, hash128 before, const int32_t *token);

/* Number of leading blocks, at most block_count, whose pages are all here: for a window group only the pages that a
 * query right behind the prefix can see. */
uint32_t prefix_cache_match(const prefix_cache *cache, const hash128 *hash, uint32_t block_count);
/* The page of a part of a block; KV_PAGE_NONE if none. */
uint32_t prefix_cache_find(const prefix_cache *cache, uint32_t group, hash128 hash, uint32_t part);
/* Remembers a page, referenced by the caller, unless an equal one is known already. */
void prefix_cache_insert(prefix_cache *cache, uint32_t group, hash128 hash, uint32_t part, uint32_t page);
/* A page to write to, referenced once; what it held before is forgotten. The group's pool must not be empty. */
uint32_t prefix_cache_take(prefix_cache *cache, uint32_t group);
/* Drops one reference; cached content stays findable. */
void prefix_cache_release(prefix_cache *cache, uint32_t group, uint32_t page);

#endif
