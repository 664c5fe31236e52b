/* encode.c: text to ids. Bytes -> valid UTF-8 -> added tokens | text -> normalised -> added tokens | text -> words ->
 * pieces. All scratch belongs to the call.
 */
#include "base/tokenizer/id_list.h"
#include "base/utf8.h"
#include "tokenizer.h"

#include <string.h>

typedef struct encoder {
    const tn_tok *tok;
    bool parse_special;
    id_list out;
    text_scratch text;
    word_scratch words;
    merge_scratch merge;
    unigram_scratch uni;
    int32_t *symbol; /* [symbol_capacity] a word's characters as ids */
    uint32_t *start; /* [symbol_capacity + 1] where they begin */
    uint64_t symbol_capacity;
    uint64_t unknown_at; /* ids written when the last unknown ended */
} encoder;

/* The tokens of a character's bytes; false if there is no byte fallback, or a byte has none. */
static bool bytes_of(const tn_tok *tok, const char *text, size_t n, int32_t id[4])
{
    TN_ASSERT(n <= 4);
    for (size_t i = 0; i < n; i++) {
        id[i] = tok->byte_id[(unsigned char)text[i]];
        if (id[i] < 0)
            return false;
    }
    return tok->byte_fallback;
}

static tn_status append_unknown(encoder *enc, const char *text, size_t n, tn_error *err)
{
    const tn_tok *tok = enc->tok;
    int32_t id[4];
    if (bytes_of(tok, text, n, id))
        return id_list_append(&enc->out, id, n, err);
    if (tok->unknown_id < 0 || (tok->fuse_unknown && enc->unknown_at == enc->out.count))
        return TN_OK;
    tn_status status = id_list_append(&enc->out, &tok->unknown_id, 1, err);
    enc->unknown_at = enc->out.count;
    return status;
}

