/* remote_request.c: one request from submit to DONE, whichever instances it meets on the way. Everything that is needed
 * to tell its end is allocated with it.
 */
#include "gateway/state.h"

#include "base/utf8.h"

#include <string.h>

enum { SLOTS_MIN = 64 };

/* ---- making ---- */

tn_status request_make(remote_client *client, const tn_request *asked, remote_request **ret_request, tn_error *err)
{
    const tn_engine_info *info = &client->route->info.info;
    wire_buffer part = {0};
    tn_status status = frame_request_write_part(&part, asked, info, err);
    if (status == TN_OK && asked->n_choices > info->max_choices)
        status = tn_fail(err, TN_E_ARGUMENT, "n_choices is %u; this engine takes at most %u", asked->n_choices,
                         info->max_choices);
    if (status != TN_OK) {
        wire_buffer_finish(&part);
        return status;
    }
    remote_request *request = calloc(1, sizeof *request);
    uint32_t choices = asked->n_choices ? asked->n_choices : 1;
    if (request)
        request->choice = calloc(choices, sizeof *request->choice);
    if (!request || !request->choice) {
        free(request);
        wire_buffer_finish(&part);
        return tn_fail(err, TN_E_MEMORY, "out of memory for a request");
    }
    request->client = client;
    request->part = part;
    request->choice_count = choices;
    request->user = asked->user;
    request->seeded = (asked->flags & TN_REQ_SEED) != 0;
    request->seed = request->seeded ? asked->seed : 0;
    request->prompt_tokens = asked->token_count;
    *ret_request = request;
    return TN_OK;
}

void request_free(remote_request *request)
{
    if (!request)
        return;
    wire_buffer_finish(&request->part);
    free(request->choice);
    free(request);
}

/* ---- slots: from a tag to its request ---- */

static tn_status grow_slots(gateway *g, tn_error *err)
{
    uint32_t count = g->slot_count ? g->slot_count * 2 : SLOTS_MIN;
    request_slot *slots = count > g->slot_count ? realloc(g->slots, count * sizeof *slots) : NULL;
    if (!slots)
        return tn_fail(err, TN_E_MEMORY, "out of memory for %u requests", count);
    for (uint32_t i = g->slot_count; i < count; i++)
        slots[i] = (request_slot){.next_free = i + 1};
    g->slots = slots;
    g->slot_count = count; /* first_free was the old count: the first of the new ones */
    return TN_OK;
}

static uint64_t make_tag(gateway *g, uint32_t index)
{
    return (uint64_t)++g->slots[index].generation << 32 | index;
}

tn_status request_enter(remote_request *request, tn_error *err)
{
    remote_client *client = request->client;
    gateway *g = client->route->gateway;
    tn_status status = g->first_free == g->slot_count ? grow_slots(g, err) : TN_OK;
    if (status != TN_OK)
        return status;
    uint32_t index = g->first_free;
    g->first_free = g->slots[index].next_free;
    g->slots[index].request = request;
    request->tag = make_tag(g, index);
    request->id = g->next_request++;
    request->live_next = client->live;
    if (client->live)
        client->live->live_previous = request;
    client->live = request;
    return TN_OK;
}

void request_leave(remote_request *request)
{
    remote_client *client = request->client;
    gateway *g = client->route->gateway;
    uint32_t index = (uint32_t)request->tag;

    TN_ASSERT(!request->link && !request->waits && g->slots[index].request == request);
    g->slots[index].request = NULL;
    g->slots[index].next_free = g->first_free;
    g->first_free = index;
    *(request->live_previous ? &request->live_previous->live_next : &client->live) = request->live_next;
    if (request->live_next)
        request->live_next->live_previous = request->live_previous;
}

void request_retag(remote_request *request)
{
    request->tag = make_tag(request->client->route->gateway, (uint32_t)request->tag);
    request->taken = false;
    request->remote_id = 0;
}

remote_request *request_find(gateway *g, uint64_t tag)
{
    uint32_t index = (uint32_t)tag;
    if (index >= g->slot_count)
        return NULL;
    remote_request *request = g->slots[index].request;
    return request && request->tag == tag ? request : NULL;
}

/* ---- events ---- */

static void push(remote_request *request, remote_event *event)
{
    event->event.request = request->id;
    event->event.user = request->user;
    client_push_event(request->client, event);
}

