/* matcher.c: one walk over the tree of all tokens, which cuts a branch at the first byte that cannot come. */
#include "grammar/matcher.h"

#include <string.h>

/* ---- sets of threads ---- */

static bool same_list(const matcher *m, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (m->cell[a].depth != m->cell[b].depth || m->cell[a].back != m->cell[b].back)
            return false;
        a = m->cell[a].parent;
        b = m->cell[b].parent;
    }
    return true;
}

/* A thread beyond the last is left out: its way to read the text is given up, and what the others allow is a document
 * still. The first way through always stays, so there is one to the end. */
static void add_thread(const matcher *m, matcher_set *set, uint32_t node, uint32_t cell)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->thread[i].node == node && same_list(m, set->thread[i].cell, cell))
            return;
    if (set->count < GRAMMAR_THREADS_MAX)
        set->thread[set->count++] = (matcher_thread){node, cell};
}

static uint32_t push(matcher *m, matcher_set *set, uint32_t back, uint32_t parent)
{
    if (set->cell_end == MATCHER_CELLS) {
        set->overflowed = true;
        return parent;
    }
    m->cell[set->cell_end] = (matcher_cell){back, parent, m->cell[parent].depth + 1};
    return set->cell_end++;
}

/* Adds a node to a set, and whatever it leads to without a byte: rules it calls, and where its own rule was called. A
 * rule never calls another before its first byte but at its very beginning, so this is as deep as values are. */
static void enter(matcher *m, matcher_set *set, uint32_t index, uint32_t cell)
{
    const grammar *g = m->grammar;

    for (;;) {
        const grammar_node *node = &g->node[index];
        uint32_t depth = m->cell[cell].depth;
        if (node->edge_count > 0)
            add_thread(m, set, index, cell);
        for (uint32_t i = 0; i < node->call_count && !set->overflowed; i++) {
            const grammar_call *call = &g->call[node->call + i];
            bool tail = call->back == GRAMMAR_TAIL;
            if (depth + !tail + g->node[call->start].need > GRAMMAR_DEPTH_MAX ||
                (!tail && depth + g->node[call->back].need > GRAMMAR_DEPTH_MAX))
                continue;
            enter(m, set, call->start, tail ? cell : push(m, set, call->back, cell));
        }
        if (!node->accepts || set->overflowed)
            return;
        if (cell == 0) {
            set->accepts = true;
            return;
        }
        index = m->cell[cell].back;
        cell = m->cell[cell].parent;
    }
}

/* *to: what *from becomes by a byte; false: nothing. */
static bool step(matcher *m, const matcher_set *from, uint8_t byte, matcher_set *to)
{
    const grammar *g = m->grammar;

    to->count = 0;
    to->accepts = to->overflowed = false;
    to->cell_end = from->cell_end;
    for (uint32_t i = 0; i < from->count; i++) {
        const grammar_node *node = &g->node[from->thread[i].node];
        const grammar_edge *edge = g->edge + node->edge, *end = edge + node->edge_count;
        while (edge < end && edge->hi < byte)
            edge++;
        if (edge == end || edge->lo > byte)
            continue;
        uint32_t cell = from->thread[i].cell;
        if (m->cell[cell].depth + g->node[edge->target].need <= GRAMMAR_DEPTH_MAX)
            enter(m, to, edge->target, cell);
    }
    return !to->overflowed && (to->count > 0 || to->accepts);
}

/* ---- states ---- */

static void unpack(matcher *m, const grammar *grammar, const grammar_state *state)
{
    matcher_set *set = &m->level[0];

    m->grammar = grammar;
    m->cell[0] = (matcher_cell){0};
    *set = (matcher_set){.cell_end = 1, .count = state->count, .accepts = state->accepts};
    for (uint32_t i = 0; i < state->count; i++) {
        const grammar_thread *thread = &state->thread[i];
        uint32_t cell = 0;
        for (uint32_t k = 0; k < thread->depth; k++)
            cell = push(m, set, thread->back[k], cell);
        set->thread[i] = (matcher_thread){thread->node, cell};
    }
}

static void pack(const matcher *m, const matcher_set *set, grammar_state *state)
{
    memset(state, 0, sizeof *state); /* unused places are hashed, too */
    state->count = set->count;
    state->accepts = set->accepts;
    for (uint32_t i = 0; i < set->count; i++) {
        grammar_thread *thread = &state->thread[i];
        uint32_t cell = set->thread[i].cell;
        thread->node = set->thread[i].node;
        thread->depth = m->cell[cell].depth;
        for (; cell != 0; cell = m->cell[cell].parent)
            thread->back[m->cell[cell].depth - 1] = m->cell[cell].back;
    }
}

void matcher_start(matcher *m, const grammar *grammar, grammar_state *ret_state)
{
    matcher_set *set = &m->level[0];

    m->grammar = grammar;
    m->cell[0] = (matcher_cell){0};
    *set = (matcher_set){.cell_end = 1};
    enter(m, set, grammar->start, 0);
    pack(m, set, ret_state);
}

bool matcher_advance(matcher *m, const grammar *grammar, grammar_state *state, const char *bytes, size_t n)
{
    matcher_set *from = &m->level[0], *to = &m->level[1];

    unpack(m, grammar, state);
    for (size_t i = 0; i < n; i++) {
        if (!step(m, from, (uint8_t)bytes[i], to))
            return false;
        matcher_set *swap = from;
        from = to;
        to = swap;
    }
    pack(m, from, state);
    return true;
}

/* ---- masks ---- */

static void allow(const token_trie *trie, uint32_t first, uint32_t count, uint32_t *mask)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t token = trie->token[first + i];
        mask[token / 32] |= 1u << (token % 32);
    }
}

/* How many plain bytes may follow, whichever they are. */
static uint32_t run_of(const matcher *m, const matcher_set *set)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        uint32_t run = m->grammar->node[set->thread[i].node].run;
        most = run > most ? run : most;
    }
    return most;
}

void matcher_mask(matcher *m, const grammar *grammar, const grammar_state *state, const token_trie *trie,
                  uint32_t *mask, uint32_t words)
{
    memset(mask, 0, words * sizeof *mask);
    unpack(m, grammar, state);
    bool running = run_of(m, &m->level[0]) >= trie->plain_bytes;
    if (running)
        memcpy(mask, trie->plain, (words < trie->plain_words ? words : trie->plain_words) * sizeof *mask);
    for (uint32_t i = 0; i < trie->node_count;) {
        const token_node *node = &trie->node[i];
        const matcher_set *from = &m->level[node->depth - 1];
        if (running && node->plain && node->rooted) {
            i = node->skip;
        } else if (node->plain && run_of(m, from) >= node->height) {
            uint32_t end = node->skip < trie->node_count ? trie->node[node->skip].token : trie->token_count;
            allow(trie, node->token, end - node->token, mask);
            i = node->skip;
        } else if (step(m, from, node->byte, &m->level[node->depth])) {
            allow(trie, node->token, node->token_count, mask);
            i++;
        } else {
            i = node->skip;
        }
    }
}
