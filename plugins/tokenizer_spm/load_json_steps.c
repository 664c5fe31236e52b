/* load_json_steps.c: normalizer, pre_tokenizer and decoder of tokenizer.json. Source: huggingface/tokenizers. */
#include "load_directory.h"

#include <string.h>

/* ---- normalizer ---- */

static tn_status add_step(tn_tok *tok, const text_step *step, const char *path, tn_error *err)
{
    tn_error reason = TN_ERROR_INIT;
    tn_status status = text_normalizer_add(&tok->normalizer, step, &reason);
    return status == TN_OK ? TN_OK : tn_fail(err, status, "%s: tokenizer.json: %s", path, reason.msg);
}

static tn_status load_replace(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    const json_t *pattern = json_object_get(node, "pattern"), *content = json_object_get(node, "content");
    const json_t *text = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    text_step step = {.kind = TEXT_REPLACE,
                      .from = (char *)json_string_value(text),
                      .from_n = json_string_length(text),
                      .to = (char *)json_string_value(content),
                      .to_n = json_string_length(content)};
    if (json_is_string(regex) && strcmp(json_string_value(regex), " {2,}") == 0)
        step.kind = TEXT_COLLAPSE;
    else if (json_is_string(regex))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: Replace of the regex \"%.64s\" is not supported",
                       path, json_string_value(regex));
    if (!json_is_string(content) || (step.kind == TEXT_REPLACE && step.from_n == 0))
        return tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: a Replace has no pattern or no content", path);
    return add_step(tok, &step, path, err);
}

static tn_status load_strip(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    text_step step = {.kind = TEXT_STRIP};
    tn_status status = json_get_flag(node, "strip_left", true, path, &step.left, err);
    if (status == TN_OK)
        status = json_get_flag(node, "strip_right", true, path, &step.right, err);
    return status == TN_OK ? add_step(tok, &step, path, err) : status;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Decodes in place of a copy; false if text is not base64. */
static bool base64_decode(const char *text, size_t n, unsigned char *out, size_t *ret_n)
{
    size_t count = 0;
    while (n > 0 && text[n - 1] == '=')
        n--;
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        int value = base64_value(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 > 0)
            out[count++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    *ret_n = count;
    return n % 4 != 1;
}

static tn_status load_charsmap(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    const json_t *blob = json_object_get(node, "precompiled_charsmap");
    size_t n = json_string_length(blob), bytes;
    tn_error reason = TN_ERROR_INIT;
    if (json_is_unset(blob)) /* rewrites nothing */
        return TN_OK;
    if (tok->normalizer.map.unit)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a second Precompiled is not supported", path);
    unsigned char *decoded = malloc(n + 1);
    if (!decoded)
        return tn_fail(err, TN_E_MEMORY, "no memory for a precompiled_charsmap");
    tn_status status = base64_decode(json_string_value(blob), n, decoded, &bytes)
                           ? charsmap_load(&tok->normalizer.map, decoded, bytes, &reason)
                           : tn_fail(&reason, TN_E_CORRUPT, "precompiled_charsmap is not base64");
    free(decoded);
    if (status != TN_OK)
        return tn_fail(err, status, "%s: tokenizer.json: %s", path, reason.msg);
    return add_step(tok, &(text_step){.kind = TEXT_CHARSMAP}, path, err);
}

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
        if (strcmp(type, forms[i].name) == 0)
            return add_step(tok, &(text_step){.kind = TEXT_FORM, .form = forms[i].form}, path, err);
    }
    if (strcmp(type, "Prepend") == 0 && json_is_string(json_object_get(node, "prepend"))) {
        const json_t *text = json_object_get(node, "prepend");
        text_step step = {
            .kind = TEXT_PREPEND, .to = (char *)json_string_value(text), .to_n = json_string_length(text)};
        return add_step(tok, &step, path, err);
    }
    if (strcmp(type, "Replace") == 0)
        return load_replace(tok, node, path, err);
    if (strcmp(type, "Strip") == 0)
        return load_strip(tok, node, path, err);
    if (strcmp(type, "Precompiled") == 0)
        return load_charsmap(tok, node, path, err);
    return json_refuse_type(path, "normalizer", node, err);
}

tn_status json_load_normalizer(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    return json_is_unset(node) ? TN_OK : load_normalizer(tok, node, path, 0, err);
}

/* ---- pre_tokenizer ---- */

static tn_status set_text(word_step *step, const json_t *text, const char *path, tn_error *err)
{
    step->n = json_string_length(text);
    if (step->n == 0 || step->n > WORD_TEXT_BYTES_MAX)
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a pre_tokenizer's text has not 1 to %d bytes", path,
                       WORD_TEXT_BYTES_MAX);
    memcpy(step->text, json_string_value(text), step->n);
    return TN_OK;
}

