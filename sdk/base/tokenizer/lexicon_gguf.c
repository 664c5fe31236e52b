/* lexicon_gguf.c: the container checked that arrays and strings lie within the file; what they say is checked here. */
#include "base/tokenizer/lexicon_gguf.h"

#include "base/tokenizer/end_tokens.h"

#include <string.h>

#define KEY GGUF_TOKENIZER

/* Values of tokenizer.ggml.token_type. */
enum {
    GGUF_TOKEN_UNKNOWN = 2,
    GGUF_TOKEN_CONTROL = 3,
    GGUF_TOKEN_USER_DEFINED = 4,
    GGUF_TOKEN_UNUSED = 5,
    GGUF_TOKEN_BYTE = 6
};

tn_status gguf_get(const tn_source *source, const char *key, tn_meta *ret_meta)
{
    *ret_meta = (tn_meta){.struct_size = (uint32_t)sizeof *ret_meta};
    return source->meta(source, key, ret_meta);
}

tn_status gguf_wrong_type(const tn_source *source, const char *key, const char *wanted, tn_error *err)
{
    return tn_fail(err, TN_E_CORRUPT, "%s: %s is not %s", source->path, key, wanted);
}

tn_status gguf_get_strings(const tn_source *source, const char *key, uint64_t count_max, tn_meta *ret_meta,
                           tn_error *err)
{
    if (gguf_get(source, key, ret_meta) != TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is missing", source->path, key);
    if (ret_meta->kind != TN_META_ARRAY || ret_meta->element != TN_META_STRING)
        return gguf_wrong_type(source, key, "an array of strings", err);
    if (ret_meta->count > count_max)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu elements; the limit is %llu", source->path, key,
                       (unsigned long long)ret_meta->count, (unsigned long long)count_max);
    return TN_OK;
}

tn_status gguf_get_string(const tn_source *source, const char *key, uint64_t index, tn_meta *ret_meta, tn_error *err)
{
    *ret_meta = (tn_meta){.struct_size = (uint32_t)sizeof *ret_meta};
    if (source->meta_element(source, key, index, ret_meta) != TN_OK || ret_meta->kind != TN_META_STRING)
        return tn_fail(err, TN_E_CORRUPT, "%s: element %llu of %s is not a string", source->path,
                       (unsigned long long)index, key);
    return TN_OK;
}

