/* load_gguf.c: a tokenizer from GGUF metadata, the keys tokenizer.ggml.*. Source: ggml/docs/gguf.md and llama.cpp.
 *
 * The container checked that arrays and strings lie within the file; what they say is checked here.
 */
#include "byte_level.h"
#include "end_tokens.h"
#include "tokenizer.h"

#include <string.h>

#define KEY "tokenizer.ggml."

/* Values of tokenizer.ggml.token_type. */
enum { GGUF_TOKEN_UNKNOWN = 2, GGUF_TOKEN_CONTROL = 3, GGUF_TOKEN_USER_DEFINED = 4, GGUF_TOKEN_UNUSED = 5 };

/* TN_E_NOT_FOUND leaves err alone: many keys are optional. */
static tn_status get(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    *ret_meta = (tn_meta){.struct_size = (uint32_t)sizeof *ret_meta};
    return source->meta(source, key, ret_meta);
}

static tn_status wrong_type(const tn_source *source, const char *key, const char *wanted, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "%s: %s is not %s", source->path, key, wanted);
}

static tn_status get_array(const tn_source *source, const char *key, uint64_t count_max, tn_meta *ret_meta,
                           tn_error *err)
{
    if (get(source, key, ret_meta) != TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is missing", source->path, key);
    if (ret_meta->kind != TN_META_ARRAY || ret_meta->element != TN_META_STRING)
        return wrong_type(source, key, "an array of strings", err);
    if (ret_meta->count > count_max)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu elements; the limit is %llu", source->path, key,
                       (unsigned long long)ret_meta->count, (unsigned long long)count_max);
    return TN_OK;
}

static tn_status get_string(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta, tn_error *err)
{
    *ret_meta = (tn_meta){.struct_size = (uint32_t)sizeof *ret_meta};
    if (source->meta_element(source, key, index, ret_meta) != TN_OK || ret_meta->kind != TN_META_STRING)
        return tn_fail(err, TN_E_CORRUPT, "%s: element %llu of %s is not a string", source->path,
                       (unsigned long long)index, key);
    return TN_OK;
}

