/* answer.h: what a call's answer looks like, for chat and for completions, streamed and whole. */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include "call.h"

/* Takes one event of prompt `prompt_index`. Under front->lock. [poller] */
void answer_take_event(http_call *call, uint32_t prompt_index, const tn_event *event);
/* The whole answer of an ended call that is not streamed. [the connection's thread] */
void answer_write_whole(const http_call *call, byte_buffer *out);

/* Shapes: each writes one choice object of a chunk, from what has been collected since the last. */
void chat_write_opening(http_call *call, uint32_t choice_index);
void chat_write_delta(http_call *call, uint32_t choice_index);
void chat_write_closing(http_call *call, uint32_t choice_index);
void chat_write_whole(const http_call *call, uint32_t choice_index, byte_buffer *out);
void completion_write_opening(http_call *call, uint32_t choice_index);
void completion_write_delta(http_call *call, uint32_t choice_index);
void completion_write_closing(http_call *call, uint32_t choice_index);
void completion_write_whole(const http_call *call, uint32_t choice_index, byte_buffer *out);

/* `"finish_reason": ..., "stop_reason": ..., "seed": ...`, shared by both shapes. */
void answer_write_finish(const http_call *call, uint32_t choice_index, byte_buffer *out);
/* `,"KEY":[1,2,3]` of a prompt's tokens. */
void answer_write_ids(const char *key, const int32_t *ids, uint64_t count, byte_buffer *out);

#endif