/* Old files say add_prefix_space instead of prepend_scheme. */
static tn_status prepend_of(const json_t *node, const char *path, word_prepend *ret_prepend, tn_error *err)
{
    static const struct {
        const char *name;
        word_prepend prepend;
    } schemes[] = {{"never", WORD_PREPEND_NEVER}, {"first", WORD_PREPEND_FIRST}, {"always", WORD_PREPEND_ALWAYS}};
    const char *scheme = json_string_value(json_object_get(node, "prepend_scheme"));
    bool prefix;
    tn_status status = json_get_flag(node, "add_prefix_space", true, path, &prefix, err);
    *ret_prepend = prefix ? WORD_PREPEND_ALWAYS : WORD_PREPEND_NEVER;
    for (size_t i = 0; scheme && i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strcmp(scheme, schemes[i].name) == 0) {
            *ret_prepend = schemes[i].prepend;
            return status;
        }
    }
    return scheme ? tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: Metaspace has the unknown prepend_scheme \"%.40s\"",
                            path, scheme)
                  : status;
}

static tn_status load_metaspace(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    word_step step = {.kind = WORD_META};
    tn_status status = set_text(&step, json_object_get(node, "replacement"), path, err);
    if (status == TN_OK)
        status = json_get_flag(node, "split", true, path, &step.cut, err);
    if (status == TN_OK)
        status = prepend_of(node, path, &step.prepend, err);
    return status == TN_OK ? word_splitter_add(&tok->words, &step, err) : status;
}

static tn_status load_split(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    static const struct {
        const char *name;
        word_behavior behavior;
    } behaviors[] = {{"Isolated", WORD_ISOLATED},
                     {"Removed", WORD_REMOVED},
                     {"MergedWithPrevious", WORD_WITH_PREVIOUS},
                     {"MergedWithNext", WORD_WITH_NEXT},
                     {"Contiguous", WORD_CONTIGUOUS}};
    const json_t *pattern = json_object_get(node, "pattern");
    const char *name = json_string_value(json_object_get(node, "behavior"));
    word_step step = {.kind = WORD_TEXT};
    bool inverted;
    if (!json_is_string(json_object_get(pattern, "String")))
        return tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: a Split by regex of pieces is not supported", path);
    tn_status status = set_text(&step, json_object_get(pattern, "String"), path, err);
    if (status == TN_OK)
        status = json_get_flag(node, "invert", false, path, &inverted, err);
    if (status == TN_OK && inverted)
        status = tn_fail(err, TN_E_UNSUPPORTED, "%s: tokenizer.json: an inverted Split is not supported", path);
    for (size_t i = 0; status == TN_OK && name && i < sizeof behaviors / sizeof behaviors[0]; i++) {
        if (strcmp(name, behaviors[i].name) == 0) {
            step.behavior = behaviors[i].behavior;
            return word_splitter_add(&tok->words, &step, err);
        }
    }
    return status == TN_OK
               ? tn_fail(err, TN_E_CORRUPT, "%s: tokenizer.json: a Split has the unknown behavior \"%.40s\"", path,
                         name ? name : "")
               : status;
}

static tn_status load_words(tn_tok *tok, const json_t *node, const char *path, uint32_t depth, tn_error *err)
{
    const char *type = json_type_name(node);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_get_sequence(node, "pretokenizers", path, depth, err);
        tn_status status = list ? TN_OK : TN_E_CORRUPT;
        for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++)
            status = load_words(tok, json_array_get(list, i), path, depth + 1, err);
        return status;
    }
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(tok, node, path, err);
    if (strcmp(type, "Split") == 0)
        return load_split(tok, node, path, err);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return word_splitter_add(&tok->words, &(word_step){.kind = WORD_SPACES}, err);
    return json_refuse_type(path, "pre_tokenizer", node, err);
}

tn_status json_load_words(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    return json_is_unset(node) ? TN_OK : load_words(tok, node, path, 0, err);
}

/* ---- decoder ---- */

/* Pieces are always decoded alike; what differs between files is whether the first loses its space. */
static tn_status load_decoder(tn_tok *tok, const json_t *node, const char *path, uint32_t depth, tn_error *err)
{
    const char *type = json_type_name(node);
    if (strcmp(type, "Sequence") == 0) {
        const json_t *list = json_get_sequence(node, "decoders", path, depth, err);
        tn_status status = list ? TN_OK : TN_E_CORRUPT;
        for (size_t i = 0; status == TN_OK && i < json_array_size(list); i++)
            status = load_decoder(tok, json_array_get(list, i), path, depth + 1, err);
        return status;
    }
    if (strcmp(type, "Metaspace") == 0) {
        word_prepend prepend;
        tn_status status = prepend_of(node, path, &prepend, err);
        tok->strip_first |= prepend != WORD_PREPEND_NEVER;
        return status;
    }
    if (strcmp(type, "Strip") == 0) {
        tok->strip_first |= json_integer_value(json_object_get(node, "start")) > 0;
        return TN_OK;
    }
    if (strcmp(type, "Replace") == 0 || strcmp(type, "ByteFallback") == 0 || strcmp(type, "Fuse") == 0)
        return TN_OK;
    return json_refuse_type(path, "decoder", node, err);
}

tn_status json_load_decoder(tn_tok *tok, const json_t *node, const char *path, tn_error *err)
{
    return json_is_unset(node) ? TN_OK : load_decoder(tok, node, path, 0, err);
}
