/* answer.c: events in, chunks or collected text out. The order of a stream: per prompt its opening, then tokens as they
 * come, a closing per choice; at last usage if asked for, and [DONE]. */
#include "answer.h"

#include "sse.h"

#include <inttypes.h>
#include <string.h>

typedef void choice_writer(http_call *call, uint32_t choice_index);

static void write_chunk(http_call *call, uint32_t choice_index, choice_writer *chat, choice_writer *completion)
{
    sse_chunk_begin(call);
    (call->kind == CALL_CHAT ? chat : completion)(call, choice_index);
    sse_chunk_end(call);
}

/* Role chunks of a chat, echoed prompts of a completion. */
static void begin_prompt(http_call *call, uint32_t prompt_index)
{
    call_prompt *prompt = &call->prompts[prompt_index];
    if (prompt->begun)
        return;
    prompt->begun = true;
    size_t before = call->out.count;
    for (uint32_t i = 0; i < call->choices_per_prompt; i++) {
        uint32_t index = prompt_index * call->choices_per_prompt + i;
        call->choices[index].logprobs.chars = prompt->logprobs.chars;
        if (call->stream && (call->kind == CALL_CHAT || call->echo || call->return_token_ids))
            write_chunk(call, index, chat_write_opening, completion_write_opening);
    }
    if (call->opening_bytes < call->out.count - before)
        call->opening_bytes = call->out.count - before;
}

static uint32_t min_u32(uint32_t a, int64_t b)
{
    return b < (int64_t)a ? (uint32_t)b : a;
}

static bool is_special(const http_call *call, int32_t token)
{
    return call->model->tok_api->attributes(call->model->tok, token) & TN_TOKEN_IS_SPECIAL;
}

/* A beginning-of-text token that the tokenizer added is no part of the text that came from the client. */
static bool is_added(const http_call *call, const call_prompt *prompt)
{
    int32_t bos;
    return call->model->tok_api->special(call->model->tok, TN_TOKEN_BOS, &bos) == TN_OK && prompt->tokens[0] == bos &&
           prompt->bos_added;
}

/* The first token has no event, since nothing predicts it. */
static void take_first_token(http_call *call, call_prompt *prompt)
{
    logprob_entry first = {.token = prompt->tokens[0], .first = true, .hidden = is_added(call, prompt)};

    if (call->prompt_logprobs != PARAM_UNSET)
        logprobs_add_prompt(&prompt->prompt_logprobs, call->model, &first);
    if (call->echo && call->logprobs != PARAM_UNSET)
        logprobs_add_completion(&prompt->logprobs, call->model, call->tokens_as_ids, &first);
}

static void take_prompt_token(http_call *call, call_prompt *prompt, const tn_event *event)
{
    int64_t echo_tops = call->kind == CALL_CHAT ? call->top_logprobs : call->logprobs;
    logprob_entry entry = {.token = event->token,
                           .first = event->index == 0,
                           .has_value = true,
                           .value = event->logprob,
                           .top_id = event->top_id,
                           .top_value = event->top_logprob};

    if (call->prompt_logprobs != PARAM_UNSET) {
        entry.top_count = min_u32(event->top_count, call->prompt_logprobs);
        logprobs_add_prompt(&prompt->prompt_logprobs, call->model, &entry);
    }
    if (call->echo && call->logprobs != PARAM_UNSET) {
        entry.top_count = min_u32(event->top_count, echo_tops);
        logprobs_add_completion(&prompt->logprobs, call->model, call->tokens_as_ids, &entry);
    }
}

