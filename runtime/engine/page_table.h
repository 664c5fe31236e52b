/* runtime/engine/page_table.h: which page holds which part of the sequence in each slot, per KV group.
 *
 * A row per slot and group; element i holds positions [i * page_tokens, (i + 1) * page_tokens). Only [first, end) is
 * held: windows drop pages in front as they slide. What the backend has been told of a row is remembered (sent), so a
 * step's deltas are the rest. Loop thread only.
 */
#ifndef ENGINE_PAGE_TABLE_H
#define ENGINE_PAGE_TABLE_H

#include "engine/prefix_cache.h"
#include "tenon/backend.h"

typedef struct page_row {
    uint32_t first, end, sent;
} page_row;

typedef struct page_group {
    uint32_t row_pages; /* elements of a row: pages of the longest sequence */
    page_row *row;      /* [slot_count] */
    uint32_t *page;     /* [slot_count * row_pages] */
} page_group;

typedef struct page_table {
    uint32_t slot_count, group_count;
    uint64_t delta_capacity; /* changes of a step, at most; a whole sequence's always fit */
    prefix_cache *cache;
    page_group *group; /* [group_count] */
} page_table;

/* Takes the arrays; slot_count, group_count and page_tokens: [group_count] are given. */
void page_table_layout(page_table *table, uint32_t max_model_len, const uint32_t *page_tokens, carve *memory);

/* Most tokens, at most count, that can follow position `from` in this slot with the pages free now. */
uint32_t page_table_fit(const page_table *table, uint32_t slot, uint32_t from, uint32_t count);
/* True if a sequence of `tokens` tokens, computed `chunk` at a time, could be held to its end with the pages free now.
 */
bool page_table_room(const page_table *table, uint32_t slot, uint32_t tokens, uint32_t chunk);
/* Changes that the backend has to be told before the slot can hold `tokens` tokens. */
uint64_t page_table_untold(const page_table *table, uint32_t slot, uint32_t tokens);
/* Takes pages until positions below `tokens` have one. They must fit. */
void page_table_extend(page_table *table, uint32_t slot, uint32_t tokens);
/* Fills an empty row with the cached pages of a prefix of block_count blocks, as matched just before. */
void page_table_adopt(page_table *table, uint32_t slot, const hash128 *hash, uint32_t block_count);
/* Remembers the pages of one computed block in the prefix cache, as far as the slot still holds them. */
void page_table_publish(page_table *table, uint32_t slot, hash128 hash, uint32_t block);
/* Drops pages that no query at position `computed` or later can see. */
void page_table_slide(page_table *table, uint32_t slot, uint32_t computed);
/* The backend did not take the step that told it of this row: tell it again. */
void page_table_retell(page_table *table, uint32_t slot);
/* Drops all pages. */
void page_table_release(page_table *table, uint32_t slot);

/* Shares the pages of `from` that lie wholly below `tokens` with the empty slot `to`, and takes a page for the position
 * range that `tokens` cuts, to be copied: ret_move[g] (src = KV_PAGE_NONE: nothing to copy). False, with nothing
 * changed, if pages are short or `from` no longer holds what a query at `tokens` sees. */
bool page_table_fork(page_table *table, uint32_t from, uint32_t to, uint32_t tokens, tn_kvmove *ret_move);

#endif
