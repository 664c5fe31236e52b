/* runtime/grammar/token_trie.h: the bytes of a vocabulary's tokens as a tree, in one array in depth-first order.
 *
 * Special tokens, tokens without text and those longer than TOKEN_BYTES_MAX are not in it: a grammar never allows them.
 * Where the vocabulary cannot spell every byte of UTF-8, tokens that end within a character are left out as well, since
 * what they begin could not always be finished.
 */
#ifndef GRAMMAR_TOKEN_TRIE_H
#define GRAMMAR_TOKEN_TRIE_H

#include "tenon/tokenizer.h"

#include <stdbool.h>

enum { TOKEN_BYTES_MAX = 128 };

typedef struct token_node {
    uint32_t skip;               /* the next node that is not below this one */
    uint32_t token, token_count; /* of trie->token: the first whose bytes begin so; how many end here */
    uint8_t byte, depth, height; /* bytes up to here, and from here on to the longest token, both with this one */
    bool plain;                  /* this byte and all below stand for themselves in JSON strings, and are ASCII */
    bool rooted;                 /* so do this byte and all above */
} token_node;

typedef struct token_trie {
    uint32_t node_count, token_count;
    token_node *node;
    uint32_t *token;                   /* ids by their bytes */
    uint32_t *plain;                   /* [plain_words] bits of the tokens at nodes that are plain and rooted */
    uint32_t plain_words, plain_bytes; /* plain_bytes: of the longest of those */
} token_trie;

/* True for the bytes that `plain` means. */
static inline bool token_byte_is_plain(uint8_t byte)
{
    return byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\';
}

/* vocab: ids from here on are left out. Some milliseconds for a large vocabulary. */
tn_status token_trie_create(const tn_tokenizer_table *table, const tn_tok *tok, uint32_t vocab, token_trie **ret_trie,
                            tn_error *err);
void token_trie_destroy(token_trie *trie); /* NULL is fine. */

#endif
