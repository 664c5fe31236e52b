/* load_gguf.c: a tokenizer from GGUF metadata: `llama` is SentencePiece's BPE, `t5` its unigram. Source:
 * ggml/docs/gguf.md and llama.cpp (src/llama-vocab.cpp).
 */
#include "base/tokenizer/lexicon_gguf.h"
#include "tokenizer.h"

#include <string.h>

#define KEY GGUF_TOKENIZER

static bool text_is(const tn_meta *meta, const char *text)
{
    return meta->count == strlen(text) && memcmp(meta->string, text, meta->count) == 0;
}

static tn_status load_kind(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tn_meta meta;
    if (gguf_get(source, KEY "model", &meta) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no " KEY "model", source->path);
    if (meta.kind != TN_META_STRING)
        return gguf_wrong_type(source, KEY "model", "a string", err);
    if (!text_is(&meta, "llama") && !text_is(&meta, "t5"))
        return tn_fail(err, TN_E_NOT_FOUND,
                       "%s: " KEY "model is \"%.*s\", not the SentencePiece of \"llama\" or \"t5\"", source->path,
                       meta.count < 32 ? (int)meta.count : 32, meta.string);
    tok->model = text_is(&meta, "t5") ? SPM_UNIGRAM : SPM_SCORES;
    return TN_OK;
}

static tn_status load_charsmap(tn_tok *tok, const tn_source *source, tn_error *err)
{
    static const char key[] = KEY "precompiled_charsmap";
    tn_meta meta, element;
    tn_error reason = TN_ERROR_INIT;
    enum { CHARSMAP_BYTES_MAX = 1 << 26 };
    if (gguf_get(source, key, &meta) != TN_OK || tok->model != SPM_UNIGRAM)
        return TN_OK;
    if (meta.kind != TN_META_ARRAY || (meta.element != TN_META_INT && meta.element != TN_META_UINT))
        return gguf_wrong_type(source, key, "an array of bytes", err);
    if (meta.count > CHARSMAP_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has more than %d bytes", source->path, key, CHARSMAP_BYTES_MAX);
    unsigned char *blob = malloc((size_t)meta.count + 1);
    if (!blob)
        return tn_fail(err, TN_E_MEMORY, "no memory for a precompiled_charsmap");
    tn_status status = TN_OK;
    for (uint64_t i = 0; status == TN_OK && i < meta.count; i++) {
        element = (tn_meta){.struct_size = (uint32_t)sizeof element};
        status = source->meta_element(source, key, i, &element);
        blob[i] = (unsigned char)(element.kind == TN_META_INT ? (uint64_t)element.i : element.u);
    }
    if (status == TN_OK)
        status = charsmap_load(&tok->normalizer.map, blob, meta.count, &reason);
    free(blob);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s: %s", source->path, reason.msg);
}

static tn_status load_normalizer(tn_tok *tok, const tn_source *source, tn_error *err)
{
    text_normalizer *how = &tok->normalizer;
    how->dummy_prefix = true;
    tn_status status = gguf_get_bool(source, KEY "add_space_prefix", &how->dummy_prefix, err);
    if (status == TN_OK && tok->model == SPM_UNIGRAM)
        status = gguf_get_bool(source, KEY "remove_extra_whitespaces", &how->collapse_spaces, err);
    if (status == TN_OK)
        status = load_charsmap(tok, source, err);
    tok->strip_first = how->dummy_prefix;
    return status == TN_OK ? text_normalizer_add(how, &(text_step){.kind = TEXT_SENTENCEPIECE}, err) : status;
}

static tn_status load_scores(tn_tok *tok, const tn_source *source, tn_error *err)
{
    static const char key[] = KEY "scores";
    const vocabulary *vocab = &tok->lex.vocab;
    tn_meta scores, element;
    if (gguf_get(source, key, &scores) != TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is missing", source->path, key);
    if (scores.kind != TN_META_ARRAY || scores.element != TN_META_FLOAT)
        return gguf_wrong_type(source, key, "an array of floats", err);
    if (scores.count != vocab->count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu elements for %u tokens", source->path, key,
                       (unsigned long long)scores.count, vocab->count);
    double *score = malloc(vocab->count * sizeof *score), least = 0;
    if (!score)
        return tn_fail(err, TN_E_MEMORY, "no memory for a vocabulary");
    bool any = false;
    for (uint32_t i = 0; i < vocab->count; i++) {
        element = (tn_meta){.struct_size = (uint32_t)sizeof element};
        bool read = source->meta_element(source, key, i, &element) == TN_OK;
        score[i] = read ? element.f : 0;
        if (vocab->flags[i] & (TOKEN_SPECIAL | TOKEN_LITERAL | TOKEN_BYTE | TOKEN_UNUSED))
            continue;
        least = !any || score[i] < least ? score[i] : least;
        any = true;
    }
    tok->uni.unknown_score = least - 10;
    tok->uni.user_scores = true; /* of 0 each */
    return tokenizer_set_scores(tok, score, source->path, err);
}

/* llama.cpp knows by the model's name that Phi-3's special tokens take the white space behind them. */
static void strip_behind_specials(tn_tok *tok, const tn_source *source)
{
    static const char *const names[] = {"phi-3", "phi3"};
    static const char *const others[] = {"<unk>", "<s>", "<|endoftext|>"};
    tn_meta name;
    bool phi3 = false;
    if (gguf_get(source, "general.name", &name) != TN_OK || name.kind != TN_META_STRING)
        return;
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t at = 0; at + strlen(names[i]) <= name.count; at++)
            phi3 |= strncasecmp(name.string + at, names[i], strlen(names[i])) == 0;
    }
    for (uint32_t i = 0; phi3 && i < tok->lex.raw.count; i++) {
        added_token *token = &tok->lex.raw.token[i];
        token->rstrip = true;
        for (size_t k = 0; k < 3; k++)
            token->rstrip &= token->n != strlen(others[k]) || memcmp(token->text, others[k], token->n) != 0;
    }
}

tn_status tokenizer_load_gguf(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tn_status status = load_kind(tok, source, err);
    if (status == TN_OK)
        status = load_normalizer(tok, source, err);
    if (status == TN_OK)
        status = lexicon_gguf_tokens(&tok->lex, source, 0, err);
    if (status == TN_OK)
        status = lexicon_gguf_types(&tok->lex, source, err);
    if (status == TN_OK)
        status = lexicon_gguf_roles(&tok->lex, source, err);
    bool bpe = tok->model == SPM_SCORES;
    if (status == TN_OK)
        status = lexicon_gguf_frame(&tok->lex, source, bpe, !bpe, err);
    if (status != TN_OK)
        return status;
    tok->unknown_id = tok->lex.role[TN_TOKEN_UNK];
    tok->byte_fallback = bpe;
    tok->fuse_unknown = !bpe;
    tokenizer_find_bytes(tok, false);
    strip_behind_specials(tok, source);
    status = load_scores(tok, source, err);
    if (status == TN_OK)
        lexicon_gguf_seal(&tok->lex);
    return status;
}
