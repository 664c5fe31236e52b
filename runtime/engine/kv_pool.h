/* runtime/engine/kv_pool.h: the pages of one KV group: reference counts and the queue of pages that nobody references.
 *
 * The pool knows page numbers only; storage is the backend's. An unreferenced page may still hold a cached prefix,
 * which is why free pages form a queue: pages without content are taken from its head, cached ones wait at its tail,
 * oldest first.
 */
#ifndef ENGINE_KV_POOL_H
#define ENGINE_KV_POOL_H

#include "engine/carve.h"

#define KV_PAGE_NONE UINT32_MAX

typedef struct kv_page {
    uint32_t refs;
    uint32_t prev, next; /* neighbours in the free queue while refs is 0 */
} kv_page;

typedef struct kv_pool {
    uint32_t page_count, page_tokens;
    uint32_t window; /* tokens a query sees, itself included; 0: all */
    uint32_t free_count, head, tail;
    kv_page *page; /* [page_count] */
} kv_pool;

/* Takes the pool's arrays from memory. page_count and page_tokens must be set. */
void kv_pool_layout(kv_pool *pool, carve *memory);
void kv_pool_init(kv_pool *pool);
/* The oldest unreferenced page, now referenced once. The pool must not be empty. O(1). */
uint32_t kv_pool_take(kv_pool *pool);
/* One more reference; lifts an unreferenced page out of the queue. O(1). */
void kv_pool_retain(kv_pool *pool, uint32_t page);
/* Drops one reference. The last one queues the page: at the tail if its content is worth keeping, else at the head.
 * O(1). */
void kv_pool_release(kv_pool *pool, uint32_t page, bool keep);

#endif
