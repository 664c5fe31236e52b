/* test_prefix_cache.c: pool and cache by themselves, and the page table against a plain model of who holds what. */
#include "cmocka_test.h"

#include "engine/page_table.h"

#include <stdlib.h>
#include <string.h>

typedef struct rig {
    prefix_cache cache;
    page_table table;
    void *memory;
} rig;

enum { SLOTS = 6, LENGTH_MAX = 400 };

static void rig_layout(rig *rig, const uint64_t *pages, const uint32_t *page_tokens, carve *memory)
{
    prefix_cache_layout(&rig->cache, pages, page_tokens, memory);
    page_table_layout(&rig->table, LENGTH_MAX, page_tokens, memory);
}

static rig *rig_create(uint32_t groups, const uint64_t *pages, const uint32_t *page_tokens, const uint32_t *window)
{
    rig *rig = calloc(1, sizeof *rig);
    carve memory = {0};
    assert_non_null(rig);
    rig->cache.group_count = rig->table.group_count = groups;
    rig->cache.secret[0] = 17;
    rig->cache.block_tokens = prefix_cache_block_tokens(page_tokens, groups);
    rig->table.slot_count = SLOTS;
    rig->table.cache = &rig->cache;
    rig_layout(rig, pages, page_tokens, &memory);
    memory.base = rig->memory = calloc(1, memory.used);
    assert_non_null(memory.base);
    memory.used = 0;
    rig_layout(rig, pages, page_tokens, &memory);
    prefix_cache_init(&rig->cache);
    for (uint32_t g = 0; g < groups; g++)
        rig->cache.pool[g].window = window[g];
    return rig;
}

static void rig_destroy(rig *rig)
{
    free(rig->memory);
    free(rig);
}

static const uint64_t eight_pages[] = {8};
static const uint32_t four_tokens[] = {4}, no_window[] = {0};

static void test_pages_without_content_are_taken_before_cached_ones(void **state)
{
    rig *rig = rig_create(1, eight_pages, four_tokens, no_window);
    int32_t tokens[4] = {1, 2, 3, 4};
    hash128 hash = prefix_cache_chain(&rig->cache, prefix_cache_root(&rig->cache, NULL), tokens);
    (void)state;
    uint32_t cached = prefix_cache_take(&rig->cache, 0);
    prefix_cache_insert(&rig->cache, 0, hash, 0, cached);
    prefix_cache_release(&rig->cache, 0, cached);
    assert_int_equal(rig->cache.pool[0].free_count, 8);
    for (uint32_t i = 0; i < 7; i++)
        assert_int_not_equal(prefix_cache_take(&rig->cache, 0), cached);
    assert_int_equal(prefix_cache_find(&rig->cache, 0, hash, 0), cached);
    assert_int_equal(prefix_cache_take(&rig->cache, 0), cached);
    assert_int_equal(prefix_cache_find(&rig->cache, 0, hash, 0), KV_PAGE_NONE);
    rig_destroy(rig);
}

static void test_the_least_recently_used_prefix_goes_first(void **state)
{
    rig *rig = rig_create(1, eight_pages, four_tokens, no_window);
    hash128 hash[8];
    (void)state;
    for (int32_t i = 0; i < 8; i++) {
        int32_t tokens[4] = {i, i, i, i};
        hash[i] = prefix_cache_chain(&rig->cache, prefix_cache_root(&rig->cache, NULL), tokens);
        prefix_cache_insert(&rig->cache, 0, hash[i], 0, prefix_cache_take(&rig->cache, 0));
    }
    for (uint32_t i = 0; i < 8; i++)
        prefix_cache_release(&rig->cache, 0, prefix_cache_find(&rig->cache, 0, hash[i], 0));
    uint32_t used_again = prefix_cache_find(&rig->cache, 0, hash[0], 0);
    kv_pool_retain(&rig->cache.pool[0], used_again);
    prefix_cache_release(&rig->cache, 0, used_again);
    prefix_cache_take(&rig->cache, 0);
    assert_int_not_equal(prefix_cache_find(&rig->cache, 0, hash[0], 0), KV_PAGE_NONE);
    assert_int_equal(prefix_cache_find(&rig->cache, 0, hash[1], 0), KV_PAGE_NONE);
    rig_destroy(rig);
}

