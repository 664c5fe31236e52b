/* load_json.c: a tokenizer from a checkpoint directory: tokenizer.json, and the special tokens that
 * tokenizer_config.json, generation_config.json and config.json name. Source: huggingface/tokenizers, models/bpe and
 * added_vocabulary.
 */
#include "load_json.h"

#include "byte_level.h"
#include "end_tokens.h"

#include <string.h>

/* A token's text by id, while the numbering is still incomplete. */
typedef struct entry {
    const char *text; /* borrowed from the JSON; NULL: a hole */
    size_t n;
} entry;

typedef struct loader {
    tn_tok *tok;
    const char *path;
    const json_t *root, *model;
    entry *entries;
    uint64_t entry_count;
    tn_error *err;
} loader;

static tn_status corrupt(const loader *l, const char *what)
{
    return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: %s", l->path, what);
}

/* *ret_root: NULL if the directory has no such file; freed by json_decref. */
static tn_status parse_file(const tn_source *source, const char *name, json_t **ret_root, tn_error *err)
{
    tn_meta meta = {.struct_size = (uint32_t)sizeof meta};
    json_error_t where;
    *ret_root = NULL;
    if (source->meta(source, name, &meta) != TN_OK)
        return TN_OK;
    if (meta.kind != TN_META_STRING)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not text", source->path, name);
    *ret_root = json_loadb(meta.string, (size_t)meta.count, JSON_REJECT_DUPLICATES, &where);
    if (!*ret_root)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s, line %d: %s", source->path, name, where.line, where.text);
    if (!json_is_object(*ret_root)) {
        json_decref(*ret_root);
        *ret_root = NULL;
        return tn_fail(err, TN_E_CORRUPT, "%s: %s is not a JSON object", source->path, name);
    }
    return TN_OK;
}

static bool is_unset(const json_t *value)
{
    return !value || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

/* Options of the model that would change the ids and that no byte-level model uses. */
static tn_status check_model(const loader *l)
{
    const json_t *dropout = json_object_get(l->model, "dropout");
    if (!json_is_object(json_object_get(l->model, "vocab")) || !json_is_array(json_object_get(l->model, "merges")))
        return corrupt(l, "the model has no \"vocab\" object or no \"merges\" list");
    if (!is_unset(dropout) && (!json_is_number(dropout) || json_number_value(dropout) != 0))
        return tn_fail(l->err, TN_E_UNSUPPORTED, "%s: tokenizer.json: dropout is not supported", l->path);
    if (!is_unset(json_object_get(l->model, "continuing_subword_prefix")) ||
        !is_unset(json_object_get(l->model, "end_of_word_suffix")))
        return tn_fail(l->err, TN_E_UNSUPPORTED,
                       "%s: tokenizer.json: continuing_subword_prefix and end_of_word_suffix are not supported",
                       l->path);
    return TN_OK;
}

static bool is_id(const json_t *id)
{
    return json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < VOCABULARY_TOKENS_MAX;
}

static tn_status bad_id(const loader *l, const char *text)
{
    return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: the id of \"%.64s\" is not an integer from 0 to %d",
                   l->path, text, VOCABULARY_TOKENS_MAX - 1);
}

/* Sizes the list of entries by the largest id. */
static tn_status reserve_entries(loader *l)
{
    const char *text;
    json_t *id, *vocab = json_object_get(l->model, "vocab");
    const json_t *added = json_object_get(l->root, "added_tokens");
    json_int_t largest = -1;
    json_object_foreach(vocab, text, id)
    {
        if (!is_id(id))
            return bad_id(l, text);
        largest = json_integer_value(id) > largest ? json_integer_value(id) : largest;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        const char *content = json_string_value(json_object_get(token, "content"));
        id = json_object_get(token, "id");
        if (!content)
            return corrupt(l, "an added token has no \"content\"");
        if (!is_id(id))
            return bad_id(l, content);
        largest = json_integer_value(id) > largest ? json_integer_value(id) : largest;
    }
    if (largest < 0)
        return corrupt(l, "the vocabulary is empty");
    l->entry_count = (uint64_t)largest + 1;
    l->entries = calloc(l->entry_count, sizeof *l->entries);
    return l->entries ? TN_OK : tn_fail(l->err, TN_E_MEMORY, "no memory for a vocabulary");
}

