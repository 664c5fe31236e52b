/* load_gguf.c: a tokenizer from GGUF metadata: what byte-level BPE adds to the lexicon. Source: ggml/docs/gguf.md and
 * llama.cpp.
 */
#include "base/tokenizer/lexicon_gguf.h"
#include "byte_level.h"
#include "tokenizer.h"

#include <string.h>

#define KEY GGUF_TOKENIZER

static tn_status check_kind(const tn_source *source, tn_error *err)
{
    tn_meta meta;
    if (gguf_get(source, KEY "model", &meta) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no " KEY "model", source->path);
    if (meta.kind != TN_META_STRING)
        return gguf_wrong_type(source, KEY "model", "a string", err);
    if (meta.count != 4 || memcmp(meta.string, "gpt2", 4) != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: " KEY "model is \"%.*s\", not the byte-level BPE of \"gpt2\"",
                       source->path, meta.count < 32 ? (int)meta.count : 32, meta.string);
    return TN_OK;
}

static tn_status load_pre_tokenizer(tn_tok *tok, const tn_source *source, bool *ret_add_bos, tn_error *err)
{
    tn_meta meta;
    const char *name = "default";
    size_t n = strlen(name);
    if (gguf_get(source, KEY "pre", &meta) == TN_OK) {
        if (meta.kind != TN_META_STRING)
            return gguf_wrong_type(source, KEY "pre", "a string", err);
        name = meta.string;
        n = (size_t)meta.count;
    } else {
        tokenizer_warn("%s: " KEY
                       "pre is missing; taking \"default\", which may split words as the model never saw them",
                       source->path);
    }
    tn_error reason = TN_ERROR_INIT;
    tn_status status = pre_tokenizer_add_named(&tok->pre, name, n, &tok->ignore_merges, ret_add_bos, &reason);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s: " KEY "pre: %s", source->path, reason.msg);
}

static tn_status load_tokens(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tn_meta merges;
    tn_status status = gguf_get_strings(source, KEY "merges", VOCABULARY_MERGES_MAX, &merges, err);
    return status == TN_OK ? lexicon_gguf_tokens(&tok->lex, source, merges.count, err) : status;
}

/* "left right": the first space behind the first byte parts the two. joined: room for a token. */
static tn_status load_merge(tn_tok *tok, const tn_source *source, uint64_t rank, const tn_meta *rule, char *joined,
                            tn_error *err)
{
    const char *space = rule->count > 1 ? memchr(rule->string + 1, ' ', (size_t)rule->count - 1) : NULL;
    int shown = rule->count < 64 ? (int)rule->count : 64;
    if (!space)
        return tn_fail(err, TN_E_CORRUPT, "%s: merge %llu, \"%.*s\", is not two tokens with a space between",
                       source->path, (unsigned long long)rank, shown, rule->string);
    size_t left_n = (size_t)(space - rule->string), right_n = (size_t)rule->count - left_n - 1;
    int32_t left = vocabulary_find(&tok->lex.vocab, rule->string, left_n);
    int32_t right = vocabulary_find(&tok->lex.vocab, space + 1, right_n), merged = -1;
    if (left_n + right_n <= tok->lex.vocab.token_bytes_max) {
        memcpy(joined, rule->string, left_n);
        memcpy(joined + left_n, space + 1, right_n);
        merged = vocabulary_find(&tok->lex.vocab, joined, left_n + right_n);
    }
    if (left < 0 || right < 0 || merged < 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: merge %llu, \"%.*s\": %s is not a token", source->path,
                       (unsigned long long)rank, shown, rule->string,
                       left < 0    ? "its left part"
                       : right < 0 ? "its right part"
                                   : "its result");
    vocabulary_add_merge(&tok->lex.vocab, left, right, merged, (uint32_t)rank, false);
    return TN_OK;
}

static tn_status load_merges(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tn_meta merges, rule;
    tn_status status = gguf_get_strings(source, KEY "merges", VOCABULARY_MERGES_MAX, &merges, err);
    char *joined = malloc((size_t)tok->lex.vocab.token_bytes_max + 1);
    if (!joined)
        return tn_fail(err, TN_E_MEMORY, "no memory for a tokenizer");
    for (uint64_t i = 0; status == TN_OK && i < merges.count; i++) {
        status = gguf_get_string(source, KEY "merges", i, &rule, err);
        if (status == TN_OK)
            status = load_merge(tok, source, i, &rule, joined, err);
    }
    free(joined);
    return status;
}

static tn_status load_byte_ids(tn_tok *tok, const tn_source *source, tn_error *err)
{
    int missing = 0;
    for (int byte = 0; byte < 256; byte++) {
        char utf8[2];
        size_t n = byte_level_char((uint8_t)byte, utf8);
        tok->byte_id[byte] = vocabulary_find(&tok->lex.vocab, utf8, n);
        missing += tok->byte_id[byte] < 0;
    }
    if (missing == 256)
        return tn_fail(err, TN_E_CORRUPT, "%s: no token of " KEY "tokens stands for a single byte", source->path);
    return TN_OK;
}

tn_status tokenizer_load_gguf(tn_tok *tok, const tn_source *source, tn_error *err)
{
    bool add_bos = false, add_space = false;
    tn_status status = check_kind(source, err);
    if (status == TN_OK)
        status = gguf_get_bool(source, KEY "add_space_prefix", &add_space, err);
    if (status == TN_OK && add_space)
        status = pre_tokenizer_add_prefix_space(&tok->pre, err);
    if (status == TN_OK)
        status = load_pre_tokenizer(tok, source, &add_bos, err);
    if (status == TN_OK)
        status = load_tokens(tok, source, err);
    if (status == TN_OK)
        status = load_merges(tok, source, err);
    if (status == TN_OK)
        status = lexicon_gguf_types(&tok->lex, source, err);
    if (status == TN_OK)
        status = load_byte_ids(tok, source, err);
    if (status == TN_OK)
        status = lexicon_gguf_roles(&tok->lex, source, err);
    if (status == TN_OK)
        status = lexicon_gguf_frame(&tok->lex, source, add_bos, false, err);
    if (status == TN_OK)
        lexicon_gguf_seal(&tok->lex);
    return status;
}
