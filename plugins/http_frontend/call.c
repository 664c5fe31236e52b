/* call.c: the life of a call and the table of those in flight. */
#include "call.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { PROMPT_BITS = 16, SLOT_BITS = 16 };

uint64_t call_key(const http_call *call)
{
    return (uint64_t)call->generation << (PROMPT_BITS + SLOT_BITS) | (uint64_t)call->slot << PROMPT_BITS;
}

http_call *call_find(tn_front *front, uint64_t key)
{
    uint32_t slot = (uint32_t)(key >> PROMPT_BITS) & ((1u << SLOT_BITS) - 1);
    if (slot >= front->call_capacity)
        return NULL;
    http_call *call = front->calls[slot];
    return call && call->generation == (uint32_t)(key >> (PROMPT_BITS + SLOT_BITS)) ? call : NULL;
}

/* "chatcmpl-" and 24 random digits, or the client's own request_id. */
static void choose_id(http_call *call, const char *request_id)
{
    const char *prefix = call->kind == CALL_CHAT ? "chatcmpl-" : "cmpl-";
    uint64_t random[2] = {0};

    if (request_id) {
        snprintf(call->id, sizeof call->id, "%s%s", prefix, request_id);
        return;
    }
    ssize_t got = getrandom(random, sizeof random, 0);
    TN_ASSERT(got == (ssize_t)sizeof random); /* cannot fail for 16 bytes once the system is up */
    snprintf(call->id, sizeof call->id, "%s%016" PRIx64 "%08" PRIx64, prefix, random[0], random[1] & 0xffffffffu);
}

static void write_head(http_call *call)
{
    const char *object = call->kind == CALL_COMPLETION ? "text_completion"
                         : call->stream                ? "chat.completion.chunk"
                                                       : "chat.completion";
    byte_buffer *out = &call->head;
    byte_buffer_text(out, "{\"id\":");
    json_write_text(out, call->id);
    byte_buffer_print(out, ",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", object, call->created);
    json_write_text(out, call->model_name);
    byte_buffer_print(out, ",\"system_fingerprint\":\"%s\",\"choices\":[", call->model->fingerprint);
}

static const char *served_name(const http_model *model, const char *asked)
{
    for (const char *const *name = model->info.served_names; asked && *name; name++)
        if (strcmp(*name, asked) == 0)
            return *name;
    return model->info.served_names[0];
}

http_call *call_create(http_model *model, call_kind kind, const call_params *params, uint32_t prompt_count)
{
    http_call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    *call = (struct http_call){.front = model->front,
                               .kind = kind,
                               .stream = params->stream,
                               .include_usage = params->include_usage,
                               .continuous_usage = params->continuous_usage,
                               .echo = params->echo,
                               .tokens_as_ids = params->tokens_as_ids,
                               .return_token_ids = params->return_token_ids,
                               .skip_special = params->skip_special,
                               .skip_text = params->max_tokens == 0,
                               .grammar_field = params->grammar.field,
                               .logprobs = params->logprobs,
                               .top_logprobs = params->top_logprobs,
                               .prompt_logprobs = params->prompt_logprobs,
                               .choices_per_prompt = (uint32_t)params->n,
                               .prompt_count = prompt_count,
                               .open_prompts = prompt_count,
                               .model = model,
                               .model_name = served_name(model, params->model),
                               .created = (int64_t)time(NULL)};
    call->prompts = calloc(prompt_count, sizeof *call->prompts);
    call->choices = calloc((size_t)prompt_count * call->choices_per_prompt, sizeof *call->choices);
    choose_id(call, params->request_id);
    write_head(call);
    if (!call->prompts || !call->choices || call->head.failed) {
        call_destroy(call);
        return NULL;
    }
    return call;
}

void call_destroy(http_call *call)
{
    if (!call)
        return;
    for (uint32_t i = 0; call->prompts && i < call->prompt_count; i++) {
        free(call->prompts[i].tokens);
        free(call->prompts[i].text);
        logprobs_finish(&call->prompts[i].logprobs);
        byte_buffer_finish(&call->prompts[i].prompt_logprobs);
    }
    for (uint32_t i = 0; call->choices && i < call->prompt_count * call->choices_per_prompt; i++) {
        byte_buffer_finish(&call->choices[i].text);
        byte_buffer_finish(&call->choices[i].token_ids);
        logprobs_finish(&call->choices[i].logprobs);
        free(call->choices[i].stop);
    }
    free(call->prompts);
    free(call->choices);
    byte_buffer_finish(&call->head);
    byte_buffer_finish(&call->out);
    free(call);
}

