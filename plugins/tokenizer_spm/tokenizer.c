/* tokenizer.c: opening, and everything that looks a single token up. Encoding is in encode.c. */
#include "tokenizer.h"

#include <math.h>
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
    tn_status status = is_gguf ? tokenizer_load_gguf(tok, source, err) : tokenizer_load_directory(tok, source, err);
    if (status == TN_OK && tok->model == SPM_UNIGRAM)
        status = unigram_init(&tok->uni, &tok->lex.vocab, TOKEN_SPECIAL | TOKEN_BYTE | TOKEN_UNUSED | TOKEN_ADDED, err);
    if (status != TN_OK) {
        tokenizer_close(tok);
        return status;
    }
    added_tokens_seal(&tok->user);
    *ret_tok = tok;
    return TN_OK;
}

void tokenizer_close(tn_tok *tok)
{
    if (!tok)
        return;
    lexicon_finish(&tok->lex);
    unigram_finish(&tok->uni);
    text_normalizer_finish(&tok->normalizer);
    added_tokens_finish(&tok->user);
    free(tok->score);
    free(tok->rank);
    free(tok);
}

/* The byte that <0xHH> names, -1 if text is not of that form. */
static int named_byte(const char *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return -1;
    const char *high = memchr(digits, text[3], 16), *low = memchr(digits, text[4], 16);
    return high && low ? (int)((high - digits) * 16 + (low - digits)) : -1;
}

void tokenizer_find_bytes(tn_tok *tok, bool by_name)
{
    vocabulary *vocab = &tok->lex.vocab;
    for (int byte = 0; byte < 256; byte++)
        tok->byte_id[byte] = -1;
    for (uint32_t id = 0; id < vocab->count; id++) {
        size_t n;
        const char *text = vocabulary_text(vocab, (int32_t)id, &n);
        int byte = by_name || (vocab->flags[id] & TOKEN_BYTE) ? named_byte(text, n) : -1;
        if (byte < 0)
            continue;
        vocab->flags[id] |= TOKEN_BYTE;
        tok->byte_id[byte] = (int32_t)id;
    }
}

typedef struct scored {
    double score;
    uint32_t id;
} scored;

static int compare_scores(const void *a, const void *b)
{
    const scored *left = a, *right = b;
    return left->score > right->score ? -1 : left->score < right->score;
}

/* What no text may become by merging. */
static bool is_apart(const vocabulary *vocab, uint32_t id)
{
    return vocab->flags[id] & (TOKEN_SPECIAL | TOKEN_BYTE | TOKEN_ADDED);
}

static tn_status rank_by_score(tn_tok *tok, const double *score, tn_error *err)
{
    vocabulary *vocab = &tok->lex.vocab;
    scored *order = malloc((size_t)vocab->count * sizeof *order);
    tok->rank = malloc((size_t)vocab->count * sizeof *tok->rank);
    if (!order || !tok->rank) {
        free(order);
        return tn_fail(err, TN_E_MEMORY, "no memory for a vocabulary");
    }
    for (uint32_t id = 0; id < vocab->count; id++)
        order[id] = (scored){score[id], id};
    qsort(order, vocab->count, sizeof *order, compare_scores);
    uint32_t rank = 0;
    for (uint32_t i = 0; i < vocab->count; i++) {
        rank += i > 0 && order[i].score != order[i - 1].score;
        tok->rank[order[i].id] = is_apart(vocab, order[i].id) ? MERGE_RANK_NEVER : rank;
    }
    free(order);
    return TN_OK;
}

tn_status tokenizer_set_scores(tn_tok *tok, double *score, const char *path, tn_error *err)
{
    vocabulary *vocab = &tok->lex.vocab;
    tn_status status = TN_OK;
    for (uint32_t id = 0; status == TN_OK && id < vocab->count; id++) {
        if (!isfinite(score[id]))
            status = tn_fail(err, TN_E_CORRUPT, "%s: the score of token %u is not a finite number", path, id);
        if (!is_apart(vocab, id) && !(vocab->flags[id] & TOKEN_LITERAL))
            vocab->flags[id] |= TOKEN_MERGED;
    }
    if (status == TN_OK && tok->model == SPM_SCORES)
        status = rank_by_score(tok, score, err);
    if (status == TN_OK && tok->model == SPM_UNIGRAM) {
        tok->score = score;
        tok->uni.score = score;
        return TN_OK;
    }
    free(score);
    return status;
}

uint32_t tokenizer_vocab_size(const tn_tok *tok)
{
    return tok->lex.vocab.count;
}

/* Writes what a piece stands for, if out is not NULL; returns its bytes. */
static size_t unescape(const char *text, size_t n, char *out)
{
    size_t count = 0;
    for (size_t at = 0; at < n; count++) {
        bool space = n - at >= SPM_SPACE_BYTES && memcmp(text + at, SPM_SPACE, SPM_SPACE_BYTES) == 0;
        if (out)
            out[count] = space ? ' ' : text[at];
        at += space ? SPM_SPACE_BYTES : 1;
    }
    return count;
}

tn_status tokenizer_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                          tn_error *err)
{
    tn_status status = lexicon_check_piece(&tok->lex, id, bytes, n_bytes, err);
    if (status != TN_OK)
        return status;
    uint8_t kind = tok->lex.vocab.flags[id];
    size_t n, piece_n;
    const char *text = vocabulary_text(&tok->lex.vocab, id, &n);
    char byte = 0;
    bool verbatim = kind & (TOKEN_SPECIAL | TOKEN_BYTE);
    if (kind & TOKEN_BYTE) {
        byte = (char)named_byte(text, n);
        text = &byte;
        n = 1;
    } else if ((kind & TOKEN_SPECIAL) && (flags & TN_PIECE_SKIP_SPECIAL)) {
        n = 0;
    } else if (!verbatim && first && tok->strip_first && n >= SPM_SPACE_BYTES &&
               memcmp(text, SPM_SPACE, SPM_SPACE_BYTES) == 0) {
        text += SPM_SPACE_BYTES;
        n -= SPM_SPACE_BYTES;
    }
    piece_n = verbatim ? n : unescape(text, n, NULL);
    uint64_t capacity = *n_bytes;
    *n_bytes = piece_n;
    if (piece_n > capacity)
        return tn_fail(err, TN_E_MEMORY, "token %d has %zu bytes; there is room for %llu", id, piece_n,
                       (unsigned long long)capacity);
    if (verbatim && n > 0)
        memcpy(bytes, text, n);
    else if (n > 0)
        unescape(text, n, bytes);
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
