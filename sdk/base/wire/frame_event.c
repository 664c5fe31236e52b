/* frame_event.c: EVENT, the frame of which there is one per token. */
#include "base/utf8.h"
#include "base/wire/engine_frame.h"
#include "base/wire/frame_fail.h"

tn_status frame_event_write(wire_buffer *out, uint32_t channel, const tn_event *event, tn_error *err)
{
    wire_writer writer = wire_begin(out, FRAME_EVENT);
    const uint32_t numbers[] = {channel,
                                event->kind,
                                event->choice,
                                event->index,
                                (uint32_t)event->token,
                                (uint32_t)event->status,
                                event->finish,
                                (uint32_t)event->stop_token,
                                event->top_count,
                                event->stop != NULL};
    const uint64_t longs[] = {event->user,          event->text_offset,   event->seed,
                              event->prompt_tokens, event->cached_tokens, event->generated_tokens};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        wire_put32(&writer, numbers[i]);
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++)
        wire_put64(&writer, longs[i]);
    wire_put_float(&writer, event->logprob);
    wire_put_blob(&writer, event->text, event->text_bytes);
    wire_put_text(&writer, event->stop);
    wire_put_ints(&writer, event->top_id, event->top_count);
    for (uint32_t i = 0; i < event->top_count; i++)
        wire_put_float(&writer, event->top_logprob[i]);
    return wire_end(&writer, err);
}

/* Ids that a front end would look up: every one that the event's kind speaks of. */
static bool tokens_are_known(const frame_event *read, const tn_engine_info *info)
{
    const tn_event *event = &read->event;
    if ((event->kind == TN_EVENT_TOKEN || event->kind == TN_EVENT_PROMPT) &&
        (event->token < 0 || (uint32_t)event->token >= info->vocab_size))
        return false;
    if (event->stop_token < -1 || (event->stop_token >= 0 && (uint32_t)event->stop_token >= info->vocab_size))
        return false;
    for (uint32_t i = 0; i < event->top_count; i++)
        if (wire_load32(read->top + 4 * (size_t)i) >= info->vocab_size)
            return false;
    return true;
}

static bool is_text(wire_blob blob)
{
    return utf8_is_valid(blob.bytes, blob.n) && !memchr(blob.bytes, '\0', blob.n);
}

tn_status frame_event_read(const uint8_t *frame, size_t n, const tn_engine_info *info, frame_event *ret_event,
                           tn_error *err)
{
    if (n == 0 || frame[0] != FRAME_EVENT)
        return frame_fail(frame, n, "is not an event", err);
    wire_reader reader = wire_reader_of(frame, n);
    frame_event read = {.event.struct_size = sizeof read.event, .channel = wire_get32(&reader)};
    tn_event *event = &read.event;
    event->kind = wire_get32(&reader);
    event->choice = wire_get32(&reader);
    event->index = wire_get32(&reader);
    event->token = (int32_t)wire_get32(&reader);
    event->status = (tn_status)wire_get32(&reader);
    event->finish = wire_get32(&reader);
    event->stop_token = (int32_t)wire_get32(&reader);
    event->top_count = wire_get32(&reader);
    read.has_stop = wire_get32(&reader) != 0;
    event->user = wire_get64(&reader);
    event->text_offset = wire_get64(&reader);
    event->seed = wire_get64(&reader);
    event->prompt_tokens = wire_get64(&reader);
    event->cached_tokens = wire_get64(&reader);
    event->generated_tokens = wire_get64(&reader);
    event->logprob = wire_get_float(&reader);
    read.text = wire_get_blob(&reader, FRAME_EVENT_TEXT_MAX);
    read.stop = wire_get_blob(&reader, info->max_stop_bytes);
    read.top = wire_get_array(&reader, event->top_count, 8);
    if (!wire_reader_done(&reader))
        return frame_fail(frame, n, "ends too early or too late", err);
    if (event->kind < TN_EVENT_ACCEPTED || event->kind > TN_EVENT_DONE || event->finish > TN_FINISH_ERROR ||
        event->choice >= info->max_choices || event->top_count > info->max_top_logprobs)
        return frame_fail(frame, n, "is an event outside the engine's own limits", err);
    if (!tokens_are_known(&read, info))
        return frame_fail(frame, n, "speaks of a token outside the vocabulary", err);
    if (!is_text(read.stop) || !utf8_is_valid(read.text.bytes, read.text.n))
        return frame_fail(frame, n, "holds text that is not UTF-8", err);
    event->text_bytes = read.text.n;
    *ret_event = read;
    return TN_OK;
}

size_t frame_event_bytes(const frame_event *read)
{
    return read->event.top_count * (sizeof(int32_t) + sizeof(float)) + read->text.n + 1 + read->stop.n + 1;
}

void frame_event_place(frame_event *read, void *storage)
{
    tn_event *event = &read->event;
    int32_t *top_id = storage;
    float *top_logprob = (float *)(top_id + event->top_count);
    char *text = (char *)(top_logprob + event->top_count);

    for (uint32_t i = 0; i < event->top_count; i++) {
        top_id[i] = (int32_t)wire_load32(read->top + 4 * (size_t)i);
        top_logprob[i] = wire_load_float(read->top + 4 * ((size_t)event->top_count + i));
    }
    event->top_id = top_id;
    event->top_logprob = top_logprob;
    event->text = frame_place_text(&text, read->text);
    char *stop = frame_place_text(&text, read->stop);
    event->stop = read->has_stop ? stop : NULL;
}
