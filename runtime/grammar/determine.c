/* determine.c: subset and product constructions. Both number states as they are first met, through one hash table of
 * keys that are lists of numbers: the nodes of a subset, or the two states of a pair.
 */
#include "grammar/automaton.h"

#include <string.h>

#define NO_STATE UINT32_MAX

typedef struct state_key {
    uint32_t at, count; /* of pool */
} state_key;

/* Keys in the order in which they were met. */
typedef struct key_table {
    nfa *nfa;
    uint32_t count, key_capacity, pool_count, pool_capacity, slot_count;
    state_key *key;
    uint32_t *pool;
    uint32_t *slot; /* [slot_count] a power of two; key + 1 */
} key_table;

enum { POOL_MAX = 1 << 23, SLOTS_MIN = 1 << 8 };

static void key_table_init(key_table *table, nfa *nfa)
{
    *table = (key_table){.nfa = nfa, .slot_count = SLOTS_MIN};
    table->slot = calloc(SLOTS_MIN, sizeof *table->slot);
    if (!table->slot)
        nfa_fail(nfa, TN_E_MEMORY, "out of memory for a grammar");
}

static void key_table_finish(key_table *table)
{
    free(table->key);
    free(table->pool);
    free(table->slot);
}

static uint64_t hash_key(const uint32_t *number, uint32_t count)
{
    uint64_t hash = 1469598103934665603u; /* FNV-1a by words: a clash costs one comparison */
    for (uint32_t i = 0; i < count; i++)
        hash = (hash ^ number[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

/* Where a key is, or belongs. */
static uint32_t *slot_of(const key_table *table, const uint32_t *number, uint32_t count)
{
    uint32_t slot = (uint32_t)hash_key(number, count) & (table->slot_count - 1);
    for (; table->slot[slot] != 0; slot = (slot + 1) & (table->slot_count - 1)) {
        const state_key *key = &table->key[table->slot[slot] - 1];
        if (key->count == count && memcmp(table->pool + key->at, number, count * sizeof *number) == 0)
            break;
    }
    return &table->slot[slot];
}

/* Twice the slots, of which at most half are taken. False: the builder is broken. */
static bool grow_slots(key_table *table)
{
    uint32_t *slots = calloc((size_t)table->slot_count * 2, sizeof *slots);

    if (!slots) {
        nfa_fail(table->nfa, TN_E_MEMORY, "out of memory for a grammar");
        return false;
    }
    free(table->slot);
    table->slot = slots;
    table->slot_count *= 2;
    for (uint32_t i = 0; i < table->count; i++)
        *slot_of(table, table->pool + table->key[i].at, table->key[i].count) = i + 1;
    return true;
}

/* The number of a key; a new one gets the next. */
static uint32_t key_table_find(key_table *table, const uint32_t *number, uint32_t count)
{
    nfa *nfa = table->nfa;
    if (!nfa_spend(nfa, count + 1))
        return NO_STATE;
    uint32_t *slot = slot_of(table, number, count);
    if (*slot != 0)
        return *slot - 1;
    if (!nfa_grow(nfa, (void **)&table->key, table->count, &table->key_capacity, sizeof *table->key, GRAMMAR_STATES_MAX,
                  "states"))
        return NO_STATE;
    table->key[table->count] = (state_key){table->pool_count, count};
    for (uint32_t i = 0; i < count; i++) {
        if (!nfa_grow(nfa, (void **)&table->pool, table->pool_count, &table->pool_capacity, sizeof *table->pool,
                      POOL_MAX, "entries"))
            return NO_STATE;
        table->pool[table->pool_count++] = number[i];
    }
    *slot = ++table->count;
    if (2 * table->count > table->slot_count && !grow_slots(table))
        return NO_STATE;
    return table->count - 1;
}

/* ---- states as they are written ---- */

static void begin_state(nfa *nfa, dfa *dfa, bool accepts)
{
    if (nfa_grow(nfa, (void **)&dfa->state, dfa->state_count, &dfa->state_capacity, sizeof *dfa->state,
                 GRAMMAR_STATES_MAX, "states"))
        dfa->state[dfa->state_count++] =
            (dfa_state){.edge = dfa->edge_count, .call = dfa->call_count, .accepts = accepts};
}

/* Of the newest state; joins what goes to the same place. */
static void put_edge(nfa *nfa, dfa *dfa, uint32_t lo, uint32_t hi, uint32_t target)
{
    dfa_state *state = &dfa->state[dfa->state_count - 1];
    dfa_edge *last = state->edge_count > 0 ? &dfa->edge[dfa->edge_count - 1] : NULL;

    if (last && last->target == target && last->hi + 1u == lo) {
        last->hi = (uint8_t)hi;
        return;
    }
    if (!nfa_grow(nfa, (void **)&dfa->edge, dfa->edge_count, &dfa->edge_capacity, sizeof *dfa->edge,
                  8 * GRAMMAR_STATES_MAX, "edges"))
        return;
    dfa->edge[dfa->edge_count++] = (dfa_edge){(uint8_t)lo, (uint8_t)hi, target};
    state->edge_count++;
}

static void put_call(nfa *nfa, dfa *dfa, uint32_t rule, uint32_t target)
{
    if (!nfa_grow(nfa, (void **)&dfa->call, dfa->call_count, &dfa->call_capacity, sizeof *dfa->call, GRAMMAR_STATES_MAX,
                  "calls"))
        return;
    dfa->call[dfa->call_count++] = (dfa_call){rule, target};
    dfa->state[dfa->state_count - 1].call_count++;
}

/* ---- subsets ---- */

typedef struct subsets {
    nfa *nfa;
    key_table keys;
    uint32_t end;
    uint32_t stamp;
    uint32_t *mark; /* [node_count] equal to stamp: in the set under way */
    uint32_t *set;  /* [node_count] the set under way, and behind its count the nodes to look at; not cleared */
    uint32_t set_count;
    const nfa_edge **edge; /* [edge_count] of one state, over bytes, then calls; not cleared */
} subsets;

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void begin_set(subsets *subsets)
{
    subsets->stamp++;
    subsets->set_count = 0;
}

static void add_node(subsets *subsets, uint32_t node)
{
    if (subsets->mark[node] == subsets->stamp)
        return;
    subsets->mark[node] = subsets->stamp;
    subsets->set[subsets->set_count++] = node;
}

/* Follows empty edges, keeps the nodes that have others, or are the end, and numbers the set. */
static uint32_t close_set(subsets *subsets)
{
    nfa *nfa = subsets->nfa;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < subsets->set_count; i++) {
        uint32_t node = subsets->set[i];
        bool matters = node == subsets->end;
        for (uint32_t at = nfa->first[node]; at != 0; at = nfa->edge[at].next) {
            if (nfa->edge[at].symbol == NFA_EMPTY)
                add_node(subsets, nfa->edge[at].target);
            else
                matters = true;
            if (!nfa_spend(nfa, 1))
                return NO_STATE;
        }
        if (matters)
            subsets->set[kept++] = node;
    }
    qsort(subsets->set, kept, sizeof *subsets->set, compare_numbers);
    return key_table_find(&subsets->keys, subsets->set, kept);
}

/* Collects a state's edges; true in *ret_accepts if the end is in it. Returns how many lead over bytes; calls follow.
 */
static uint32_t collect_edges(subsets *subsets, uint32_t state, uint32_t *ret_calls, bool *ret_accepts)
{
    nfa *nfa = subsets->nfa;
    const state_key *key = &subsets->keys.key[state];
    uint32_t bytes = 0, calls = 0;

    *ret_accepts = false;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < key->count; i++) {
            uint32_t node = subsets->keys.pool[key->at + i];
            *ret_accepts |= node == subsets->end;
            for (uint32_t at = nfa->first[node]; at != 0; at = nfa->edge[at].next) {
                const nfa_edge *edge = &nfa->edge[at];
                if (pass == 0 && edge->symbol == NFA_BYTES)
                    subsets->edge[bytes++] = edge;
                else if (pass == 1 && edge->symbol != NFA_BYTES && edge->symbol != NFA_EMPTY)
                    subsets->edge[bytes + calls++] = edge;
            }
        }
    *ret_calls = calls;
    return bytes;
}

static void add_byte_edges(subsets *subsets, dfa *dfa, uint32_t count)
{
    nfa *nfa = subsets->nfa;
    bool begins[257] = {false};

    for (uint32_t i = 0; i < count; i++)
        begins[subsets->edge[i]->lo] = begins[subsets->edge[i]->hi + 1] = true;
    for (uint32_t lo = 0, hi; lo < 256; lo = hi) {
        for (hi = lo + 1; hi < 256 && !begins[hi]; hi++)
            ;
        begin_set(subsets);
        for (uint32_t i = 0; i < count; i++)
            if (subsets->edge[i]->lo <= lo && lo <= subsets->edge[i]->hi)
                add_node(subsets, subsets->edge[i]->target);
        if (!nfa_spend(nfa, count))
            return;
        uint32_t target = subsets->set_count > 0 ? close_set(subsets) : NO_STATE;
        if (target != NO_STATE)
            put_edge(nfa, dfa, lo, hi - 1, target);
    }
}

static void add_calls(subsets *subsets, dfa *dfa, const nfa_edge **edge, uint32_t count)
{
    for (uint32_t done = 0; done < count;) {
        uint32_t rule = UINT32_MAX;
        for (uint32_t i = 0; i < count; i++) /* the least that is left */
            if (edge[i] && edge[i]->symbol < rule)
                rule = edge[i]->symbol;
        begin_set(subsets);
        for (uint32_t i = 0; i < count; i++)
            if (edge[i] && edge[i]->symbol == rule) {
                add_node(subsets, edge[i]->target);
                edge[i] = NULL;
                done++;
            }
        uint32_t target = close_set(subsets);
        if (target == NO_STATE || !nfa_spend(subsets->nfa, count))
            return;
        put_call(subsets->nfa, dfa, rule, target);
    }
}

void dfa_build(nfa *nfa, uint32_t start, uint32_t end, dfa *ret_dfa)
{
    subsets subsets = {.nfa = nfa, .end = end};
    dfa dfa = {0};

    if (nfa_spend(nfa, nfa->node_count / 16 + 256)) { /* clearing the marks, and the least of slots */
        subsets.mark = calloc(nfa->node_count, sizeof *subsets.mark);
        subsets.set = malloc(nfa->node_count * sizeof *subsets.set);
        subsets.edge = malloc(nfa->edge_count * sizeof *subsets.edge);
        if (!subsets.mark || !subsets.set || !subsets.edge)
            nfa_fail(nfa, TN_E_MEMORY, "out of memory for a grammar");
    }
    key_table_init(&subsets.keys, nfa);
    if (nfa->status == TN_OK) {
        begin_set(&subsets);
        add_node(&subsets, start);
        close_set(&subsets);
    }
    for (uint32_t state = 0; nfa->status == TN_OK && state < subsets.keys.count; state++) {
        bool accepts;
        uint32_t calls, bytes = collect_edges(&subsets, state, &calls, &accepts);
        begin_state(nfa, &dfa, accepts);
        if (nfa->status == TN_OK)
            add_byte_edges(&subsets, &dfa, bytes);
        if (nfa->status == TN_OK)
            add_calls(&subsets, &dfa, subsets.edge + bytes, calls);
    }
    key_table_finish(&subsets.keys);
    free(subsets.mark);
    free(subsets.set);
    free(subsets.edge);
    if (nfa->status != TN_OK)
        dfa_finish(&dfa);
    *ret_dfa = dfa;
}

/* ---- products ---- */

/* Pairs of a state of a and one of b; NO_STATE for b: it has come to its end. */
static void add_pair_edges(key_table *pairs, dfa *dfa, const struct dfa *a, const struct dfa *b, uint32_t left,
                           uint32_t right, bool subtract)
{
    static const dfa_state nothing = {0};
    const dfa_state *from = &a->state[left], *other = right == NO_STATE ? &nothing : &b->state[right];

    for (uint32_t i = 0; i < from->edge_count; i++) {
        const dfa_edge *edge = &a->edge[from->edge + i];
        for (uint32_t lo = edge->lo, hi; lo <= edge->hi; lo = hi + 1) {
            uint32_t pair[2] = {edge->target, NO_STATE};
            hi = edge->hi;
            for (uint32_t k = 0; k < other->edge_count; k++) {
                const dfa_edge *with = &b->edge[other->edge + k];
                if (with->hi < lo)
                    continue;
                if (with->lo > lo) {
                    hi = with->lo - 1u < hi ? with->lo - 1u : hi;
                } else {
                    hi = with->hi < hi ? with->hi : hi;
                    pair[1] = with->target;
                }
                break;
            }
            if (pair[1] == NO_STATE && !subtract)
                continue;
            uint32_t target = key_table_find(pairs, pair, 2);
            if (target == NO_STATE)
                return;
            put_edge(pairs->nfa, dfa, lo, hi, target);
        }
    }
}

static void multiply(nfa *nfa, const dfa *a, const dfa *b, bool subtract, dfa *ret_dfa)
{
    key_table pairs;
    dfa dfa = {0};
    uint32_t start[2] = {0, b->state_count > 0 ? 0 : NO_STATE};

    TN_ASSERT(a->call_count == 0 && b->call_count == 0);
    key_table_init(&pairs, nfa);
    if (nfa->status == TN_OK && a->state_count > 0 && (subtract || b->state_count > 0))
        key_table_find(&pairs, start, 2);
    for (uint32_t state = 0; nfa->status == TN_OK && state < pairs.count; state++) {
        uint32_t left = pairs.pool[pairs.key[state].at], right = pairs.pool[pairs.key[state].at + 1];
        bool other = right != NO_STATE && b->state[right].accepts;
        begin_state(nfa, &dfa, a->state[left].accepts && other != subtract);
        if (nfa->status == TN_OK)
            add_pair_edges(&pairs, &dfa, a, b, left, right, subtract);
    }
    key_table_finish(&pairs);
    if (nfa->status != TN_OK)
        dfa_finish(&dfa);
    *ret_dfa = dfa;
}

void dfa_intersect(nfa *nfa, const dfa *a, const dfa *b, dfa *ret_dfa)
{
    multiply(nfa, a, b, false, ret_dfa);
}

void dfa_subtract(nfa *nfa, const dfa *a, const dfa *b, dfa *ret_dfa)
{
    multiply(nfa, a, b, true, ret_dfa);
}
