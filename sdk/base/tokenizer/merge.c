/* merge.c: a binary heap of candidate pairs over a linked list of symbols (Sennrich et al. 2016, with the heap that
 * SentencePiece uses). A candidate is stale when a neighbour has grown since; spans tell, because symbols never shrink.
 */
#include "base/tokenizer/merge.h"

typedef struct symbol {
    int32_t id;         /* -1: swallowed by its left neighbour */
    int32_t prev, next; /* -1: none */
    uint32_t span;      /* initial symbols it covers */
} symbol;

typedef struct candidate {
    uint32_t rank, at; /* at: the left symbol */
    int32_t merged;
    uint32_t span; /* of both when it was found */
} candidate;

/* Where a pair's merge is looked up. */
typedef struct pair_rules {
    const vocabulary *vocab;
    const merge_text *word; /* NULL: in the vocabulary's merges, by the ids */
} pair_rules;

static bool candidate_before(const candidate *a, const candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->at < b->at;
}

static void heap_push(merge_scratch *scratch, candidate item)
{
    uint64_t at = scratch->heap_count++;
    candidate *heap = scratch->heap;
    while (at > 0 && candidate_before(&item, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

static candidate heap_pop(merge_scratch *scratch)
{
    candidate *heap = scratch->heap, top = heap[0], last = heap[--scratch->heap_count];
    uint64_t at = 0, count = scratch->heap_count;
    for (uint64_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && candidate_before(&heap[child + 1], &heap[child]))
            child++;
        if (!candidate_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* A merge takes one candidate away and adds at most two, and there are fewer than n merges: 2 * n suffice. */
static tn_status scratch_reserve(merge_scratch *scratch, uint64_t n, tn_error *err)
{
    if (scratch->symbol_capacity >= n)
        return TN_OK;
    uint64_t capacity = n + n / 2 + 64;
    symbol *symbols = realloc(scratch->symbol, capacity * sizeof *symbols);
    if (symbols)
        scratch->symbol = symbols;
    candidate *heap = realloc(scratch->heap, 2 * capacity * sizeof *heap);
    if (heap)
        scratch->heap = heap;
    if (!symbols || !heap)
        return tn_fail(err, TN_E_MEMORY, "no memory to tokenize a word of %llu bytes", (unsigned long long)n);
    scratch->symbol_capacity = capacity;
    scratch->heap_capacity = 2 * capacity;
    return TN_OK;
}

void merge_scratch_finish(merge_scratch *scratch)
{
    free(scratch->symbol);
    free(scratch->heap);
    *scratch = (merge_scratch){0};
}

static bool find_merge(const pair_rules *rules, const symbol *symbols, int32_t left, int32_t right, candidate *ret_c)
{
    uint32_t span = symbols[left].span + symbols[right].span;
    *ret_c = (candidate){.at = (uint32_t)left, .span = span};
    if (!rules->word) {
        const merge_slot *merge = vocabulary_find_merge(rules->vocab, symbols[left].id, symbols[right].id);
        if (merge) {
            ret_c->rank = merge->rank;
            ret_c->merged = merge->merged;
        }
        return merge != NULL;
    }
    const uint32_t *start = rules->word->start + left;
    ret_c->merged = vocabulary_find(rules->vocab, rules->word->text + start[0], start[span] - start[0]);
    if (ret_c->merged >= 0)
        ret_c->rank = rules->word->rank[ret_c->merged];
    return ret_c->merged >= 0 && ret_c->rank != MERGE_RANK_NEVER;
}

static void push_pair(const pair_rules *rules, merge_scratch *scratch, int32_t left)
{
    int32_t right = left < 0 ? -1 : scratch->symbol[left].next;
    candidate found;
    if (right < 0 || !find_merge(rules, scratch->symbol, left, right, &found))
        return;
    TN_ASSERT(scratch->heap_count < scratch->heap_capacity);
    heap_push(scratch, found);
}

/* Joins the symbol at c->at with its right neighbour, unless c is stale. */
static void apply(const pair_rules *rules, merge_scratch *scratch, const candidate *c)
{
    symbol *left = &scratch->symbol[c->at];
    if (left->id == -1 || left->next < 0)
        return;
    symbol *right = &scratch->symbol[left->next];
    if (left->span + right->span != c->span)
        return;
    left->id = c->merged;
    left->span = c->span;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0)
        scratch->symbol[left->next].prev = (int32_t)c->at;
    push_pair(rules, scratch, left->prev);
    push_pair(rules, scratch, (int32_t)c->at);
}

static tn_status merge(const pair_rules *rules, merge_scratch *scratch, int32_t *id, uint64_t n, uint64_t *ret_n,
                       tn_error *err)
{
    TN_ASSERT(n < INT32_MAX);
    tn_status status = scratch_reserve(scratch, n, err);
    if (status != TN_OK)
        return status;
    for (uint64_t i = 0; i < n; i++)
        scratch->symbol[i] = (symbol){id[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1, 1};
    scratch->heap_count = 0;
    for (uint64_t i = 0; i + 1 < n; i++)
        push_pair(rules, scratch, (int32_t)i);
    while (scratch->heap_count > 0) {
        candidate best = heap_pop(scratch);
        apply(rules, scratch, &best);
    }
    uint64_t count = 0;
    for (int32_t at = n > 0 ? 0 : -1; at >= 0; at = scratch->symbol[at].next)
        id[count++] = scratch->symbol[at].id;
    *ret_n = count;
    return TN_OK;
}

tn_status merge_word(const vocabulary *vocab, merge_scratch *scratch, int32_t *id, uint64_t n, uint64_t *ret_n,
                     tn_error *err)
{
    return merge(&(pair_rules){vocab, NULL}, scratch, id, n, ret_n, err);
}

tn_status merge_word_text(const vocabulary *vocab, const merge_text *word, merge_scratch *scratch, int32_t *id,
                          uint64_t n, uint64_t *ret_n, tn_error *err)
{
    return merge(&(pair_rules){vocab, word}, scratch, id, n, ret_n, err);
}
