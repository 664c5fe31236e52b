/* tokenizer.c: opening, and everything that looks a single token up. Encoding is in encode.c. */
#include "tokenizer.h"

#include "byte_level.h"

#include <string.h>

const tn_tokenizer_table tokenizer_table = {
    .struct_size = (uint32_t)sizeof(tn_tokenizer_table),
    .open = tokenizer_open,
    .close = tokenizer_close,
    .vocab_size = tokenizer_vocab_size,
    .encode = tokenizer_encode,
    .piece = tokenizer_piece,
    .special = tokenizer_special,
    .attributes = tokenizer_attributes,
};

static const tn_host *log_host; /* set once, by the plugin's init */

void tokenizer_set_host(const tn_host *host)
{
    log_host = host;
}

void tokenizer_warn(const char *format, ...)
{
    char line[512];
    va_list args;
    if (!log_host)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log_host->log(log_host, TN_LOG_WARNING, "tokenizer_bpe", line);
}

tn_status tokenizer_open(const tn_source *source, tn_tok **ret_tok, tn_error *err)
{
    if (!source || !ret_tok)
        return tn_fail(err, TN_E_ARGUMENT, "tokenizer open: source and ret_tok must not be NULL");
    tn_tok *tok = calloc(1, sizeof *tok);
    if (!tok)
        return tn_fail(err, TN_E_MEMORY, "no memory for a tokenizer");
    for (uint32_t role = 0; role < TOKENIZER_ROLES; role++)
        tok->role[role] = -1;
    tok->unknown_id = -1;
    bool is_gguf = strcmp(source->container, "gguf") == 0;
    tn_status status = is_gguf ? tokenizer_load_gguf(tok, source, err) : tokenizer_load_json(tok, source, err);
    if (status != TN_OK) {
        tokenizer_close(tok);
        return status;
    }
    *ret_tok = tok;
    return TN_OK;
}

void tokenizer_close(tn_tok *tok)
{
    if (!tok)
        return;
    vocabulary_finish(&tok->vocab);
    pre_tokenizer_finish(&tok->pre);
    added_tokens_finish(&tok->raw);
    added_tokens_finish(&tok->normalized);
    free(tok);
}

uint32_t tokenizer_vocab_size(const tn_tok *tok)
{
    return tok->vocab.count;
}

static bool in_vocabulary(const tn_tok *tok, int32_t id)
{
    return id >= 0 && (uint32_t)id < tok->vocab.count;
}

tn_status tokenizer_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                          tn_error *err)
{
    (void)first; /* byte-level vocabularies spell their spaces out */
    if (!in_vocabulary(tok, id))
        return tn_fail(err, TN_E_ARGUMENT, "token id %d is outside the vocabulary of %u", id, tok->vocab.count);
    if (!n_bytes || (!bytes && *n_bytes > 0))
        return tn_fail(err, TN_E_ARGUMENT, "piece: n_bytes must not be NULL, nor bytes with a capacity");
    uint8_t kind = tok->vocab.flags[id];
    size_t text_n, piece_n;
    const char *text = vocabulary_text(&tok->vocab, id, &text_n);
    /* What is outside the byte alphabet stands for itself. */
    bool literal = (kind & TOKEN_LITERAL) || !byte_level_decode(text, text_n, NULL, &piece_n);
    if (literal)
        piece_n = text_n;
    if ((flags & TN_PIECE_SKIP_SPECIAL) && (kind & TOKEN_SPECIAL))
        piece_n = 0;
    uint64_t capacity = *n_bytes;
    *n_bytes = piece_n;
    if (piece_n > capacity)
        return tn_fail(err, TN_E_MEMORY, "token %d has %zu bytes; there is room for %llu", id, piece_n,
                       (unsigned long long)capacity);
    if (piece_n > 0 && literal)
        memcpy(bytes, text, piece_n);
    else if (piece_n > 0)
        byte_level_decode(text, text_n, bytes, &piece_n);
    return TN_OK;
}

tn_status tokenizer_special(const tn_tok *tok, uint32_t role, int32_t *ret_id)
{
    if (role >= TOKENIZER_ROLES || !in_vocabulary(tok, tok->role[role]))
        return TN_E_NOT_FOUND;
    *ret_id = tok->role[role];
    return TN_OK;
}

uint32_t tokenizer_attributes(const tn_tok *tok, int32_t id)
{
    if (!in_vocabulary(tok, id))
        return 0;
    uint8_t kind = tok->vocab.flags[id];
    return ((kind & TOKEN_SPECIAL) ? TN_TOKEN_IS_SPECIAL : 0u) | ((kind & TOKEN_ENDS) ? TN_TOKEN_ENDS_GENERATION : 0u) |
           ((kind & TOKEN_UNUSED) ? TN_TOKEN_IS_UNUSED : 0u);
}