static void test_hashes_name_the_whole_prefix_and_the_salt(void **state)
{
    rig *rig = rig_create(1, eight_pages, four_tokens, no_window);
    int32_t a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 5};
    const char *salts[] = {NULL, "", "x", "shared"};
    hash128 seen[8];
    (void)state;
    for (uint32_t s = 0; s < 4; s++) {
        hash128 root = prefix_cache_root(&rig->cache, salts[s]);
        seen[2 * s] = prefix_cache_chain(&rig->cache, prefix_cache_chain(&rig->cache, root, a), a);
        seen[2 * s + 1] = prefix_cache_chain(&rig->cache, prefix_cache_chain(&rig->cache, root, b), a);
    }
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_memory_not_equal(&seen[i], &seen[j], sizeof seen[i]);
    rig_destroy(rig);
}

static void test_block_size_is_the_common_multiple_of_the_pages(void **state)
{
    const uint32_t sizes[] = {16, 24, 8}, primes[] = {1021, 1031};
    (void)state;
    assert_int_equal(prefix_cache_block_tokens(sizes, 1), 16);
    assert_int_equal(prefix_cache_block_tokens(sizes, 3), 48);
    assert_int_equal(prefix_cache_block_tokens(primes, 2), 0);
}

/* One sequence of the model: the tokens it was given, and how far it got. */
typedef struct mirror {
    int32_t token[LENGTH_MAX];
    hash128 hash[LENGTH_MAX];
    uint32_t length, computed, published;
    bool used;
} mirror;

static unsigned dice = 7;

static uint32_t roll(uint32_t sides)
{
    dice = dice * 1103515245 + 12345;
    return (dice >> 16) % sides;
}

static uint32_t first_seen(uint32_t window, uint32_t position, uint32_t page_tokens)
{
    return window > 0 && position + 1 > window ? (position + 1 - window) / page_tokens : 0;
}

/* Two holders of a page hold it for the same tokens at the same place. */
static void check_sharing(const rig *rig, const mirror *mirrors, uint32_t g)
{
    const page_group *group = &rig->table.group[g];
    uint32_t page_tokens = rig->cache.pool[g].page_tokens, holder[256], place[256];
    memset(holder, 0xff, sizeof holder);
    for (uint32_t s = 0; s < SLOTS; s++) {
        for (uint32_t i = group->row[s].first; i < group->row[s].end; i++) {
            uint32_t page = group->page[(size_t)s * group->row_pages + i];
            if (holder[page] == UINT32_MAX) {
                holder[page] = s;
                place[page] = i;
                continue;
            }
            assert_int_equal(place[page], i);
            assert_memory_equal(mirrors[holder[page]].token, mirrors[s].token,
                                (size_t)(i + 1) * page_tokens * sizeof(int32_t));
        }
    }
}

/* Every page that a query at `computed` sees must be held; counts references per page. */
static void check(const rig *rig, const mirror *mirrors)
{
    for (uint32_t g = 0; g < rig->table.group_count; g++) {
        const kv_pool *pool = &rig->cache.pool[g];
        uint32_t refs[256] = {0}, free_count = 0;
        check_sharing(rig, mirrors, g);
        for (uint32_t s = 0; s < SLOTS; s++) {
            const page_row *row = &rig->table.group[g].row[s];
            if (mirrors[s].used && mirrors[s].computed > 0) {
                uint32_t need_first = first_seen(pool->window, mirrors[s].computed, pool->page_tokens);
                uint32_t need_end = (mirrors[s].computed + pool->page_tokens - 1) / pool->page_tokens;
                assert_true(row->first <= need_first || need_first >= need_end);
                assert_true(row->end >= need_end);
            }
            for (uint32_t i = row->first; i < row->end; i++)
                refs[rig->table.group[g].page[(size_t)s * rig->table.group[g].row_pages + i]]++;
        }
        for (uint32_t p = 0; p < pool->page_count; p++) {
            assert_int_equal(pool->page[p].refs, refs[p]);
            free_count += refs[p] == 0;
        }
        assert_int_equal(pool->free_count, free_count);
    }
}

