/* completion_answer.c: choices of /v1/completions. An echoed prompt comes first, with its own log-probs. */
#include "answer.h"

#include <inttypes.h>

static const call_prompt *prompt_of(const http_call *call, uint32_t choice_index)
{
    return &call->prompts[choice_index / call->choices_per_prompt];
}

static void write_logprobs(const http_call *call, const logprob_columns *before, const logprob_columns *columns,
                           byte_buffer *out)
{
    byte_buffer_text(out, ",\"logprobs\":");
    if (call->logprobs == PARAM_UNSET)
        byte_buffer_text(out, "null");
    else
        logprobs_write_completion(before, columns, out);
}

static void write_token_ids(const http_call *call, const call_choice *choice, byte_buffer *out)
{
    if (!call->return_token_ids)
        return;
    byte_buffer_text(out, ",\"token_ids\":[");
    byte_buffer_join(out, &choice->token_ids);
    byte_buffer_text(out, "]");
}

void completion_write_opening(http_call *call, uint32_t choice_index)
{
    const call_prompt *prompt = prompt_of(call, choice_index);

    byte_buffer_print(&call->out, "{\"index\":%" PRIu32 ",\"text\":", choice_index);
    json_write_string(&call->out, prompt->text, prompt->text_bytes);
    write_logprobs(call, NULL, &prompt->logprobs, &call->out);
    byte_buffer_text(&call->out, ",\"finish_reason\":null");
    if (call->return_token_ids)
        answer_write_ids("prompt_token_ids", prompt->tokens, prompt->token_count, &call->out);
    byte_buffer_text(&call->out, "}");
}

void completion_write_delta(http_call *call, uint32_t choice_index)
{
    const call_choice *choice = &call->choices[choice_index];

    byte_buffer_print(&call->out, "{\"index\":%" PRIu32 ",\"text\":", choice_index);
    json_write_string(&call->out, choice->text.bytes, choice->text.count);
    write_logprobs(call, NULL, &choice->logprobs, &call->out);
    byte_buffer_text(&call->out, ",\"finish_reason\":null");
    write_token_ids(call, choice, &call->out);
    byte_buffer_text(&call->out, "}");
}

void completion_write_closing(http_call *call, uint32_t choice_index)
{
    byte_buffer_print(&call->out, "{\"index\":%" PRIu32 ",\"text\":\"\",\"logprobs\":null,", choice_index);
    answer_write_finish(call, choice_index, &call->out);
    byte_buffer_text(&call->out, "}");
}

static void write_text(const call_prompt *prompt, const call_choice *choice, byte_buffer *out)
{
    byte_buffer text = {0};

    if (!prompt->text) {
        json_write_string(out, choice->text.bytes, choice->text.count);
        return;
    }
    byte_buffer_append(&text, prompt->text, prompt->text_bytes);
    byte_buffer_join(&text, &choice->text);
    json_write_string(out, text.bytes, text.count);
    out->failed |= text.failed;
    byte_buffer_finish(&text);
}

void completion_write_whole(const http_call *call, uint32_t choice_index, byte_buffer *out)
{
    const call_prompt *prompt = prompt_of(call, choice_index);
    const call_choice *choice = &call->choices[choice_index];

    byte_buffer_print(out, "{\"index\":%" PRIu32 ",\"text\":", choice_index);
    write_text(prompt, choice, out);
    write_logprobs(call, call->echo ? &prompt->logprobs : NULL, &choice->logprobs, out);
    byte_buffer_text(out, ",");
    answer_write_finish(call, choice_index, out);
    if (call->return_token_ids)
        answer_write_ids("prompt_token_ids", prompt->tokens, prompt->token_count, out);
    write_token_ids(call, choice, out);
    if (call->prompt_logprobs != PARAM_UNSET) {
        byte_buffer_text(out, ",\"prompt_logprobs\":[");
        byte_buffer_join(out, &prompt->prompt_logprobs);
        byte_buffer_text(out, "]");
    }
    byte_buffer_text(out, "}");
}
