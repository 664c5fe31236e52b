/* tenon/tokenizer.h: "tn.tokenizer", text to ids and back. Pure CPU, immutable after open. */
#ifndef TENON_TOKENIZER_H
#define TENON_TOKENIZER_H

#include "tenon/plugin.h"
#include "tenon/source.h"

TN_BEGIN_DECLS

#define TN_TOKENIZER_ID "tn.tokenizer/1"

typedef struct tn_tok tn_tok;

enum {
    TN_ENCODE_ADD_SPECIAL = 1u << 0,  /* add BOS/EOS where the model's own settings say so */
    TN_ENCODE_PARSE_SPECIAL = 1u << 1 /* recognise special tokens written in the text; without it they are text */
};
enum { TN_PIECE_SKIP_SPECIAL = 1u << 0 /* special tokens give no bytes */ };
/* Roles of special tokens. */
enum { TN_TOKEN_BOS = 1, TN_TOKEN_EOS = 2, TN_TOKEN_PAD = 3, TN_TOKEN_UNK = 4 };
/* Attributes of a token. */
enum { TN_TOKEN_IS_SPECIAL = 1u << 0, TN_TOKEN_ENDS_GENERATION = 1u << 1, TN_TOKEN_IS_UNUSED = 1u << 2 };

typedef struct tn_tokenizer_table {
    uint32_t struct_size, flags;
    /* TN_E_NOT_FOUND: not my kind of tokenizer. source may be closed afterwards. Mandatory. [ctl] */
    tn_status (*open)(const tn_source *source, tn_tok **ret_tok, tn_error *err);
    void (*close)(tn_tok *tok); /* Mandatory; NULL is fine. [ctl] */
    uint32_t (*vocab_size)(const tn_tok *tok); /* Mandatory. [any] */
    /* *n_ids: in, capacity of ids; out, ids needed. TN_E_MEMORY when they do not fit (ids then holds the first
     * capacity ones). Any bytes are accepted; invalid UTF-8 is replaced by U+FFFD per maximal subpart. Mandatory. [any] */
    tn_status (*encode)(const tn_tok *tok, const char *utf8, uint64_t n_bytes, uint32_t flags, int32_t *ids,
                        uint64_t *n_ids, tn_error *err);
    /* Raw bytes of one token, possibly part of a UTF-8 sequence; the core joins them. *n_bytes: in, capacity;
     * out, needed; TN_E_MEMORY when they do not fit; TN_E_ARGUMENT for an id outside the vocabulary. first: 1 for the
     * first piece of a text (a leading space may be dropped there). Mandatory. [any] */
    tn_status (*piece)(const tn_tok *tok, int32_t id, uint32_t flags, uint32_t first, char *bytes, uint64_t *n_bytes,
                       tn_error *err);
    /* The id of a role, TN_E_NOT_FOUND if the model has none. Mandatory. [any] */
    tn_status (*special)(const tn_tok *tok, uint32_t role, int32_t *ret_id);
    uint32_t (*attributes)(const tn_tok *tok, int32_t id); /* TN_TOKEN_IS_*; 0 outside the vocabulary. Mandatory. [any] */
} tn_tokenizer_table;
TN_SEALED(tn_tokenizer_table, attributes);

TN_END_DECLS
#endif
