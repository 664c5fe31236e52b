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
    lexicon_init(&tok->lex);
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
    lexicon_finish(&tok->lex);
    pre_tokenizer_finish(&tok->pre);
    free(tok);
}

uint32_t tokenizer_vocab_size(const tn_tok *tok)
{
    return tok->lex.vocab.count;
}

tn_status tokenizer_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                          tn_error *err)
{
    (void)first; /* byte-level vocabularies spell their spaces out */
    tn_status status = lexicon_check_piece(&tok->lex, id, bytes, n_bytes, err);
    if (status != TN_OK)
        return status;
    uint8_t kind = tok->lex.vocab.flags[id];
    size_t text_n, piece_n;
    const char *text = vocabulary_text(&tok->lex.vocab, id, &text_n);
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
    return lexicon_special(&tok->lex, role, ret_id);
}

uint32_t tokenizer_attributes(const tn_tok *tok, int32_t id)
{
    return lexicon_attributes(&tok->lex, id);
}