static tn_status set_entry(loader *l, json_int_t id, const char *text, size_t n)
{
    entry *e = &l->entries[id];
    if (n > VOCABULARY_TOKEN_BYTES_MAX)
        return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: token %lld has %zu bytes; the limit is %d", l->path,
                       (long long)id, n, VOCABULARY_TOKEN_BYTES_MAX);
    if (e->text && (e->n != n || memcmp(e->text, text, n) != 0))
        return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: \"%.64s\" and \"%.64s\" have the same id %lld",
                       l->path, e->text, text, (long long)id);
    *e = (entry){text, n};
    return TN_OK;
}

static tn_status load_vocabulary(loader *l)
{
    const char *text;
    json_t *id, *vocab = json_object_get(l->model, "vocab");
    const json_t *added = json_object_get(l->root, "added_tokens");
    size_t merges = json_array_size(json_object_get(l->model, "merges"));
    if (merges > VOCABULARY_MERGES_MAX)
        return corrupt(l, "there are too many merges");
    tn_status status = reserve_entries(l);
    if (status != TN_OK)
        return status;
    json_object_foreach(vocab, text, id)
    {
        if (status == TN_OK)
            status = set_entry(l, json_integer_value(id), text, strlen(text));
    }
    for (size_t i = 0; status == TN_OK && i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i), *content = json_object_get(token, "content");
        status = set_entry(l, json_integer_value(json_object_get(token, "id")), json_string_value(content),
                           json_string_length(content));
    }
    if (status == TN_OK)
        status = vocabulary_init(&l->tok->vocab, l->entry_count, merges, l->err);
    for (uint64_t i = 0; status == TN_OK && i < l->entry_count; i++) {
        int32_t twin = -1;
        status = vocabulary_add(&l->tok->vocab, l->entries[i].text, l->entries[i].n, &twin, l->err);
        if (status == TN_OK && twin >= 0)
            status = tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: \"%.64s\" has two ids, %d and %llu", l->path,
                             l->entries[i].text, twin, (unsigned long long)i);
    }
    return status;
}

/* Two forms: "left right" and ["left", "right"]. */
static bool parts_of(const json_t *rule, const char **ret_left, size_t *ret_left_n, const char **ret_right,
                     size_t *ret_right_n)
{
    const json_t *left = json_array_get(rule, 0), *right = json_array_get(rule, 1);
    if (json_is_string(left) && json_is_string(right) && json_array_size(rule) == 2) {
        *ret_left = json_string_value(left);
        *ret_left_n = json_string_length(left);
        *ret_right = json_string_value(right);
        *ret_right_n = json_string_length(right);
        return true;
    }
    const char *text = json_string_value(rule), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return false;
    *ret_left = text;
    *ret_left_n = (size_t)(space - text);
    *ret_right = space + 1;
    *ret_right_n = strlen(space + 1);
    return true;
}

/* joined: room for a token. */
static tn_status load_merge(const loader *l, size_t rank, const json_t *rule, char *joined)
{
    vocabulary *vocab = &l->tok->vocab;
    const char *left_text, *right_text;
    size_t left_n, right_n;
    if (!parts_of(rule, &left_text, &left_n, &right_text, &right_n))
        return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: merge %zu is not two tokens", l->path, rank);
    int32_t left = vocabulary_find(vocab, left_text, left_n), right = vocabulary_find(vocab, right_text, right_n);
    int32_t merged = -1;
    if (left_n + right_n <= vocab->token_bytes_max) {
        memcpy(joined, left_text, left_n);
        memcpy(joined + left_n, right_text, right_n);
        merged = vocabulary_find(vocab, joined, left_n + right_n);
    }
    if (left < 0 || right < 0 || merged < 0)
        return tn_fail(l->err, TN_E_CORRUPT, "%s: tokenizer.json: merge %zu, \"%.*s\" and \"%.*s\": %s is not a token",
                       l->path, rank, left_n < 64 ? (int)left_n : 64, left_text, right_n < 64 ? (int)right_n : 64,
                       right_text,
                       left < 0    ? "the left part"
                       : right < 0 ? "the right part"
                                   : "the result");
    vocabulary_add_merge(vocab, left, right, merged, (uint32_t)rank, true);
    return TN_OK;
}

static tn_status load_merges(const loader *l)
{
    const json_t *merges = json_object_get(l->model, "merges");
    tn_status status = TN_OK;
    char *joined = malloc((size_t)l->tok->vocab.token_bytes_max + 1);
    if (!joined)
        return tn_fail(l->err, TN_E_MEMORY, "no memory for a tokenizer");
    for (size_t i = 0; status == TN_OK && i < json_array_size(merges); i++)
        status = load_merge(l, i, json_array_get(merges, i), joined);
    free(joined);
    return status;
}