/* *value is left alone if the key is missing. */
static tn_status get_bool(const tn_source *source, const char *key, bool *value, tn_error *err)
{
    tn_meta meta;
    if (get(source, key, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind != TN_META_BOOL)
        return wrong_type(source, key, "a boolean", err);
    *value = meta.u != 0;
    return TN_OK;
}

static bool integer_of(const tn_meta *meta, uint64_t *ret_value)
{
    if (meta->kind == TN_META_INT && meta->i >= 0)
        *ret_value = (uint64_t)meta->i;
    else if (meta->kind == TN_META_UINT)
        *ret_value = meta->u;
    else
        return false;
    return true;
}

/* *id is left alone if the key is missing. */
static tn_status get_id(const tn_tok *tok, const tn_source *source, const char *key, int32_t *id, tn_error *err)
{
    tn_meta meta;
    uint64_t value;
    if (get(source, key, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind == TN_META_INT && meta.i == -1) /* some writers' "none" */
        return TN_OK;
    if (!integer_of(&meta, &value))
        return wrong_type(source, key, "a token id (an integer that is not negative)", err);
    if (value >= tok->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s = %llu is outside the vocabulary of %u tokens", source->path, key,
                       (unsigned long long)value, tok->vocab.count);
    *id = (int32_t)value;
    return TN_OK;
}

static tn_status check_kind(const tn_source *source, tn_error *err)
{
    tn_meta meta;
    if (get(source, KEY "model", &meta) != TN_OK)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no " KEY "model", source->path);
    if (meta.kind != TN_META_STRING)
        return wrong_type(source, KEY "model", "a string", err);
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
    if (get(source, KEY "pre", &meta) == TN_OK) {
        if (meta.kind != TN_META_STRING)
            return wrong_type(source, KEY "pre", "a string", err);
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
    tn_meta tokens, merges, text;
    tn_status status = get_array(source, KEY "tokens", VOCABULARY_TOKENS_MAX, &tokens, err);
    if (status == TN_OK)
        status = get_array(source, KEY "merges", VOCABULARY_MERGES_MAX, &merges, err);
    if (status == TN_OK && tokens.count == 0)
        status = tn_fail(err, TN_E_CORRUPT, "%s: " KEY "tokens is empty", source->path);
    if (status == TN_OK)
        status = vocabulary_init(&tok->vocab, tokens.count, merges.count, err);
    for (uint64_t i = 0; status == TN_OK && i < tokens.count; i++) {
        int32_t twin;
        status = get_string(source, KEY "tokens", i, &text, err);
        if (status == TN_OK && text.count > VOCABULARY_TOKEN_BYTES_MAX)
            status = tn_fail(err, TN_E_CORRUPT, "%s: token %llu has %llu bytes; the limit is %d", source->path,
                             (unsigned long long)i, (unsigned long long)text.count, VOCABULARY_TOKEN_BYTES_MAX);
        if (status == TN_OK)
            status = vocabulary_add(&tok->vocab, text.string, (size_t)text.count, &twin, err);
        if (status == TN_OK && twin >= 0)
            status = tn_fail(err, TN_E_CORRUPT, "%s: tokens %d and %llu are both \"%.*s\"", source->path, twin,
                             (unsigned long long)i, text.count < 64 ? (int)text.count : 64, text.string);
    }
    return status;
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
    int32_t left = vocabulary_find(&tok->vocab, rule->string, left_n);
    int32_t right = vocabulary_find(&tok->vocab, space + 1, right_n), merged = -1;
    if (left_n + right_n <= tok->vocab.token_bytes_max) {
        memcpy(joined, rule->string, left_n);
        memcpy(joined + left_n, space + 1, right_n);
        merged = vocabulary_find(&tok->vocab, joined, left_n + right_n);
    }
    if (left < 0 || right < 0 || merged < 0)
        return tn_fail(err, TN_E_CORRUPT, "%s: merge %llu, \"%.*s\": %s is not a token", source->path,
                       (unsigned long long)rank, shown, rule->string,
                       left < 0    ? "its left part"
                       : right < 0 ? "its right part"
                                   : "its result");
    vocabulary_add_merge(&tok->vocab, left, right, merged, (uint32_t)rank, false);
    return TN_OK;
}

static tn_status load_merges(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tn_meta merges, rule;
    tn_status status = get_array(source, KEY "merges", VOCABULARY_MERGES_MAX, &merges, err);
    char *joined = malloc((size_t)tok->vocab.token_bytes_max + 1);
    if (!joined)
        return tn_fail(err, TN_E_MEMORY, "no memory for a tokenizer");
    for (uint64_t i = 0; status == TN_OK && i < merges.count; i++) {
        status = get_string(source, KEY "merges", i, &rule, err);
        if (status == TN_OK)
            status = load_merge(tok, source, i, &rule, joined, err);
    }
    free(joined);
    return status;
}

static tn_status add_literal(tn_tok *tok, const tn_source *source, int32_t id, bool special, tn_error *err)
{
    size_t n;
    const char *text = vocabulary_text(&tok->vocab, id, &n);
    tok->vocab.flags[id] |= TOKEN_LITERAL | (special ? TOKEN_SPECIAL : 0);
    if (n == 0)
        return TN_OK;
    if (n > ADDED_TOKEN_BYTES_MAX)
        return tn_fail(err, TN_E_CORRUPT, "%s: token %d has %zu bytes; the limit for a special token is %d",
                       source->path, id, n, ADDED_TOKEN_BYTES_MAX);
    return added_tokens_add(&tok->raw,
                            &(added_token){.text = (char *)text, .n = (uint32_t)n, .id = id, .special = special}, err);
}

static tn_status load_types(tn_tok *tok, const tn_source *source, tn_error *err)
{
    static const char key[] = KEY "token_type";
    tn_meta types, element;
    if (get(source, key, &types) != TN_OK)
        return TN_OK;
    if (types.kind != TN_META_ARRAY || (types.element != TN_META_INT && types.element != TN_META_UINT))
        return wrong_type(source, key, "an array of integers", err);
    if (types.count != tok->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu elements for %u tokens", source->path, key,
                       (unsigned long long)types.count, tok->vocab.count);
    tn_status status = TN_OK;
    for (uint64_t i = 0; status == TN_OK && i < types.count; i++) {
        uint64_t type;
        element = (tn_meta){.struct_size = (uint32_t)sizeof element};
        if (source->meta_element(source, key, i, &element) != TN_OK || !integer_of(&element, &type))
            return tn_fail(err, TN_E_CORRUPT, "%s: element %llu of %s is not a token type", source->path,
                           (unsigned long long)i, key);
        if (type == GGUF_TOKEN_CONTROL || type == GGUF_TOKEN_UNKNOWN)
            status = add_literal(tok, source, (int32_t)i, true, err);
        else if (type == GGUF_TOKEN_USER_DEFINED)
            status = add_literal(tok, source, (int32_t)i, false, err);
        else if (type == GGUF_TOKEN_UNUSED)
            tok->vocab.flags[i] |= TOKEN_UNUSED;
    }
    return status;
}

static tn_status load_byte_ids(tn_tok *tok, const tn_source *source, tn_error *err)
{
    int missing = 0;
    for (int byte = 0; byte < 256; byte++) {
        char utf8[2];
        size_t n = byte_level_char((uint8_t)byte, utf8);
        tok->byte_id[byte] = vocabulary_find(&tok->vocab, utf8, n);
        missing += tok->byte_id[byte] < 0;
    }
    if (missing == 256)
        return tn_fail(err, TN_E_CORRUPT, "%s: no token of " KEY "tokens stands for a single byte", source->path);
    return TN_OK;
}

static tn_status load_roles(tn_tok *tok, const tn_source *source, tn_error *err)
{
    static const struct {
        const char *key;
        uint32_t role; /* 0: none */
        bool ends;
    } keys[] = {{KEY "bos_token_id", TN_TOKEN_BOS, false},
                {KEY "eos_token_id", TN_TOKEN_EOS, true},
                {KEY "padding_token_id", TN_TOKEN_PAD, false},
                {KEY "unknown_token_id", TN_TOKEN_UNK, false},
                {KEY "eot_token_id", 0, true},
                {KEY "eom_token_id", 0, true}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        int32_t id = -1;
        tn_status status = get_id(tok, source, keys[i].key, &id, err);
        if (status != TN_OK)
            return status;
        if (id >= 0 && keys[i].role)
            tok->role[keys[i].role] = id;
        if (id >= 0 && keys[i].ends)
            tok->vocab.flags[id] |= TOKEN_ENDS;
    }
    return TN_OK;
}

/* add: what the file says, or the pre-tokenizer's default. */
static tn_status load_frame(const tn_tok *tok, const tn_source *source, const char *key, uint32_t role, bool add,
                            int32_t *frame, uint32_t *count, tn_error *err)
{
    tn_status status = get_bool(source, key, &add, err);
    if (status != TN_OK || !add)
        return status;
    tn_meta meta;
    if (tok->role[role] >= 0)
        frame[(*count)++] = tok->role[role];
    else if (get(source, key, &meta) == TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is true, but the file names no such token", source->path, key);
    return TN_OK;
}

tn_status tokenizer_load_gguf(tn_tok *tok, const tn_source *source, tn_error *err)
{
    bool add_bos = false, add_space = false;
    tn_status status = check_kind(source, err);
    if (status == TN_OK)
        status = get_bool(source, KEY "add_space_prefix", &add_space, err);
    if (status == TN_OK && add_space)
        status = pre_tokenizer_add_prefix_space(&tok->pre, err);
    if (status == TN_OK)
        status = load_pre_tokenizer(tok, source, &add_bos, err);
    if (status == TN_OK)
        status = load_tokens(tok, source, err);
    if (status == TN_OK)
        status = load_merges(tok, source, err);
    if (status == TN_OK)
        status = load_types(tok, source, err);
    if (status == TN_OK)
        status = load_byte_ids(tok, source, err);
    if (status == TN_OK)
        status = load_roles(tok, source, err);
    if (status == TN_OK)
        status =
            load_frame(tok, source, KEY "add_bos_token", TN_TOKEN_BOS, add_bos, tok->prefix, &tok->prefix_count, err);
    if (status == TN_OK)
        status =
            load_frame(tok, source, KEY "add_eos_token", TN_TOKEN_EOS, false, tok->suffix, &tok->suffix_count, err);
    if (status != TN_OK)
        return status;
    end_tokens_mark(&tok->vocab);
    added_tokens_seal(&tok->raw);
    return TN_OK;
}