static tn_status reserve_symbols(encoder *enc, size_t n, tn_error *err)
{
    if (enc->symbol_capacity >= n)
        return TN_OK;
    uint64_t capacity = n + n / 2 + 64;
    int32_t *symbol = realloc(enc->symbol, capacity * sizeof *symbol);
    if (symbol)
        enc->symbol = symbol;
    uint32_t *start = realloc(enc->start, (capacity + 1) * sizeof *start);
    if (start)
        enc->start = start;
    if (!symbol || !start)
        return tn_fail(err, TN_E_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    enc->symbol_capacity = capacity;
    return TN_OK;
}

/* ---- SentencePiece's BPE ---- */

/* Joins the symbols collected and writes what they become. */
static tn_status join_symbols(encoder *enc, const char *text, uint64_t count, tn_error *err)
{
    const merge_text word = {text, enc->start, enc->tok->rank};
    tn_status status = TN_OK;
    if (count > 1)
        status = merge_word_text(&enc->tok->lex.vocab, &word, &enc->merge, enc->symbol, count, &count, err);
    for (uint64_t i = 0; status == TN_OK && i < count; i++) {
        int32_t id = enc->symbol[i];
        const uint32_t *start = id < 0 ? enc->start + (-2 - id) : NULL;
        status = id >= 0 ? id_list_append(&enc->out, &id, 1, err)
                         : append_unknown(enc, text + start[0], start[1] - start[0], err);
    }
    return status;
}

static tn_status encode_by_scores(encoder *enc, const char *text, size_t n, tn_error *err)
{
    const tn_tok *tok = enc->tok;
    uint64_t count = 0;
    tn_status status = reserve_symbols(enc, n, err);
    for (size_t at = 0; status == TN_OK && at < n;) {
        const added_token *user = tok->user.count ? added_tokens_longest(&tok->user, text + at, n - at) : NULL;
        if (user) {
            enc->start[count] = (uint32_t)at;
            status = join_symbols(enc, text, count, err);
            if (status == TN_OK)
                status = id_list_append(&enc->out, &user->id, 1, err);
            at += user->n;
            count = 0;
            continue;
        }
        uint32_t codepoint;
        bool valid;
        size_t width = utf8_decode(text + at, n - at, &codepoint, &valid);
        int32_t id = vocabulary_find(&tok->lex.vocab, text + at, width);
        bool usable = id >= 0 && tok->rank[id] != MERGE_RANK_NEVER;
        enc->symbol[count] = usable ? id : -2 - (int32_t)count;
        enc->start[count++] = (uint32_t)at;
        at += width;
    }
    if (status != TN_OK)
        return status;
    enc->start[count] = (uint32_t)n;
    return join_symbols(enc, text, count, err);
}

/* ---- tokenizer.json's BPE ---- */

/* Unknown characters in a row are one symbol, or one each. */
typedef struct unknown_run {
    uint64_t count;
} unknown_run;

static uint64_t end_run(const encoder *enc, uint64_t count, unknown_run *run)
{
    uint64_t symbols = run->count > 0 && enc->tok->fuse_unknown ? 1 : run->count;
    for (uint64_t i = 0; i < symbols; i++)
        enc->symbol[count++] = enc->tok->unknown_id;
    run->count = 0;
    return count;
}

/* Whether text may become a token by being it. */
static bool is_piece(const vocabulary *vocab, int32_t id)
{
    return id >= 0 && !(vocab->flags[id] & (TOKEN_SPECIAL | TOKEN_ADDED));
}

static tn_status encode_by_merges(encoder *enc, const char *text, size_t n, tn_error *err)
{
    const tn_tok *tok = enc->tok;
    const vocabulary *vocab = &tok->lex.vocab;
    int32_t whole = tok->ignore_merges ? vocabulary_find(vocab, text, n) : -1;
    if (is_piece(vocab, whole))
        return id_list_append(&enc->out, &whole, 1, err);
    uint64_t count = 0;
    unknown_run run = {0};
    tn_status status = reserve_symbols(enc, n, err);
    for (size_t at = 0, width; status == TN_OK && at < n; at += width) {
        uint32_t codepoint;
        bool valid;
        int32_t bytes[4];
        width = utf8_decode(text + at, n - at, &codepoint, &valid);
        int32_t id = vocabulary_find(vocab, text + at, width);
        if (is_piece(vocab, id)) {
            count = end_run(enc, count, &run);
            enc->symbol[count++] = id;
        } else if (bytes_of(tok, text + at, width, bytes)) {
            for (size_t i = 0; i < width; i++)
                enc->symbol[count++] = bytes[i];
        } else if (tok->unknown_id >= 0) {
            run.count++;
        }
    }
    if (status != TN_OK)
        return status;
    count = end_run(enc, count, &run);
    if (count > 1)
        status = merge_word(vocab, &enc->merge, enc->symbol, count, &count, err);
    return status == TN_OK ? id_list_append(&enc->out, enc->symbol, count, err) : status;
}

/* ---- unigram ---- */

static tn_status encode_by_probability(encoder *enc, const char *text, size_t n, tn_error *err)
{
    const unigram_piece *piece;
    uint64_t count = 0;
    tn_status status = unigram_cut(&enc->tok->uni, &enc->tok->lex.vocab, &enc->uni, text, n, &piece, &count, err);
    for (uint64_t i = 0; status == TN_OK && i < count; i++)
        status = piece[i].id >= 0 ? id_list_append(&enc->out, &piece[i].id, 1, err)
                                  : append_unknown(enc, text + piece[i].start, piece[i].n, err);
    return status;
}

/* ---- the path of a text ---- */

static tn_status encode_word(void *ctx, const char *word, size_t n, tn_error *err)
{
    encoder *enc = ctx;
    enc->unknown_at = UINT64_MAX; /* a word's unknowns do not join the last one's */
    if (n >= INT32_MAX)
        return tn_fail(err, TN_E_ARGUMENT, "a word of %zu bytes is too long to tokenize", n);
    switch (enc->tok->model) {
    case SPM_SCORES:
        return encode_by_scores(enc, word, n, err);
    case SPM_MERGES:
        return encode_by_merges(enc, word, n, err);
    default:
        return encode_by_probability(enc, word, n, err);
    }
}

static tn_status encode_normalized(encoder *enc, const char *text, size_t n, bool first, tn_error *err)
{
    added_scan scan;
    const added_token *token;
    const char *begin = text;
    tn_status status = TN_OK;
    added_scan_start(&scan, &enc->tok->lex.normalized, text, n, enc->parse_special);
    while (status == TN_OK && added_scan_next(&scan, &token, &text, &n)) {
        if (token)
            status = id_list_append(&enc->out, &token->id, 1, err);
        else
            status = word_splitter_run(&enc->tok->words, &enc->words, text, n, first && text == begin, encode_word, enc,
                                       err);
    }
    return status;
}

static tn_status encode_text(encoder *enc, const char *text, size_t n, tn_error *err)
{
    const tn_tok *tok = enc->tok;
    added_scan scan;
    const added_token *token;
    const char *begin = text;
    tn_status status = TN_OK;
    added_scan_start(&scan, &tok->lex.raw, text, n, enc->parse_special);
    while (status == TN_OK && added_scan_next(&scan, &token, &text, &n)) {
        if (token) {
            status = id_list_append(&enc->out, &token->id, 1, err);
            continue;
        }
        bool first = text == begin;
        status =
            text_normalizer_apply(&tok->normalizer, &enc->text, text, n, first || !tok->prefix_first, &text, &n, err);
        if (status == TN_OK && n > 0)
            status = encode_normalized(enc, text, n, first, err);
    }
    return status;
}

static void encoder_finish(encoder *enc)
{
    id_list_finish(&enc->out);
    text_scratch_finish(&enc->text);
    word_scratch_finish(&enc->words);
    merge_scratch_finish(&enc->merge);
    unigram_scratch_finish(&enc->uni);
    free(enc->symbol);
    free(enc->start);
}

static tn_status encode_all(encoder *enc, const char *text, size_t n, bool add_special, tn_error *err)
{
    const lexicon *lex = &enc->tok->lex;
    char *copy;
    tn_status status = encode_repair(&text, &n, &copy, err);
    if (status == TN_OK)
        status = id_list_reserve(&enc->out, n / 3 + LEXICON_FRAME_MAX, err);
    if (status == TN_OK && add_special)
        status = id_list_append(&enc->out, lex->prefix, lex->prefix_count, err);
    if (status == TN_OK && n > 0)
        status = encode_text(enc, text, n, err);
    if (status == TN_OK && add_special)
        status = id_list_append(&enc->out, lex->suffix, lex->suffix_count, err);
    free(copy);
    return status;
}

tn_status tokenizer_encode(const tn_tok *tok, const char *utf8, uint64_t n_bytes, uint32_t flags, int32_t *ids,
                           uint64_t *n_ids, tn_error *err)
{
    tn_status status = encode_check(utf8, n_bytes, ids, n_ids, err);
    if (status != TN_OK)
        return status;
    encoder enc = {.tok = tok, .parse_special = (flags & TN_ENCODE_PARSE_SPECIAL) != 0};
    status = encode_all(&enc, utf8 ? utf8 : "", (size_t)n_bytes, (flags & TN_ENCODE_ADD_SPECIAL) != 0, err);
    if (status == TN_OK)
        status = id_list_deliver(&enc.out, ids, n_ids, err);
    encoder_finish(&enc);
    return status;
}
