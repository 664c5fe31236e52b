/* lexicon_roles.c: which tokens begin, end, pad and stand for the unknown, by the files beside the tokenizer.
 *
 * As transformers does: tokenizer_config.json before special_tokens_map.json, and what either names is a special token.
 */
#include "base/tokenizer/lexicon_builder.h"

#include <string.h>

/* A token is written as its text or as {"content": text}. -1: it has none, or one that is not in the vocabulary. */
static int32_t named_token(const lexicon *lex, const json_t *value)
{
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    return json_is_string(text) ? vocabulary_find(&lex->vocab, json_string_value(text), json_string_length(text)) : -1;
}

static tn_status make_special(lexicon_builder *build, int32_t id)
{
    lexicon *lex = build->lex;
    if (!(lex->vocab.flags[id] & TOKEN_LITERAL))
        return lexicon_add_literal(lex, id, true, build->path, build->err);
    lex->vocab.flags[id] |= TOKEN_SPECIAL;
    added_tokens_make_special(&lex->raw, id);
    added_tokens_make_special(&lex->normalized, id);
    return TN_OK;
}

static tn_status load_named_roles(lexicon_builder *build, const json_t *config)
{
    static const struct {
        const char *key;
        uint32_t role;
    } keys[] = {{"bos_token", TN_TOKEN_BOS},
                {"eos_token", TN_TOKEN_EOS},
                {"pad_token", TN_TOKEN_PAD},
                {"unk_token", TN_TOKEN_UNK}};
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < sizeof keys / sizeof keys[0]; i++) {
        int32_t id = named_token(build->lex, json_object_get(config, keys[i].key));
        if (id < 0)
            continue;
        build->lex->role[keys[i].role] = id;
        status = make_special(build, id);
    }
    return status;
}

/* additional_special_tokens: a list; extra_special_tokens: a list or {"name": token}. */
static tn_status load_more_specials(lexicon_builder *build, const json_t *config)
{
    static const char *const keys[] = {"additional_special_tokens", "extra_special_tokens"};
    tn_status status = TN_OK;
    for (size_t k = 0; status == TN_OK && k < sizeof keys / sizeof keys[0]; k++) {
        json_t *more = json_object_get(config, keys[k]), *value;
        const char *name;
        for (size_t i = 0; status == TN_OK && i < json_array_size(more); i++) {
            int32_t id = named_token(build->lex, json_array_get(more, i));
            status = id >= 0 ? make_special(build, id) : TN_OK;
        }
        json_object_foreach(more, name, value)
        {
            int32_t id = named_token(build->lex, value);
            if (status == TN_OK && id >= 0)
                status = make_special(build, id);
        }
    }
    return status;
}

static tn_status end_with(lexicon *lex, const json_t *id, const char *path, const char *file, tn_error *err)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= lex->vocab.count)
        return tn_fail(err, TN_E_CORRUPT, "%s: %s: eos_token_id is not an id of the vocabulary of %u tokens", path,
                       file, lex->vocab.count);
    lex->vocab.flags[json_integer_value(id)] |= TOKEN_ENDS;
    if (lex->role[TN_TOKEN_EOS] < 0)
        lex->role[TN_TOKEN_EOS] = (int32_t)json_integer_value(id);
    return TN_OK;
}

/* eos_token_id: an id or a list of ids, each of which ends a generation. */
static tn_status load_end_ids(lexicon *lex, const json_t *config, const char *path, const char *file, tn_error *err)
{
    const json_t *end = json_object_get(config, "eos_token_id");
    if (!end || json_is_null(end))
        return TN_OK;
    if (!json_is_array(end))
        return end_with(lex, end, path, file, err);
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < json_array_size(end); i++)
        status = end_with(lex, json_array_get(end, i), path, file, err);
    return status;
}

tn_status lexicon_builder_roles(lexicon_builder *build, const tokenizer_files *files)
{
    const struct {
        const json_t *root;
        const char *name;
    } configs[] = {{files->tokenizer_config, "tokenizer_config.json"},
                   {files->generation_config, "generation_config.json"},
                   {files->config, "config.json"}};
    tn_status status = load_named_roles(build, files->special_map);
    if (status == TN_OK)
        status = load_named_roles(build, files->tokenizer_config);
    if (status == TN_OK)
        status = load_more_specials(build, files->special_map);
    if (status == TN_OK)
        status = load_more_specials(build, files->tokenizer_config);
    for (size_t i = 0; status == TN_OK && i < sizeof configs / sizeof configs[0]; i++)
        status = load_end_ids(build->lex, configs[i].root, build->path, configs[i].name, build->err);
    return status;
}