/* Under lock. */
static bool take_slot(http_call *call)
{
    tn_front *front = call->front;
    if (front->free_count == 0)
        return false;
    call->slot = front->free_slots[--front->free_count];
    call->generation = ++front->next_generation;
    if (call->generation == 0) /* 0 marks the poller's own descriptors */
        call->generation = ++front->next_generation;
    front->calls[call->slot] = call;
    front->call_count++;
    return true;
}

/* Under lock. */
static void give_slot(http_call *call)
{
    tn_front *front = call->front;
    TN_ASSERT(front->calls[call->slot] == call);
    if (call->peer && call->peer->call == call)
        call->peer->call = NULL;
    front->calls[call->slot] = NULL;
    front->free_slots[front->free_count++] = call->slot;
    if (--front->call_count == 0)
        pthread_cond_broadcast(&front->idle);
}

void call_cancel(http_call *call)
{
    for (uint32_t i = 0; i < call->prompt_count; i++) {
        if (call->prompts[i].request)
            call->front->engine_api->cancel(call->model->client, call->prompts[i].request);
        call->prompts[i].request = 0;
    }
}

static tn_status submit_prompt(http_call *call, tn_request *request, uint32_t index, api_error *error)
{
    tn_front *front = call->front;
    call_prompt *prompt = &call->prompts[index];
    tn_error err = TN_ERROR_INIT;

    request->token = prompt->tokens;
    request->token_count = prompt->token_count;
    request->max_new = prompt->max_new;
    /* Choices that generate nothing are all the same: one is enough. */
    request->n_choices = prompt->max_new > 0 ? call->choices_per_prompt : 1;
    request->user = call_key(call) | index;
    tn_status status = front->engine_api->submit(call->model->client, request, &prompt->request, &err);
    if (status == TN_OK)
        return TN_OK;
    prompt->request = 0;
    return api_fail_status(error, status, err.msg, front->engine_api->retry_after(call->model->engine));
}

tn_status call_submit(http_call *call, const call_params *params, api_error *error)
{
    tn_front *front = call->front;
    tn_status status = TN_OK;
    tn_request request;

    call_params_request(params, &request);
    front_lock(front);
    if (front->stopping || !take_slot(call)) {
        front_unlock(front);
        return api_fail_status(error, TN_E_CANCELLED, "the server has no room for this request", 1);
    }
    for (uint32_t i = 0; status == TN_OK && i < call->prompt_count; i++)
        status = submit_prompt(call, &request, i, error);
    if (status != TN_OK) {
        call_cancel(call);
        give_slot(call);
    }
    if (call->peer && status == TN_OK) {
        call->peer->call = call;
        if (call->peer->hung_up_ms) { /* while its request was being read */
            call_cancel(call);
            call->aborted = true;
        }
    }
    front_unlock(front);
    return status;
}

void call_withdraw(http_call *call)
{
    tn_front *front = call->front;

    front_lock(front);
    call_cancel(call);
    give_slot(call);
    front_unlock(front);
}

bool call_is_runnable(const http_call *call)
{
    if (call->ended || call->aborted)
        return true;
    return call->stream && (call->streaming ? call->out.count > call->out_read : call->taken_up);
}

void call_wait(http_call *call)
{
    tn_front *front = call->front;

    MHD_suspend_connection(call->connection);
    front_lock(front);
    if (front->stopping)
        call->aborted = true;
    bool resume = call_is_runnable(call);
    call->suspended = !resume;
    front_unlock(front);
    if (resume)
        MHD_resume_connection(call->connection);
}

uint64_t call_prompt_tokens(const http_call *call)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < call->prompt_count; i++)
        tokens += call->prompts[i].token_count;
    return tokens;
}

uint64_t call_cached_tokens(const http_call *call)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; i < call->prompt_count; i++)
        tokens += call->prompts[i].cached_tokens;
    return tokens;
}

uint64_t call_generated_tokens(const http_call *call)
{
    uint64_t tokens = 0;
    for (uint32_t i = 0; !call->skip_text && i < call->prompt_count; i++)
        tokens += call->prompts[i].generated_tokens;
    return tokens;
}

void call_write_usage(const http_call *call, byte_buffer *out)
{
    uint64_t prompt = call_prompt_tokens(call), generated = call_generated_tokens(call);
    byte_buffer_print(out,
                      "{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64 ",\"total_tokens\":%" PRIu64
                      ",\"prompt_tokens_details\":{\"cached_tokens\":%" PRIu64 "}}",
                      prompt, generated, prompt + generated, call_cached_tokens(call));
}
