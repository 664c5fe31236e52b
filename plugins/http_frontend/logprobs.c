/* logprobs.c: token texts come from the tokenizer, not from the event, because an event's text may hold back bytes. */
#include "logprobs.h"

#include "base/utf8.h"

#include <inttypes.h>

enum { PIECE_BYTES = 256 };

void token_append(const http_model *model, int32_t token, bool first, bool skip_special, byte_buffer *out)
{
    uint64_t bytes = PIECE_BYTES;
    uint32_t flags = skip_special ? TN_PIECE_SKIP_SPECIAL : 0;

    for (int attempt = 0; attempt < 2; attempt++) {
        char *room = byte_buffer_reserve(out, bytes);
        if (!room)
            return;
        tn_status status = model->tok_api->piece(model->tok, token, flags, first, room, &bytes, NULL);
        if (status == TN_OK)
            out->count += bytes;
        if (status != TN_E_MEMORY)
            return;
    }
}

/* The token's bytes in the model's scratch, until the next call. */
static const byte_buffer *read_piece(http_model *model, int32_t token, bool first)
{
    byte_buffer_clear(&model->piece);
    token_append(model, token, first, false, &model->piece);
    return &model->piece;
}

/* A token's text as a JSON string. Bytes that are no text by themselves are spelt "bytes:\xE2\x80", as OpenAI does, so
 * that different tokens stay different. */
static void write_token(bool as_ids, int32_t token, const byte_buffer *piece, byte_buffer *out)
{
    out->failed |= piece->failed;
    if (as_ids) {
        byte_buffer_print(out, "\"token_id:%" PRId32 "\"", token);
        return;
    }
    if (utf8_is_valid(piece->bytes, piece->count)) {
        json_write_string(out, piece->bytes, piece->count);
        return;
    }
    byte_buffer_text(out, "\"bytes:");
    for (size_t i = 0; i < piece->count; i++)
        byte_buffer_print(out, "\\\\x%02x", (unsigned char)piece->bytes[i]);
    byte_buffer_text(out, "\"");
}

static void separate(byte_buffer *out)
{
    if (out->count > 0)
        byte_buffer_append(out, ",", 1);
}

/* "token": ..., "logprob": ..., "bytes": [...] */
static void write_chat_token(http_model *model, bool as_ids, int32_t token, bool first, float value, byte_buffer *out)
{
    const byte_buffer *piece = read_piece(model, token, first);
    byte_buffer_text(out, "{\"token\":");
    write_token(as_ids, token, piece, out);
    byte_buffer_text(out, ",\"logprob\":");
    json_write_logprob(out, value);
    byte_buffer_text(out, ",\"bytes\":[");
    for (size_t i = 0; i < piece->count; i++)
        byte_buffer_print(out, i ? ",%u" : "%u", (unsigned char)piece->bytes[i]);
    byte_buffer_text(out, "]");
}

void logprobs_add_chat(logprob_columns *columns, http_model *model, bool as_ids, const logprob_entry *entry)
{
    byte_buffer *out = &columns->tokens;

    separate(out);
    write_chat_token(model, as_ids, entry->token, entry->first, entry->value, out);
    byte_buffer_text(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < entry->top_count; i++) {
        if (i > 0)
            byte_buffer_text(out, ",");
        write_chat_token(model, as_ids, entry->top_id[i], entry->first, entry->top_value[i], out);
        byte_buffer_text(out, "}");
    }
    byte_buffer_text(out, "]}");
}

static uint32_t count_chars(const byte_buffer *piece)
{
    uint32_t chars = 0; /* lead bytes only, so that a character split over tokens counts once */
    for (size_t i = 0; i < piece->count; i++)
        chars += ((unsigned char)piece->bytes[i] & 0xC0) != 0x80;
    return chars;
}

static void write_top_pair(http_model *model, bool as_ids, int32_t token, bool first, float value, byte_buffer *out)
{
    const byte_buffer *piece = read_piece(model, token, first);
    write_token(as_ids, token, piece, out);
    byte_buffer_text(out, ":");
    json_write_logprob(out, value);
}

/* The alternatives, and the chosen token when it is not among them. */
static void write_top_object(http_model *model, bool as_ids, const logprob_entry *entry, byte_buffer *out)
{
    bool chosen_shown = false;

    byte_buffer_text(out, "{");
    for (uint32_t i = 0; i < entry->top_count; i++) {
        if (i > 0)
            byte_buffer_text(out, ",");
        write_top_pair(model, as_ids, entry->top_id[i], entry->first, entry->top_value[i], out);
        chosen_shown |= entry->top_id[i] == entry->token;
    }
    if (!chosen_shown) {
        if (entry->top_count > 0)
            byte_buffer_text(out, ",");
        write_top_pair(model, as_ids, entry->token, entry->first, entry->value, out);
    }
    byte_buffer_text(out, "}");
}