static void take_token(http_call *call, uint32_t prompt_index, uint32_t choice_index, const tn_event *event)
{
    call_choice *choice = &call->choices[choice_index];

    call->prompts[prompt_index].generated_tokens++;
    if (call->skip_text)
        return;
    byte_buffer_append(&choice->text, event->text, event->text_bytes);
    if (call->return_token_ids)
        byte_buffer_print(&choice->token_ids, choice->token_ids.count ? ",%" PRId32 : "%" PRId32, event->token);
    if (call->logprobs != PARAM_UNSET) {
        logprob_entry entry = {.token = event->token,
                               .hidden = call->skip_special && is_special(call, event->token),
                               .has_value = true,
                               .value = event->logprob,
                               .top_id = event->top_id,
                               .top_value = event->top_logprob};
        if (call->kind == CALL_CHAT) {
            entry.top_count = min_u32(event->top_count, call->top_logprobs);
            logprobs_add_chat(&choice->logprobs, call->model, call->tokens_as_ids, &entry);
        } else {
            entry.top_count = min_u32(event->top_count, call->logprobs);
            logprobs_add_completion(&choice->logprobs, call->model, call->tokens_as_ids, &entry);
        }
    }
}

/* Sends what a choice has collected, if it streams and there is anything. */
static void flush_choice(http_call *call, uint32_t choice_index)
{
    call_choice *choice = &call->choices[choice_index];
    if (!call->stream || (!choice->text.count && !choice->token_ids.count && !choice->logprobs.tokens.count))
        return;
    write_chunk(call, choice_index, chat_write_delta, completion_write_delta);
    call->out.failed |= choice->text.failed | choice->token_ids.failed | choice->logprobs.tokens.failed;
    byte_buffer_clear(&choice->text);
    byte_buffer_clear(&choice->token_ids);
    logprobs_clear(&choice->logprobs);
}

static void end_choice(http_call *call, uint32_t choice_index, const tn_event *event)
{
    call_choice *choice = &call->choices[choice_index];

    choice->finish = call->skip_text ? TN_FINISH_LENGTH : event->finish;
    choice->stop_token = event->stop_token;
    if (event->stop && !(choice->stop = strdup(event->stop)))
        choice->text.failed = call->out.failed = true;
    if (!call->skip_text)
        byte_buffer_append(&choice->text, event->text, event->text_bytes);
    flush_choice(call, choice_index);
    if (call->stream && event->finish != TN_FINISH_ERROR && event->finish != TN_FINISH_CANCELLED)
        write_chunk(call, choice_index, chat_write_closing, completion_write_closing);
}

/* Prompts that generate nothing (max_new = 0) may have no CHOICE events. */
static void close_choices(http_call *call, uint32_t prompt_index)
{
    const tn_event length = {.kind = TN_EVENT_CHOICE, .finish = TN_FINISH_LENGTH, .stop_token = -1, .text = ""};

    begin_prompt(call, prompt_index);
    for (uint32_t i = 0; i < call->choices_per_prompt; i++)
        if (call->choices[prompt_index * call->choices_per_prompt + i].finish == TN_FINISH_NONE)
            end_choice(call, prompt_index * call->choices_per_prompt + i, &length);
}

static void end_stream(http_call *call)
{
    if (call->failed)
        sse_error(call, &call->error);
    else if (call->include_usage)
        sse_usage(call);
    sse_done(call);
}

static void end_prompt(http_call *call, uint32_t prompt_index, const tn_event *event)
{
    call_prompt *prompt = &call->prompts[prompt_index];

    prompt->request = 0;
    prompt->cached_tokens = event->cached_tokens;
    prompt->generated_tokens = event->generated_tokens;
    if (event->status == TN_OK && !call->failed)
        close_choices(call, prompt_index);
    if (event->status != TN_OK && !call->failed) {
        call->failed = true;
        api_fail_status(&call->error, event->status, event->text,
                        call->front->engine_api->retry_after(call->model->engine));
        if (event->status == TN_E_ARGUMENT && call->grammar_field) /* all else has been checked by submit */
            snprintf(call->error.param, sizeof call->error.param, "%s", call->grammar_field);
        call_cancel(call); /* the other prompts have nobody left to answer to */
    }
    call->open_prompts -= call->open_prompts > 0;
    if (call->ended || (call->open_prompts > 0 && !call->failed))
        return;
    call->ended = true;
    if (call->stream)
        end_stream(call);
}

