/* no_tokenizer.c: see no_tokenizer.h. */
#include "instance/no_tokenizer.h"

#include "tenon/error.h"

static tn_status no_open(const tn_source *source, tn_tok **ret_tok, tn_error *err)
{
    (void)source, (void)err;
    *ret_tok = NULL;
    return TN_OK;
}

static void no_close(tn_tok *tok)
{
    (void)tok;
}

static uint32_t no_vocab_size(const tn_tok *tok)
{
    (void)tok;
    return 0;
}

static tn_status no_encode(const tn_tok *tok, const char *utf8, uint64_t n_bytes, uint32_t flags, int32_t *ids,
                           uint64_t *n_ids, tn_error *err)
{
    (void)tok, (void)utf8, (void)n_bytes, (void)flags, (void)ids, (void)n_ids;
    return tn_fail(
        err, TN_E_UNSUPPORTED,
        "this model has no tokenizer, so text means nothing to it: put its tokenizer.json or tokenizer.model "
        "beside config.json, or send token ids");
}

static tn_status no_piece(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                          tn_error *err)
{
    (void)tok, (void)flags, (void)first, (void)bytes, (void)n_bytes;
    return tn_fail(err, TN_E_ARGUMENT, "token %d: this model has no tokenizer", id);
}

static tn_status no_special(const tn_tok *tok, uint32_t role, int32_t *ret_id)
{
    (void)tok, (void)role, (void)ret_id;
    return TN_E_NOT_FOUND;
}

static uint32_t no_attributes(const tn_tok *tok, int32_t id)
{
    (void)tok, (void)id;
    return 0;
}

const tn_tokenizer_table no_tokenizer_table = {
    .struct_size = sizeof(tn_tokenizer_table),
    .open = no_open,
    .close = no_close,
    .vocab_size = no_vocab_size,
    .encode = no_encode,
    .piece = no_piece,
    .special = no_special,
    .attributes = no_attributes,
};
