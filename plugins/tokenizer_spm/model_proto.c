/* model_proto.c: a cursor over protobuf's wire format. Unknown fields are skipped, as the format demands; groups, long
 * obsolete, are refused.
 */
#include "model_proto.h"

#include "base/tokenizer/vocabulary.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

typedef struct cursor {
    const unsigned char *at, *end;
} cursor;

/* One field; number or bytes by its wire type. */
typedef struct field {
    uint32_t tag, wire;
    uint64_t number; /* varint, fixed32, fixed64 */
    proto_text bytes;
} field;

static bool read_varint(cursor *from, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && from->at < from->end; shift += 7) {
        unsigned char byte = *from->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool read_fixed(cursor *from, unsigned bytes, uint64_t *ret_value)
{
    uint64_t value = 0;
    if ((size_t)(from->end - from->at) < bytes)
        return false;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)*from->at++ << 8 * i;
    *ret_value = value;
    return true;
}

/* The next field; false at what is not one. from->at < from->end. */
static bool read_field(cursor *from, field *ret_field)
{
    uint64_t key, length;
    *ret_field = (field){0};
    if (!read_varint(from, &key) || key >> 3 == 0 || key >> 3 > INT32_MAX)
        return false;
    ret_field->tag = (uint32_t)(key >> 3);
    ret_field->wire = key & 7;
    switch (ret_field->wire) {
    case WIRE_VARINT:
        return read_varint(from, &ret_field->number);
    case WIRE_FIXED64:
        return read_fixed(from, 8, &ret_field->number);
    case WIRE_FIXED32:
        return read_fixed(from, 4, &ret_field->number);
    case WIRE_BYTES:
        if (!read_varint(from, &length) || length > (uint64_t)(from->end - from->at))
            return false;
        ret_field->bytes = (proto_text){(const char *)from->at, (size_t)length};
        from->at += length;
        return true;
    default:
        return false;
    }
}

/* What takes the fields of a message; false: a field has the wrong type. */
typedef bool (*field_sink)(void *ctx, const field *f);

static bool read_message(proto_text bytes, field_sink sink, void *ctx)
{
    cursor from = {(const unsigned char *)bytes.text, (const unsigned char *)bytes.text + bytes.n};
    field f;
    while (from.at < from.end) {
        if (!read_field(&from, &f) || !sink(ctx, &f))
            return false;
    }
    return true;
}

static bool take_flag(const field *f, bool *ret_flag)
{
    *ret_flag = f->number != 0;
    return f->wire == WIRE_VARINT;
}

static bool take_text(const field *f, proto_text *ret_text)
{
    *ret_text = f->bytes;
    return f->wire == WIRE_BYTES;
}

static bool piece_field(void *ctx, const field *f)
{
    proto_piece *piece = ctx;
    uint32_t bits = (uint32_t)f->number;
    switch (f->tag) {
    case 1:
        return take_text(f, &piece->text);
    case 2:
        memcpy(&piece->score, &bits, sizeof bits);
        return f->wire == WIRE_FIXED32;
    case 3:
        piece->type = f->number <= PROTO_BYTE ? (uint32_t)f->number : 0;
        return f->wire == WIRE_VARINT && piece->type > 0;
    default:
        return true;
    }
}

static bool trainer_field(void *ctx, const field *f)
{
    model_proto *model = ctx;
    switch (f->tag) {
    case 3:
        model->model_type = f->number <= PROTO_CHAR ? (uint32_t)f->number : 0;
        return f->wire == WIRE_VARINT && model->model_type > 0;
    case 24:
        return take_flag(f, &model->space_behind);
    case 35:
        return take_flag(f, &model->byte_fallback);
    case 46:
        return take_text(f, &model->bos);
    case 47:
        return take_text(f, &model->eos);
    case 48:
        return take_text(f, &model->pad);
    default:
        return true;
    }
}

static bool normalizer_field(void *ctx, const field *f)
{
    model_proto *model = ctx;
    switch (f->tag) {
    case 2:
        return take_text(f, &model->charsmap);
    case 3:
        return take_flag(f, &model->dummy_prefix);
    case 4:
        return take_flag(f, &model->collapse_spaces);
    case 5:
        return take_flag(f, &model->escape_spaces);
    default:
        return true;
    }
}

static bool denormalizer_field(void *ctx, const field *f)
{
    model_proto *model = ctx;
    model->denormalizes |= f->tag == 2 && f->bytes.n > 0;
    return true;
}

/* The message being read, and why reading stopped. */
typedef struct reading {
    model_proto *model;
    bool too_many, no_memory;
} reading;

static bool add_piece(reading *job, proto_text bytes)
{
    model_proto *model = job->model;
    if (model->count == VOCABULARY_TOKENS_MAX) {
        job->too_many = true;
        return false;
    }
    if (model->count == model->capacity) {
        uint64_t capacity = 2 * model->capacity + 1024;
        proto_piece *grown = realloc(model->piece, capacity * sizeof *grown);
        if (!grown) {
            job->no_memory = true;
            return false;
        }
        model->piece = grown;
        model->capacity = capacity;
    }
    proto_piece *piece = &model->piece[model->count++];
    *piece = (proto_piece){.type = PROTO_NORMAL};
    return read_message(bytes, piece_field, piece);
}

static bool model_field(void *ctx, const field *f)
{
    reading *job = ctx;
    if (f->tag >= 1 && f->tag <= 5 && f->wire != WIRE_BYTES)
        return false;
    switch (f->tag) {
    case 1:
        return add_piece(job, f->bytes);
    case 2:
        return read_message(f->bytes, trainer_field, job->model);
    case 3:
        return read_message(f->bytes, normalizer_field, job->model);
    case 5:
        return read_message(f->bytes, denormalizer_field, job->model);
    default:
        return true;
    }
}

tn_status model_proto_read(const void *bytes, uint64_t n, model_proto *ret_model, tn_error *err)
{
    model_proto model = {.model_type = PROTO_UNIGRAM,
                         .bos = {"<s>", 3},
                         .eos = {"</s>", 4},
                         .pad = {"<pad>", 5},
                         .dummy_prefix = true,
                         .collapse_spaces = true,
                         .escape_spaces = true};
    reading job = {.model = &model};
    bool whole = read_message((proto_text){bytes, (size_t)n}, model_field, &job);
    if (whole && model.count > 0) {
        *ret_model = model;
        return TN_OK;
    }
    model_proto_finish(&model);
    if (job.no_memory)
        return tn_fail(err, TN_E_MEMORY, "no memory for a vocabulary");
    if (job.too_many)
        return tn_fail(err, TN_E_CORRUPT, "has more than %d pieces", VOCABULARY_TOKENS_MAX);
    return tn_fail(err, TN_E_CORRUPT, "is not a SentencePiece model");
}

void model_proto_finish(model_proto *model)
{
    free(model->piece);
    model->piece = NULL;
    model->count = model->capacity = 0;
}
