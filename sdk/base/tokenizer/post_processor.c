/* post_processor.c: post_processor of tokenizer.json, as far as it concerns a single text. Source:
 * huggingface/tokenizers.
 */
#include "base/tokenizer/lexicon_builder.h"

#include <string.h>

static tn_status add_to_frame(const lexicon *lex, const json_t *id, const char *path, int32_t *frame, uint32_t *count,
                              tn_error *err)
{
    json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
    if (value < 0 || value >= lex->vocab.count)
        return tn_fail(err, TN_E_CORRUPT,
                       "%s: tokenizer.json: the post_processor names a token outside the vocabulary of %u", path,
                       lex->vocab.count);
    if (*count == LEXICON_FRAME_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: the post_processor adds more than %d tokens", path,
                       LEXICON_FRAME_MAX);
    frame[(*count)++] = (int32_t)value;
    return TN_OK;
}

/* {"SpecialToken": {"id": NAME}}, where special_tokens[NAME].ids are the tokens. */
static tn_status add_template_tokens(lexicon *lex, const json_t *node, const json_t *part, bool before,
                                     const char *path, tn_error *err)
{
    const char *name = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
    const json_t *known = name ? json_object_get(json_object_get(node, "special_tokens"), name) : NULL;
    const json_t *ids = json_object_get(known, "ids");
    if (!json_is_array(ids))
        return tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: TemplateProcessing names the unknown token \"%.40s\"",
                       path, name ? name : "");
    tn_status status = TN_OK;
    for (size_t i = 0; status == TN_OK && i < json_array_size(ids); i++)
        status = before ? add_to_frame(lex, json_array_get(ids, i), path, lex->prefix, &lex->prefix_count, err)
                        : add_to_frame(lex, json_array_get(ids, i), path, lex->suffix, &lex->suffix_count, err);
    return status;
}

static tn_status load_template(lexicon *lex, const json_t *node, const char *path, tn_error *err)
{
    const json_t *single = json_object_get(node, "single");
    tn_status status = TN_OK;
    bool before = true;
    for (size_t i = 0; status == TN_OK && i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        if (json_object_get(part, "Sequence") && before)
            before = false;
        else
            status = add_template_tokens(lex, node, part, before, path, err);
    }
    if (status == TN_OK && before)
        return tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: TemplateProcessing has no place for the text", path);
    return status;
}

/* {"cls": [text, id], "sep": [text, id]} */
static tn_status load_cls_sep(lexicon *lex, const json_t *node, const char *path, tn_error *err)
{
    const json_t *cls = json_object_get(node, "cls"), *sep = json_object_get(node, "sep");
    tn_status status = add_to_frame(lex, json_array_get(cls, 1), path, lex->prefix, &lex->prefix_count, err);
    return status == TN_OK ? add_to_frame(lex, json_array_get(sep, 1), path, lex->suffix, &lex->suffix_count, err)
                           : status;
}

static tn_status load_post_processor(lexicon *lex, const json_t *node, const char *path, uint32_t depth, tn_error *err)
{
    const char *type = json_type_name(node);
    if (strcmp(type, "ByteLevel") == 0) /* offsets only */
        return TN_OK;
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_get_sequence(node, "processors", path, depth, err);
        tn_status status = list ? TN_OK : TN_E_CORRUPT;
        for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++)
            status = load_post_processor(lex, json_array_get(list, i), path, depth + 1, err);
        return status;
    }
    bool first = lex->prefix_count == 0 && lex->suffix_count == 0; /* two would have to nest */
    if (strcmp(type, "TemplateProcessing") == 0 && first)
        return load_template(lex, node, path, err);
    if ((strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) && first)
        return load_cls_sep(lex, node, path, err);
    return json_refuse_type(path, "post_processor", node, err);
}

tn_status lexicon_builder_frame(lexicon_builder *build, const json_t *post_processor)
{
    return json_is_unset(post_processor) ? TN_OK
                                         : load_post_processor(build->lex, post_processor, build->path, 0, build->err);
}
