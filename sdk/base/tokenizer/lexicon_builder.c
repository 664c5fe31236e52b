/* lexicon_builder.c: tokens, merges and added tokens. Source: huggingface/tokenizers, models/bpe and added_vocabulary.
 */
#include "base/tokenizer/lexicon_builder.h"

#include <string.h>

static tn_status corrupt(const lexicon_builder *build, const char *what)
{
    return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: %s", build->path, build->file, what);
}

/* Entries up to id, holes where nothing is known. */
static tn_status reserve(lexicon_builder *build, uint64_t id)
{
    if (id >= build->capacity) {
        uint64_t capacity = 2 * id + 256;
        lexicon_entry *grown = realloc(build->entry, capacity * sizeof *grown);
        if (!grown)
            return tn_fail(build->err, TN_E_MEMORY, "no memory for a vocabulary");
        build->entry = grown;
        build->capacity = capacity;
    }
    while (build->count <= id)
        build->entry[build->count++] = (lexicon_entry){0};
    return TN_OK;
}

tn_status lexicon_builder_set(lexicon_builder *build, uint64_t id, const char *text, size_t n)
{
    if (id >= VOCABULARY_TOKENS_MAX)
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: the id of \"%.64s\" is not an integer from 0 to %d",
                       build->path, build->file, text, VOCABULARY_TOKENS_MAX - 1);
    if (n > VOCABULARY_TOKEN_BYTES_MAX)
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: token %llu has %zu bytes; the limit is %d", build->path,
                       build->file, (unsigned long long)id, n, VOCABULARY_TOKEN_BYTES_MAX);
    tn_status status = reserve(build, id);
    if (status != TN_OK)
        return status;
    lexicon_entry *e = &build->entry[id];
    if (e->text && (e->n != n || memcmp(e->text, text, n) != 0))
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: \"%.*s\" and \"%.*s\" have the same id %llu", build->path,
                       build->file, e->n < 64 ? (int)e->n : 64, e->text, n < 64 ? (int)n : 64, text,
                       (unsigned long long)id);
    e->text = text;
    e->n = n;
    return TN_OK;
}

/* An id as JSON; what is none becomes one that lexicon_builder_set refuses. */
static uint64_t id_of(const json_t *id)
{
    return json_is_integer(id) && json_integer_value(id) >= 0 ? (uint64_t)json_integer_value(id) : UINT64_MAX;
}

tn_status lexicon_builder_vocab(lexicon_builder *build, const json_t *vocab)
{
    const char *text;
    json_t *id;
    tn_status status = TN_OK;
    if (!json_is_object(vocab) && !json_is_array(vocab))
        return corrupt(build, "the model has no \"vocab\"");
    json_object_foreach((json_t *)vocab, text, id)
    {
        if (status == TN_OK)
            status = lexicon_builder_set(build, id_of(id), text, strlen(text));
    }
    for (size_t i = 0; status == TN_OK && i < json_array_size(vocab); i++) {
        const json_t *piece = json_array_get(json_array_get(vocab, i), 0);
        if (!json_is_string(piece))
            return corrupt(build, "an element of \"vocab\" is not a list of a text and a score");
        status = lexicon_builder_set(build, i, json_string_value(piece), json_string_length(piece));
    }
    return status;
}

static tn_status add_added(lexicon_builder *build, uint64_t id, const json_t *token)
{
    const json_t *content = json_object_get(token, "content");
    if (!json_is_string(content))
        return corrupt(build, "an added token has no \"content\"");
    bool beyond = id >= build->count || !build->entry[id].text;
    tn_status status = lexicon_builder_set(build, id, json_string_value(content), json_string_length(content));
    if (status == TN_OK) {
        build->entry[id].beyond |= beyond;
        build->entry[id].added = token;
        build->entry[id].file = build->file;
    }
    return status;
}

tn_status lexicon_builder_added(lexicon_builder *build, const json_t *list)
{
    tn_status status = TN_OK;
    if (list && !json_is_array(list) && !json_is_null(list))
        return corrupt(build, "\"added_tokens\" is not a list");
    for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++) {
        const json_t *token = json_array_get(list, i);
        status = add_added(build, id_of(json_object_get(token, "id")), token);
    }
    return status;
}

tn_status lexicon_builder_decoder(lexicon_builder *build, const json_t *config)
{
    json_t *decoder = json_object_get(config, "added_tokens_decoder"), *token;
    const char *key, *file = build->file;
    tn_status status = TN_OK;
    build->file = "tokenizer_config.json";
    if (decoder && !json_is_object(decoder) && !json_is_null(decoder))
        status = corrupt(build, "\"added_tokens_decoder\" is not an object");
    json_object_foreach(decoder, key, token)
    {
        char *end;
        unsigned long long id = strtoull(key, &end, 10);
        if (status == TN_OK)
            status = add_added(build, *key >= '0' && *key <= '9' && !*end ? id : UINT64_MAX, token);
    }
    build->file = file;
    return status;
}

