/* kv_pool.c: a doubly linked queue over page numbers, so that a cached page can leave it from the middle. */
#include "engine/kv_pool.h"

#include "tenon/error.h"

void kv_pool_layout(kv_pool *pool, carve *memory)
{
    pool->page = carve_array(memory, pool->page_count, sizeof *pool->page);
}

static void queue_remove(kv_pool *pool, uint32_t page)
{
    kv_page *node = &pool->page[page];
    *(node->prev == KV_PAGE_NONE ? &pool->head : &pool->page[node->prev].next) = node->next;
    *(node->next == KV_PAGE_NONE ? &pool->tail : &pool->page[node->next].prev) = node->prev;
    pool->free_count--;
}

static void queue_push_head(kv_pool *pool, uint32_t page)
{
    pool->page[page].prev = KV_PAGE_NONE;
    pool->page[page].next = pool->head;
    *(pool->head == KV_PAGE_NONE ? &pool->tail : &pool->page[pool->head].prev) = page;
    pool->head = page;
    pool->free_count++;
}

static void queue_push_tail(kv_pool *pool, uint32_t page)
{
    pool->page[page].next = KV_PAGE_NONE;
    pool->page[page].prev = pool->tail;
    *(pool->tail == KV_PAGE_NONE ? &pool->head : &pool->page[pool->tail].next) = page;
    pool->tail = page;
    pool->free_count++;
}

void kv_pool_init(kv_pool *pool)
{
    pool->head = pool->tail = KV_PAGE_NONE;
    pool->free_count = 0;
    for (uint32_t page = 0; page < pool->page_count; page++) {
        pool->page[page].refs = 0;
        queue_push_tail(pool, page);
    }
}

uint32_t kv_pool_take(kv_pool *pool)
{
    uint32_t page = pool->head;
    TN_ASSERT(page != KV_PAGE_NONE);
    kv_pool_retain(pool, page);
    return page;
}

void kv_pool_retain(kv_pool *pool, uint32_t page)
{
    TN_ASSERT(page < pool->page_count);
    if (pool->page[page].refs == 0)
        queue_remove(pool, page);
    pool->page[page].refs++;
}

void kv_pool_release(kv_pool *pool, uint32_t page, bool keep)
{
    TN_ASSERT(page < pool->page_count);
    TN_ASSERT(pool->page[page].refs > 0);
    if (--pool->page[page].refs > 0)
        return;
    if (keep)
        queue_push_tail(pool, page);
    else
        queue_push_head(pool, page);
}
