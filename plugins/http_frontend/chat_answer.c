/* chat_answer.c: choices of /v1/chat/completions. */
#include "answer.h"

#include <inttypes.h>

static void write_logprobs(const http_call *call, const call_choice *choice, byte_buffer *out)
{
    byte_buffer_text(out, ",\"logprobs\":");
    if (call->logprobs == PARAM_UNSET)
        byte_buffer_text(out, "null");
    else
        logprobs_write_chat(&choice->logprobs, out);
}

static void write_token_ids(const http_call *call, const call_choice *choice, byte_buffer *out)
{
    if (!call->return_token_ids)
        return;
    byte_buffer_text(out, ",\"token_ids\":[");
    byte_buffer_join(out, &choice->token_ids);
    byte_buffer_text(out, "]");
}

void chat_write_opening(http_call *call, uint32_t choice_index)
{
    byte_buffer_print(&call->out,
                      "{\"index\":%" PRIu32 ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
                      "\"finish_reason\":null",
                      choice_index);
    if (call->return_token_ids)
        answer_write_ids("prompt_token_ids", call->prompts[0].tokens, call->prompts[0].token_count, &call->out);
    byte_buffer_text(&call->out, "}");
}

void chat_write_delta(http_call *call, uint32_t choice_index)
{
    const call_choice *choice = &call->choices[choice_index];

    byte_buffer_print(&call->out, "{\"index\":%" PRIu32 ",\"delta\":{\"content\":", choice_index);
    json_write_string(&call->out, choice->text.bytes, choice->text.count);
    byte_buffer_text(&call->out, "}");
    write_logprobs(call, choice, &call->out);
    byte_buffer_text(&call->out, ",\"finish_reason\":null");
    write_token_ids(call, choice, &call->out);
    byte_buffer_text(&call->out, "}");
}

void chat_write_closing(http_call *call, uint32_t choice_index)
{
    byte_buffer_print(&call->out, "{\"index\":%" PRIu32 ",\"delta\":{},\"logprobs\":null,", choice_index);
    answer_write_finish(call, choice_index, &call->out);
    byte_buffer_text(&call->out, "}");
}

void chat_write_whole(const http_call *call, uint32_t choice_index, byte_buffer *out)
{
    const call_choice *choice = &call->choices[choice_index];

    byte_buffer_print(out, "{\"index\":%" PRIu32 ",\"message\":{\"role\":\"assistant\",\"content\":", choice_index);
    json_write_string(out, choice->text.bytes, choice->text.count);
    byte_buffer_text(out, ",\"refusal\":null}");
    write_logprobs(call, choice, out);
    byte_buffer_text(out, ",");
    answer_write_finish(call, choice_index, out);
    write_token_ids(call, choice, out);
    byte_buffer_text(out, "}");
}
