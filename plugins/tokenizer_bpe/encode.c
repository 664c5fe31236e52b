/* encode.c: text to ids. Bytes -> valid UTF-8 -> added tokens | text -> normalised -> added tokens | text -> words ->
 * ids.
 *
 * All scratch belongs to the call. Words repeat (two thirds of running text is the same thousand words), so short ones
 * are remembered: where in the output their ids were written the first time.
 */
#include "base/tokenizer/id_list.h"
#include "base/tokenizer/merge.h"
#include "byte_level.h"
#include "tokenizer.h"

#include <string.h>

enum {
    CACHE_ENTRIES = 2048, /* a power of two */
    CACHE_WORD_BYTES_MAX = 20,
    CACHE_TEXT_BYTES_MIN = 512 /* shorter texts do not repay the cache */
};

typedef struct cached_word {
    char word[CACHE_WORD_BYTES_MAX];
    uint32_t n;     /* bytes of word; 0: empty entry */
    uint32_t count; /* ids */
    uint32_t at;    /* of the first in encoder.out */
} cached_word;

typedef struct encoder {
    const tn_tok *tok;
    bool parse_special;
    id_list out;
    merge_scratch merge;
    pre_scratch pre;
    normalized normal[TOKENIZER_FORMS_MAX];
    cached_word *cache; /* [CACHE_ENTRIES] or NULL */
    char *spelt;        /* a word in the byte alphabet */
    size_t spelt_capacity;
} encoder;

/* The token that is this whole word, -1 if there is none or if only a special token has that text. */
static int32_t whole_word(encoder *enc, const char *word, size_t n)
{
    const vocabulary *vocab = &enc->tok->lex.vocab;
    if (n > vocab->token_bytes_max)
        return -1;
    size_t spelt_n = byte_level_encode(word, n, enc->spelt);
    int32_t id = vocabulary_find(vocab, enc->spelt, spelt_n);
    return id >= 0 && !(vocab->flags[id] & (TOKEN_SPECIAL | TOKEN_LITERAL)) ? id : -1;
}

static tn_status merge_bytes(encoder *enc, const char *word, size_t n, tn_error *err)
{
    if (n >= INT32_MAX) /* compatibility decomposition can make a text eleven times longer */
        return tn_fail(err, TN_E_ARGUMENT, "a word of %zu bytes is too long to tokenize", n);
    tn_status status = id_list_reserve(&enc->out, n, err);
    if (status != TN_OK)
        return status;
    int32_t *id = enc->out.id + enc->out.count;
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t byte_id = enc->tok->byte_id[(unsigned char)word[i]];
        if (byte_id >= 0)
            id[count++] = byte_id;
    }
    status = count > 1 ? merge_word(&enc->tok->lex.vocab, &enc->merge, id, count, &count, err) : TN_OK;
    if (status == TN_OK)
        enc->out.count += count;
    return status;
}

static cached_word *cache_entry(encoder *enc, const char *word, size_t n)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)word[i]) * 0x100000001B3u; /* FNV-1a; a collision costs a merge, no more */
    return &enc->cache[(hash ^ hash >> 32) & (CACHE_ENTRIES - 1)];
}

static tn_status encode_word(void *ctx, const char *word, size_t n, tn_error *err)
{
    encoder *enc = ctx;
    cached_word *entry = NULL;
    if (enc->cache && n <= CACHE_WORD_BYTES_MAX) {
        entry = cache_entry(enc, word, n);
        if (entry->n == n && memcmp(entry->word, word, n) == 0) {
            tn_status status =
                id_list_reserve(&enc->out, entry->count, err); /* may move out.id: no pointer into it before */
            return status == TN_OK ? id_list_append(&enc->out, enc->out.id + entry->at, entry->count, err) : status;
        }
    }
    uint64_t at = enc->out.count;
    int32_t whole = enc->tok->ignore_merges ? whole_word(enc, word, n) : -1;
    tn_status status = whole >= 0 ? id_list_append(&enc->out, &whole, 1, err) : merge_bytes(enc, word, n, err);
    if (status == TN_OK && entry && enc->out.count <= UINT32_MAX) {
        memcpy(entry->word, word, n);
        entry->n = (uint32_t)n;
        entry->count = (uint32_t)(enc->out.count - at);
        entry->at = (uint32_t)at;
    }
    return status;
}