/* A token matched in normalised text is written as the normaliser would write it. */
static tn_status normalize_content(const tn_tok *tok, added_token *token, normalized *scratch, tn_error *err)
{
    const char *text = token->text;
    size_t n = token->n;
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < tok->form_count && status == TN_OK; i++)
        status = normalizer_apply(tok->form[i], text, n, &scratch[i], &text, &n, err);
    token->text = (char *)text;
    token->n = (uint32_t)n;
    return status;
}

static tn_status add_token(const loader *l, added_token *token, bool normalized_text)
{
    normalized scratch[TOKENIZER_FORMS_MAX] = {0};
    added_tokens *set = normalized_text ? &l->tok->normalized : &l->tok->raw;
    tn_status status = normalized_text ? normalize_content(l->tok, token, scratch, l->err) : TN_OK;
    if (status == TN_OK && token->n > ADDED_TOKEN_BYTES_MAX)
        status = corrupt(l, "an added token is too long");
    if (status == TN_OK)
        status = added_tokens_add(set, token, l->err);
    for (uint32_t i = 0; i < TOKENIZER_FORMS_MAX; i++)
        normalized_finish(&scratch[i]);
    return status;
}

static tn_status load_added_token(const loader *l, const json_t *node)
{
    const json_t *content = json_object_get(node, "content");
    added_token token = {.text = (char *)json_string_value(content),
                         .n = (uint32_t)json_string_length(content),
                         .id = (int32_t)json_integer_value(json_object_get(node, "id"))};
    bool normalized_text = false;
    const struct {
        const char *key;
        bool *value;
    } flags[] = {{"special", &token.special},
                 {"single_word", &token.single_word},
                 {"lstrip", &token.lstrip},
                 {"rstrip", &token.rstrip},
                 {"normalized", &normalized_text}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        tn_status status = json_get_flag(node, flags[i].key, false, l->path, flags[i].value, l->err);
        if (status != TN_OK)
            return status;
    }
    l->tok->vocab.flags[token.id] |= TOKEN_LITERAL | (token.special ? TOKEN_SPECIAL : 0);
    return token.n > 0 ? add_token(l, &token, normalized_text) : TN_OK;
}

static tn_status load_added_tokens(const loader *l)
{
    const json_t *added = json_object_get(l->root, "added_tokens");
    tn_status status = TN_OK;
    if (added && !json_is_array(added) && !json_is_null(added))
        return corrupt(l, "\"added_tokens\" is not a list");
    for (size_t i = 0; status == TN_OK && i < json_array_size(added); i++)
        status = load_added_token(l, json_array_get(added, i));
    added_tokens_seal(&l->tok->raw);
    added_tokens_seal(&l->tok->normalized);
    return status;
}

static tn_status load_byte_ids(const loader *l)
{
    tn_tok *tok = l->tok;
    const json_t *unknown = json_object_get(l->model, "unk_token");
    bool fuse, fallback, missing = false;
    if (json_is_string(unknown) && json_string_length(unknown) > 0)
        tok->unknown_id = vocabulary_find(&tok->vocab, json_string_value(unknown), json_string_length(unknown));
    tok->role[TN_TOKEN_UNK] = tok->unknown_id;
    for (int byte = 0; byte < 256; byte++) {
        char utf8[2];
        size_t n = byte_level_char((uint8_t)byte, utf8);
        int32_t id = vocabulary_find(&tok->vocab, utf8, n);
        missing |= id < 0;
        tok->byte_id[byte] = id >= 0 ? id : tok->unknown_id;
    }
    tn_status status = json_get_flag(l->model, "fuse_unk", false, l->path, &fuse, l->err);
    if (status == TN_OK)
        status = json_get_flag(l->model, "byte_fallback", false, l->path, &fallback, l->err);
    if (status == TN_OK && missing && (fallback || (fuse && tok->unknown_id >= 0)))
        status =
            tn_fail(l->err, TN_E_UNSUPPORTED,
                    "%s: tokenizer.json: byte_fallback and fuse_unk need a token for every byte, and some are missing",
                    l->path);
    return status;
}