void answer_take_event(http_call *call, uint32_t prompt_index, const tn_event *event)
{
    if (call->ended || call->aborted || prompt_index >= call->prompt_count)
        return;
    uint32_t choice_index = prompt_index * call->choices_per_prompt + event->choice;
    call_prompt *prompt = &call->prompts[prompt_index];
    bool choice_known = event->choice < call->choices_per_prompt;

    switch (event->kind) {
    case TN_EVENT_ACCEPTED:
        call->taken_up = true;
        prompt->seed = event->seed;
        prompt->cached_tokens = event->cached_tokens;
        take_first_token(call, prompt);
        if (call->kind == CALL_CHAT)
            begin_prompt(call, prompt_index);
        break;
    case TN_EVENT_PROMPT:
        take_prompt_token(call, prompt, event);
        break;
    case TN_EVENT_TOKEN:
        begin_prompt(call, prompt_index);
        if (choice_known) {
            take_token(call, prompt_index, choice_index, event);
            flush_choice(call, choice_index);
        }
        break;
    case TN_EVENT_CHOICE:
        begin_prompt(call, prompt_index);
        if (choice_known)
            end_choice(call, choice_index, event);
        break;
    case TN_EVENT_DONE:
        end_prompt(call, prompt_index, event);
        break;
    default: /* a kind from a newer minor */
        break;
    }
}

void answer_write_ids(const char *key, const int32_t *ids, uint64_t count, byte_buffer *out)
{
    byte_buffer_print(out, ",\"%s\":[", key);
    for (uint64_t i = 0; i < count; i++)
        byte_buffer_print(out, i ? ",%" PRId32 : "%" PRId32, ids[i]);
    byte_buffer_text(out, "]");
}

void answer_write_finish(const http_call *call, uint32_t choice_index, byte_buffer *out)
{
    const call_choice *choice = &call->choices[choice_index];
    const http_model *model = call->model;
    uint64_t seed = call->prompts[choice_index / call->choices_per_prompt].seed;

    byte_buffer_print(
        out, "\"finish_reason\":\"%s\",\"stop_reason\":", choice->finish == TN_FINISH_LENGTH ? "length" : "stop");
    bool by_rule = choice->finish == TN_FINISH_STOP && choice->stop_token >= 0 &&
                   !(model->tok_api->attributes(model->tok, choice->stop_token) & TN_TOKEN_ENDS_GENERATION);
    if (choice->stop)
        json_write_text(out, choice->stop);
    else if (by_rule)
        json_write_integer(out, choice->stop_token);
    else
        byte_buffer_text(out, "null");
    byte_buffer_print(out, ",\"seed\":%" PRId64, (int64_t)seed);
}

void answer_write_whole(const http_call *call, byte_buffer *out)
{
    uint32_t count = call->prompt_count * call->choices_per_prompt;

    byte_buffer_join(out, &call->head);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            byte_buffer_text(out, ",");
        if (call->kind == CALL_CHAT)
            chat_write_whole(call, i, out);
        else
            completion_write_whole(call, i, out);
        out->failed |= call->choices[i].text.failed;
    }
    byte_buffer_text(out, "],\"usage\":");
    call_write_usage(call, out);
    if (call->kind == CALL_CHAT && call->return_token_ids)
        answer_write_ids("prompt_token_ids", call->prompts[0].tokens, call->prompts[0].token_count, out);
    if (call->kind == CALL_CHAT && call->prompt_logprobs != PARAM_UNSET) {
        byte_buffer_text(out, ",\"prompt_logprobs\":[");
        byte_buffer_join(out, &call->prompts[0].prompt_logprobs);
        byte_buffer_text(out, "]");
    }
    byte_buffer_text(out, "}");
}
