/* load_json.c: a tokenizer from a checkpoint directory: tokenizer.json and what the files beside it add. Source:
 * huggingface/tokenizers, models/bpe and added_vocabulary.
 */
#include "load_json.h"

#include "base/tokenizer/lexicon_builder.h"
#include "byte_level.h"

#include <string.h>

/* The words of one normalisation after the other. */
typedef struct content_forms {
    const tn_tok *tok;
    normalized scratch[TOKENIZER_FORMS_MAX];
} content_forms;

static tn_status normalize_content(void *ctx, const char *text, size_t n, const char **ret_text, size_t *ret_n,
                                   tn_error *err)
{
    content_forms *forms = ctx;
    tn_status status = TN_OK;
    for (uint32_t i = 0; i < forms->tok->form_count && status == TN_OK; i++)
        status = normal_form_apply(forms->tok->form[i], text, n, &forms->scratch[i], &text, &n, err);
    *ret_text = text;
    *ret_n = n;
    return status;
}

static tn_status load_added_tokens(lexicon_builder *build, const tn_tok *tok)
{
    content_forms forms = {.tok = tok};
    tn_status status = lexicon_builder_match(build, normalize_content, &forms);
    for (uint32_t i = 0; i < TOKENIZER_FORMS_MAX; i++)
        normalized_finish(&forms.scratch[i]);
    return status;
}

static tn_status load_byte_ids(tn_tok *tok, const json_t *model, const char *path, tn_error *err)
{
    const json_t *unknown = json_object_get(model, "unk_token");
    const vocabulary *vocab = &tok->lex.vocab;
    bool fuse, fallback, missing = false;
    if (!json_is_unset(unknown) && json_is_string(unknown))
        tok->unknown_id = vocabulary_find(vocab, json_string_value(unknown), json_string_length(unknown));
    tok->lex.role[TN_TOKEN_UNK] = tok->unknown_id;
    for (int byte = 0; byte < 256; byte++) {
        char utf8[2];
        size_t n = byte_level_char((uint8_t)byte, utf8);
        int32_t id = vocabulary_find(vocab, utf8, n);
        missing |= id < 0;
        tok->byte_id[byte] = id >= 0 ? id : tok->unknown_id;
    }
    tn_status status = json_get_flag(model, "fuse_unk", false, path, &fuse, err);
    if (status == TN_OK)
        status = json_get_flag(model, "byte_fallback", false, path, &fallback, err);
    if (status == TN_OK && missing && (fallback || (fuse && tok->unknown_id >= 0)))
        status = tn_fail(
            err, TN_E_UNSUPPORTED,
            "%s: tokenizer.json: byte_fallback and fuse_unk need a token for every byte, and some are missing", path);
    return status;
}

static tn_status load_steps(tn_tok *tok, const json_t *root, const char *path, tn_error *err)
{
    const json_t *model = json_object_get(root, "model"), *pre = json_object_get(root, "pre_tokenizer");
    const char *type = json_model_type(model), *decoder = json_type_name(json_object_get(root, "decoder"));
    if (strcmp(type, "BPE") != 0)
        return tn_fail(err, TN_E_NOT_FOUND, "%s: tokenizer.json: the model is \"%.40s\", not BPE", path, type);
    if (!json_has_byte_level(pre))
        return tn_fail(err, TN_E_NOT_FOUND, "%s: tokenizer.json: the pre_tokenizer has no ByteLevel", path);
    tn_status status = json_load_normalizer(tok, json_object_get(root, "normalizer"), path, err);
    if (status == TN_OK)
        status = json_load_pre_tokenizer(tok, pre, path, err);
    if (status == TN_OK && *decoder != '\0' && strcmp(decoder, "ByteLevel") != 0)
        status = json_refuse_type(path, "decoder", json_object_get(root, "decoder"), err);
    if (status == TN_OK)
        status = json_check_bpe(model, path, err);
    return status == TN_OK ? json_get_flag(model, "ignore_merges", false, path, &tok->ignore_merges, err) : status;
}

static tn_status load_lexicon(lexicon_builder *build, tn_tok *tok, const tokenizer_files *files)
{
    const json_t *root = files->tokenizer, *model = json_object_get(root, "model");
    const json_t *merges = json_object_get(model, "merges");
    tn_status status = lexicon_builder_vocab(build, json_object_get(model, "vocab"));
    if (status == TN_OK)
        status = lexicon_builder_added(build, json_object_get(root, "added_tokens"));
    if (status == TN_OK)
        status = lexicon_builder_decoder(build, files->tokenizer_config);
    if (status == TN_OK)
        status = lexicon_builder_finish(build, json_array_size(merges));
    if (status == TN_OK)
        status = lexicon_builder_merges(build, merges);
    if (status == TN_OK)
        status = load_added_tokens(build, tok);
    if (status == TN_OK)
        status = load_byte_ids(tok, model, build->path, build->err);
    if (status == TN_OK)
        status = lexicon_builder_frame(build, json_object_get(root, "post_processor"));
    return status == TN_OK ? lexicon_builder_roles(build, files) : status;
}

tn_status tokenizer_load_json(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tokenizer_files files;
    tn_status status = tokenizer_files_open(source, &files, err);
    if (status != TN_OK)
        return status;
    lexicon_builder build = {.lex = &tok->lex, .path = source->path, .file = "tokenizer.json", .err = err};
    if (!files.tokenizer)
        status = tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tokenizer.json", source->path);
    if (status == TN_OK)
        status = load_steps(tok, files.tokenizer, source->path, err);
    if (status == TN_OK)
        status = load_lexicon(&build, tok, &files);
    if (status == TN_OK)
        lexicon_seal(&tok->lex);
    lexicon_builder_free(&build);
    tokenizer_files_close(&files);
    return status;
}
