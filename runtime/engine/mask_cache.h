/* runtime/engine/mask_cache.h: token masks by what they were made from, the last used ones.
 *
 * The key is a keyed hash of grammar and state (siphash.h): nobody outside can make two states share one. Loop thread.
 */
#ifndef ENGINE_MASK_CACHE_H
#define ENGINE_MASK_CACHE_H

#include "engine/siphash.h"

#include <stdbool.h>

enum { MASK_CACHE_ENTRIES = 256, MASK_CACHE_BUCKETS = 512 };

typedef struct mask_entry {
    hash128 key;
    uint32_t chain;        /* next of the same bucket */
    uint32_t newer, older; /* in order of use */
} mask_entry;

/* Indices are counted from 1; 0: none. */
typedef struct mask_cache {
    uint32_t words, count, newest, oldest;
    uint32_t bucket[MASK_CACHE_BUCKETS];
    mask_entry entry[MASK_CACHE_ENTRIES + 1];
    uint32_t *mask; /* [MASK_CACHE_ENTRIES][words]; owned */
} mask_cache;

/* False: no memory. */
bool mask_cache_init(mask_cache *cache, uint32_t words);
void mask_cache_finish(mask_cache *cache);
/* The mask of a key; *ret_known false: it is new, in the place of the one not used for longest, and to be filled. */
uint32_t *mask_cache_find(mask_cache *cache, hash128 key, bool *ret_known);

#endif
