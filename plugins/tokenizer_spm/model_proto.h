/* model_proto.h: reads a SentencePiece model file, the protobuf message ModelProto, as far as encoding needs it.
 *
 * Texts and blobs are borrowed from the file. Every length is checked against the bytes that are there.
 * Source: sentencepiece (sentencepiece_model.proto).
 */
#ifndef TOKENIZER_SPM_MODEL_PROTO_H
#define TOKENIZER_SPM_MODEL_PROTO_H

#include "tenon/error.h"

#include <stdbool.h>

typedef struct proto_text {
    const char *text;
    size_t n;
} proto_text;

enum {
    PROTO_NORMAL = 1,
    PROTO_UNKNOWN = 2,
    PROTO_CONTROL = 3,
    PROTO_USER_DEFINED = 4,
    PROTO_UNUSED = 5,
    PROTO_BYTE = 6
};
enum { PROTO_UNIGRAM = 1, PROTO_BPE = 2, PROTO_WORD = 3, PROTO_CHAR = 4 };

typedef struct proto_piece {
    proto_text text;
    float score;
    uint32_t type; /* PROTO_NORMAL... */
} proto_piece;

typedef struct model_proto {
    proto_piece *piece; /* [count] by id; owned */
    uint64_t count, capacity;
    uint32_t model_type; /* PROTO_UNIGRAM... */
    bool byte_fallback, space_behind;
    proto_text bos, eos, pad; /* their pieces */
    proto_text charsmap;
    bool dummy_prefix, collapse_spaces, escape_spaces;
    bool denormalizes; /* decoding would rewrite texts */
} model_proto;

/* TN_E_CORRUPT: a sentence part such as "is not ..."; TN_E_MEMORY. On failure nothing is owned. */
tn_status model_proto_read(const void *bytes, uint64_t n, model_proto *ret_model, tn_error *err);
/* Zeroed is fine. */
void model_proto_finish(model_proto *model);

#endif
