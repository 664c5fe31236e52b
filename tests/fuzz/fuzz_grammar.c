/* fuzz_grammar.c: the first byte is the kind of grammar, the rest its text: compiled, then a document is drawn from its
 * masks. No mask on the way may be empty, and what a mask allows must be taken. */
#include "grammar/matcher.h"

#include <string.h>

enum { VOCAB = 256, WORDS = VOCAB / 32, STEPS = 200 };

static tn_status piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                       tn_error *err)
{
    (void)tok, (void)flags, (void)first, (void)err;
    *n_bytes = 1;
    *bytes = (char)id;
    return TN_OK;
}

static uint32_t attributes(const tn_tok *tok, int32_t id)
{
    (void)tok, (void)id;
    return 0;
}

static const token_trie *bytes_as_tokens(void)
{
    static const tn_tokenizer_table table = {.struct_size = sizeof table, .piece = piece, .attributes = attributes};
    static token_trie *trie;
    if (!trie)
        TN_ASSERT(token_trie_create(&table, NULL, VOCAB, &trie, NULL) == TN_OK);
    return trie;
}

static bool is_allowed(const uint32_t *mask, uint32_t token)
{
    return (mask[token / 32] >> (token % 32) & 1) != 0;
}

/* The first allowed byte from `wish` on. */
static uint32_t choose(const uint32_t *mask, uint32_t wish)
{
    for (uint32_t i = 0; i < VOCAB; i++)
        if (is_allowed(mask, (wish + i) % VOCAB))
            return (wish + i) % VOCAB;
    TN_ASSERT(!"a mask is empty");
    return 0;
}

static void walk(const grammar *grammar, const uint8_t *data, size_t size)
{
    static matcher matcher;
    grammar_state state;
    uint32_t mask[WORDS];

    matcher_start(&matcher, grammar, &state);
    TN_ASSERT(state.count > 0 || state.accepts);
    for (uint32_t i = 0; i < STEPS && state.count > 0; i++) {
        matcher_mask(&matcher, grammar, &state, bytes_as_tokens(), mask, WORDS);
        char byte = (char)choose(mask, data[i % size] * 7u + i);
        TN_ASSERT(matcher_advance(&matcher, grammar, &state, &byte, 1));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tn_error err = TN_ERROR_INIT;
    grammar *grammar = NULL;

    if (size < 1)
        return 0;
    tn_status status = grammar_compile(data[0] % 7u, (const char *)data + 1, size - 1, &grammar, &err);
    TN_ASSERT((status == TN_OK) == (grammar != NULL));
    TN_ASSERT((status == TN_OK) == (*err.msg == 0));
    if (grammar)
        walk(grammar, data, size);
    grammar_release(grammar);
    return 0;
}