static tn_status encode_normalized(encoder *enc, const char *text, size_t n, tn_error *err)
{
    added_scan scan;
    const added_token *token;
    tn_status status = TN_OK;
    added_scan_start(&scan, &enc->tok->lex.normalized, text, n, enc->parse_special);
    while (status == TN_OK && added_scan_next(&scan, &token, &text, &n)) {
        if (token)
            status = id_list_append(&enc->out, &token->id, 1, err);
        else
            status = pre_tokenizer_run(&enc->tok->pre, &enc->pre, text, n, encode_word, enc, err);
    }
    return status;
}

static tn_status encode_text(encoder *enc, const char *text, size_t n, tn_error *err)
{
    added_scan scan;
    const added_token *token;
    tn_status status = TN_OK;
    added_scan_start(&scan, &enc->tok->lex.raw, text, n, enc->parse_special);
    while (status == TN_OK && added_scan_next(&scan, &token, &text, &n)) {
        if (token) {
            status = id_list_append(&enc->out, &token->id, 1, err);
            continue;
        }
        for (uint32_t i = 0; i < enc->tok->form_count && status == TN_OK; i++)
            status = normal_form_apply(enc->tok->form[i], text, n, &enc->normal[i], &text, &n, err);
        if (status == TN_OK)
            status = encode_normalized(enc, text, n, err);
    }
    return status;
}

static tn_status encoder_init(encoder *enc, const tn_tok *tok, uint64_t n, bool parse_special, tn_error *err)
{
    *enc = (encoder){.tok = tok, .parse_special = parse_special};
    if (n >= CACHE_TEXT_BYTES_MIN)
        enc->cache = calloc(CACHE_ENTRIES, sizeof *enc->cache); /* NULL: slower, not wrong */
    if (tok->ignore_merges && !(enc->spelt = malloc(2 * (size_t)tok->lex.vocab.token_bytes_max + 2)))
        return tn_fail(err, TN_E_MEMORY, "no memory to tokenize a text");
    return id_list_reserve(&enc->out, n / 3 + LEXICON_FRAME_MAX, err);
}

static void encoder_finish(encoder *enc)
{
    id_list_finish(&enc->out);
    free(enc->cache);
    free(enc->spelt);
    merge_scratch_finish(&enc->merge);
    pre_scratch_finish(&enc->pre);
    for (uint32_t i = 0; i < TOKENIZER_FORMS_MAX; i++)
        normalized_finish(&enc->normal[i]);
}

static tn_status encode_all(encoder *enc, const char *text, size_t n, bool add_special, tn_error *err)
{
    const tn_tok *tok = enc->tok;
    char *copy;
    tn_status status = encode_repair(&text, &n, &copy, err);
    if (status == TN_OK && add_special)
        status = id_list_append(&enc->out, tok->lex.prefix, tok->lex.prefix_count, err);
    if (status == TN_OK && n > 0)
        status = encode_text(enc, text, n, err);
    if (status == TN_OK && add_special)
        status = id_list_append(&enc->out, tok->lex.suffix, tok->lex.suffix_count, err);
    free(copy);
    return status;
}

tn_status tokenizer_encode(const tn_tok *tok, const char *utf8, uint64_t n_bytes, uint32_t flags, int32_t *ids,
                           uint64_t *n_ids, tn_error *err)
{
    tn_status status = encode_check(utf8, n_bytes, ids, n_ids, err);
    if (status != TN_OK)
        return status;
    encoder enc;
    status = encoder_init(&enc, tok, n_bytes, (flags & TN_ENCODE_PARSE_SPECIAL) != 0, err);
    if (status == TN_OK)
        status = encode_all(&enc, utf8 ? utf8 : "", (size_t)n_bytes, (flags & TN_ENCODE_ADD_SPECIAL) != 0, err);
    if (status == TN_OK)
        status = id_list_deliver(&enc.out, ids, n_ids, err);
    encoder_finish(&enc);
    return status;
}