tn_status lexicon_builder_finish(lexicon_builder *build, uint64_t merges)
{
    if (build->count == 0)
        return corrupt(build, "the vocabulary is empty");
    if (merges > VOCABULARY_MERGES_MAX)
        return corrupt(build, "there are too many merges");
    tn_status status = vocabulary_init(&build->lex->vocab, build->count, merges, build->err);
    for (uint64_t i = 0; status == TN_OK && i < build->count; i++) {
        const lexicon_entry *e = &build->entry[i];
        int32_t twin = -1;
        status = vocabulary_add(&build->lex->vocab, e->text, e->n, &twin, build->err);
        if (status == TN_OK && twin >= 0)
            status = tn_fail(build->err, TN_E_CORRUPT, "%s: %s: \"%.*s\" has two ids, %d and %llu", build->path,
                             build->file, e->n < 64 ? (int)e->n : 64, e->text, twin, (unsigned long long)i);
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
static tn_status load_merge(const lexicon_builder *build, size_t rank, const json_t *rule, char *joined)
{
    vocabulary *vocab = &build->lex->vocab;
    const char *left_text, *right_text;
    size_t left_n, right_n;
    if (!parts_of(rule, &left_text, &left_n, &right_text, &right_n))
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: merge %zu is not two tokens", build->path, build->file, rank);
    int32_t left = vocabulary_find(vocab, left_text, left_n), right = vocabulary_find(vocab, right_text, right_n);
    int32_t merged = -1;
    if (left_n + right_n <= vocab->token_bytes_max) {
        memcpy(joined, left_text, left_n);
        memcpy(joined + left_n, right_text, right_n);
        merged = vocabulary_find(vocab, joined, left_n + right_n);
    }
    if (left < 0 || right < 0 || merged < 0)
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: merge %zu, \"%.*s\" and \"%.*s\": %s is not a token",
                       build->path, build->file, rank, left_n < 64 ? (int)left_n : 64, left_text,
                       right_n < 64 ? (int)right_n : 64, right_text,
                       left < 0    ? "the left part"
                       : right < 0 ? "the right part"
                                   : "the result");
    vocabulary_add_merge(vocab, left, right, merged, (uint32_t)rank, true);
    return TN_OK;
}

tn_status lexicon_builder_merges(lexicon_builder *build, const json_t *merges)
{
    tn_status status = TN_OK;
    char *joined = malloc((size_t)build->lex->vocab.token_bytes_max + 1);
    if (!joined)
        return tn_fail(build->err, TN_E_MEMORY, "no memory for a tokenizer");
    for (size_t i = 0; status == TN_OK && i < json_array_size(merges); i++)
        status = load_merge(build, i, json_array_get(merges, i), joined);
    free(joined);
    return status;
}

static tn_status read_flag(const lexicon_builder *build, int32_t id, const char *key, bool *ret_value)
{
    const lexicon_entry *e = &build->entry[id];
    const json_t *value = json_object_get(e->added, key);

    if (value && !json_is_null(value) && !json_is_boolean(value))
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: \"%s\" of the added token %d is not true or false",
                       build->path, e->file, key, id);
    *ret_value = json_is_true(value);
    return TN_OK;
}

static tn_status match_token(const lexicon_builder *build, int32_t id, lexicon_normalize normalize, void *ctx)
{
    const lexicon_entry *e = &build->entry[id];
    const char *text = e->text;
    size_t n = e->n;
    added_token token = {.id = id};
    bool in_normalized = false;
    const struct {
        const char *key;
        bool *value;
    } flags[] = {{"special", &token.special},
                 {"single_word", &token.single_word},
                 {"lstrip", &token.lstrip},
                 {"rstrip", &token.rstrip},
                 {"normalized", &in_normalized}};
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < sizeof flags / sizeof flags[0]; i++)
        status = read_flag(build, id, flags[i].key, flags[i].value);
    if (status == TN_OK && in_normalized && n > 0)
        status = normalize(ctx, text, n, &text, &n, build->err);
    if (status != TN_OK)
        return status;
    if (n > ADDED_TOKEN_BYTES_MAX)
        return tn_fail(build->err, TN_E_CORRUPT, "%s: %s: the added token %d is too long", build->path, e->file, id);
    build->lex->vocab.flags[id] |= TOKEN_LITERAL | (token.special ? TOKEN_SPECIAL : 0) | (e->beyond ? TOKEN_ADDED : 0);
    token.text = (char *)text;
    token.n = (uint32_t)n;
    return n > 0 ? added_tokens_add(in_normalized ? &build->lex->normalized : &build->lex->raw, &token, build->err)
                 : TN_OK;
}

tn_status lexicon_builder_match(lexicon_builder *build, lexicon_normalize normalize, void *ctx)
{
    tn_status status = TN_OK;
    for (uint64_t id = 0; status == TN_OK && id < build->count; id++) {
        if (build->entry[id].added)
            status = match_token(build, (int32_t)id, normalize, ctx);
    }
    return status;
}

void lexicon_builder_free(lexicon_builder *build)
{
    free(build->entry);
    build->entry = NULL;
    build->count = build->capacity = 0;
}
