/* answer_cache.c: a hash table of chains over entries that also form a list, most recently used first. */
#include "answer_cache.h"

#include "base/clock.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, ENTRIES_MAX = 512, BYTES_MAX = 8 << 20, FRESH_MS = 1000 };

typedef struct cache_entry cache_entry;
struct cache_entry {
    cache_entry *chain;          /* of its bucket */
    cache_entry *before, *after; /* by use */
    uint64_t hash;
    const char *path; /* static */
    char *body, *answer;
    size_t answer_bytes, bytes; /* of the answer; of everything */
};

struct answer_cache {
    cache_entry *buckets[BUCKETS];
    cache_entry *newest, *oldest;
    size_t entry_count, bytes;
    char *version;
    uint64_t renewed_ms;
};

/* FNV-1a: the keys are the caller's own prompts, and a chain has 512 entries at worst. */
static uint64_t hash_of(const char *path, const char *body)
{
    uint64_t hash = 14695981039346656037u;

    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * 1099511628211u;
    for (; *body; body++)
        hash = (hash ^ (unsigned char)*body) * 1099511628211u;
    return hash;
}

answer_cache *answer_cache_create(void)
{
    return calloc(1, sizeof(answer_cache));
}

static void unlink_use(answer_cache *cache, cache_entry *entry)
{
    *(entry->before ? &entry->before->after : &cache->newest) = entry->after;
    *(entry->after ? &entry->after->before : &cache->oldest) = entry->before;
}

static void link_newest(answer_cache *cache, cache_entry *entry)
{
    entry->before = NULL;
    entry->after = cache->newest;
    *(cache->newest ? &cache->newest->before : &cache->oldest) = entry;
    cache->newest = entry;
}

static void free_entry(cache_entry *entry)
{
    free(entry->body);
    free(entry->answer);
    free(entry);
}

static void drop(answer_cache *cache, cache_entry *entry)
{
    cache_entry **link = &cache->buckets[entry->hash % BUCKETS];

    while (*link != entry)
        link = &(*link)->chain;
    *link = entry->chain;
    unlink_use(cache, entry);
    cache->entry_count--;
    cache->bytes -= entry->bytes;
    free_entry(entry);
}

void answer_cache_clear(answer_cache *cache)
{
    while (cache->oldest)
        drop(cache, cache->oldest);
    free(cache->version);
    cache->version = NULL;
}

void answer_cache_destroy(answer_cache *cache)
{
    if (!cache)
        return;
    answer_cache_clear(cache);
    free(cache);
}

bool answer_cache_is_old(const answer_cache *cache)
{
    return !cache->version || clock_ms() - cache->renewed_ms >= FRESH_MS;
}

bool answer_cache_renew(answer_cache *cache, const char *version)
{
    bool same = cache->version && strcmp(cache->version, version) == 0;

    if (!same) {
        answer_cache_clear(cache);
        cache->version = strdup(version);
    }
    cache->renewed_ms = clock_ms();
    return !same;
}

static cache_entry *find(const answer_cache *cache, uint64_t hash, const char *path, const char *body)
{
    cache_entry *entry = cache->buckets[hash % BUCKETS];

    while (entry && (entry->hash != hash || strcmp(entry->path, path) != 0 || strcmp(entry->body, body) != 0))
        entry = entry->chain;
    return entry;
}

const char *answer_cache_get(answer_cache *cache, const char *path, const char *body, size_t *ret_bytes)
{
    cache_entry *entry = find(cache, hash_of(path, body), path, body);

    if (!entry)
        return NULL;
    unlink_use(cache, entry);
    link_newest(cache, entry);
    *ret_bytes = entry->answer_bytes;
    return entry->answer;
}

void answer_cache_put(answer_cache *cache, const char *path, const char *body, const char *answer, size_t bytes)
{
    size_t all = strlen(body) + bytes + sizeof(cache_entry);
    cache_entry *entry = all <= BYTES_MAX ? calloc(1, sizeof *entry) : NULL;

    if (!entry)
        return;
    *entry = (cache_entry){.hash = hash_of(path, body),
                           .path = path,
                           .body = strdup(body),
                           .answer = malloc(bytes + 1),
                           .answer_bytes = bytes,
                           .bytes = all};
    if (!entry->body || !entry->answer) {
        free_entry(entry);
        return;
    }
    memcpy(entry->answer, answer, bytes);
    entry->answer[bytes] = '\0';
    cache_entry *old = find(cache, entry->hash, path, body);
    if (old)
        drop(cache, old);
    while (cache->oldest && (cache->entry_count >= ENTRIES_MAX || cache->bytes + all > BYTES_MAX))
        drop(cache, cache->oldest);
    entry->chain = cache->buckets[entry->hash % BUCKETS];
    cache->buckets[entry->hash % BUCKETS] = entry;
    link_newest(cache, entry);
    cache->entry_count++;
    cache->bytes += all;
}