void logprobs_add_completion(logprob_columns *columns, http_model *model, bool as_ids, const logprob_entry *entry)
{
    const byte_buffer *piece = read_piece(model, entry->token, entry->first);
    separate(&columns->tokens);
    separate(&columns->values);
    separate(&columns->tops);
    separate(&columns->offsets);
    write_token(as_ids, entry->token, piece, &columns->tokens);
    json_write_integer(&columns->offsets, (int64_t)columns->chars);
    columns->chars += entry->hidden ? 0 : count_chars(piece);
    if (!entry->has_value) {
        byte_buffer_text(&columns->values, "null");
        byte_buffer_text(&columns->tops, "null");
        return;
    }
    json_write_logprob(&columns->values, entry->value);
    write_top_object(model, as_ids, entry, &columns->tops);
}

void logprobs_write_chat(const logprob_columns *columns, byte_buffer *out)
{
    byte_buffer_text(out, "{\"content\":[");
    byte_buffer_join(out, &columns->tokens);
    byte_buffer_text(out, "],\"refusal\":null}");
}

static void join_column(const byte_buffer *before, const byte_buffer *column, byte_buffer *out)
{
    byte_buffer_text(out, "[");
    if (before)
        byte_buffer_join(out, before);
    if (before && before->count > 0 && column->count > 0)
        byte_buffer_text(out, ",");
    byte_buffer_join(out, column);
    byte_buffer_text(out, "]");
}

void logprobs_write_completion(const logprob_columns *before, const logprob_columns *columns, byte_buffer *out)
{
    byte_buffer_text(out, "{\"tokens\":");
    join_column(before ? &before->tokens : NULL, &columns->tokens, out);
    byte_buffer_text(out, ",\"token_logprobs\":");
    join_column(before ? &before->values : NULL, &columns->values, out);
    byte_buffer_text(out, ",\"top_logprobs\":");
    join_column(before ? &before->tops : NULL, &columns->tops, out);
    byte_buffer_text(out, ",\"text_offset\":");
    join_column(before ? &before->offsets : NULL, &columns->offsets, out);
    byte_buffer_text(out, "}");
}

static void write_prompt_pair(http_model *model, const logprob_entry *entry, int32_t token, float value, uint32_t rank,
                              byte_buffer *out)
{
    const byte_buffer *piece = read_piece(model, token, entry->first);
    byte_buffer_print(out, "\"%" PRId32 "\":{\"logprob\":", token);
    json_write_logprob(out, value);
    if (rank > 0)
        byte_buffer_print(out, ",\"rank\":%u,\"decoded_token\":", rank);
    else
        byte_buffer_text(out, ",\"rank\":null,\"decoded_token\":");
    json_write_string(out, piece->bytes, piece->count);
    out->failed |= piece->failed;
    byte_buffer_text(out, "}");
}

void logprobs_add_prompt(byte_buffer *list, http_model *model, const logprob_entry *entry)
{
    bool own_shown = false;

    separate(list);
    if (!entry->has_value) {
        byte_buffer_text(list, "null");
        return;
    }
    byte_buffer_text(list, "{");
    for (uint32_t i = 0; i < entry->top_count; i++) {
        if (i > 0)
            byte_buffer_text(list, ",");
        write_prompt_pair(model, entry, entry->top_id[i], entry->top_value[i], i + 1, list);
        own_shown |= entry->top_id[i] == entry->token;
    }
    if (!own_shown) {
        if (entry->top_count > 0)
            byte_buffer_text(list, ",");
        write_prompt_pair(model, entry, entry->token, entry->value, 0, list);
    }
    byte_buffer_text(list, "}");
}

void logprobs_clear(logprob_columns *columns)
{
    byte_buffer_clear(&columns->tokens);
    byte_buffer_clear(&columns->values);
    byte_buffer_clear(&columns->tops);
    byte_buffer_clear(&columns->offsets);
}

void logprobs_finish(logprob_columns *columns)
{
    byte_buffer_finish(&columns->tokens);
    byte_buffer_finish(&columns->values);
    byte_buffer_finish(&columns->tops);
    byte_buffer_finish(&columns->offsets);
}
