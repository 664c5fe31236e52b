/* tokenize.c: {"prompt" | "messages", ...} to {"count", "max_model_len", "tokens", "token_strs"}, and {"tokens"} back
 * to
 * {"prompt"}. */
#include "tokenize.h"

#include "answer.h"
#include "chat_prompt.h"

#include <inttypes.h>
#include <string.h>

typedef struct tokenize_body {
    call_params chat; /* holds messages and template arguments */
    const char *prompt;
    bool add_special, has_add_special, return_strings;
    json_t *tokens;
} tokenize_body;

static tn_status read_add_special(const field_rule *field, json_t *value, void *into, api_error *error)
{
    ((tokenize_body *)into)->has_add_special = true;
    return field_bool(field, value, into, error);
}

#define AT(member) offsetof(tokenize_body, member)
static const field_rule tokenize_fields[] = {
    {"model", field_string, AT(chat.model), 0, 0},
    {"prompt", field_string, AT(prompt), 0, 0},
    {"messages", field_array, AT(chat.messages), 0, 0},
    {"tools", field_array, AT(chat.tools), 0, 0},
    {"chat_template_kwargs", field_object, AT(chat.template_kwargs), 0, 0},
    {"add_generation_prompt", field_bool, AT(chat.add_generation_prompt), 0, 0},
    {"add_special_tokens", read_add_special, AT(add_special), 0, 0},
    {"return_token_strs", field_bool, AT(return_strings), 0, 0},
    {"chat_template", field_unsupported, 0, 0, 0},
    {"continue_final_message", field_unsupported, 0, 0, 0},
    {"mm_processor_kwargs", field_unsupported, 0, 0, 0},
};
static const field_rule detokenize_fields[] = {
    {"model", field_string, AT(chat.model), 0, 0},
    {"tokens", field_array, AT(tokens), 0, 0},
};
#undef AT

static tn_status encode(http_model *model, tokenize_body *body, int32_t **ret_ids, uint64_t *ret_count,
                        api_error *error)
{
    if (!body->prompt == !body->chat.messages)
        return api_fail_field(error, "prompt", "give either 'prompt' or 'messages'");
    if (body->chat.messages) {
        body->chat.add_special = body->add_special;
        return chat_prompt_encode(model, &body->chat, UINT64_MAX, ret_ids, ret_count, error);
    }
    bool add_special = body->add_special || !body->has_add_special;
    uint32_t flags = TN_ENCODE_PARSE_SPECIAL | (add_special ? TN_ENCODE_ADD_SPECIAL : 0);
    return prompt_encode(model, body->prompt, strlen(body->prompt), flags, UINT64_MAX, "prompt", ret_ids, ret_count,
                         error);
}

static void write_strings(const http_model *model, const int32_t *ids, uint64_t count, byte_buffer *out)
{
    byte_buffer piece = {0};

    byte_buffer_text(out, ",\"token_strs\":[");
    for (uint64_t i = 0; i < count; i++) {
        byte_buffer_clear(&piece);
        token_append(model, ids[i], i == 0, false, &piece);
        if (i > 0)
            byte_buffer_text(out, ",");
        json_write_string(out, piece.bytes, piece.count);
        out->failed |= piece.failed;
    }
    byte_buffer_text(out, "]");
    byte_buffer_finish(&piece);
}

tn_status tokenize_answer(http_model *model, json_t *root, byte_buffer *out, api_error *error)
{
    const field_table table = {tokenize_fields, sizeof tokenize_fields / sizeof *tokenize_fields};
    tokenize_body body = {0};
    int32_t *ids = NULL;
    uint64_t count = 0;

    call_params_init(&body.chat, &model->info);
    tn_status status = fields_read(root, &table, 1, &body, error);
    if (status == TN_OK)
        status = encode(model, &body, &ids, &count, error);
    if (status != TN_OK)
        return status;
    byte_buffer_print(out, "{\"count\":%" PRIu64 ",\"max_model_len\":%" PRIu32, count, model->info.max_model_len);
    answer_write_ids("tokens", ids, count, out);
    if (body.return_strings)
        write_strings(model, ids, count, out);
    else
        byte_buffer_text(out, ",\"token_strs\":null");
    byte_buffer_text(out, "}");
    free(ids);
    return TN_OK;
}

tn_status detokenize_answer(http_model *model, json_t *root, byte_buffer *out, api_error *error)
{
    const field_table table = {detokenize_fields, sizeof detokenize_fields / sizeof *detokenize_fields};
    tokenize_body body = {0};
    byte_buffer text = {0};
    int32_t *ids;
    uint64_t count;

    tn_status status = fields_read(root, &table, 1, &body, error);
    if (status == TN_OK && !body.tokens)
        return api_fail_field(error, "tokens", "'tokens' is required");
    if (status == TN_OK)
        status = prompt_read_ids(model, body.tokens, "tokens", &ids, &count, error);
    if (status != TN_OK)
        return status;
    prompt_decode(model, ids, count, &text);
    byte_buffer_text(out, "{\"prompt\":");
    json_write_string(out, text.bytes, text.count);
    byte_buffer_text(out, "}");
    out->failed |= text.failed;
    byte_buffer_finish(&text);
    free(ids);
    return TN_OK;
}