static tn_status load_tokenizer(loader *l)
{
    bool byte_level = false;
    l->model = json_object_get(l->root, "model");
    /* Files from before "type" was written hold BPE if they have merges. */
    const char *type = json_type_name(l->model), *decoder = json_type_name(json_object_get(l->root, "decoder"));
    if (strcmp(type, "BPE") != 0 && !(*type == '\0' && json_object_get(l->model, "merges")))
        return tn_fail(l->err, TN_E_NOT_FOUND, "%s: tokenizer.json: the model is \"%.40s\", not BPE", l->path, type);
    tn_status status = json_load_normalizer(l->tok, json_object_get(l->root, "normalizer"), l->path, l->err);
    if (status == TN_OK)
        status =
            json_load_pre_tokenizer(l->tok, json_object_get(l->root, "pre_tokenizer"), l->path, &byte_level, l->err);
    if (status == TN_OK && !byte_level)
        return tn_fail(l->err, TN_E_NOT_FOUND, "%s: tokenizer.json: the pre_tokenizer has no ByteLevel", l->path);
    if (status == TN_OK && *decoder != '\0' && strcmp(decoder, "ByteLevel") != 0)
        return tn_fail(l->err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a decoder of type \"%.40s\" is not supported",
                       l->path, decoder);
    if (status == TN_OK)
        status = check_model(l);
    if (status == TN_OK)
        status = json_get_flag(l->model, "ignore_merges", false, l->path, &l->tok->ignore_merges, l->err);
    if (status == TN_OK)
        status = load_vocabulary(l);
    if (status == TN_OK)
        status = load_merges(l);
    if (status == TN_OK)
        status = load_added_tokens(l);
    if (status == TN_OK)
        status = load_byte_ids(l);
    if (status == TN_OK)
        status = json_load_post_processor(l->tok, json_object_get(l->root, "post_processor"), l->path, l->err);
    return status;
}

/* tokenizer_config.json writes a token as its text or as {"content": text}. */
static void load_named_roles(tn_tok *tok, const json_t *config)
{
    static const struct {
        const char *key;
        uint32_t role;
    } keys[] = {{"bos_token", TN_TOKEN_BOS},
                {"eos_token", TN_TOKEN_EOS},
                {"pad_token", TN_TOKEN_PAD},
                {"unk_token", TN_TOKEN_UNK}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const json_t *value = json_object_get(config, keys[i].key);
        const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
        if (json_is_string(text))
            tok->role[keys[i].role] = vocabulary_find(&tok->vocab, json_string_value(text), json_string_length(text));
    }
}

static tn_status end_with(tn_tok *tok, const json_t *id, const char *path, const char *file, tn_error *err)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= tok->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s: eos_token_id is not an id of the vocabulary of %u tokens", path,
                       file, tok->vocab.count);
    tok->vocab.flags[json_integer_value(id)] |= TOKEN_ENDS;
    if (tok->role[TN_TOKEN_EOS] < 0)
        tok->role[TN_TOKEN_EOS] = (int32_t)json_integer_value(id);
    return TN_OK;
}

/* eos_token_id: an id or a list of ids, each of which ends a generation. */
static tn_status load_end_ids(tn_tok *tok, const json_t *config, const char *path, const char *file, tn_error *err)
{
    const json_t *end = json_object_get(config, "eos_token_id");
    if (!end || json_is_null(end))
        return TN_OK;
    if (!json_is_array(end))
        return end_with(tok, end, path, file, err);
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < json_array_size(end); i++)
        status = end_with(tok, json_array_get(end, i), path, file, err);
    return status;
}

static tn_status load_config(tn_tok *tok, const tn_source *source, const char *file, tn_error *err)
{
    json_t *config;
    tn_status status = parse_file(source, file, &config, err);
    if (status != TN_OK || !config)
        return status;
    load_named_roles(tok, config);
    status = load_end_ids(tok, config, source->path, file, err);
    json_decref(config);
    return status;
}

tn_status tokenizer_load_json(tn_tok *tok, const tn_source *source, tn_error *err)
{
    json_t *root;
    tn_status status = parse_file(source, "tokenizer.json", &root, err);
    if (status != TN_OK)
        return status;
    if (!root)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tokenizer.json", source->path);
    loader l = {.tok = tok, .path = source->path, .root = root, .err = err};
    status = load_tokenizer(&l);
    free(l.entries);
    json_decref(root);
    if (status == TN_OK)
        status = load_config(tok, source, "tokenizer_config.json", err);
    if (status == TN_OK)
        status = load_config(tok, source, "generation_config.json", err);
    if (status == TN_OK)
        status = load_config(tok, source, "config.json", err);
    if (status != TN_OK)
        return status;
    if (tok->role[TN_TOKEN_EOS] >= 0)
        tok->vocab.flags[tok->role[TN_TOKEN_EOS]] |= TOKEN_ENDS;
    end_tokens_mark(&tok->vocab);
    return TN_OK;
}
