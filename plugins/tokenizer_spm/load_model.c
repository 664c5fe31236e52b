/* load_model.c: a tokenizer from a checkpoint directory without tokenizer.json: tokenizer.model, SentencePiece's own
 * file, and what the JSON files beside it add.
 */
#include "load_directory.h"
#include "model_proto.h"

#include <string.h>

static tn_status refuse(const lexicon_builder *build, tn_status status, const char *what)
{
    return tn_fail(build->err, status, "%s: tokenizer.model: %s", build->path, what);
}

/* What of a model nobody has implemented here, or nobody should. */
static tn_status check_model(const lexicon_builder *build, const model_proto *model)
{
    if (model->model_type != PROTO_UNIGRAM && model->model_type != PROTO_BPE)
        return refuse(build, TN_E_UNSUPPORTED,
                      model->model_type == PROTO_WORD ? "models of type word are not supported"
                                                      : "models of type char are not supported");
    if (!model->escape_spaces)
        return refuse(build, TN_E_UNSUPPORTED, "escape_whitespaces = false is not supported");
    if (model->denormalizes)
        return refuse(build, TN_E_UNSUPPORTED, "a denormalizer is not supported");
    for (uint64_t id = 0; id < model->count; id++) {
        if (model->piece[id].text.n == 0)
            return refuse(build, TN_E_CORRUPT, "a piece is empty");
        if (model->piece[id].type == PROTO_UNUSED && model->model_type == PROTO_BPE)
            return refuse(build, TN_E_UNSUPPORTED, "unused pieces in a BPE model are not supported");
    }
    return TN_OK;
}

/* added_tokens.json: {"text": id} */
static tn_status gather_added(lexicon_builder *build, const json_t *added)
{
    const char *text, *file = build->file;
    json_t *id;
    tn_status status = TN_OK;
    build->file = "added_tokens.json";
    json_object_foreach((json_t *)added, text, id)
    {
        bool valid = json_is_integer(id) && json_integer_value(id) >= 0;
        if (status == TN_OK)
            status =
                lexicon_builder_set(build, valid ? (uint64_t)json_integer_value(id) : UINT64_MAX, text, strlen(text));
    }
    build->file = file;
    return status;
}

static tn_status gather(lexicon_builder *build, const model_proto *model, const tokenizer_files *files)
{
    tn_status status = TN_OK;
    for (uint64_t id = 0; status == TN_OK && id < model->count; id++)
        status = lexicon_builder_set(build, id, model->piece[id].text.text, model->piece[id].text.n);
    if (status == TN_OK)
        status = gather_added(build, files->added_tokens);
    if (status == TN_OK)
        status = lexicon_builder_decoder(build, files->tokenizer_config);
    return status == TN_OK ? lexicon_builder_finish(build, 0) : status;
}

static tn_status add_user_piece(tn_tok *tok, int32_t id, proto_text text, const lexicon_builder *build)
{
    tok->lex.vocab.flags[id] |= TOKEN_LITERAL;
    if (text.n > ADDED_TOKEN_BYTES_MAX)
        return refuse(build, TN_E_CORRUPT, "a user-defined piece is too long");
    added_token token = {.text = (char *)text.text, .n = (uint32_t)text.n, .id = id};
    return added_tokens_add(&tok->user, &token, build->err);
}

/* Flags by the pieces' types. Tokens beyond the model's pieces are added ones. */
static tn_status apply_types(tn_tok *tok, const model_proto *model, lexicon_builder *build)
{
    tn_status status = TN_OK;
    for (uint64_t i = 0; status == TN_OK && i < build->count; i++) {
        uint32_t type = i < model->count ? model->piece[i].type : PROTO_USER_DEFINED;
        int32_t id = (int32_t)i;
        bool special = type == PROTO_CONTROL || type == PROTO_UNKNOWN;
        if (type == PROTO_UNKNOWN)
            tok->unknown_id = tok->lex.role[TN_TOKEN_UNK] = id;
        if (type == PROTO_BYTE)
            tok->lex.vocab.flags[i] |= TOKEN_BYTE;
        if (type == PROTO_UNUSED || !build->entry[i].text)
            tok->lex.vocab.flags[i] |= TOKEN_UNUSED;
        if (i >= model->count)
            tok->lex.vocab.flags[i] |= TOKEN_ADDED;
        if (build->entry[i].added || !build->entry[i].text)
            continue; /* it is matched as its entry says */
        if (special || (i >= model->count))
            status = lexicon_add_literal(&tok->lex, id, special, build->path, build->err);
        else if (type == PROTO_USER_DEFINED)
            status = add_user_piece(tok, id, model->piece[i].text, build);
    }
    return status;
}