static void begin(rig *rig, mirror *mirror, uint32_t slot)
{
    hash128 hash = prefix_cache_root(&rig->cache, NULL);
    uint32_t kind = roll(3), blocks;
    *mirror = (struct mirror){.used = true, .length = 20 + roll(LENGTH_MAX - 20)};
    for (uint32_t i = 0; i < mirror->length; i++)
        mirror->token[i] = (int32_t)(i < 100 ? kind : roll(3));
    for (uint32_t b = 0; (b + 1) * rig->cache.block_tokens <= mirror->length; b++)
        hash = mirror->hash[b] = prefix_cache_chain(&rig->cache, hash, mirror->token + b * rig->cache.block_tokens);
    blocks = prefix_cache_match(&rig->cache, mirror->hash, (mirror->length - 1) / rig->cache.block_tokens);
    page_table_adopt(&rig->table, slot, mirror->hash, blocks);
    mirror->computed = blocks * rig->cache.block_tokens;
    mirror->published = blocks;
}

static void step(rig *rig, mirror *mirror, uint32_t slot)
{
    uint32_t chunk = 1 + roll(30), left = mirror->length - mirror->computed;
    uint32_t count = left < chunk ? left : chunk;
    count = page_table_fit(&rig->table, slot, mirror->computed, count);
    page_table_extend(&rig->table, slot, mirror->computed + count);
    mirror->computed += count;
    for (; (mirror->published + 1) * rig->cache.block_tokens <= mirror->computed; mirror->published++)
        page_table_publish(&rig->table, slot, mirror->hash[mirror->published], mirror->published);
    page_table_slide(&rig->table, slot, mirror->computed);
}

static void fork_to(rig *rig, mirror *mirrors, uint32_t from, uint32_t to)
{
    tn_kvmove move[3];
    if (from == to || mirrors[from].computed < 2)
        return;
    page_table_release(&rig->table, to);
    mirrors[to].used = false;
    uint32_t tokens = mirrors[from].computed - roll(2);
    if (!page_table_fork(&rig->table, from, to, tokens, move))
        return;
    mirrors[to] = mirrors[from];
    mirrors[to].computed = tokens;
    mirrors[to].published = tokens / rig->cache.block_tokens;
    for (uint32_t g = 0; g < rig->table.group_count; g++)
        assert_int_equal(move[g].src != KV_PAGE_NONE, tokens % rig->cache.pool[g].page_tokens > 0);
}

static void test_random_sequences_hold_what_they_see_and_no_more(void **state)
{
    static const struct {
        uint32_t groups, page_tokens[3], window[3];
        uint64_t pages[3];
    } shape[] = {{1, {4}, {0}, {200}},
                 {1, {4}, {30}, {60}},
                 {2, {4, 8}, {0, 25}, {200, 40}},
                 {3, {4, 6, 8}, {50, 0, 16}, {90, 110, 30}}};
    (void)state;
    for (uint32_t i = 0; i < sizeof shape / sizeof shape[0]; i++) {
        rig *rig = rig_create(shape[i].groups, shape[i].pages, shape[i].page_tokens, shape[i].window);
        mirror *mirrors = calloc(SLOTS, sizeof *mirrors);
        assert_non_null(mirrors);
        for (uint32_t round = 0; round < 4000; round++) {
            uint32_t slot = roll(SLOTS);
            mirror *mirror = &mirrors[slot];
            if (!mirror->used) {
                begin(rig, mirror, slot);
            } else if (roll(12) == 0) {
                fork_to(rig, mirrors, slot, roll(SLOTS));
            } else if (mirror->computed == mirror->length || roll(20) == 0) {
                page_table_release(&rig->table, slot);
                mirror->used = false;
            } else {
                step(rig, mirror, slot);
            }
            check(rig, mirrors);
        }
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            page_table_release(&rig->table, slot);
        for (uint32_t g = 0; g < rig->cache.group_count; g++)
            assert_int_equal(rig->cache.pool[g].free_count, rig->cache.pool[g].page_count);
        free(mirrors);
        rig_destroy(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_without_content_are_taken_before_cached_ones),
        cmocka_unit_test(test_the_least_recently_used_prefix_goes_first),
        cmocka_unit_test(test_hashes_name_the_whole_prefix_and_the_salt),
        cmocka_unit_test(test_block_size_is_the_common_multiple_of_the_pages),
        cmocka_unit_test(test_random_sequences_hold_what_they_see_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