/* A sentence that an instance had a hand in, or that was cut, as whole UTF-8: '?' for what is none. */
static void keep_sentence(char *to, size_t capacity, const char *text)
{
    size_t used = 0, length = strlen(text), bytes;

    for (size_t at = 0; at < length; at += bytes) {
        uint32_t codepoint;
        bool valid;
        bytes = utf8_decode(text + at, length - at, &codepoint, &valid);
        size_t kept = valid ? bytes : 1;
        if (used + kept >= capacity)
            break;
        memcpy(to + used, valid ? text + at : "?", kept);
        used += kept;
    }
    to[used] = '\0';
}

void request_end(remote_request *request, uint32_t finish, tn_status status, const char *text)
{
    keep_sentence(request->error, sizeof request->error, text);
    for (uint32_t i = 0; i < request->choice_count; i++) {
        remote_choice *choice = &request->choice[i];
        if (choice->ended)
            continue;
        choice->ended = true;
        choice->ending.event = (tn_event){.kind = TN_EVENT_CHOICE,
                                          .choice = i,
                                          .index = choice->token_count,
                                          .finish = finish,
                                          .stop_token = -1,
                                          .text = "",
                                          .text_offset = choice->text_bytes};
        push(request, &choice->ending);
    }
    request->ending.event = (tn_event){.kind = TN_EVENT_DONE,
                                       .status = status,
                                       .text = request->error,
                                       .text_bytes = strlen(request->error),
                                       .seed = request->seed,
                                       .prompt_tokens = request->prompt_tokens,
                                       .cached_tokens = request->cached_tokens,
                                       .generated_tokens = request->generated_tokens};
    request->ending.done = request;
    request_leave(request);
    push(request, &request->ending);
}

/* It has an event that cannot be taken back. */
static void produce(remote_request *request, remote_event *event)
{
    request->produced = true;
    wire_buffer_finish(&request->part);
    push(request, event);
}

/* The client does not see it; its room is free again. */
static void drop(remote_request *request, remote_event *event)
{
    link_give_credit(request->channel);
    free(event);
}

static void take_token(remote_request *request, remote_event *event)
{
    remote_choice *choice = &request->choice[event->event.choice];
    choice->text_bytes += event->event.text_bytes;
    choice->token_count++;
    request->generated_tokens++;
    request->client->route->tokens++;
    produce(request, event);
}

/* An engine that fails tells so choice by choice, and then the request; one that has told nothing else yet may find
 * another engine. */
static void take_done(remote_request *request, remote_event *event)
{
    const tn_event *done = &event->event;
    bool is_lost = done->status == TN_E_DEVICE_LOST && !request->produced && !request->cancelled;
    bool open = false;

    for (uint32_t i = 0; i < request->choice_count; i++)
        open |= !request->choice[i].ended;
    request->seed = done->seed;
    request->cached_tokens = done->cached_tokens;
    request->generated_tokens = done->generated_tokens;
    if (is_lost || (open && done->status != TN_OK)) {
        char text[FRAME_TEXT_MAX + 1];
        tn_status status = done->status;
        snprintf(text, sizeof text, "%s", done->text);
        request->tried |= request->link->bit;
        drop(request, event);
        dispatch_recall(request);
        if (is_lost && dispatch_has_choice(request))
            dispatch_move(request);
        else
            request_end(request, status == TN_E_CANCELLED ? TN_FINISH_CANCELLED : TN_FINISH_ERROR, status, text);
        return;
    }
    dispatch_recall(request);
    event->done = request;
    request_leave(request);
    push(request, event);
}

void request_take_event(remote_request *request, remote_event *event)
{
    switch (event->event.kind) {
    case TN_EVENT_ACCEPTED:
        request->seeded = true;
        request->seed = event->event.seed;
        if (request->accepted) {
            drop(request, event);
            return;
        }
        request->accepted = true;
        request->cached_tokens = event->event.cached_tokens;
        push(request, event);
        return;
    case TN_EVENT_TOKEN:
        take_token(request, event);
        return;
    case TN_EVENT_CHOICE:
        if (event->event.finish == TN_FINISH_ERROR && !request->produced) {
            drop(request, event); /* DONE says what becomes of it */
            return;
        }
        request->choice[event->event.choice].ended = true;
        produce(request, event);
        return;
    case TN_EVENT_DONE:
        take_done(request, event);
        return;
    default:
        produce(request, event);
    }
}
