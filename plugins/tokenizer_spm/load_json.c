/* load_json.c: a tokenizer from a checkpoint directory: its tokenizer.json, if that is of SentencePiece's kind, or else
 * its tokenizer.model. Source: huggingface/tokenizers, models/bpe and models/unigram.
 */
#include "load_directory.h"

#include <string.h>

/* What writes added tokens as the normaliser would. */
typedef struct content_forms {
    const tn_tok *tok;
    text_scratch scratch;
} content_forms;

static tn_status normalize_content(void *ctx, const char *text, size_t n, const char **ret_text, size_t *ret_n,
                                   tn_error *err)
{
    content_forms *forms = ctx;
    return text_normalizer_apply(&forms->tok->normalizer, &forms->scratch, text, n, true, ret_text, ret_n, err);
}

static tn_status load_bpe(tn_tok *tok, lexicon_builder *build, const json_t *model)
{
    const json_t *unknown = json_object_get(model, "unk_token");
    tok->model = SPM_MERGES;
    if (json_is_string(unknown))
        tok->unknown_id = vocabulary_find(&tok->lex.vocab, json_string_value(unknown), json_string_length(unknown));
    tn_status status = json_get_flag(model, "fuse_unk", false, build->path, &tok->fuse_unknown, build->err);
    if (status == TN_OK)
        status = json_get_flag(model, "ignore_merges", false, build->path, &tok->ignore_merges, build->err);
    return status == TN_OK ? lexicon_builder_merges(build, json_object_get(model, "merges")) : status;
}

static tn_status load_unigram(tn_tok *tok, lexicon_builder *build, const json_t *model)
{
    const json_t *list = json_object_get(model, "vocab"), *unknown = json_object_get(model, "unk_id");
    double *score = calloc(tok->lex.vocab.count, sizeof *score), least = 0;
    tok->model = SPM_UNIGRAM;
    tok->fuse_unknown = true;
    if (!score)
        return tn_fail(build->err, TN_E_MEMORY, "no memory for a vocabulary");
    for (size_t i = 0; i < json_array_size(list); i++) {
        score[i] = json_number_value(json_array_get(json_array_get(list, i), 1));
        least = i == 0 || score[i] < least ? score[i] : least;
    }
    tok->uni.unknown_score = least - 10;
    tn_status status = tokenizer_set_scores(tok, score, build->path, build->err);
    if (status == TN_OK && !json_is_unset(unknown)) {
        json_int_t id = json_is_integer(unknown) ? json_integer_value(unknown) : -1;
        if (id < 0 || id >= (json_int_t)json_array_size(list))
            return tn_fail(build->err, TN_E_CORRUPT, "%s: tokenizer.json: \"unk_id\" is not in the vocabulary",
                           build->path);
        tok->unknown_id = (int32_t)id;
        tok->lex.vocab.flags[id] |= TOKEN_SPECIAL;
    }
    return status;
}

static tn_status load_added_tokens(tn_tok *tok, lexicon_builder *build)
{
    content_forms forms = {.tok = tok};
    tn_status status = lexicon_builder_match(build, normalize_content, &forms);
    text_scratch_finish(&forms.scratch);
    return status;
}

static tn_status load_lexicon(tn_tok *tok, lexicon_builder *build, const tokenizer_files *files, bool unigram)
{
    const json_t *root = files->tokenizer, *model = json_object_get(root, "model");
    tn_status status = lexicon_builder_vocab(build, json_object_get(model, "vocab"));
    if (status == TN_OK)
        status = lexicon_builder_added(build, json_object_get(root, "added_tokens"));
    if (status == TN_OK)
        status = lexicon_builder_decoder(build, files->tokenizer_config);
    if (status == TN_OK)
        status = lexicon_builder_finish(build, json_array_size(json_object_get(model, "merges")));
    if (status == TN_OK)
        status = load_added_tokens(tok, build);
    if (status == TN_OK)
        status = json_get_flag(model, "byte_fallback", false, build->path, &tok->byte_fallback, build->err);
    if (status == TN_OK)
        tokenizer_find_bytes(tok, tok->byte_fallback);
    if (status == TN_OK)
        status = unigram ? load_unigram(tok, build, model) : load_bpe(tok, build, model);
    if (status == TN_OK)
        status = lexicon_builder_frame(build, json_object_get(root, "post_processor"));
    if (status != TN_OK)
        return status;
    tok->lex.role[TN_TOKEN_UNK] = tok->unknown_id;
    return lexicon_builder_roles(build, files);
}

tn_status tokenizer_load_json(tn_tok *tok, const tokenizer_files *files, const char *path, tn_error *err)
{
    const json_t *root = files->tokenizer, *model = json_object_get(root, "model");
    const char *type = json_model_type(model);
    bool unigram = strcmp(type, "Unigram") == 0, bpe = strcmp(type, "BPE") == 0;
    if (!unigram && (!bpe || json_has_byte_level(json_object_get(root, "pre_tokenizer"))))
        return tn_fail(err, TN_E_NOT_FOUND,
                       "%s: tokenizer.json: the model is %s\"%.40s\", not BPE or Unigram of pieces", path,
                       bpe ? "byte-level " : "", type);
    tn_status status = bpe ? json_check_bpe(model, path, err) : TN_OK;
    if (status == TN_OK)
        status = json_load_normalizer(tok, json_object_get(root, "normalizer"), path, err);
    if (status == TN_OK)
        status = json_load_words(tok, json_object_get(root, "pre_tokenizer"), path, err);
    if (status == TN_OK)
        status = json_load_decoder(tok, json_object_get(root, "decoder"), path, err);
    if (status != TN_OK)
        return status;
    lexicon_builder build = {.lex = &tok->lex, .path = path, .file = "tokenizer.json", .err = err};
    status = load_lexicon(tok, &build, files, unigram);
    lexicon_builder_free(&build);
    return status;
}

tn_status tokenizer_load_directory(tn_tok *tok, const tn_source *source, tn_error *err)
{
    tokenizer_files files;
    tn_meta file = {.struct_size = (uint32_t)sizeof file};
    tn_status status = tokenizer_files_open(source, &files, err);
    if (status != TN_OK)
        return status;
    if (files.tokenizer)
        status = tokenizer_load_json(tok, &files, source->path, err);
    else if (source->meta(source, "tokenizer.model", &file) == TN_OK && file.kind == TN_META_STRING)
        status = tokenizer_load_model(tok, &file, &files, source->path, err);
    else
        status = tn_fail(err, TN_E_NOT_FOUND, "%s: there is no tokenizer.json and no tokenizer.model", source->path);
    if (status == TN_OK)
        lexicon_seal(&tok->lex);
    tokenizer_files_close(&files);
    return status;
}
