/* token_trie.c: all tokens sorted by their bytes, then one pass: a token shares the path of the one before it as far as
 * their bytes agree.
 */
#include "grammar/token_trie.h"

#include "base/utf8.h"

#include <string.h>

typedef struct spelling {
    uint32_t id, n;
    const uint8_t *bytes;
} spelling;

typedef struct builder {
    uint32_t count;
    spelling *spelling; /* [vocab] */
    uint8_t *bytes;     /* [vocab * TOKEN_BYTES_MAX] */
} builder;

static int compare_spellings(const void *a, const void *b)
{
    const spelling *left = a, *right = b;
    int order = memcmp(left->bytes, right->bytes, left->n < right->n ? left->n : right->n);

    if (order != 0)
        return order;
    if (left->n != right->n)
        return left->n < right->n ? -1 : 1;
    return (left->id > right->id) - (left->id < right->id);
}

/* Whether every byte that may go on a character of UTF-8 is a token by itself. */
static bool spells_all(const builder *b)
{
    bool known[256] = {false};

    for (uint32_t i = 0; i < b->count; i++)
        if (b->spelling[i].n == 1)
            known[b->spelling[i].bytes[0]] = true;
    for (uint32_t byte = 0x80; byte < 0xc0; byte++)
        if (!known[byte])
            return false;
    return true;
}

static void read_tokens(builder *b, const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab)
{
    uint8_t *at = b->bytes;

    for (uint32_t id = 0; id < vocab; id++) {
        uint64_t n = TOKEN_BYTES_MAX;
        uint32_t attributes = table->attributes(tok, (int32_t)id);
        if (attributes & (TN_TOKEN_IS_SPECIAL | TN_TOKEN_ENDS_GENERATION | TN_TOKEN_IS_UNUSED))
            continue;
        if (table->piece(tok, (int32_t)id, 0, 0, (char *)at, &n, NULL) != TN_OK || n == 0)
            continue;
        b->spelling[b->count++] = (spelling){id, (uint32_t)n, at};
        at += n;
    }
    qsort(b->spelling, b->count, sizeof *b->spelling, compare_spellings);
    if (spells_all(b))
        return;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < b->count; i++)
        if (utf8_is_valid((const char *)b->spelling[i].bytes, b->spelling[i].n))
            b->spelling[kept++] = b->spelling[i];
    b->count = kept;
}

static uint32_t shared_bytes(const spelling *a, const spelling *b)
{
    uint32_t n = 0;
    while (n < a->n && n < b->n && a->bytes[n] == b->bytes[n])
        n++;
    return n;
}

static uint32_t count_nodes(const builder *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < b->count; i++)
        count += b->spelling[i].n - (i > 0 ? shared_bytes(&b->spelling[i - 1], &b->spelling[i]) : 0);
    return count;
}

static void fill(const builder *b, token_trie *trie)
{
    uint32_t open[TOKEN_BYTES_MAX + 1], depth = 0; /* the path to the last token: open[d] has depth d + 1 */

    for (uint32_t i = 0; i < b->count; i++) {
        const spelling *spelling = &b->spelling[i];
        uint32_t shared = i > 0 ? shared_bytes(spelling - 1, spelling) : 0;
        for (; depth > shared; depth--)
            trie->node[open[depth - 1]].skip = trie->node_count;
        for (; depth < spelling->n; depth++) {
            open[depth] = trie->node_count;
            trie->node[trie->node_count++] =
                (token_node){.token = i, .byte = spelling->bytes[depth], .depth = (uint8_t)(depth + 1)};
        }
        trie->node[open[depth - 1]].token_count++;
        trie->token[trie->token_count++] = spelling->id;
    }
    for (; depth > 0; depth--)
        trie->node[open[depth - 1]].skip = trie->node_count;
}

/* Heights, and what is plain. */
static void mark_plain(token_trie *trie)
{
    bool above[TOKEN_BYTES_MAX + 1] = {true}; /* of the path to the node: [depth] */

    for (uint32_t i = 0; i < trie->node_count; i++) {
        token_node *node = &trie->node[i];
        node->rooted = above[node->depth] = above[node->depth - 1] && token_byte_is_plain(node->byte);
    }
    for (uint32_t i = trie->node_count; i-- > 0;) {
        token_node *node = &trie->node[i];
        node->plain = token_byte_is_plain(node->byte);
        node->height = 1;
        for (uint32_t below = i + 1; below < node->skip; below = trie->node[below].skip) {
            node->plain &= trie->node[below].plain;
            if (trie->node[below].height >= node->height)
                node->height = (uint8_t)(trie->node[below].height + 1);
        }
        if (node->plain && node->rooted && node->depth - 1u + node->height > trie->plain_bytes)
            trie->plain_bytes = node->depth - 1u + node->height;
        for (uint32_t k = 0; node->plain && node->rooted && k < node->token_count; k++) {
            uint32_t token = trie->token[node->token + k];
            trie->plain[token / 32] |= 1u << (token % 32);
        }
    }
}

tn_status token_trie_create(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab, token_trie **ret_trie,
                            tn_error *err)
{
    builder b = {.spelling = calloc((size_t)vocab + 1, sizeof *b.spelling),
                 .bytes = malloc(((size_t)vocab + 1) * TOKEN_BYTES_MAX)};
    token_trie *trie = calloc(1, sizeof *trie);
    bool ready = b.spelling && b.bytes && trie;

    if (ready) {
        read_tokens(&b, table, tok, vocab);
        trie->node = calloc((size_t)count_nodes(&b) + 1, sizeof *trie->node);
        trie->token = calloc((size_t)b.count + 1, sizeof *trie->token);
        trie->plain_words = vocab / 32 + 1;
        trie->plain = calloc(trie->plain_words, sizeof *trie->plain);
        ready = trie->node && trie->token && trie->plain;
    }
    if (ready) {
        fill(&b, trie);
        mark_plain(trie);
    }
    free(b.spelling);
    free(b.bytes);
    if (!ready) {
        token_trie_destroy(trie);
        return tn_fail(err, TN_E_MEMORY, "out of memory for the bytes of %u tokens", vocab);
    }
    *ret_trie = trie;
    return TN_OK;
}

void token_trie_destroy(token_trie *trie)
{
    if (!trie)
        return;
    free(trie->node);
    free(trie->token);
    free(trie->plain);
    free(trie);
}