static tn_status copy_scores(tn_tok *tok, const model_proto *model, const lexicon_builder *build)
{
    uint32_t count = tok->lex.vocab.count;
    double *score = calloc(count, sizeof *score);
    if (!score)
        return tn_fail(build->err, TN_E_MEMORY, "no memory for a vocabulary");
    float least = 0;
    bool any = false;
    for (uint64_t i = 0; i < model->count; i++) {
        float value = model->piece[i].score;
        score[i] = value;
        if (model->piece[i].type != PROTO_NORMAL)
            continue;
        least = !any || value < least ? value : least;
        any = true;
    }
    tok->uni.unknown_score = least - 10.0f;
    tok->uni.user_byte_score = 0.1; /* as sentencepiece 0.2.3 does */
    tok->uni.user_scores = tok->uni.single = true;
    return tokenizer_set_scores(tok, score, build->path, build->err);
}

static int32_t control_piece(const lexicon *lex, proto_text text)
{
    int32_t id = vocabulary_find(&lex->vocab, text.text, text.n);
    return id >= 0 && (lex->vocab.flags[id] & TOKEN_SPECIAL) ? id : -1;
}

/* Added tokens are matched in the text as it came: this format knows no other way. */
static tn_status keep_content(void *ctx, const char *text, size_t n, const char **ret_text, size_t *ret_n,
                              tn_error *err)
{
    (void)ctx;
    (void)err;
    *ret_text = text;
    *ret_n = n;
    return TN_OK;
}

static tn_status frame(lexicon *lex, const json_t *config, const lexicon_builder *build)
{
    const struct {
        const char *key;
        uint32_t role;
        bool missing;
        int32_t *ids;
        uint32_t *count;
    } ends[] = {{"add_bos_token", TN_TOKEN_BOS, true, lex->prefix, &lex->prefix_count},
                {"add_eos_token", TN_TOKEN_EOS, false, lex->suffix, &lex->suffix_count}};
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(config, ends[i].key);
        bool add = json_is_boolean(value) ? json_is_true(value) : ends[i].missing;
        if (value && !json_is_boolean(value) && !json_is_null(value))
            return tn_fail(build->err, TN_E_CORRUPT, "%s: tokenizer_config.json: \"%s\" is not true or false",
                           build->path, ends[i].key);
        if (add && lex->role[ends[i].role] >= 0)
            ends[i].ids[(*ends[i].count)++] = lex->role[ends[i].role];
    }
    return TN_OK;
}

static tn_status fill(tn_tok *tok, const model_proto *model, lexicon_builder *build, const tokenizer_files *files)
{
    tn_error reason = TN_ERROR_INIT;
    tok->model = model->model_type == PROTO_BPE ? SPM_SCORES : SPM_UNIGRAM;
    tok->byte_fallback = model->byte_fallback;
    tok->fuse_unknown = true;
    tok->strip_first = model->dummy_prefix && !model->space_behind;
    tok->prefix_first = json_is_false(json_object_get(files->tokenizer_config, "legacy"));
    tok->normalizer.dummy_prefix = model->dummy_prefix;
    tok->normalizer.collapse_spaces = model->collapse_spaces;
    tok->normalizer.space_behind = model->space_behind;
    tok->normalizer.exempt = &tok->user;
    tn_status status = text_normalizer_add(&tok->normalizer, &(text_step){.kind = TEXT_SENTENCEPIECE}, build->err);
    if (status == TN_OK) {
        status = charsmap_load(&tok->normalizer.map, model->charsmap.text, model->charsmap.n, &reason);
        if (status != TN_OK)
            return refuse(build, status, reason.msg);
    }
    if (status == TN_OK)
        status = gather(build, model, files);
    if (status == TN_OK)
        status = apply_types(tok, model, build);
    if (status == TN_OK)
        status = lexicon_builder_match(build, keep_content, NULL);
    if (status != TN_OK)
        return status;
    tok->lex.role[TN_TOKEN_BOS] = control_piece(&tok->lex, model->bos);
    tok->lex.role[TN_TOKEN_EOS] = control_piece(&tok->lex, model->eos);
    tok->lex.role[TN_TOKEN_PAD] = control_piece(&tok->lex, model->pad);
    status = lexicon_builder_roles(build, files);
    if (status == TN_OK)
        status = frame(&tok->lex, files->tokenizer_config, build);
    tokenizer_find_bytes(tok, false);
    return status == TN_OK ? copy_scores(tok, model, build) : status;
}

tn_status tokenizer_load_model(tn_tok *tok, const tn_meta *file, const tokenizer_files *files, const char *path,
                               tn_error *err)
{
    lexicon_builder build = {.lex = &tok->lex, .path = path, .file = "tokenizer.model", .err = err};
    tn_error reason = TN_ERROR_INIT;
    model_proto model = {0};
    tn_status status = model_proto_read(file->string, file->count, &model, &reason);
    if (status != TN_OK)
        return tn_fail(err, status, "%s: tokenizer.model %s%s", path, reason.msg,
                       status == TN_E_CORRUPT ? "; put the model's tokenizer.json beside it" : "");
    status = check_model(&build, &model);
    if (status == TN_OK)
        status = fill(tok, &model, &build, files);
    lexicon_builder_free(&build);
    model_proto_finish(&model);
    return status;
}
