/* page_table.c: rows are plain arrays of page numbers; pages are released from the end so that a prefix's tail is
 * reused before its head. */
#include "engine/page_table.h"

enum { DELTAS_PER_STEP = 65536 };

void page_table_layout(page_table *table, uint32_t max_model_len, const uint32_t *page_tokens, carve *memory)
{
    uint64_t one = 0, all;

    table->group = carve_array(memory, table->group_count, sizeof *table->group);
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group group = {.row_pages = (uint32_t)(((uint64_t)max_model_len + page_tokens[g] - 1) / page_tokens[g])};
        uint64_t elements = (uint64_t)table->slot_count * group.row_pages;

        group.row = carve_array(memory, table->slot_count, sizeof *group.row);
        group.page = carve_array(memory, elements, sizeof *group.page);
        one += group.row_pages;
        if (memory->base)
            table->group[g] = group;
    }
    all = one * table->slot_count;
    table->delta_capacity = all < DELTAS_PER_STEP ? all : one > DELTAS_PER_STEP ? one : DELTAS_PER_STEP;
}

static uint32_t pages_for(uint64_t tokens, uint32_t page_tokens)
{
    return (uint32_t)((tokens + page_tokens - 1) / page_tokens);
}

/* First page that a query at `position` sees. */
static uint32_t first_seen(const kv_pool *pool, uint32_t position)
{
    if (pool->window == 0 || position + 1 <= pool->window)
        return 0;
    return (position + 1 - pool->window) / pool->page_tokens;
}

uint32_t page_table_fit(const page_table *table, uint32_t slot, uint32_t from, uint32_t count)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        const kv_pool *pool = &table->cache->pool[g];
        uint64_t tokens = ((uint64_t)table->group[g].row[slot].end + pool->free_count) * pool->page_tokens;
        uint64_t fits = tokens > from ? tokens - from : 0;
        if (fits < count)
            count = (uint32_t)fits;
    }
    return count;
}

uint64_t page_table_untold(const page_table *table, uint32_t slot, uint32_t tokens)
{
    uint64_t count = 0;
    for (uint32_t g = 0; g < table->group_count; g++) {
        const page_row *row = &table->group[g].row[slot];
        uint32_t end = pages_for(tokens, table->cache->pool[g].page_tokens);
        uint32_t sent = row->sent > row->first ? row->sent : row->first;
        count += end > sent ? end - sent : 0;
    }
    return count;
}

bool page_table_room(const page_table *table, uint32_t slot, uint32_t tokens, uint32_t chunk)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        const kv_pool *pool = &table->cache->pool[g];
        const page_row *row = &table->group[g].row[slot];
        uint32_t held = row->end - row->first;
        uint32_t need = pages_for(tokens, pool->page_tokens) - row->first;

        if (pool->window > 0 && need > pages_for((uint64_t)pool->window + chunk, pool->page_tokens) + 1)
            need = pages_for((uint64_t)pool->window + chunk, pool->page_tokens) + 1;
        if (need > pool->page_count)
            need = pool->page_count;
        if (need > held && need - held > pool->free_count)
            return false;
    }
    return true;
}

void page_table_extend(page_table *table, uint32_t slot, uint32_t tokens)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group *group = &table->group[g];
        page_row *row = &group->row[slot];
        uint32_t end = pages_for(tokens, table->cache->pool[g].page_tokens);

        TN_ASSERT(end <= group->row_pages);
        for (; row->end < end; row->end++)
            group->page[(uint64_t)slot * group->row_pages + row->end] = prefix_cache_take(table->cache, g);
    }
}

void page_table_adopt(page_table *table, uint32_t slot, const hash128 *hash, uint32_t block_count)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group *group = &table->group[g];
        page_row *row = &group->row[slot];
        kv_pool *pool = &table->cache->pool[g];
        uint32_t parts = table->cache->block_tokens / pool->page_tokens;

        TN_ASSERT(row->end == 0);
        row->first = first_seen(pool, block_count * table->cache->block_tokens);
        row->end = block_count * parts;
        row->sent = row->first;
        for (uint32_t i = row->first; i < row->end; i++) {
            uint32_t page = prefix_cache_find(table->cache, g, hash[i / parts], i % parts);
            TN_ASSERT(page != KV_PAGE_NONE);
            kv_pool_retain(pool, page);
            group->page[(uint64_t)slot * group->row_pages + i] = page;
        }
    }
}

void page_table_publish(page_table *table, uint32_t slot, hash128 hash, uint32_t block)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        const page_group *group = &table->group[g];
        const page_row *row = &group->row[slot];
        uint32_t parts = table->cache->block_tokens / table->cache->pool[g].page_tokens;

        for (uint32_t part = 0; part < parts; part++) {
            uint32_t index = block * parts + part;
            if (index >= row->first && index < row->end)
                prefix_cache_insert(table->cache, g, hash, part,
                                    group->page[(uint64_t)slot * group->row_pages + index]);
        }
    }
}

void page_table_slide(page_table *table, uint32_t slot, uint32_t computed)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group *group = &table->group[g];
        page_row *row = &group->row[slot];
        uint32_t keep = first_seen(&table->cache->pool[g], computed);

        for (; row->first < keep && row->first < row->end; row->first++)
            prefix_cache_release(table->cache, g, group->page[(uint64_t)slot * group->row_pages + row->first]);
    }
}

void page_table_retell(page_table *table, uint32_t slot)
{
    for (uint32_t g = 0; g < table->group_count; g++)
        table->group[g].row[slot].sent = table->group[g].row[slot].first;
}

void page_table_release(page_table *table, uint32_t slot)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group *group = &table->group[g];
        page_row *row = &group->row[slot];

        while (row->end > row->first)
            prefix_cache_release(table->cache, g, group->page[(uint64_t)slot * group->row_pages + --row->end]);
        *row = (page_row){0};
    }
}

static bool can_fork(const page_table *table, uint32_t from, uint32_t tokens)
{
    for (uint32_t g = 0; g < table->group_count; g++) {
        const kv_pool *pool = &table->cache->pool[g];
        const page_row *row = &table->group[g].row[from];
        if (row->first > first_seen(pool, tokens) || row->end < pages_for(tokens, pool->page_tokens))
            return false;
        if (tokens % pool->page_tokens > 0 && pool->free_count == 0)
            return false;
    }
    return true;
}

bool page_table_fork(page_table *table, uint32_t from, uint32_t to, uint32_t tokens, tn_kvmove *ret_move)
{
    if (!can_fork(table, from, tokens))
        return false;
    for (uint32_t g = 0; g < table->group_count; g++) {
        page_group *group = &table->group[g];
        kv_pool *pool = &table->cache->pool[g];
        const uint32_t *source = group->page + (uint64_t)from * group->row_pages;
        uint32_t *target = group->page + (uint64_t)to * group->row_pages;
        page_row *row = &group->row[to];

        TN_ASSERT(row->end == 0);
        row->first = row->sent = first_seen(pool, tokens);
        row->end = tokens / pool->page_tokens;
        if (row->first > row->end)
            row->first = row->sent = row->end;
        for (uint32_t i = row->first; i < row->end; i++) {
            kv_pool_retain(pool, source[i]);
            target[i] = source[i];
        }
        ret_move[g].src = KV_PAGE_NONE;
        if (tokens % pool->page_tokens > 0) {
            ret_move[g].src = source[row->end];
            ret_move[g].dst = target[row->end] = prefix_cache_take(table->cache, g);
            row->end++;
        }
    }
    return true;
}