tn_status gguf_get_bool(const tn_source *source, const char *key, bool *value, tn_error *err)
{
    tn_meta meta;
    if (gguf_get(source, key, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind != TN_META_BOOL)
        return gguf_wrong_type(source, key, "a boolean", err);
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
static tn_status get_id(const lexicon *lex, const tn_source *source, const char *key, int32_t *id, tn_error *err)
{
    tn_meta meta;
    uint64_t value;
    if (gguf_get(source, key, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind == TN_META_INT && meta.i == -1) /* some writers' "none" */
        return TN_OK;
    if (!integer_of(&meta, &value))
        return gguf_wrong_type(source, key, "a token id (an integer that is not negative)", err);
    if (value >= lex->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s = %llu is outside the vocabulary of %u tokens", source->path, key,
                       (unsigned long long)value, lex->vocab.count);
    *id = (int32_t)value;
    return TN_OK;
}

tn_status lexicon_gguf_tokens(lexicon *lex, const tn_source *source, uint64_t merges, tn_error *err)
{
    tn_meta tokens, text;
    tn_status status = gguf_get_strings(source, KEY "tokens", VOCABULARY_TOKENS_MAX, &tokens, err);
    if (status == TN_OK && tokens.count == 0)
        status = tn_fail(err, TN_E_CORRUPT, "%s: " KEY "tokens is empty", source->path);
    if (status == TN_OK)
        status = vocabulary_init(&lex->vocab, tokens.count, merges, err);
    for (uint64_t i = 0; status == TN_OK && i < tokens.count; i++) {
        int32_t twin;
        status = gguf_get_string(source, KEY "tokens", i, &text, err);
        if (status == TN_OK && text.count > VOCABULARY_TOKEN_BYTES_MAX)
            status = tn_fail(err, TN_E_CORRUPT, "%s: token %llu has %llu bytes; the limit is %d", source->path,
                             (unsigned long long)i, (unsigned long long)text.count, VOCABULARY_TOKEN_BYTES_MAX);
        if (status == TN_OK)
            status = vocabulary_add(&lex->vocab, text.string, (size_t)text.count, &twin, err);
        if (status == TN_OK && twin >= 0)
            status = tn_fail(err, TN_E_CORRUPT, "%s: tokens %d and %llu are both \"%.*s\"", source->path, twin,
                             (unsigned long long)i, text.count < 64 ? (int)text.count : 64, text.string);
    }
    return status;
}

tn_status lexicon_gguf_types(lexicon *lex, const tn_source *source, tn_error *err)
{
    static const char key[] = KEY "token_type";
    tn_meta types, element;
    if (gguf_get(source, key, &types) != TN_OK)
        return TN_OK;
    if (types.kind != TN_META_ARRAY || (types.element != TN_META_INT && types.element != TN_META_UINT))
        return gguf_wrong_type(source, key, "an array of integers", err);
    if (types.count != lex->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s has %llu elements for %u tokens", source->path, key,
                       (unsigned long long)types.count, lex->vocab.count);
    tn_status status = TN_OK;
    for (uint64_t i = 0; status == TN_OK && i < types.count; i++) {
        uint64_t type;
        element = (tn_meta){.struct_size = (uint32_t)sizeof element};
        if (source->meta_element(source, key, i, &element) != TN_OK || !integer_of(&element, &type))
            return tn_fail(err, TN_E_CORRUPT, "%s: element %llu of %s is not a token type", source->path,
                           (unsigned long long)i, key);
        if (type == GGUF_TOKEN_CONTROL || type == GGUF_TOKEN_UNKNOWN)
            status = lexicon_add_literal(lex, (int32_t)i, true, source->path, err);
        else if (type == GGUF_TOKEN_USER_DEFINED)
            status = lexicon_add_literal(lex, (int32_t)i, false, source->path, err);
        else if (type == GGUF_TOKEN_UNUSED)
            lex->vocab.flags[i] |= TOKEN_UNUSED;
        else if (type == GGUF_TOKEN_BYTE)
            lex->vocab.flags[i] |= TOKEN_BYTE;
    }
    return status;
}

tn_status lexicon_gguf_roles(lexicon *lex, const tn_source *source, tn_error *err)
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
        tn_status status = get_id(lex, source, keys[i].key, &id, err);
        if (status != TN_OK)
            return status;
        if (id >= 0 && keys[i].role)
            lex->role[keys[i].role] = id;
        if (id >= 0 && keys[i].ends)
            lex->vocab.flags[id] |= TOKEN_ENDS;
    }
    return TN_OK;
}

/* add: what the key says, or its default. */
static tn_status load_frame(const lexicon *lex, const tn_source *source, const char *key, uint32_t role, bool add,
                            int32_t *frame, uint32_t *count, tn_error *err)
{
    tn_status status = gguf_get_bool(source, key, &add, err);
    if (status != TN_OK || !add)
        return status;
    tn_meta meta;
    if (lex->role[role] >= 0)
        frame[(*count)++] = lex->role[role];
    else if (gguf_get(source, key, &meta) == TN_OK)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is true, but the file names no such token", source->path, key);
    return TN_OK;
}

tn_status lexicon_gguf_frame(lexicon *lex, const tn_source *source, bool add_bos, bool add_eos, tn_error *err)
{
    tn_status status =
        load_frame(lex, source, KEY "add_bos_token", TN_TOKEN_BOS, add_bos, lex->prefix, &lex->prefix_count, err);
    return status == TN_OK ? load_frame(lex, source, KEY "add_eos_token", TN_TOKEN_EOS, add_eos, lex->suffix,
                                        &lex->suffix_count, err)
                           : status;
}

void lexicon_gguf_seal(lexicon *lex)
{
    end_tokens_mark(&lex->vocab, false);
    for (uint32_t i = 0; i < lex->raw.count; i++) {
        added_token *token = &lex->raw.token[i];
        token->special |= (lex->vocab.flags[token->id] & TOKEN_ENDS) != 0;
        lex->vocab.flags[token->id] |= token->special ? TOKEN_SPECIAL : 0;
    }
    lexicon_seal(lex);
}
