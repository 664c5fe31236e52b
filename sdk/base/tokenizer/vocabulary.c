/* vocabulary.c: two open-addressing tables, sized once. Lookups are one or two cache misses; opening 49k tokens and as
 * many merges is some 200k of them, which is what a cold start pays for.
 */
#include "base/tokenizer/vocabulary.h"

#include <string.h>
#include <sys/random.h>
#include <time.h>

#define MIX_MULTIPLIER 0x9E3779B97F4A7C15u /* 2^64 / golden ratio */

static uint64_t mix(uint64_t value)
{
    value ^= value >> 32;
    value *= MIX_MULTIPLIER;
    value ^= value >> 29;
    return value;
}

static uint64_t hash_text(uint64_t seed, const char *text, size_t n)
{
    uint64_t hash = seed ^ n;
    for (; n >= 8; text += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        hash = mix(hash ^ word) + seed;
    }
    uint64_t tail = 0;
    memcpy(&tail, text, n);
    return mix(mix(hash ^ tail));
}

static uint64_t hash_pair(uint64_t seed, int32_t left, int32_t right)
{
    return mix(mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ seed);
}

/* Smallest power of two with a load of at most 1/2. */
static uint64_t slots_for(uint64_t entries)
{
    uint64_t slots = 16;
    while (slots < 2 * entries)
        slots *= 2;
    return slots;
}

static uint64_t random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        return seed;
    struct timespec now; /* early in boot: less random, still not in the file */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return mix((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32);
}

static bool reserve_text(vocabulary *vocab, size_t n)
{
    if (vocab->text_capacity - vocab->text_bytes >= n)
        return true;
    uint64_t capacity = 2 * (vocab->text_bytes + n) + 4096;
    char *text = realloc(vocab->text, capacity);
    if (!text)
        return false;
    vocab->text = text;
    vocab->text_capacity = capacity;
    return true;
}

tn_status vocabulary_init(vocabulary *vocab, uint64_t tokens, uint64_t merges, tn_error *err)
{
    TN_ASSERT(tokens <= VOCABULARY_TOKENS_MAX && merges <= VOCABULARY_MERGES_MAX);
    memset(vocab, 0, sizeof *vocab);
    uint64_t slots = slots_for(tokens), merge_slots = slots_for(merges);

    vocab->seed = random_seed();
    vocab->start = malloc((tokens + 1) * sizeof *vocab->start);
    vocab->flags = calloc(tokens + 1, sizeof *vocab->flags);
    vocab->slot = malloc(slots * sizeof *vocab->slot);
    vocab->merge = malloc(merge_slots * sizeof *vocab->merge);
    /* One byte at least: a text can be asked for where all are empty. */
    if (!vocab->start || !vocab->flags || !vocab->slot || !vocab->merge || !reserve_text(vocab, 1)) {
        vocabulary_finish(vocab);
        return tn_fail(err, TN_E_MEMORY, "no memory for a vocabulary of %llu tokens", (unsigned long long)tokens);
    }
    memset(vocab->slot, 0xFF, slots * sizeof *vocab->slot);
    memset(vocab->merge, 0xFF, merge_slots * sizeof *vocab->merge);
    vocab->slot_mask = slots - 1;
    vocab->merge_mask = merge_slots - 1;
    vocab->capacity = (uint32_t)tokens;
    vocab->start[0] = 0;
    return TN_OK;
}

void vocabulary_finish(vocabulary *vocab)
{
    free(vocab->text);
    free(vocab->start);
    free(vocab->flags);
    free(vocab->slot);
    free(vocab->merge);
    memset(vocab, 0, sizeof *vocab);
}

/* The slot that holds text, or the free one where it would go. */
static token_slot *slot_of(const vocabulary *vocab, uint64_t hash, const char *text, size_t n)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    for (uint64_t at = hash & vocab->slot_mask;; at = (at + 1) & vocab->slot_mask) {
        token_slot *slot = &vocab->slot[at];
        if (slot->id < 0)
            return slot;
        if (slot->tag != tag)
            continue;
        size_t known_n;
        const char *known = vocabulary_text(vocab, slot->id, &known_n);
        if (known_n == n && memcmp(known, text, n) == 0)
            return slot;
    }
}

tn_status vocabulary_add(vocabulary *vocab, const char *text, size_t n, int32_t *ret_twin, tn_error *err)
{
    TN_ASSERT(vocab->count < vocab->capacity);
    TN_ASSERT(n <= VOCABULARY_TOKEN_BYTES_MAX);
    int32_t id = (int32_t)vocab->count;

    if (vocab->text_bytes + n > UINT32_MAX || !reserve_text(vocab, n))
        return tn_fail(err, TN_E_MEMORY, "no memory for the texts of %u tokens", vocab->capacity);
    if (n == 0) {
        vocab->flags[id] |= TOKEN_UNUSED;
    } else {
        uint64_t hash = hash_text(vocab->seed, text, n);
        token_slot *slot = slot_of(vocab, hash, text, n);
        if (slot->id >= 0) {
            *ret_twin = slot->id;
            return TN_OK;
        }
        *slot = (token_slot){(uint32_t)(hash >> 32), id};
        memcpy(vocab->text + vocab->text_bytes, text, n);
    }
    vocab->text_bytes += n;
    vocab->count++;
    vocab->start[vocab->count] = (uint32_t)vocab->text_bytes;
    if (n > vocab->token_bytes_max)
        vocab->token_bytes_max = (uint32_t)n;
    *ret_twin = -1;
    return TN_OK;
}

int32_t vocabulary_find(const vocabulary *vocab, const char *text, size_t n)
{
    if (n == 0 || n > vocab->token_bytes_max)
        return -1;
    return slot_of(vocab, hash_text(vocab->seed, text, n), text, n)->id;
}

static merge_slot *merge_slot_of(const vocabulary *vocab, int32_t left, int32_t right)
{
    for (uint64_t at = hash_pair(vocab->seed, left, right) & vocab->merge_mask;; at = (at + 1) & vocab->merge_mask) {
        merge_slot *slot = &vocab->merge[at];
        if (slot->left < 0 || (slot->left == left && slot->right == right))
            return slot;
    }
}

void vocabulary_add_merge(vocabulary *vocab, int32_t left, int32_t right, int32_t merged, uint32_t rank, bool replace)
{
    TN_ASSERT(left >= 0 && right >= 0 && merged >= 0 && (uint32_t)merged < vocab->count);
    merge_slot *slot = merge_slot_of(vocab, left, right);
    if (slot->left < 0 || replace)
        *slot = (merge_slot){left, right, rank, merged};
    vocab->flags[merged] |= TOKEN_MERGED;
}

const merge_slot *vocabulary_find_merge(const vocabulary *vocab, int32_t left, int32_t right)
{
    const merge_slot *slot = merge_slot_of(vocab, left, right);
    return slot->left < 0 ? NULL : slot;
}
