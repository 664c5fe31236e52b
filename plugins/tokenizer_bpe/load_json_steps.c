/* load_json_steps.c: normalizer and pre_tokenizer of tokenizer.json. Source: huggingface/tokenizers.
 *
 * Each pre-tokenizer becomes splits by regex. Those listed behind ByteLevel see the text in the byte alphabet.
 */
#include "load_json.h"

#include <string.h>

#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PUNCTUATION "[\\p{P}$+<=>^`|~]"

static tn_status load_normalizer(tn_tok *tok, const json_t *node, const char *path, uint32_t depth, tn_error *err)
{
    static const struct {
        const char *name;
        normal_form form;
    } forms[] = {{"NFC", NORMAL_FORM_C}, {"NFD", NORMAL_FORM_D}, {"NFKC", NORMAL_FORM_KC}, {"NFKD", NORMAL_FORM_KD}};
    const char *type = json_type_name(node);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_get_sequence(node, "normalizers", path, depth, err);
        tn_status status = list ? TN_OK : TN_E_CORRUPT;
        for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++)
            status = load_normalizer(tok, json_array_get(list, i), path, depth + 1, err);
        return status;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (strcmp(type, forms[i].name) == 0 && tok->form_count < TOKENIZER_FORMS_MAX) {
            tok->form[tok->form_count++] = forms[i].form;
            return TN_OK;
        }
    }
    return json_refuse_type(path, "normalizer", node, err);
}

tn_status json_load_normalizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    return !node || json_is_null(node) ? TN_OK : load_normalizer(tok, node, path, 0, err);
}

static bool behavior_of(const char *name, split_behavior *ret_behavior)
{
    static const struct {
        const char *name;
        split_behavior behavior;
    } behaviors[] = {{"Isolated", SPLIT_ISOLATED},
                     {"Removed", SPLIT_REMOVED},
                     {"MergedWithPrevious", SPLIT_MERGED_WITH_PREVIOUS},
                     {"MergedWithNext", SPLIT_MERGED_WITH_NEXT},
                     {"Contiguous", SPLIT_CONTIGUOUS}};
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        if (strcmp(name, behaviors[i].name) == 0) {
            *ret_behavior = behaviors[i].behavior;
            return true;
        }
    }
    return false;
}

/* The chain being built. */
typedef struct chain {
    tn_tok *tok;
    const char *path;
    bool byte_level; /* ByteLevel has been seen */
    tn_error *err;
} chain;

static tn_status add_pattern(chain *c, const char *pattern, size_t n, bool literal, split_behavior behavior,
                             bool inverted)
{
    tn_error reason = TN_ERROR_INIT;
    tn_status status = pre_tokenizer_add_split(&c->tok->pre, c->byte_level ? PRE_STEP_SPLIT_BYTES : PRE_STEP_SPLIT,
                                               pattern, n, literal, behavior, inverted, &reason);
    return status == TN_OK ? TN_OK : tn_fail(c->err, status, "%s: tokenizer.json: %s", c->path, reason.msg);
}

static tn_status add_regex(chain *c, const char *regex, split_behavior behavior, bool inverted)
{
    return add_pattern(c, regex, strlen(regex), false, behavior, inverted);
}

static tn_status add_split(chain *c, const json_t *node)
{
    const json_t *pattern = json_object_get(node, "pattern");
    const json_t *regex = json_object_get(pattern, "Regex"), *literal = json_object_get(pattern, "String");
    const char *name = json_string_value(json_object_get(node, "behavior"));
    const json_t *text = regex ? regex : literal;
    split_behavior behavior;
    bool inverted;
    if (!json_is_string(text) || json_string_length(text) == 0)
        return tn_fail(c->err, TN_E_CORRUPT, "%s: tokenizer.json: a Split has no pattern {\"Regex\"} or {\"String\"}",
                       c->path);
    if (!name || !behavior_of(name, &behavior))
        return tn_fail(c->err, TN_E_CORRUPT, "%s: tokenizer.json: a Split has the unknown behavior \"%.40s\"", c->path,
                       name ? name : "");
    tn_status status = json_get_flag(node, "invert", false, c->path, &inverted, c->err);
    if (status != TN_OK)
        return status;
    return add_pattern(c, json_string_value(text), json_string_length(text), text == literal, behavior, inverted);
}

static tn_status add_byte_level(chain *c, const json_t *node)
{
    bool prefix_space, use_regex;
    if (c->byte_level)
        return tn_fail(c->err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a second ByteLevel is not supported", c->path);
    tn_status status = json_get_flag(node, "add_prefix_space", true, c->path, &prefix_space, c->err);
    if (status == TN_OK)
        status = json_get_flag(node, "use_regex", true, c->path, &use_regex, c->err);
    if (status == TN_OK && prefix_space)
        status = pre_tokenizer_add_prefix_space(&c->tok->pre, c->err);
    if (status == TN_OK && use_regex)
        status = add_regex(c, GPT2, SPLIT_ISOLATED, false);
    c->byte_level = true;
    return status;
}

static tn_status add_digits(chain *c, const json_t *node)
{
    bool individual;
    tn_status status = json_get_flag(node, "individual_digits", false, c->path, &individual, c->err);
    return status == TN_OK ? add_regex(c, "\\p{N}", individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, false) : status;
}

static tn_status add_punctuation(chain *c, const json_t *node)
{
    const char *name = json_string_value(json_object_get(node, "behavior"));
    split_behavior behavior;
    if (!behavior_of(name ? name : "Isolated", &behavior))
        return tn_fail(c->err, TN_E_CORRUPT, "%s: tokenizer.json: Punctuation has the unknown behavior \"%.40s\"",
                       c->path, name);
    return add_regex(c, PUNCTUATION, behavior, false);
}

static tn_status add_step(chain *c, const json_t *node, uint32_t depth)
{
    const char *type = json_type_name(node);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_get_sequence(node, "pretokenizers", c->path, depth, c->err);
        tn_status status = list ? TN_OK : TN_E_CORRUPT;
        for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++)
            status = add_step(c, json_array_get(list, i), depth + 1);
        return status;
    }
    if (strcmp(type, "ByteLevel") == 0)
        return add_byte_level(c, node);
    if (strcmp(type, "Split") == 0)
        return add_split(c, node);
    if (strcmp(type, "Digits") == 0)
        return add_digits(c, node);
    if (strcmp(type, "Punctuation") == 0)
        return add_punctuation(c, node);
    if (strcmp(type, "Whitespace") == 0)
        return add_regex(c, "\\w+|[^\\w\\s]+", SPLIT_REMOVED, true);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_regex(c, "\\s", SPLIT_REMOVED, false);
    return json_refuse_type(c->path, "pre_tokenizer", node, c->err);
}

tn_status json_load_pre_tokenizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    chain c = {.tok = tok, .path = path, .err = err};
    return add_step(&c, node, 0);
}
