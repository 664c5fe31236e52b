/* lexicon.c: what needs no knowledge of how texts are cut. */
#include "base/tokenizer/lexicon.h"

#include "base/tokenizer/end_tokens.h"

#include <string.h>

void lexicon_init(lexicon *lex)
{
    memset(lex, 0, sizeof *lex);
    for (uint32_t role = 0; role < LEXICON_ROLES; role++)
        lex->role[role] = -1;
}

void lexicon_finish(lexicon *lex)
{
    vocabulary_finish(&lex->vocab);
    added_tokens_finish(&lex->raw);
    added_tokens_finish(&lex->normalized);
}

void lexicon_seal(lexicon *lex)
{
    if (lex->role[TN_TOKEN_EOS] >= 0)
        lex->vocab.flags[lex->role[TN_TOKEN_EOS]] |= TOKEN_ENDS;
    end_tokens_mark(&lex->vocab, true);
    added_tokens_seal(&lex->raw);
    added_tokens_seal(&lex->normalized);
}

tn_status lexicon_add_literal(lexicon *lex, int32_t id, bool special, const char *path, tn_error *err)
{
    size_t n;
    const char *text = vocabulary_text(&lex->vocab, id, &n);
    lex->vocab.flags[id] |= TOKEN_LITERAL | (special ? TOKEN_SPECIAL : 0);
    if (n == 0)
        return TN_OK;
    if (n > ADDED_TOKEN_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: token %d has %zu bytes; the limit for a special token is %d", path, id,
                       n, ADDED_TOKEN_BYTES_MAX);
    added_token token = {.text = (char *)text, .n = (uint32_t)n, .id = id, .special = special};
    return added_tokens_add(&lex->raw, &token, err);
}

tn_status lexicon_special(const lexicon *lex, uint32_t role, int32_t *ret_id)
{
    if (role >= LEXICON_ROLES || !lexicon_has(lex, lex->role[role]))
        return TN_E_NOT_FOUND;
    *ret_id = lex->role[role];
    return TN_OK;
}

uint32_t lexicon_attributes(const lexicon *lex, int32_t id)
{
    if (!lexicon_has(lex, id))
        return 0;
    uint8_t kind = lex->vocab.flags[id];
    return ((kind & TOKEN_SPECIAL) ? TN_TOKEN_IS_SPECIAL : 0u) | ((kind & TOKEN_ENDS) ? TN_TOKEN_ENDS_GENERATION : 0u) |
           ((kind & TOKEN_UNUSED) ? TN_TOKEN_IS_UNUSED : 0u);
}

tn_status lexicon_check_piece(const lexicon *lex, int32_t id, const char *bytes, const uint64_t *n_bytes, tn_error *err)
{
    if (!lexicon_has(lex, id))
        return tn_fail(err, TN_E_ARGUMENT, "token id %d is outside the vocabulary of %u", id, lex->vocab.count);
    if (!n_bytes || (!bytes && *n_bytes > 0))
        return tn_fail(err, TN_E_ARGUMENT, "piece: n_bytes must not be NULL, nor bytes with a capacity");
    return TN_OK;
}
